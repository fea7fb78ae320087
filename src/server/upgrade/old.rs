//! The side of the process that is there: starts the next one, gives it the sockets, and leaves when it serves.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use parking_lot::Mutex;
use rustix::process::Pid;
use tokio::sync::Notify;

use super::super::listeners::Held;
use super::launch::{self, Successor};
use super::socket::{Channel, Private};
use super::{PATIENCE, Program, Socket, Word};

/// How often a new process is looked at while it has not spoken.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What another process may take over.
pub struct Offer {
    program: Program,
    /// Where the new process finds this one.
    path: std::path::PathBuf,
    sockets: Vec<Held>,
    /// The process that was started, and where its connection is to go.
    awaited: Mutex<Option<(Pid, Sender<Channel>)>>,
    /// Told when a new process serves.
    served: Arc<Notify>,
}

impl Offer {
    /// Listens for commands in a thread of its own, for as long as the process lives. `served` is told when a new
    /// process has taken over.
    ///
    /// # Errors
    /// When the socket cannot be had.
    pub fn start(path: &Path, program: Program, sockets: Vec<Held>, served: Arc<Notify>) -> Result<(), String> {
        let private = Private::bind(path).map_err(|failed| format!("upgrade socket {}: {failed}", path.display()))?;
        let offer = Arc::new(Self { program, path: path.to_owned(), sockets, awaited: Mutex::default(), served });
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
                let awaited = self.awaited.lock().take_if(|(awaited, _)| *awaited == pid);
                match awaited {
                    // It fails when the wait is over, and the connection ends with it.
                    Some((_, waiting)) => waiting.send(channel).map_err(io::Error::other),
                    None => {
                        channel.say(&Word::Failed { reason: "this process was not started to take over".to_owned() })
                    }
                }
            }
            Ok(other) => channel.say(&Word::Failed { reason: format!("{other:?} is not for this process") }),
            Err(failed) => Err(failed),
        };
        if let Err(failed) = said {
            warn!("upgrade: {failed}");
        }
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
            *awaited = Some((successor.pid(), sender));
            successor
        };
        let pid = successor.pid();
        info!("upgrade: process {pid} was started");
        let ended = self.hand_over(&successor, &connected);
        *self.awaited.lock() = None;
        if let Err(reason) = ended {
            successor.kill();
            return Err(reason);
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
        channel.say_with(&Word::Sockets(words), &sockets).map_err(silent)?;
        match channel.hear().map_err(silent)? {
            Word::Serving => {
                let pid = successor.pid().as_raw_nonzero().get().unsigned_abs();
                // systemd listens to the main process only, which is this one until it has said so. Without systemd there
                // is nobody to tell.
                let _ = sd_notify::notify(&[sd_notify::NotifyState::MainPid(pid)]);
                channel.say(&Word::Done { pid }).map_err(silent)?;
                // It hangs up when it can be asked for the next upgrade itself; that is no condition of this one.
                let _ = channel.hear();
                Ok(())
            }
            Word::Failed { reason } => Err(reason),
            other => Err(format!("the new process says {other:?}")),
        }
    }
}

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
