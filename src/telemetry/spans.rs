//! Finished spans on their way to a collector.
//!
//! Who has finished a request hands its spans to [`SpanQueue::offer`] and goes on: it never waits, and where too many
//! wait already they are dropped and counted. One thread takes them out again ([`SpanQueue::take`]). It is woken when the
//! first span comes and when a batch is full, not for each.
//!
//! A span holds only what is sent. Text in it that strangers choose is cut at [`MAX_TEXT`] by whoever makes it, with
//! [`bounded`], so the bound on spans is one on memory.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Thread;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec};

/// Longest text of a stranger in a span, in bytes.
pub const MAX_TEXT: usize = 256;

/// A part of a trace that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace.
    pub trace: [u8; 16],
    /// Its own name in the trace.
    pub id: [u8; 8],
    /// The span it is a part of.
    pub parent: Option<Parent>,
    /// A trace that it does not belong to but has to do with.
    pub link: Option<([u8; 16], [u8; 8])>,
    /// Whether its trace is recorded everywhere, or only this of it.
    pub sampled: bool,
    /// As passed on.
    pub tracestate: Box<str>,
    /// What was done.
    pub name: Cow<'static, str>,
    /// For whom.
    pub kind: Kind,
    /// When it began.
    pub began: SystemTime,
    /// When it was over.
    pub ended: SystemTime,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed.
    pub failed: bool,
}

/// The span that another is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its name.
    pub id: [u8; 8],
    /// Whether it was in another process.
    pub remote: bool,
}

/// The role of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request of a client.
    Server,
    /// A request to a service.
    Client,
    /// A step of the gateway's own.
    Internal,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

/// The beginning of a text that a stranger chose.
pub fn bounded(text: &[u8]) -> Value {
    let mut text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]).into_owned();
    // A byte that is no UTF-8 became three.
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    Value::Text(Cow::Owned(text))
}

/// Nanoseconds since 1970, as spans are exported.
pub(super) fn unix_nanos(at: SystemTime) -> u64 {
    u64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// Why spans are not exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Too many wait.
    Queue,
    /// The collector does not want them.
    Refused,
    /// The collector cannot be reached, or is busy for too long.
    Unreachable,
    /// The process leaves.
    Leaving,
}

impl DropReason {
    const ALL: [Self; 4] = [Self::Queue, Self::Refused, Self::Unreachable, Self::Leaving];

    /// The metric label.
    fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Leaving => "leaving",
        }
    }
}

/// What becomes of spans, counted.
#[derive(Debug, Clone)]
pub struct SpanMetrics {
    exported: IntCounter,
    dropped: [IntCounter; DropReason::ALL.len()],
}

impl SpanMetrics {
    pub(super) fn new(exported: IntCounter, dropped: &IntCounterVec) -> Self {
        Self { exported, dropped: DropReason::ALL.map(|reason| dropped.with_label_values(&[reason.label()])) }
    }

    /// Counts spans that a collector has taken.
    pub fn exported(&self, spans: usize) {
        self.exported.inc_by(spans as u64);
    }

    /// Counts spans that no collector will get.
    pub fn dropped(&self, reason: DropReason, spans: usize) {
        self.dropped[reason as usize].inc_by(spans as u64);
    }
}

/// The spans of a process that wait to be sent.
#[derive(Debug)]
pub struct SpanQueue {
    waiting: AtomicUsize,
    offered: Sender<Vec<Span>>,
    taken: Mutex<Receiver<Vec<Span>>>,
    exporter: OnceLock<Thread>,
    /// What becomes of them.
    pub metrics: SpanMetrics,
}

impl SpanQueue {
    /// An empty queue.
    pub fn new(metrics: SpanMetrics) -> Self {
        let (offered, taken) = channel();
        Self { waiting: AtomicUsize::new(0), offered, taken: Mutex::new(taken), exporter: OnceLock::new(), metrics }
    }

    /// Names the thread that takes spans out.
    pub fn wakes(&self, exporter: Thread) {
        // There is one exporter in a process.
        let _ = self.exporter.set(exporter);
    }

    /// Puts the spans of one request in, unless more than `most` would wait then. `batch` is how many are sent together.
    pub fn offer(&self, spans: Vec<Span>, most: usize, batch: usize) {
        let count = spans.len();
        let before = self.waiting.fetch_add(count, Ordering::Relaxed);
        if before + count > most || self.offered.send(spans).is_err() {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            self.metrics.dropped(DropReason::Queue, count);
            return;
        }
        if (before == 0 || (before < batch && before + count >= batch))
            && let Some(exporter) = self.exporter.get()
        {
            exporter.unpark();
        }
    }

    /// How many spans were offered and have not come to their end.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes out whole requests until there are `most` spans or more in `into`. They count as waiting until they are
    /// settled.
    pub fn take(&self, into: &mut VecDeque<Span>, most: usize) {
        let taken = self.taken.lock();
        while into.len() < most {
            let Ok(spans) = taken.try_recv() else { return };
            into.extend(spans);
        }
    }

    /// Makes room for as many as were sent or given up.
    pub fn settled(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Telemetry;
    use super::*;

    fn spans(count: usize) -> Vec<Span> {
        let span = Span {
            trace: [1; 16],
            id: [1; 8],
            parent: None,
            link: None,
            sampled: true,
            tracestate: "".into(),
            name: "GET".into(),
            kind: Kind::Server,
            began: UNIX_EPOCH,
            ended: UNIX_EPOCH,
            attributes: Vec::new(),
            failed: false,
        };
        vec![span; count]
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let telemetry = Telemetry::new("1", "abc");
        let queue = SpanQueue::new(telemetry.spans.clone());
        for count in [3, 4, 4, 3, 1] {
            queue.offer(spans(count), 10, 512);
        }
        assert_eq!(queue.waiting(), 10);
        let mut taken = VecDeque::new();
        queue.take(&mut taken, 5);
        assert_eq!((taken.len(), queue.waiting()), (7, 10), "requests stay whole");
        queue.take(&mut taken, 100);
        queue.settled(4);
        assert_eq!((taken.len(), queue.waiting()), (10, 6));
        let text = String::from_utf8(telemetry.render()).unwrap();
        assert!(text.contains(r#"tollgate_spans_dropped_total{reason="queue"} 5"#), "{text}");
    }

    #[test]
    fn no_thread_offers_past_the_bound() {
        let queue = SpanQueue::new(Telemetry::new("1", "abc").spans.clone());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| queue.offer(spans(3), 100, 512)));
            }
        });
        let mut taken = VecDeque::new();
        queue.take(&mut taken, usize::MAX);
        assert!((90..=100).contains(&taken.len()), "{}", taken.len());
        assert_eq!(queue.waiting(), taken.len());
    }

    #[test]
    fn the_text_of_a_stranger_is_cut() {
        for (text, length) in [("short".as_bytes().to_vec(), 5), (vec![b'a'; 300], 256), (vec![0xff; 300], 255)] {
            let Value::Text(cut) = bounded(&text) else { panic!("no text") };
            assert_eq!(cut.len(), length);
        }
        let Value::Text(cut) = bounded("é".repeat(200).as_bytes()) else { panic!("no text") };
        assert_eq!(cut, "é".repeat(128));
    }
}
