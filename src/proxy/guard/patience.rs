//! How long a service may take, watched beside everything else that a request waits for.
//!
//! pingora's own timeout is for one read: a service that sends a byte now and then never misses it. While pingora waits
//! for a service it also reads the client's connection, to hear that the client leaves; so that read is where an absolute
//! deadline can be kept: the guard lets it fail when the [`Patience`] of its connection has run out, and `attempts` makes of
//! that failure what it is, a service that took too long.
//!
//! A client that has not sent all of its body keeps the service waiting, not the other way round: until then only the end
//! of all of it holds. A WebSocket has deadlines of its own and needs no patience.
//!
//! Not watched: the time in which a client's connection is not read. That is while a reply waits for a client that does
//! not take it, while a body waits for a service that does not take it (both have timeouts of their own), and after a
//! client has sent its next request ahead; then pingora's timeout for one read is what remains.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The deadline of one connection, moved by its requests.
#[derive(Debug)]
pub struct Patience {
    /// When the connection began; the rest is in microseconds since then.
    begun: Instant,
    /// 0: no deadline.
    due: AtomicU64,
    /// How long the present silence may be.
    span: AtomicU64,
    /// When all of it must be over, whatever is said.
    end: AtomicU64,
    ran_out: AtomicBool,
}

impl Patience {
    /// Without a deadline.
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            due: AtomicU64::new(0),
            span: AtomicU64::new(0),
            end: AtomicU64::new(0),
            ran_out: AtomicBool::new(false),
        }
    }

    /// Waits so long from now, and not beyond `end`.
    pub fn wait(&self, span: Duration, end: Option<Instant>) {
        self.span.store(micros(span), Ordering::Relaxed);
        let end = end.map_or(u64::MAX, |end| micros(end.saturating_duration_since(self.begun)));
        self.end.store(end, Ordering::Relaxed);
        self.again();
    }

    /// Begins to wait anew where there is a deadline: the client has kept everybody waiting.
    pub fn restart(&self) {
        if self.due.load(Ordering::Relaxed) > 0 {
            self.again();
        }
    }

    fn again(&self) {
        let due = micros(self.begun.elapsed()).saturating_add(self.span.load(Ordering::Relaxed));
        self.due.store(due.min(self.end.load(Ordering::Relaxed)).max(1), Ordering::Relaxed);
    }

    /// There is nothing to wait for.
    pub fn end(&self) {
        self.due.store(0, Ordering::Relaxed);
    }

    /// When all of it must be over, where there is a deadline.
    pub fn last(&self) -> Option<Instant> {
        let end = self.end.load(Ordering::Relaxed);
        (self.due.load(Ordering::Relaxed) > 0 && end < u64::MAX).then(|| self.begun + Duration::from_micros(end))
    }

    /// Until when it lasts.
    pub fn due(&self) -> Option<Instant> {
        let due = self.due.load(Ordering::Relaxed);
        (due > 0).then(|| self.begun + Duration::from_micros(due))
    }

    /// The deadline is missed.
    pub fn run_out(&self) {
        self.end();
        self.ran_out.store(true, Ordering::Relaxed);
    }

    /// Whether the deadline was missed since this was asked last.
    pub fn take_ran_out(&self) -> bool {
        self.ran_out.swap(false, Ordering::Relaxed)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_moved_ended_and_missed_once() {
        let patience = Patience::new();
        assert_eq!(patience.due(), None);
        patience.restart();
        assert_eq!((patience.due(), patience.last()), (None, None), "there is none to begin anew");
        let (before, span) = (Instant::now(), Duration::from_secs(5));
        patience.wait(span, None);
        let first = patience.due().unwrap();
        assert!(first >= before + span - Duration::from_millis(1) && first <= Instant::now() + span);
        patience.restart();
        assert!(patience.due().unwrap() >= first);
        let end = before + Duration::from_secs(1);
        assert_eq!(patience.last(), None, "all of it may take any time");
        patience.wait(span, Some(end));
        assert_eq!(patience.last(), patience.due());
        assert!(patience.due().unwrap() <= end, "the end of all of it comes first");
        patience.run_out();
        assert_eq!((patience.due(), patience.take_ran_out(), patience.take_ran_out()), (None, true, false));
        assert_eq!(patience.last(), None);
    }
}
