//! Sends finished spans to the collector.
//!
//! One thread for the whole life of the process, asleep while there are none. It lets spans gather for
//! `traces.interval` or to a full batch and sends them by what the current generation says, in one request at a time. A
//! collector that is busy or away is tried again, later each time and not before it wants to be; what is offered meanwhile
//! waits in the queue, within its bound. A batch that was tried [`ATTEMPTS`] times is given up. At the end of the process
//! what waits is sent once more, within [`FAREWELL`].

mod send;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::gateway::traces::Export;
use crate::proxy::State;
use crate::telemetry::otlp;
use crate::telemetry::spans::{DropReason, Span};

use send::{Outcome, send};

/// How often one batch is sent.
const ATTEMPTS: u32 = 5;

/// How long after a failed attempt the next one begins; twice as long after each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest that a collector can make the gateway wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How long the end of the process waits for the last spans.
const FAREWELL: Duration = Duration::from_secs(3);

/// Longest words of a collector in the log, in bytes.
const MAX_WORDS: usize = 200;

/// The thread that sends, seen from the rest of the process.
pub struct Exporter {
    state: Arc<State>,
    thread: Thread,
    leaving: Arc<AtomicBool>,
    /// Closed by the thread at its end.
    ended: Receiver<()>,
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub fn start(state: &Arc<State>) -> io::Result<Self> {
        let leaving = Arc::new(AtomicBool::new(false));
        let (ends, ended) = sync_channel::<()>(1);
        let sender = Sender {
            state: Arc::clone(state),
            leaving: Arc::clone(&leaving),
            export: None,
            gathered: VecDeque::new(),
            reached: Reached::Unknown,
        };
        let thread = thread::Builder::new().name("traces".to_owned()).spawn(move || {
            sender.run();
            drop(ends);
        })?;
        let thread = thread.thread().clone();
        state.spans.wakes(thread.clone());
        Ok(Self { state: Arc::clone(state), thread, leaving, ended })
    }

    /// Sends what waits and ends the thread. What cannot be sent in time is dropped and counted.
    pub fn finish(self) {
        self.leaving.store(true, Ordering::Release);
        self.thread.unpark();
        // Either it is over, or time is.
        let _ = self.ended.recv_timeout(FAREWELL);
        let left = self.state.spans.waiting();
        if left > 0 {
            self.state.spans.metrics.dropped(DropReason::Leaving, left);
            warn!("traces: {left} spans could not be sent before the process left");
        }
    }
}

/// The thread itself.
struct Sender {
    state: Arc<State>,
    leaving: Arc<AtomicBool>,
    /// By which the last batch was sent: a generation without traces leaves spans behind.
    export: Option<Arc<Export>>,
    /// What is taken out of the queue and not sent yet.
    gathered: VecDeque<Span>,
    reached: Reached,
}

/// Whether the collector was reached last; the log tells when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Unknown,
    Yes,
    No,
}

impl Sender {
    fn run(mut self) {
        while !self.is_leaving() {
            if self.state.spans.waiting() == 0 {
                // Woken by the first span, and by the end.
                thread::park();
                continue;
            }
            let Some(export) = self.current() else {
                self.give_up();
                continue;
            };
            self.gather(&export);
            self.send_batch(&export);
        }
        while self.state.spans.waiting() > 0
            && let Some(export) = self.current()
        {
            self.send_batch(&export);
        }
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// By what spans are sent now.
    fn current(&mut self) -> Option<Arc<Export>> {
        let gateway = self.state.gateway.load();
        if let Some(traces) = &gateway.traces {
            self.export = Some(Arc::clone(&traces.export));
        }
        self.export.clone()
    }

    /// Spans of a generation that was replaced by one without traces, before it was seen here.
    fn give_up(&mut self) {
        self.state.spans.take(&mut self.gathered, usize::MAX);
        let count = self.gathered.drain(..).count();
        self.state.spans.metrics.dropped(DropReason::Unreachable, count);
        self.state.spans.settled(count);
    }

    /// Lets spans come together, until there is a batch of them or the first one has waited long enough.
    fn gather(&mut self, export: &Export) {
        let until = Instant::now() + export.interval;
        while self.state.spans.waiting() < export.batch && self.rests(until) {}
    }

    /// Sleeps until then, or until something wakes it; `false` when it is time or the process leaves.
    fn rests(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || self.is_leaving() {
            return false;
        }
        thread::park_timeout(left);
        true
    }

    fn send_batch(&mut self, export: &Export) {
        self.state.spans.take(&mut self.gathered, export.batch);
        let count = self.gathered.len().min(export.batch);
        if count == 0 {
            // Counted already, but not there yet.
            return;
        }
        let resource = export.resource.iter().map(|(key, value)| (&**key, &**value));
        let body = otlp::request(resource, self.gathered.iter().take(count));
        self.deliver(export, &body, count);
        self.gathered.drain(..count);
        self.state.spans.settled(count);
    }

    /// Sends a batch until it is taken or given up.
    fn deliver(&mut self, export: &Export, body: &[u8], count: usize) {
        let metrics = self.state.spans.metrics.clone();
        let mut wait = FIRST_WAIT;
        for _ in 0..ATTEMPTS {
            let last = self.is_leaving();
            let (why, after) = match send(export, body) {
                Outcome::Taken(partial) => {
                    let rejected = partial.as_ref().map_or(0, |partial| partial.rejected.min(count));
                    metrics.exported(count - rejected);
                    metrics.dropped(DropReason::Refused, rejected);
                    let trouble = partial.filter(|_| rejected > 0);
                    self.reached(trouble.map(|partial| format!("it rejects {rejected} spans: {}", partial.message)));
                    return;
                }
                Outcome::Refused(why) => {
                    metrics.dropped(DropReason::Refused, count);
                    self.reached(Some(why));
                    return;
                }
                Outcome::Later(why, after) => (why, after),
            };
            self.reached(Some(why));
            if last {
                metrics.dropped(DropReason::Leaving, count);
                return;
            }
            let after = after.unwrap_or(wait).min(LONGEST_WAIT);
            // Gateways that lost their collector together do not come back together.
            let until = Instant::now() + after + jitter(after);
            while self.rests(until) {}
            wait *= 2;
        }
        metrics.dropped(DropReason::Unreachable, count);
    }

    /// Notes how the collector is, and says so when that is new.
    fn reached(&mut self, trouble: Option<String>) {
        let now = if trouble.is_some() { Reached::No } else { Reached::Yes };
        match trouble {
            Some(mut why) if self.reached != Reached::No => {
                why.truncate(why.floor_char_boundary(MAX_WORDS));
                let why: String = why.chars().filter(|char| !char.is_control()).collect();
                warn!("traces cannot be sent: {why}");
            }
            None if self.reached == Reached::No => info!("traces are sent again"),
            _ => {}
        }
        self.reached = now;
    }
}

/// Up to a quarter of a time.
fn jitter(of: Duration) -> Duration {
    of.mul_f64(fastrand::f64() / 4.0)
}
