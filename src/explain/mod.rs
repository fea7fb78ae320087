//! What becomes of a request, and why: `tollgate explain`.
//!
//! The request is [rehearsed](crate::proxy::rehearse) on the gateway itself; nothing here decides anything. What is told
//! beside the outcome comes from the compiled configuration (`routes`, `caller`, `limits`) and from comparing what
//! the client sends with what the service gets (`parameters`), so that the running gateway pays nothing for it.
//! [`request`] makes the request from what a user says, `text` and `json` show the result.
//!
//! Whoever calls may look into the store (`stored`) and fetch published keys ([`published`]) before.
//!
//! Invariant: what is shown holds no credential. [`Explanation`] is masked as it is made; the bare messages are in
//! [`Explanation::performance`] alone, which nothing here prints.

mod body;
mod caller;
mod conditions;
mod json;
mod limits;
mod parameters;
pub mod published;
pub mod request;
mod routes;
mod secrets;
mod stored;
mod text;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::gateway::Gateway;
use crate::proxy::rehearse::{Message, Part, Performance, Refused, Rehearsal};
use crate::telemetry::Telemetry;

pub use conditions::Asked;
pub use limits::Applied;
pub use parameters::{Fate, Parameter};
pub use routes::Other;
pub use stored::StoredKeys;

use secrets::Secrets;

/// Explains requests, one after the other; limits count over all of them.
pub struct Explainer {
    rehearsal: Rehearsal,
    runtime: Runtime,
    /// What is not known of the store's keys.
    unknown: Option<String>,
    /// Which published keys are not known, and why.
    unfetched: Vec<String>,
}

/// What becomes of a request.
pub struct Explanation {
    /// The start line that the client sends.
    pub request: String,
    /// The client's address, seen through trusted proxies.
    pub client: String,
    /// The route, as it is found.
    pub route: Option<Chosen>,
    /// Routes that nearly match.
    pub others: Vec<Other>,
    /// Who calls, and how that is known.
    pub caller: Option<String>,
    /// What could not be taken into account.
    pub note: Option<String>,
    /// What the route asks of addresses and callers, as far as it was asked.
    pub conditions: Vec<Asked>,
    /// The limits that count this request.
    pub limits: Vec<Applied>,
    /// What becomes of each parameter.
    pub parameters: Vec<Parameter>,
    /// How it ends.
    pub outcome: Outcome,
    /// What was sent and received, with credentials.
    pub performance: Performance,
}

/// The route of a request.
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// Methods, host and path as written.
    pub written: String,
    /// Why it matches.
    pub reasons: Vec<String>,
    /// The service behind it.
    pub service: String,
    /// Whether its contract only observes.
    pub observes: bool,
    /// Whether it takes WebSockets, and nothing else.
    pub websocket: bool,
}

/// How a request ends, with credentials masked.
pub enum Outcome {
    /// The service gets this.
    Forwarded(Message),
    /// The gateway answers by itself, without refusing anything.
    Answered(Message),
    /// The gateway refuses. Nothing is answered where HTTP itself is too broken for it.
    Refused {
        /// Where and why; `None` when the gateway could not read it as HTTP.
        refused: Option<Refused>,
        /// What the client gets.
        answer: Option<Message>,
        /// What an operator is told besides.
        cause: Option<String>,
    },
}

impl Explainer {
    /// Sets the gateway up that is to be explained; `listeners` are those of its configuration, `keys` those of its
    /// store.
    ///
    /// # Errors
    /// The machine does not give what a rehearsal needs.
    pub fn new(
        gateway: Gateway,
        telemetry: Arc<Telemetry>,
        listeners: &[SocketAddr],
        keys: StoredKeys,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let (keys, unknown) = keys.into_parts();
        let rehearsal = Rehearsal::begin(gateway, telemetry, listeners, keys)?;
        drop(entered);
        Ok(Self { rehearsal, runtime, unknown, unfetched: Vec::new() })
    }

    /// Has it said, where it matters, that these published key sets could not be fetched.
    pub fn without_keys(&mut self, why: Vec<String>) {
        self.unfetched = why;
    }

    /// The generation that is explained.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.rehearsal.gateway()
    }

    /// Tries a request out and says what becomes of it.
    pub fn explain(&mut self, part: &Part) -> Explanation {
        let performance = self.runtime.block_on(self.rehearsal.play(part));
        let mut explanation = Explanation::of(&self.gateway(), part, performance);
        let found = &explanation.performance.found;
        let published = published::note(&self.unfetched, found);
        explanation.note = published.or_else(|| stored::note(self.unknown.as_deref(), part, found));
        explanation
    }
}

impl Explanation {
    fn of(gateway: &Gateway, part: &Part, performance: Performance) -> Self {
        let secrets = Secrets::of(gateway);
        let blank = Message { start: String::new(), fields: Vec::new(), body: Vec::new() };
        let sent = Message::request(&part.bytes).unwrap_or(blank);
        let found = &performance.found;
        let asked = routes::Asked::of(&sent);
        let chosen = found.route.as_deref();
        let outcome = outcome(&performance, &secrets);
        let goes = match &outcome {
            Outcome::Forwarded(_) => performance.service.as_ref(),
            Outcome::Answered(_) | Outcome::Refused { .. } => None,
        };
        Self {
            request: secrets.masked(&sent).start,
            client: found.client.unwrap_or(part.peer).to_string(),
            route: chosen.map(|route| routes::chosen(route, &asked)),
            others: routes::others(gateway, chosen, &asked),
            caller: chosen.and_then(|route| caller::described(route, part, &sent, found)),
            conditions: chosen.map(|route| conditions::asked(route, found)).unwrap_or_default(),
            note: None,
            limits: limits::applied(found),
            parameters: chosen.map(|route| parameters::all(route, &sent, goes, found, &secrets)).unwrap_or_default(),
            outcome,
            performance,
        }
    }

    /// Whether the request gets through, or is answered without a complaint.
    pub fn is_admitted(&self) -> bool {
        matches!(self.outcome, Outcome::Forwarded(_) | Outcome::Answered(_))
    }
}

fn outcome(performance: &Performance, secrets: &Secrets) -> Outcome {
    let (found, masked) = (&performance.found, |message: &Message| secrets.masked(message));
    let answer = performance.answer.as_ref().map(masked);
    match (&found.refused, &performance.service, answer) {
        (None, Some(service), _) => Outcome::Forwarded(masked(service)),
        (None, None, Some(answer)) if answer.status() < 400 => Outcome::Answered(answer),
        (refused, _, answer) => Outcome::Refused { refused: refused.clone(), answer, cause: found.cause.clone() },
    }
}
