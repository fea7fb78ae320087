//! A request's place in its trace.
//!
//! Every request has one where traces are configured: an id, the id of its own span and whether it is recorded, within
//! 32 bytes of the exchange. The ids of what it consists of follow from these ([`SpanId::child`]). Only a request that is
//! recorded notes when its steps began and ended. Its spans are made when it is over ([`spans`]), from what the exchange
//! knows anyway, so a request that turns out to fail can be told of although nothing was noted.
//!
//! Who may continue a trace decides what is recorded, so by default only trusted proxies do. The trace of anybody else
//! begins here, and its first span has a link to the one that was claimed.

mod spans;

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use crate::gateway::Target;
use crate::gateway::traces::{Parent, Traces};
use crate::policy::trace_context::{SpanId, TRACEPARENT, TRACESTATE, TraceId, Traceparent, tracestate};

use super::client::random_128;
use super::exchange::{Exchange, Peer};

pub(super) use spans::report;

/// A request in its trace.
pub struct Trace {
    /// The trace.
    pub id: TraceId,
    /// The request.
    span: SpanId,
    /// What happened so far; `None`: it is not recorded.
    notes: Option<Box<Notes>>,
}

/// What a request that is recorded remembers beyond what every exchange does. Times are since its start.
#[derive(Default)]
struct Notes {
    steps: SmallVec<[(Step, Duration, Duration); 3]>,
    failed: SmallVec<[Attempt; 1]>,
}

/// A step of the gateway's own that may take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Who calls: a key, a token, a password, an auth service.
    Authenticate,
    /// Limits, where gateways share them.
    Limit,
    /// A body is read and checked.
    Body,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Limit => "limit",
            Self::Body => "check body",
        }
    }
}

/// An attempt to reach a service that came to nothing.
struct Attempt {
    target: Arc<Target>,
    began: Duration,
    ended: Duration,
    fault: Fault,
}

/// Why an attempt came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No connection, or none that lasted.
    Error(&'static str),
    /// The reply had this status, and the request is sent again for it.
    Status(u16),
}

/// The numbers of steps among the children of a request's span; attempts begin with 1.
const STEPS: u32 = 1 << 16;

impl Trace {
    /// Continues a trace or begins one.
    pub fn begin(traces: &Traces, headers: &HeaderMap, peer: Peer) -> Self {
        let span = SpanId::of(random_128() as u64);
        let parent = continued(traces, headers, peer);
        let id = parent.map_or_else(|| TraceId::of(random_128()), |parent| parent.trace);
        let recorded = parent.map_or_else(|| traces.share.takes(id), |parent| parent.sampled);
        Self { id, span, notes: recorded.then(Box::default) }
    }

    fn is_recorded(&self) -> bool {
        self.notes.is_some()
    }

    fn at(&self, span: SpanId) -> Traceparent {
        Traceparent { trace: self.id, span, sampled: self.is_recorded() }
    }

    /// What a service is told at this attempt to reach it.
    fn of_attempt(&self, number: u32) -> Traceparent {
        self.at(self.span.child(number))
    }

    /// What somebody is told who is asked in this step.
    pub fn of_step(&self, step: Step) -> Traceparent {
        self.at(self.span.child(STEPS + step as u32))
    }
}

/// What a trace is continued from.
fn continued(traces: &Traces, headers: &HeaderMap, peer: Peer) -> Option<Traceparent> {
    let believed = match traces.parent {
        Parent::Trusted => peer == Peer::Trusted,
        Parent::Always => true,
        Parent::Never => false,
    };
    believed.then(|| Traceparent::of(headers)).flatten()
}

/// The `tracestate` of the trace that is continued.
fn state(traces: &Traces, headers: &HeaderMap, peer: Peer) -> Option<HeaderValue> {
    // First, since most requests have none, and the trace's own header was read before.
    let state = tracestate(headers)?;
    continued(traces, headers, peer).map(|_| state)
}

/// Tells a service which span asks it, in place of what the client said. Where there are no traces its word passes.
pub(super) fn tell_service(headers: &mut HeaderMap, exchange: &Exchange, said: Option<HeaderValue>) {
    let Some(trace) = &exchange.trace else { return };
    headers.insert(TRACEPARENT, trace.of_attempt(exchange.attempts.count).value());
    match said {
        Some(state) => headers.insert(TRACESTATE, state),
        None => headers.remove(TRACESTATE),
    };
}

/// The `tracestate` that a request's service gets; to be asked before the client's fields are taken out.
pub(super) fn state_for_service(headers: &HeaderMap, exchange: &Exchange) -> Option<HeaderValue> {
    let traces = exchange.gateway.traces.as_ref()?;
    state(traces, headers, exchange.peer)
}

impl Exchange {
    /// The time, where a step that begins now is noted.
    pub(super) fn step_begins(&self) -> Option<Duration> {
        self.trace.as_ref().filter(|trace| trace.is_recorded()).map(|_| self.started.elapsed())
    }

    /// Notes a step that is over.
    pub(super) fn step_over(&mut self, step: Step, began: Option<Duration>) {
        let Some(began) = began else { return };
        let now = self.started.elapsed();
        if let Some(notes) = self.notes() {
            notes.steps.push((step, began, now));
        }
    }

    /// Notes that the present attempt came to nothing.
    pub(super) fn attempt_failed(&mut self, fault: Fault) {
        let (now, began, target) = (self.started.elapsed(), self.service.attempted, self.target.clone());
        if let (Some(began), Some(target), Some(notes)) = (began, target, self.notes()) {
            notes.failed.push(Attempt { target, began, ended: now, fault });
        }
    }

    fn notes(&mut self) -> Option<&mut Notes> {
        self.trace.as_mut()?.notes.as_deref_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::traces::{Compression, Errors, Export};
    use crate::policy::trace_context::Share;

    fn traces(parent: Parent, parts: u32) -> Traces {
        let export = Export {
            url: "".into(),
            headers: Vec::new(),
            compression: Compression::None,
            timeout: Duration::ZERO,
            interval: Duration::ZERO,
            batch: 1,
            resource: Vec::new(),
        };
        Traces { share: Share::of_million(parts), parent, errors: Errors::Always, queue: 1, export: Arc::new(export) }
    }

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn who_is_believed_decides_and_otherwise_the_share_does() {
        use Parent::{Always, Never, Trusted};
        // (from whom traces are continued, who asks, its flags, the share, whether its id is kept, whether it is recorded)
        for (parent, peer, flags, parts, kept, recorded) in [
            (Trusted, Peer::Trusted, "01", 0, true, true),
            (Trusted, Peer::Trusted, "00", 1_000_000, true, false),
            (Trusted, Peer::Stranger, "01", 0, false, false),
            (Trusted, Peer::Stranger, "00", 1_000_000, false, true),
            (Always, Peer::Stranger, "01", 0, true, true),
            (Always, Peer::Stranger, "00", 1_000_000, true, false),
            (Never, Peer::Trusted, "01", 0, false, false),
            (Never, Peer::Trusted, "00", 1_000_000, false, true),
        ] {
            let said = format!("00-{ID}-b7ad6b7169203331-{flags}").parse().unwrap();
            let headers = [(TRACEPARENT, said)].into_iter().collect();
            let trace = Trace::begin(&traces(parent, parts), &headers, peer);
            assert_eq!((trace.id.text() == ID.as_bytes(), trace.is_recorded()), (kept, recorded), "{parent:?} {flags}");
        }
    }

    #[test]
    fn a_tenth_is_a_tenth() {
        let traces = traces(Parent::Trusted, 100_000);
        let begin = || Trace::begin(&traces, &HeaderMap::new(), Peer::Stranger);
        let recorded = (0..100_000).filter(|_| begin().is_recorded()).count();
        // Five standard deviations of 95.
        assert!((9_525..=10_475).contains(&recorded), "{recorded}");
    }

    #[test]
    fn a_request_carries_no_more_than_32_bytes_for_its_trace() {
        assert!(size_of::<Option<Trace>>() <= 32, "{}", size_of::<Option<Trace>>());
    }
}
