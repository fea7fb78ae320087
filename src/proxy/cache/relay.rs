//! What becomes of a reply that comes: it goes to the client, into the store, or both.
//!
//! pingora writes a reply to the session of the request that asked for it. Where a reply may be stored, or where what
//! is stored may be the answer, that session is [substituted](super::super::body::swap_in), and asks a [`Relay`]. As
//! long as nothing is decided, everything passes. Once a reply is stored, or an older one is confirmed, the client gets
//! what is stored, as any other client does; what comes goes into the store alone. So a client that reads slowly or
//! leaves does not hold up those who wait for the same.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use pingora::protocols::http::HttpTask;

use super::super::State;
use super::fill::{Leader, Outcome};
use super::key::KeyBytes;
use super::serve::Answer;
use super::store::Room;
use super::stored::Stored;

/// What becomes of the reply of one request.
#[derive(Default)]
pub struct Relay(Mutex<Course>);

#[derive(Default)]
struct Course {
    client: Client,
    keeping: Option<Keeping>,
}

/// What the client gets.
#[derive(Default)]
enum Client {
    /// What comes.
    #[default]
    Reply,
    /// This instead; there may be no client.
    Instead(Option<Box<Answer>>),
    /// It has it, or somebody else writes it.
    Served,
}

/// A reply on its way into the store.
pub struct Keeping {
    /// Where the store is.
    pub state: Arc<State>,
    /// The reply.
    pub stored: Arc<Stored>,
    /// Those who wait for it.
    pub leader: Option<Leader>,
    /// The key of its requests.
    pub primary: KeyBytes,
    /// What it takes until it is whole.
    pub room: Room,
    /// The largest that is stored, in bytes.
    pub most: u64,
    /// How many purges there were when it was asked for.
    pub purges: u64,
    /// Where its bytes come from.
    pub source: Source,
}

/// Where the bytes of a reply come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The service.
    Service,
    /// The check of the reply, which holds it until it is whole.
    Check,
}

/// What the session does with what has come.
pub enum Next {
    /// Writes it.
    Write(Vec<HttpTask>),
    /// Writes this instead.
    Answer {
        /// What comes before any answer.
        before: Vec<HttpTask>,
        /// The answer.
        answer: Box<Answer>,
    },
    /// Nothing.
    Nothing,
}

impl Relay {
    /// From now on the client gets this. `None`: there is none.
    pub fn answer(&self, answer: Option<Answer>) {
        self.0.lock().client = Client::Instead(answer.map(Box::new));
    }

    /// What comes goes into the store.
    pub fn keep(&self, keeping: Keeping) {
        if keeping.source == Source::Service {
            keeping.publish();
        }
        self.0.lock().keeping = Some(keeping);
    }

    /// Whether the request goes on without its client.
    pub fn goes_on_alone(&self) -> bool {
        let course = self.0.lock();
        course.keeping.is_some() || !matches!(course.client, Client::Reply)
    }

    /// A piece has come from the service.
    pub fn came(&self, piece: &Bytes) {
        let mut course = self.0.lock();
        if let Some(keeping) = course.keeping.as_mut().filter(|keeping| keeping.source == Source::Service) {
            keeping.take(piece.clone());
        }
    }

    /// What to do with parts of the reply, and whether it is over.
    pub fn next(&self, parts: Vec<HttpTask>) -> pingora::Result<(Next, bool)> {
        let over = parts.iter().any(HttpTask::is_end);
        let mut course = self.0.lock();
        if matches!(course.client, Client::Reply) {
            return Ok((Next::Write(parts), over));
        }
        let is_checked = course.keeping.as_ref().is_some_and(|keeping| keeping.source == Source::Check);
        if is_checked && !course.is_as_expected(&parts) {
            // What is written instead of a reply that does not fit is for this client alone.
            course.keeping = None;
            course.client = Client::Reply;
            return Ok((Next::Write(parts), over));
        }
        let mut before = Vec::new();
        for part in parts {
            match part {
                HttpTask::Header(header, _) if header.status.is_informational() => {
                    before.push(HttpTask::Header(header, false));
                }
                HttpTask::Failed(error) => {
                    course.keeping = None;
                    return Err(error);
                }
                HttpTask::Body(Some(piece), _) if is_checked => {
                    course.keeping.iter_mut().for_each(|keeping| {
                        keeping.publish();
                        keeping.take(piece.clone());
                    });
                }
                _ => {}
            }
        }
        if over && let Some(keeping) = course.keeping.take() {
            keeping.finish();
        }
        let next = match std::mem::replace(&mut course.client, Client::Served) {
            Client::Instead(Some(answer)) => Next::Answer { before, answer },
            Client::Reply | Client::Instead(None) | Client::Served => Next::Nothing,
        };
        Ok((next, over))
    }

    /// What is being stored, where those who read it set the pace.
    pub fn pace(&self) -> Option<Arc<Stored>> {
        self.0.lock().keeping.as_ref().map(|keeping| Arc::clone(&keeping.stored))
    }
}

impl Course {
    /// Whether a checked reply is the one that is to be stored.
    fn is_as_expected(&self, parts: &[HttpTask]) -> bool {
        let status = parts.iter().find_map(|part| match part {
            HttpTask::Header(header, _) => Some(header.status),
            _ => None,
        });
        status.is_none_or(|status| self.keeping.as_ref().is_some_and(|keeping| keeping.stored.status == status))
    }
}

impl Keeping {
    /// Those who wait can read it from now on.
    fn publish(&self) {
        if let Some(leader) = &self.leader {
            self.state.cache.set_apart(&self.primary, &self.stored.vary);
            leader.tell(Outcome::Stored(Arc::clone(&self.stored)));
        }
    }

    fn take(&mut self, piece: Bytes) {
        let length = self.stored.body.append(piece);
        if length > self.most || !self.room.grow_to(length) {
            self.stored.body.let_go();
            // Nobody else finds it any more.
            if let Some(leader) = self.leader.take() {
                leader.tell(Outcome::Apart);
            }
        }
    }

    /// It is whole.
    fn finish(self) {
        let store = &self.state.cache;
        if self.stored.body.finish() && store.purges() == self.purges {
            store.insert(&self.primary, &self.stored);
        }
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.stored.body.break_off();
    }
}

/// What is stored and confirmed by its service is as good as new.
pub fn confirmed(state: &State, primary: &[u8], stored: &Arc<Stored>, leader: Option<Leader>, purges: u64) {
    if state.cache.purges() == purges {
        state.cache.insert(primary, stored);
    }
    if let Some(leader) = leader {
        leader.tell(Outcome::Stored(Arc::clone(stored)));
    }
}
