//! The side of the process that is there: starts the next one, gives it the sockets, and leaves when it serves.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use parking_lot::Mutex;
use rustix::process::Pid;
use tokio::sync::Notify;

use crate::proxy::State;

use super::super::listeners::Held;
use super::counters;
use super::launch::{self, Successor};
use super::socket::{Channel, Private};
use super::{PATIENCE, Program, Socket, Word};

/// How often a new process is looked at while it says nothing.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What another process may take over.
pub struct Offer {
    program: Program,
    /// Where the new process finds this one.
    path: std::path::PathBuf,
    sockets: Vec<Held>,
    /// The process that was started and does not serve yet.
    awaited: Mutex<Option<Awaited>>,
    /// Told when a new process serves.
    served: Arc<Notify>,
    /// Whose counters these are.
    state: Arc<State>,
    /// How often counters were handed over.
    handovers: AtomicU64,
}

/// A process that was started to take over.
struct Awaited {
    pid: Pid,
    /// Where its connection is to go, until it has come.
    waiting: Option<Sender<Channel>>,
}

impl Offer {
    /// Listens for commands in a thread of its own, for as long as the process lives. `served` is told when a new
    /// process has taken over.
    ///
    /// # Errors
    /// When the socket cannot be had.
    pub fn start(
        path: &Path,
        program: Program,
        sockets: Vec<Held>,
        served: Arc<Notify>,
        state: Arc<State>,
    ) -> Result<(), String> {
        let private = Private::bind(path).map_err(|failed| format!("upgrade socket {}: {failed}", path.display()))?;
        let (path_of_it, awaited) = (path.to_owned(), Mutex::default());
        let handovers = AtomicU64::new(0);
        let offer = Arc::new(Self { program, path: path_of_it, sockets, awaited, served, state, handovers });
        let listen = move || offer.listen(&private);
        thread::Builder::new()
            .name("upgrade".to_owned())
            .spawn(listen)
            .map_err(|failed| format!("upgrade socket {}: {failed}", path.display()))?;
        info!("upgrades are asked for at {}", path.display());
        Ok(())
    }

    fn listen(self: &Arc<Self>, private: &Private) {
        loop {
            match private.accept() {
                Ok(Some((channel, pid))) => {
                    let offer = Arc::clone(self);
                    let serve = move || offer.serve(channel, pid);
                    if let Err(failed) = thread::Builder::new().name("upgrade".to_owned()).spawn(serve) {
                        error!("upgrade: {failed}");
                    }
                }
                Ok(None) => warn!("upgrade: a process of another user was turned away"),
                Err(failed) => {
                    error!("upgrade: the socket is lost: {failed}");
                    return;
                }
            }
        }
    }

    fn serve(&self, mut channel: Channel, pid: Pid) {
        // A peer that says nothing keeps a thread for this long.
        let deadline = channel.stream().set_read_timeout(Some(PATIENCE));
        let heard = deadline.and_then(|()| channel.hear());
        let said = match heard {
            Ok(Word::Upgrade) => match self.upgrade() {
                Ok(pid) => channel.say(&Word::Done { pid }).map(|()| self.served.notify_one()),
                Err(reason) => {
                    error!("upgrade: {reason}; this process goes on");
                    channel.say(&Word::Failed { reason })
                }
            },
            Ok(Word::TakeOver) => {
                let mut awaited = self.awaited.lock();
                let awaited = awaited.as_mut().filter(|awaited| awaited.pid == pid);
                match awaited.and_then(|awaited| awaited.waiting.take()) {
                    // It fails when the wait is over, and the connection ends with it.
                    Some(waiting) => waiting.send(channel).map_err(io::Error::other),
                    None => channel.say(&Word::Failed { reason: STRANGER.to_owned() }),
                }
            }
            Ok(Word::Counters { .. }) if !self.awaits(pid) => {
                channel.say(&Word::Failed { reason: STRANGER.to_owned() })
            }
            Ok(Word::Counters { format, layout }) => match counters::promise(&mut channel, format, layout) {
                Ok(true) => {
                    counters::give(channel, &self.state, self.handovers.fetch_add(1, Ordering::Relaxed));
                    Ok(())
                }
                Ok(false) => Ok(()),
                Err(failed) => Err(failed),
            },
            Ok(other) => channel.say(&Word::Failed { reason: format!("{other:?} is not for this process") }),
            Err(failed) => Err(failed),
        };
        if let Err(failed) = said {
            warn!("upgrade: {failed}");
        }
    }

    /// Whether this process was started to take over, and is about to.
    fn awaits(&self, pid: Pid) -> bool {
        self.awaited.lock().as_ref().is_some_and(|awaited| awaited.pid == pid)
    }

    /// Starts a new process and waits until it serves.
    fn upgrade(&self) -> Result<u32, String> {
        let (sender, connected) = channel();
        let successor = {
            // Held until the process id is known, so that its connection finds it.
            let mut awaited = self.awaited.lock();
            if awaited.is_some() {
                return Err("another upgrade is under way".to_owned());
            }
            let successor = launch::orphan(&self.program, &self.path)?;
            *awaited = Some(Awaited { pid: successor.pid(), waiting: Some(sender) });
            successor
        };
        // What an attempt before this one left.
        self.state.successor.store(None);
        let pid = successor.pid();
        info!("upgrade: process {pid} was started");
        let ended = self.hand_over(&successor, &connected);
        *self.awaited.lock() = None;
        if let Err(reason) = ended {
            successor.kill();
            // Not before it can no longer count.
            if let Some(counting) = self.state.successor.load_full() {
                counting.end();
            }
            return Err(reason);
        }
        if self.state.successor.load().is_none() {
            warn!("upgrade: the new process did not take the counters of limits over: they begin anew there");
        }
        info!("upgrade: process {pid} serves, this one leaves");
        Ok(pid.as_raw_nonzero().get().unsigned_abs())
    }

    fn hand_over(&self, successor: &Successor, connected: &Receiver<Channel>) -> Result<(), String> {
        let mut channel = connection(successor, connected)?;
        let silent = |failed: io::Error| match successor.is_dead() {
            true => DIED.to_owned(),
            false => format!("the new process does not take over: {failed}"),
        };
        let words: Vec<Socket> = self.sockets.iter().map(|held| held.socket.clone()).collect();
        let sockets: Vec<_> = self.sockets.iter().map(|held| held.listener.as_fd()).collect();
        let generation = self.state.gateway.load().generation;
        channel.say_with(&Word::Sockets { sockets: words, generation }, &sockets).map_err(silent)?;
        match self.hear(&mut channel).map_err(silent)? {
            Word::Serving if self.lost_counters() => Err(LOST_COUNTERS.to_owned()),
            Word::Serving => {
                let pid = successor.pid().as_raw_nonzero().get().unsigned_abs();
                // systemd listens to the main process only, which is this one until it has said so. Without systemd there
                // is nobody to tell.
                let _ = sd_notify::notify(&[sd_notify::NotifyState::MainPid(pid)]);
                channel.say(&Word::Done { pid }).map_err(silent)?;
                // It hangs up when it can be asked for the next upgrade itself; that is no condition of this one.
                let _ = channel.stream().set_read_timeout(Some(PATIENCE)).and_then(|()| channel.hear());
                Ok(())
            }
            Word::Failed { reason } => Err(reason),
            other => Err(format!("the new process says {other:?}")),
        }
    }

    /// What the new process says next, as long as there is hope. It must not live on with counters that were taken back.
    fn hear(&self, channel: &mut Channel) -> io::Result<Word> {
        let begun = Instant::now();
        channel.stream().set_read_timeout(Some(LOOK_EVERY))?;
        loop {
            match channel.hear() {
                Err(silent) if silent.kind() == io::ErrorKind::WouldBlock => {}
                heard => return heard,
            }
            if self.lost_counters() {
                return Err(io::Error::other(LOST_COUNTERS));
            }
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("it does not serve within {} s", PATIENCE.as_secs())));
            }
        }
    }

    /// Whether a new process had the counters and no longer has.
    fn lost_counters(&self) -> bool {
        self.state.successor.load().as_ref().is_some_and(|counting| counting.has_ended())
    }
}

/// What a process is told that nobody waits for.
const STRANGER: &str = "this process was not started to take over";

/// What is said of a process that does not answer for the counters it has got.
const LOST_COUNTERS: &str = "the new process does not go on with the counters of limits";

/// What is said of a process that is gone; why, only its own log knows.
const DIED: &str = "the new process ended before it served; its log says why";

/// Waits until the new process speaks, or is dead.
fn connection(successor: &Successor, connected: &Receiver<Channel>) -> Result<Channel, String> {
    let begun = Instant::now();
    loop {
        match connected.recv_timeout(LOOK_EVERY) {
            Ok(channel) => return Ok(channel),
            Err(RecvTimeoutError::Disconnected) => return Err("the upgrade was given up".to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if successor.is_dead() {
            return Err(DIED.to_owned());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("the new process does not speak for {} s", PATIENCE.as_secs()));
        }
    }
}
