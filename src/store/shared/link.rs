//! The way to Redis: one multiplexed connection for each worker, short patience, and whether it answers at all.
//!
//! A connection is driven by the runtime that made it, so each thread has its own; requests of a worker share it
//! without waiting for each other. It is made when it is first needed. Nothing here waits longer than the patience.
//!
//! After a failure the link is down: nobody asks, so nobody waits, until [`Link::probe`] has written something again.
//! Every connection of before is given up then, since one that hangs looks like any other.
//!
//! All keys of a group of gateways carry one hash tag, so on a cluster they are in one slot and one node holds them. A
//! node that does not hold them names the one that does (`MOVED`); the link goes there, and begins again with the
//! configured one after a failure.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, RedisError, ServerErrorKind,
};
use tokio::time::timeout;

/// Threads with a connection of their own; more share them.
const SLOTS: usize = 64;

/// Requests that wait for a reply on one connection; further ones wait for their turn within their patience.
const MOST_WAITING: usize = 4096;

/// Why Redis has not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It did not lately, so it was not asked.
    #[error("it is down")]
    Down,
    /// Not in time.
    #[error("no answer within {0:?}")]
    Slow(Duration),
    /// It cannot be reached, or refuses.
    #[error("{0}")]
    Refused(String),
    /// Its answer makes no sense.
    #[error("it answers what nobody asked for")]
    Reply,
}

/// Whether a fault is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Until now all was well.
    WentDown,
    /// It was known.
    Known,
}

/// Connections to one Redis.
pub struct Link {
    configured: Client,
    /// Where the keys are, when not there.
    moved: Mutex<Option<Client>>,
    patience: Duration,
    up: AtomicBool,
    /// Counts failures: a connection from before the last one is not used.
    age: AtomicU64,
    slots: Box<[Slot]>,
}

#[derive(Default)]
struct Slot {
    open: Mutex<Option<(u64, MultiplexedConnection)>>,
    /// Held by the one who connects.
    opening: tokio::sync::Mutex<()>,
}

/// A program that Redis runs in one step, known to it by its digest.
pub struct Script {
    text: String,
    digest: String,
}

static THREADS: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

impl Script {
    /// From its text.
    pub fn new(text: &str) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let digest = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text: text.to_owned(), digest }
    }
}

impl Link {
    /// A link that is down until it is probed. The URL is a secret: no fault quotes it.
    ///
    /// # Errors
    /// When it is no URL of a Redis.
    pub fn new(url: &str, patience: Duration) -> Result<Self, Fault> {
        let configured = Client::open(url).map_err(|_| Fault::Refused("this is no URL of a Redis".to_owned()))?;
        Ok(Self {
            configured,
            moved: Mutex::default(),
            patience,
            up: AtomicBool::new(false),
            age: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
        })
    }

    /// Whether it answered lately.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Runs a script; `arguments` adds number and names of keys, and what else it takes.
    pub async fn run<T: FromRedisValue>(&self, script: &Script, arguments: impl Fn(&mut Cmd)) -> Result<T, Fault> {
        self.patiently(self.patience, async {
            let known = command("EVALSHA", &script.digest, &arguments);
            match self.send(&known).await {
                Err(failed) if failed.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    self.send(&command("EVAL", &script.text, &arguments)).await
                }
                done => done,
            }
        })
        .await
    }

    /// Sends one command, with a patience of its own.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd, patience: Duration) -> Result<T, Fault> {
        self.patiently(patience, self.send(command)).await
    }

    /// Tries to write, and takes the link for up when that works.
    ///
    /// # Errors
    /// Why it is still down.
    pub async fn probe(&self, key: &str) -> Result<(), Fault> {
        let write = redis::cmd("SET").arg(key).arg(1).arg("PX").arg(1000).to_owned();
        let written = timeout(self.patience.max(Duration::from_secs(1)), self.send::<()>(&write)).await;
        match written {
            Ok(Ok(())) => {
                self.up.store(true, Ordering::Relaxed);
                Ok(())
            }
            Ok(Err(failed)) => {
                self.forget();
                Err(Fault::Refused(failed.to_string()))
            }
            Err(_) => {
                self.forget();
                Err(Fault::Slow(self.patience.max(Duration::from_secs(1))))
            }
        }
    }

    /// Notes a fault: the link is down until it is probed.
    pub fn failed(&self, fault: &Fault) -> Change {
        if *fault == Fault::Down || !self.up.swap(false, Ordering::Relaxed) {
            return Change::Known;
        }
        self.forget();
        Change::WentDown
    }

    /// No connection of before is used again, and the configured address is the one to begin with.
    pub fn forget(&self) {
        self.age.fetch_add(1, Ordering::Relaxed);
        *self.moved.lock() = None;
    }

    async fn patiently<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Fault> {
        if !self.is_up() {
            return Err(Fault::Down);
        }
        match timeout(patience, work).await {
            Ok(done) => done.map_err(|failed| Fault::Refused(failed.to_string())),
            Err(_) => Err(Fault::Slow(patience)),
        }
    }

    /// Sends a command to where the keys are; follows one word of their having moved.
    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection().await?;
        let failed = match command.query_async(&mut connection).await {
            Err(failed) if self.follow(&failed) => failed,
            done => return done,
        };
        log::debug!("shared store moved: {failed}");
        command.query_async(&mut self.connection().await?).await
    }

    /// The connection of this thread.
    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let slot = &self.slots[THREAD.with(|number| *number) % SLOTS];
        if let Some(open) = self.open(slot) {
            return Ok(open);
        }
        let _opening = slot.opening.lock().await;
        if let Some(open) = self.open(slot) {
            return Ok(open);
        }
        let age = self.age.load(Ordering::Relaxed);
        let client = self.moved.lock().clone().unwrap_or_else(|| self.configured.clone());
        // Whoever asks has a patience of its own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(MOST_WAITING);
        let made = client.get_multiplexed_async_connection_with_config(&config).await?;
        *slot.open.lock() = Some((age, made.clone()));
        Ok(made)
    }

    fn open(&self, slot: &Slot) -> Option<MultiplexedConnection> {
        let open = slot.open.lock();
        let (age, connection) = open.as_ref()?;
        (*age == self.age.load(Ordering::Relaxed)).then(|| connection.clone())
    }

    /// Turns to the node that a cluster names; `false` when it names none.
    fn follow(&self, failed: &RedisError) -> bool {
        if failed.kind() != ErrorKind::Server(ServerErrorKind::Moved) {
            return false;
        }
        let Some((host, port)) = failed.redirect_node().and_then(|(node, _)| node.rsplit_once(':')) else {
            return false;
        };
        let Ok(port) = port.parse() else { return false };
        let info = self.configured.get_connection_info().clone();
        let address = match info.addr() {
            // An empty host means the one that was asked.
            ConnectionAddr::Tcp(asked, _) => ConnectionAddr::Tcp(either(host, asked), port),
            ConnectionAddr::TcpTls { host: asked, insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host: either(host, asked),
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => return false,
        };
        let Ok(client) = Client::open(info.set_addr(address)) else { return false };
        *self.moved.lock() = Some(client);
        self.age.fetch_add(1, Ordering::Relaxed);
        true
    }
}

fn either(named: &str, asked: &str) -> String {
    if named.is_empty() { asked } else { named }.to_owned()
}

fn command(verb: &str, script: &str, arguments: &impl Fn(&mut Cmd)) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(script);
    arguments(&mut command);
    command
}
