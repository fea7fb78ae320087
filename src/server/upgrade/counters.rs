//! What limits have counted goes over to the new process, which decides for both until the old one has left.
//!
//! ```text
//! new ──"counters"──▶ old          as soon as it has the sockets, on a connection of its own
//! new ◀──"keys"── old
//! new ──"hand_over"──▶ old         loaded, bound, about to serve
//! new ◀──shard by shard── old      whose requests ask from now on
//! new ──restored──▶ old
//! new ◀──questions, places left── old
//! new ──answers──▶ old
//! ```
//!
//! A process of another version that does not know these words, or has another format or layout, says so or hangs up
//! before anything has moved: then the new one begins anew. After that it is all or nothing: a new process that stops
//! answering before it serves is ended, and one that stops later has decided what it has; the old one goes on by what
//! it knows.
//!
//! Two threads at the old end, one at the new, for as long as the old process lives. The new one may hand over in its
//! turn meanwhile: then it passes questions on.

use std::io::{self, BufReader, Cursor, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Instant;

use log::{info, warn};

use crate::policy::limit::handover::wire::{Leaving, Taking};
use crate::policy::limit::handover::{self, Answer, Demand, FORMAT, Predecessor, Saying};
use crate::policy::limit::{Limiter, Moved};
use crate::proxy::{self, State, Successor};

use super::socket::Channel;
use super::{PATIENCE, Word};

/// Bytes of one write, more or less.
const CHUNK: usize = 256 * 1024;

/// The connection of a new process on which the old one has promised its counters.
pub struct Counters {
    channel: Channel,
}

/// Says whether the counters can be had by a process that asks so.
///
/// # Errors
/// When it is gone.
pub fn promise(channel: &mut Channel, format: u32, layout: u64) -> io::Result<bool> {
    if (format, layout) != (FORMAT, handover::layout()) {
        let reason = "the process before keeps its counters in another way".to_owned();
        return channel.say(&Word::Failed { reason }).map(|()| false);
    }
    channel.say(&Word::Keys(handover::keys()))?;
    match channel.hear() {
        Ok(Word::HandOver) => Ok(true),
        Ok(other) => Err(io::Error::other(format!("the new process says {other:?}"))),
        // It could not start; its own word says why.
        Err(gone) if gone.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(failed) => Err(failed),
    }
}

/// Hands the counters of this process over, and talks with the new one for as long as both live.
pub fn give(channel: Channel, state: &Arc<State>, number: u64) {
    let (stream, _) = channel.into_parts();
    let (successor, said) = Successor::new(Arc::clone(&state.limiter), state.clock, number);
    state.successor.store(Some(Arc::clone(&successor)));
    let ended = speak(&stream, &successor, &said, state);
    let was_there = !successor.has_ended();
    successor.end();
    // The other thread hears of it, and the new process.
    let _ = stream.shutdown(Shutdown::Both);
    if let (true, Err(failed)) = (was_there, ended) {
        warn!("upgrade: the new process no longer decides on limits, this one does again: {failed}");
    }
}

fn speak(stream: &UnixStream, successor: &Arc<Successor>, said: &Receiver<Saying>, state: &State) -> io::Result<()> {
    stream.set_write_timeout(Some(proxy::PATIENCE))?;
    stream.set_read_timeout(None)?;
    let (listening, answers, begun) = (stream.try_clone()?, Arc::clone(successor), Instant::now());
    thread::Builder::new().name("counters".to_owned()).spawn(move || {
        let failed = listen(listening, &answers, begun);
        if !answers.has_ended() {
            warn!("upgrade: the new process no longer decides on limits, this one does again: {failed}");
        }
        answers.end();
    })?;
    let (mut out, mut writer, mut entries) = (Vec::new(), stream, 0);
    for shard in 0..Limiter::shards() {
        let Some(page) = successor.hand_over(shard) else { return Ok(()) };
        entries += page.len();
        Leaving::Page(page).write(&mut out);
        if out.len() > CHUNK {
            writer.write_all(&out)?;
            out.clear();
        }
    }
    Leaving::Whole { wall: state.limiter.wall(state.clock.now()) }.write(&mut out);
    writer.write_all(&out)?;
    info!("upgrade: counters handed over entries={entries}");
    // It ends when everybody who could say something is gone: the successor has ended.
    while let Ok(first) = said.recv() {
        out.clear();
        Leaving::Saying(first).write(&mut out);
        while let Some(next) = said.try_recv().ok().filter(|_| out.len() < CHUNK) {
            Leaving::Saying(next).write(&mut out);
        }
        writer.write_all(&out)?;
    }
    Ok(())
}

/// Takes answers until the new process is gone; why it is.
fn listen(stream: UnixStream, successor: &Successor, begun: Instant) -> io::Error {
    let mut reader = BufReader::new(stream);
    loop {
        match Taking::read(&mut reader) {
            Ok(Taking::Restored) => {
                info!("upgrade: the new process decides on limits after={:.1}ms", begun.elapsed().as_secs_f64() * 1e3);
            }
            Ok(Taking::Answer { id, answer }) => successor.answered(id, answer),
            Err(failed) => return failed,
        }
    }
}

impl Counters {
    /// Asks the process behind this socket for its counters.
    ///
    /// # Errors
    /// Why it does not give them, in a sentence.
    pub fn ask(path: &Path) -> Result<Self, String> {
        let failed = |failed: io::Error| format!("the process before does not hand its counters over: {failed}");
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let mut channel = Channel::new(stream);
        channel.say(&Word::Counters { format: FORMAT, layout: handover::layout() }).map_err(failed)?;
        match channel.hear().map_err(failed)? {
            Word::Keys(keys) if handover::lay_out_by(keys) => Ok(Self { channel }),
            Word::Keys(_) => Err("counters are laid out already".to_owned()),
            Word::Failed { reason } => Err(reason),
            other => Err(format!("the process before says {other:?}")),
        }
    }

    /// Goes on from the counters of the process before, and decides for it from now on.
    ///
    /// # Errors
    /// When they do not come whole; then the process before goes on with them.
    pub fn take(self, state: &Arc<State>) -> Result<(), String> {
        self.restore(state).map_err(|failed| format!("the counters of the process before: {failed}"))
    }

    /// Asks for them now: where they come, and what has come already.
    ///
    /// # Errors
    /// When the process before is gone.
    pub fn begin(mut self) -> io::Result<(UnixStream, Vec<u8>)> {
        self.channel.say(&Word::HandOver)?;
        let (stream, came) = self.channel.into_parts();
        stream.set_read_timeout(Some(proxy::PATIENCE))?;
        Ok((stream, came))
    }

    fn restore(self, state: &Arc<State>) -> io::Result<()> {
        let begun = Instant::now();
        let (stream, came) = self.begin()?;
        let mut reader = BufReader::with_capacity(CHUNK, Cursor::new(came).chain(stream.try_clone()?));
        let mut predecessor = Predecessor::new(Arc::clone(&state.limiter));
        let mut entries = 0;
        loop {
            match Leaving::read(&mut reader)? {
                Leaving::Page(page) => {
                    entries += page.len();
                    predecessor.restore(&page, state.clock.epoch(), state.clock.now());
                }
                Leaving::Whole { wall } => {
                    state.limiter.advance(wall);
                    break;
                }
                Leaving::Saying(_) => return Err(io::Error::other("a question before the counters")),
            }
        }
        stream.set_read_timeout(None)?;
        let mut desk = Desk { state: Arc::clone(state), predecessor, stream, out: Vec::new() };
        Taking::Restored.write(&mut desk.out);
        desk.flush()?;
        info!("counters taken over entries={entries} after={:.1}ms", begun.elapsed().as_secs_f64() * 1e3);
        state.is_asked.store(true, Ordering::Relaxed);
        thread::Builder::new().name("counters".to_owned()).spawn(move || {
            // It ends with the process before, in one way or another.
            let _ = desk.serve(&mut reader);
            let state = Arc::clone(&desk.state);
            drop(desk);
            state.is_asked.store(false, Ordering::Relaxed);
            info!("the process before needs no more decisions on limits");
        })?;
        Ok(())
    }
}

/// Where the new process answers the old one.
struct Desk {
    state: Arc<State>,
    predecessor: Predecessor,
    stream: UnixStream,
    /// Answers that are not sent yet.
    out: Vec<u8>,
}

impl Desk {
    fn serve(&mut self, reader: &mut BufReader<impl Read>) -> io::Result<()> {
        loop {
            if reader.buffer().is_empty() {
                self.flush()?;
            }
            match Leaving::read(reader)? {
                Leaving::Saying(Saying::Question { id, demands }) => {
                    let answer = self.answer(id, &demands)?;
                    Taking::Answer { id, answer }.write(&mut self.out);
                }
                Leaving::Saying(Saying::Left(left)) => self.predecessor.left(left),
                Leaving::Page(_) | Leaving::Whole { .. } => return Err(io::Error::other("counters once more")),
            }
        }
    }

    /// Decides, or passes the question on to whoever has the counters by now.
    fn answer(&mut self, id: u64, demands: &[Demand]) -> io::Result<Answer> {
        loop {
            match self.predecessor.answer(id, demands, self.state.clock.now()) {
                Ok(answer) => return Ok(answer),
                Err(Moved) => self.flush()?,
            }
            let next = self.state.successor.load_full();
            if let Some((answer, permit)) = next.and_then(|next| next.pass_on(demands.to_vec())) {
                self.predecessor.granted(id, permit);
                return Ok(answer);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What the new process makes of an old one that answers so, or hangs up.
    fn asked(answer: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut stream = listener.accept().unwrap().0;
                let mut word = [0; 12];
                stream.read_exact(&mut word).unwrap();
                assert_eq!(&word, b"{\"counters\":");
                stream.write_all(answer.as_bytes()).unwrap();
            });
            Counters::ask(&path).map(|_| ())
        })
    }

    #[test]
    fn a_process_before_that_does_not_know_the_words_gives_nothing() {
        let keys = handover::keys();
        let known = format!("{{\"keys\":{keys:?}}}\n");
        let others = format!("{{\"keys\":{:?}}}\n", keys.map(|key| key ^ 1));
        let table = [
            (&*known, ""),
            (&others, "laid out already"),
            ("", "does not hand its counters over"),
            ("\"no_such_word\"\n", "does not hand its counters over"),
            ("{\"failed\":{\"reason\":\"because\"}}\n", "because"),
            ("\"serving\"\n", "says Serving"),
        ];
        for (answer, expected) in table {
            let failed = asked(answer).err().unwrap_or_default();
            assert!(failed.contains(expected) && failed.is_empty() == expected.is_empty(), "{answer}: {failed}");
        }
    }

    #[test]
    fn counters_are_promised_to_who_understands_them() {
        let layout = handover::layout();
        let table = [
            (FORMAT, layout, Some(Word::HandOver), Some(true)),
            (FORMAT, layout, None, Some(false)),
            (FORMAT, layout, Some(Word::Serving), None),
            (FORMAT + 1, layout, Some(Word::HandOver), Some(false)),
            (FORMAT, layout ^ 1, Some(Word::HandOver), Some(false)),
        ];
        for (format, layout, word, expected) in table {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (mut ours, mut theirs) = (Channel::new(ours), Channel::new(theirs));
            let case = format!("{format} {layout} {word:?}");
            if let Some(word) = word {
                theirs.say(&word).unwrap();
            }
            theirs.stream().shutdown(Shutdown::Write).unwrap();
            assert_eq!(promise(&mut ours, format, layout).ok(), expected, "{case}");
        }
    }
}
