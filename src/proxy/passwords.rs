//! Verifies passwords beside the requests that are being served.
//!
//! One attempt takes tens of milliseconds and tens of MiB, by design. What holds:
//! - Attempts run on at most [`WORKERS`] threads of their own with low priority, never on a runtime's. They are started
//!   for the first attempt.
//! - At most [`MAX_WAITING`] attempts wait, at most half of them of one client address, so that one stranger alone cannot
//!   keep everyone else out; of those waiting, the address with the fewest comes first. [`PATIENCE`] is the longest wait. Beyond that a request is refused as [`Busy`], which says
//!   nothing of the password. An attempt that nobody waits for any more is skipped.
//! - Requests with the same name and password share one attempt.
//! - A password that was right is remembered by a digest under a key that only this process has, together with the
//!   account it opens, so that a good client pays once; an account whose hashes change is another account. At most
//!   [`REMEMBERED`] are. What was wrong is not remembered.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use once_cell::sync::OnceCell;
use parking_lot::{Condvar, Mutex};
use quick_cache::sync::Cache;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::gateway::password::{Account, Claimed};
use crate::policy::authenticate::Digest;
use crate::policy::password::Pair;

/// Threads, and so attempts at once.
const WORKERS: usize = 2;

/// Attempts that wait for a thread.
const MAX_WAITING: usize = 64;

/// Of these, those of one client address.
const MAX_OF_ADDRESS: usize = MAX_WAITING / 2;

/// How long a request waits for its attempt.
const PATIENCE: Duration = Duration::from_secs(5);

/// Right passwords that are remembered; about 100 bytes each.
const REMEMBERED: usize = 16_384;

/// How much less than requests an attempt may claim of the processors.
const NICENESS: i32 = 10;

/// Too many attempts are waiting, or the machine gives no thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// What became of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was right before.
    Remembered,
    /// It is right.
    Right,
    /// It is not.
    Wrong,
}

/// The attempts of a process.
#[derive(Default)]
pub struct Passwords {
    memory: OnceCell<Memory>,
    queue: Arc<Queue>,
}

struct Memory {
    key: hmac::Key,
    right: Arc<Cache<Digest, ()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    work: Condvar,
}

#[derive(Default)]
struct Waiting {
    attempts: VecDeque<Attempt>,
    /// Those that wait or run: how to hear of their end.
    known: HashMap<Digest, watch::Receiver<Option<bool>>>,
    workers: usize,
    closed: bool,
}

struct Attempt {
    id: Digest,
    account: Arc<Account>,
    /// Whether a right password opens the account.
    counts: bool,
    password: Box<[u8]>,
    address: IpAddr,
    ended: watch::Sender<Option<bool>>,
    right: Arc<Cache<Digest, ()>>,
}

impl Passwords {
    /// Whether a pair opens the account that its name claims. `address` is the client's.
    ///
    /// # Errors
    /// When that cannot be found out now.
    pub async fn verify(&self, claimed: Claimed<'_>, pair: Pair, address: IpAddr) -> Result<Verdict, Busy> {
        let memory = self.memory.get_or_try_init(Memory::new)?;
        let (account, counts) = match claimed {
            Claimed::Own(account) => (account, true),
            Claimed::Nobodys(account) => (account, false),
        };
        let id = memory.digest(account, counts, &pair);
        if counts && memory.right.get(&id).is_some() {
            return Ok(Verdict::Remembered);
        }
        let account = Arc::clone(account);
        let right = Arc::clone(&memory.right);
        let (ended, end) = watch::channel(None);
        let attempt = Attempt { id, account, counts, password: pair.password, address, ended, right };
        let mut end = Queue::enter(&self.queue, attempt, end)?;
        // An attempt that is dropped without a verdict was not made.
        let verdict = timeout(PATIENCE, end.wait_for(Option::is_some)).await;
        match verdict.ok().and_then(Result::ok).and_then(|verdict| *verdict) {
            Some(true) => Ok(Verdict::Right),
            Some(false) => Ok(Verdict::Wrong),
            None => Err(Busy),
        }
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.work.notify_all();
    }
}

impl Memory {
    fn new() -> Result<Self, Busy> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| Busy)?;
        Ok(Self { key, right: Arc::new(Cache::new(REMEMBERED)) })
    }

    /// What a pair is known by. A name that nobody has keeps what is known of the account that stands in for it apart.
    fn digest(&self, account: &Account, counts: bool, pair: &Pair) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&account.id);
        context.update(&[u8::from(counts)]);
        context.update(pair.name.as_bytes());
        // No name has a colon.
        context.update(b":");
        context.update(&pair.password);
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }
}

impl Queue {
    /// Puts an attempt into the queue, unless the same one is there; in either case, how to hear of its end.
    fn enter(
        queue: &Arc<Self>,
        attempt: Attempt,
        end: watch::Receiver<Option<bool>>,
    ) -> Result<watch::Receiver<Option<bool>>, Busy> {
        let mut state = queue.state.lock();
        if let Some(known) = state.known.get(&attempt.id) {
            return Ok(known.clone());
        }
        let of_address = state.attempts.iter().filter(|other| other.address == attempt.address).count();
        if state.attempts.len() >= MAX_WAITING || of_address >= MAX_OF_ADDRESS {
            return Err(Busy);
        }
        // Counted before it runs, under the lock: no two requests start the last one.
        if state.workers < WORKERS {
            let own = Arc::clone(queue);
            let started = thread::Builder::new().name("password".to_owned()).spawn(move || own.work());
            state.workers += usize::from(started.is_ok());
        }
        if state.workers == 0 {
            return Err(Busy);
        }
        state.known.insert(attempt.id, end.clone());
        state.attempts.push_back(attempt);
        drop(state);
        queue.work.notify_one();
        Ok(end)
    }

    /// Makes attempts until the process's state is gone.
    fn work(&self) {
        // Where the system refuses, attempts compete with requests as equals.
        let _ = rustix::process::nice(NICENESS);
        while let Some(attempt) = self.next() {
            // A fault in a hash must not end the thread: a password that cannot be verified is not right.
            let opens = catch_unwind(AssertUnwindSafe(|| attempt.account.opens(&attempt.password))).unwrap_or(false);
            let right = attempt.counts && opens;
            if right {
                attempt.right.insert(attempt.id, ());
            }
            self.state.lock().known.remove(&attempt.id);
            attempt.ended.send_replace(Some(right));
        }
    }

    /// The next attempt that somebody waits for.
    fn next(&self) -> Option<Attempt> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.take() {
                // The queue's own receiver is one.
                Some(attempt) if attempt.ended.receiver_count() > 1 => return Some(attempt),
                Some(left) => _ = state.known.remove(&left.id),
                None => self.work.wait(&mut state),
            }
        }
    }
}

impl Waiting {
    /// The oldest attempt of the address that has the fewest.
    fn take(&mut self) -> Option<Attempt> {
        let fewest = |attempt: &Attempt| self.attempts.iter().filter(|other| other.address == attempt.address).count();
        let (at, _) = self.attempts.iter().enumerate().min_by_key(|(_, attempt)| fewest(attempt))?;
        self.attempts.remove(at)
    }
}

#[cfg(test)]
mod tests;
