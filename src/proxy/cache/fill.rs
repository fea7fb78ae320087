//! One request to the service for many that want the same.
//!
//! The first request for something that is not stored leads: it goes to the service, and the others wait for what becomes
//! of it. As soon as the header of the reply is there, all of them go on at once: with the reply, where it is stored, or
//! each for itself, where it is not. A service that cannot be reached is not asked again by everyone who waited.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::policy::rejection::Rejection;

use super::key::Key;
use super::stored::Stored;

const SHARDS: usize = 64;

/// All requests that others wait for.
pub struct Fills {
    shards: Box<[Mutex<Shard>]>,
    hash: RandomState,
}

type Shard = HashMap<Key, watch::Receiver<Outcome>, RandomState>;

/// What becomes of a request that others wait for.
#[derive(Clone)]
pub enum Outcome {
    /// It is on its way.
    Awaited,
    /// Its reply is stored; its body may still be coming.
    Stored(Arc<Stored>),
    /// Its reply is for nobody else.
    Apart,
    /// Its service failed.
    Failed(Failure),
    /// It ended without one.
    Gone,
}

/// How a service failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It cannot be reached.
    Down,
    /// It takes too long.
    Timeout,
    /// What it replies is no reply.
    Reply,
}

impl Failure {
    /// Where a rejection tells of one.
    pub fn of(rejection: &Rejection) -> Option<Self> {
        match rejection {
            Rejection::ServiceDown => Some(Self::Down),
            Rejection::ServiceTimeout => Some(Self::Timeout),
            Rejection::ServiceReply => Some(Self::Reply),
            _ => None,
        }
    }

    /// What a client is told.
    pub fn rejection(self) -> Rejection {
        match self {
            Self::Down => Rejection::ServiceDown,
            Self::Timeout => Rejection::ServiceTimeout,
            Self::Reply => Rejection::ServiceReply,
        }
    }
}

/// A request's part.
pub enum Role {
    /// It goes to the service.
    Lead(Leader),
    /// It waits for the one that does.
    Follow(watch::Receiver<Outcome>),
}

/// The one that goes to the service. Whoever waits hears of it when it is dropped.
pub struct Leader {
    fills: Arc<Fills>,
    /// What it is for.
    pub key: Key,
    outcome: watch::Sender<Outcome>,
}

impl Default for Fills {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hash: RandomState::new() }
    }
}

impl Fills {
    /// Takes the lead, or finds the one who has it.
    pub fn enter(self: &Arc<Self>, key: &[u8]) -> Role {
        let mut shard = self.shard(key);
        if let Some(outcome) = shard.get(key) {
            return Role::Follow(outcome.clone());
        }
        let (outcome, awaited) = watch::channel(Outcome::Awaited);
        let key = Key::from(key);
        shard.insert(key.clone(), awaited);
        Role::Lead(Leader { fills: Arc::clone(self), key, outcome })
    }

    fn shard(&self, key: &[u8]) -> parking_lot::MutexGuard<'_, Shard> {
        self.shards[self.hash.hash_one(key) as usize % SHARDS].lock()
    }
}

impl Leader {
    /// Tells those who wait. From [`Outcome::Stored`] on nobody waits, but who comes still finds the reply here.
    pub fn tell(&self, outcome: Outcome) {
        self.outcome.send_replace(outcome);
    }

    /// Whether somebody waits.
    pub fn is_awaited(&self) -> bool {
        // The first receiver is the shard's.
        self.outcome.receiver_count() > 1
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.fills.shard(self.key.bytes()).remove(&self.key);
        self.outcome.send_if_modified(|outcome| {
            let awaited = matches!(outcome, Outcome::Awaited);
            if awaited {
                *outcome = Outcome::Gone;
            }
            awaited
        });
    }
}

/// Waits for what becomes of it.
pub async fn outcome(mut awaited: watch::Receiver<Outcome>) -> Outcome {
    match awaited.wait_for(|outcome| !matches!(outcome, Outcome::Awaited)).await {
        Ok(outcome) => outcome.clone(),
        Err(_) => Outcome::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(role: Role) -> watch::Receiver<Outcome> {
        match role {
            Role::Follow(awaited) => awaited,
            Role::Lead(_) => panic!("nobody leads"),
        }
    }

    fn lead(role: Role) -> Leader {
        match role {
            Role::Lead(leader) => leader,
            Role::Follow(_) => panic!("somebody leads"),
        }
    }

    #[tokio::test]
    async fn all_who_wait_hear_of_the_end_and_the_next_leads() {
        let fills = Arc::new(Fills::default());
        let leader = lead(fills.enter(b"a"));
        assert!(!leader.is_awaited());
        let (one, two) = (follow(fills.enter(b"a")), follow(fills.enter(b"a")));
        assert!(leader.is_awaited());
        let _other = lead(fills.enter(b"b"));
        leader.tell(Outcome::Apart);
        assert!(matches!(outcome(one).await, Outcome::Apart));
        drop(leader);
        assert!(matches!(outcome(two).await, Outcome::Apart));
        let next = lead(fills.enter(b"a"));
        let waits = follow(fills.enter(b"a"));
        drop(next);
        assert!(matches!(outcome(waits).await, Outcome::Gone));
        assert!(fills.shards.iter().map(|shard| shard.lock().len()).sum::<usize>() == 1);
    }
}
