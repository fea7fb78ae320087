//! The next process, once it has the counters of limits: who asks it, and what holds when it does not answer.
//!
//! Questions and answers go through channels; what carries them to the other process is none of this module's business
//! (`server::upgrade`). An answer that grants is charged to the counters of this process as it comes (see
//! [`handover`](crate::policy::limit::handover)), so whoever no longer waits for it gives its places back at once.
//!
//! Invariant: when a successor has ended, the counters are here again. So whoever gets no answer finds them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ahash::RandomState;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::policy::limit::handover::{Answer, Demands, Line, Page, Saying, Whose};
use crate::policy::limit::{Clock, Limiter, Permit};

/// How long a decision waits: while the counters are on their way, which takes milliseconds, or for a process that does
/// not answer. Afterwards all are made here again.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A process that decides instead of this one.
pub struct Successor {
    limiter: Arc<Limiter>,
    clock: Clock,
    /// `None` when it has ended.
    open: Mutex<Option<Open>>,
}

/// What only a successor has that has not ended.
struct Open {
    line: Line,
    questions: u64,
    waiting: HashMap<u64, Waiting, RandomState>,
}

struct Waiting {
    demands: Demands,
    whose: Whose,
    answered: oneshot::Sender<(Answer, Permit)>,
}

impl Successor {
    /// One that is about to get these counters, and where what is said to it can be read. `number` is another one for
    /// each successor of the process.
    #[must_use]
    pub fn new(limiter: Arc<Limiter>, clock: Clock, number: u64) -> (Arc<Self>, Receiver<Saying>) {
        let (out, said) = channel();
        let open = Open { line: Line::new(number, out), questions: 0, waiting: HashMap::default() };
        (Arc::new(Self { limiter, clock, open: Mutex::new(Some(open)) }), said)
    }

    /// Asks it, and waits for the answer. `None`: it has ended, and the counters are here again.
    pub async fn ask(&self, demands: Demands) -> Option<(Answer, Permit)> {
        let answer = self.put(demands, Whose::Own)?;
        let answered = timeout(PATIENCE, answer).await.ok().and_then(Result::ok);
        if answered.is_none() {
            self.end();
        }
        answered
    }

    /// Passes a question of the process before on, and keeps the thread until there is an answer. Without patience: the
    /// process before has it.
    pub fn pass_on(&self, demands: Demands) -> Option<(Answer, Permit)> {
        self.put(demands, Whose::Predecessors)?.blocking_recv().ok()
    }

    /// Leaves the decisions on a shard to it, and copies the counters; `None` when it has ended.
    pub fn hand_over(&self, shard: u32) -> Option<Page> {
        let open = self.open.lock();
        let line = &open.as_ref()?.line;
        Some(self.limiter.hand_over(shard, line, self.clock.epoch(), self.clock.now()))
    }

    /// Takes an answer of its.
    pub fn answered(&self, question: u64, answer: Answer) {
        let (waiting, asked) = {
            let mut open = self.open.lock();
            let Some(open) = open.as_mut() else { return };
            let Some(waiting) = open.waiting.remove(&question) else { return };
            (waiting, open.line.asked(question))
        };
        let permit = match answer.is_grant() {
            true => self.limiter.mirror(&waiting.demands, waiting.whose, asked, self.clock.now()),
            false => Permit::default(),
        };
        // Where nobody waits any longer, dropping the permit gives its places back.
        let _ = waiting.answered.send((answer, permit));
    }

    /// From now on decisions are made here, by all that is known here.
    pub fn end(&self) {
        let mut open = self.open.lock();
        if open.is_some() {
            self.limiter.take_back();
            // Whoever waits learns of it now.
            *open = None;
        }
    }

    /// Whether it has.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.open.lock().is_none()
    }

    fn put(&self, demands: Demands, whose: Whose) -> Option<oneshot::Receiver<(Answer, Permit)>> {
        let mut open = self.open.lock();
        let open = open.as_mut()?;
        let (answered, answer) = oneshot::channel();
        let id = open.questions;
        open.questions += 1;
        open.waiting.insert(id, Waiting { demands: demands.clone(), whose, answered });
        // Where nobody reads, somebody is about to end this.
        open.line.say(Saying::Question { id, demands });
        Some(answer)
    }
}
