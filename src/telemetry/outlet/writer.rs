//! The thread that writes what the buffers of an outlet hold.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::sink::{Hindrance, Unwritten};
use super::{Buffer, Notice, Shared, Sink};

/// How often at most one kind of trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Room for lines that is kept; a burst's is given back.
const KEPT_ROOM: usize = 256 * 1024;

/// The thread's own.
pub struct Writer {
    shared: Weak<Shared>,
    sink: Sink,
    /// Lines taken from a buffer and not written yet.
    held: Vec<u8>,
    /// The place has the beginning of the first of them already.
    begun: bool,
    failure: Option<Failure>,
    told_of_failure: Option<Instant>,
    told_of_lag: Option<Instant>,
    slow: u64,
}

/// A place fails, and everything goes to waste.
struct Failure {
    lost_before: u64,
    was_told: bool,
}

/// What a turn leaves.
#[derive(PartialEq)]
enum Turn {
    Done,
    Unfinished,
}

impl Writer {
    pub fn new(shared: Weak<Shared>, sink: Sink) -> Self {
        Self {
            shared,
            sink,
            held: Vec::new(),
            begun: false,
            failure: None,
            told_of_failure: None,
            told_of_lag: None,
            slow: 0,
        }
    }

    /// Writes until nobody has the outlet any more.
    pub fn run(mut self) {
        loop {
            // A wake-up in the meantime makes this return at once.
            thread::park();
            let Some(shared) = self.shared.upgrade() else { return };
            rest(&shared);
            while self.turn(&shared) == Turn::Unfinished {}
        }
    }

    /// Does what is asked, and writes everything that is there now.
    fn turn(&mut self, shared: &Shared) -> Turn {
        shared.hurried.store(false, Ordering::SeqCst);
        shared.pending.store(false, Ordering::SeqCst);
        let (sink, flushes) = {
            let mut requests = shared.requests.lock();
            (requests.sink.take(), requests.flushes)
        };
        if let Some(sink) = sink {
            self.replace(shared, sink);
        }
        let turn = self.write_out(shared);
        self.tell_of_lag(shared);
        if turn == Turn::Done {
            shared.requests.lock().flushed = flushes;
            shared.turned.notify_all();
        }
        turn
    }

    fn write_out(&mut self, shared: &Shared) -> Turn {
        if self.write_held(shared) == Turn::Unfinished {
            return Turn::Unfinished;
        }
        let buffers: Vec<Arc<Buffer>> = shared.buffers.lock().clone();
        for buffer in buffers {
            self.take(&buffer);
            if self.write_held(shared) == Turn::Unfinished {
                return Turn::Unfinished;
            }
        }
        Turn::Done
    }

    /// Takes the lines of a buffer, and leaves the room of those written before.
    fn take(&mut self, buffer: &Buffer) {
        let mut lines = buffer.0.lock();
        if self.held.is_empty() {
            std::mem::swap(&mut *lines, &mut self.held);
        } else {
            self.held.append(&mut lines);
        }
        lines.shrink_to(KEPT_ROOM);
    }

    fn write_held(&mut self, shared: &Shared) -> Turn {
        if self.held.is_empty() {
            return Turn::Done;
        }
        let (sink, held) = (&mut self.sink, &self.held);
        let mut lag = Lag { told: &mut self.told_of_lag, slow: &mut self.slow };
        let name = sink.name().to_owned();
        let outcome = sink.write(held, || {
            lag.tell(shared, &name);
            shared.requests.lock().sink.is_none()
        });
        let written = match &outcome {
            Ok(()) => held.len(),
            Err(Unwritten { written, .. }) => *written,
        };
        if let Some(last) = held[..written].last() {
            self.begun = *last != b'\n';
        }
        self.held.drain(..written);
        match outcome {
            Ok(()) => {
                self.recovered(shared);
                Turn::Done
            }
            Err(Unwritten { hindrance: Hindrance::Impatience, .. }) => Turn::Unfinished,
            Err(Unwritten { hindrance: Hindrance::Failure(error), .. }) => {
                self.failed(shared, &error);
                Turn::Done
            }
        }
    }

    /// Gives lines up, but for the rest of one that the place has begun: it is finished first when there is room again.
    fn failed(&mut self, shared: &Shared, error: &std::io::Error) {
        let begun = if self.begun { end_of_line(&self.held) } else { 0 };
        let lost_before = shared.failed.fetch_add(lines_in(&self.held[begun..]), Ordering::Relaxed);
        self.held.truncate(begun);
        if self.failure.is_none() {
            let was_told = is_due(&mut self.told_of_failure);
            if was_told {
                (shared.nature.notice)(Notice::Failing(self.sink.name(), error));
            }
            self.failure = Some(Failure { lost_before, was_told });
        }
    }

    fn recovered(&mut self, shared: &Shared) {
        if let Some(Failure { lost_before, was_told: true }) = self.failure.take() {
            let lost = shared.failed.load(Ordering::Relaxed) - lost_before;
            (shared.nature.notice)(Notice::Recovered(self.sink.name(), lost));
        }
    }

    /// Writes to another place from now on. It gets no half of a line.
    fn replace(&mut self, shared: &Shared, sink: Sink) {
        if std::mem::take(&mut self.begun) {
            let rest = end_of_line(&self.held);
            shared.failed.fetch_add(lines_in(&self.held[..rest]), Ordering::Relaxed);
            self.held.drain(..rest);
        }
        self.sink = sink;
        self.failure = None;
    }

    fn tell_of_lag(&mut self, shared: &Shared) {
        Lag { told: &mut self.told_of_lag, slow: &mut self.slow }.tell(shared, self.sink.name());
    }
}

/// What is known of lines that found their buffer full.
struct Lag<'w> {
    told: &'w mut Option<Instant>,
    slow: &'w mut u64,
}

impl Lag<'_> {
    fn tell(&mut self, shared: &Shared, place: &str) {
        let slow = shared.slow.load(Ordering::Relaxed);
        if std::mem::replace(self.slow, slow) < slow && is_due(self.told) {
            (shared.nature.notice)(Notice::Lagging(place));
        }
    }
}

/// Lets more lines come, unless somebody is in a hurry.
fn rest(shared: &Shared) {
    let until = Instant::now() + shared.nature.rest;
    while !shared.hurried.load(Ordering::SeqCst) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

/// Whether it was not told lately; then it is now.
fn is_due(told: &mut Option<Instant>) -> bool {
    let due = told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
    if due {
        *told = Some(Instant::now());
    }
    due
}

fn end_of_line(lines: &[u8]) -> usize {
    memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1)
}

fn lines_in(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}
