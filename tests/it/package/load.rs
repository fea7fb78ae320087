//! Clients that ask without a pause, and what became of their requests.
//!
//! Some keep their connections, some open one for each request, some wait long for answers. A connection that is kept
//! may be closed just when the next request is on its way: such a request is asked again, as HTTP says, if the service
//! never saw it. Everything else that is not answered is told.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::client::{Client, request};
use crate::support::origin::{Origin, Recorded, Reply};

/// How long the slow requests take.
const SLOW: Duration = Duration::from_secs(2);

/// How long a client waits for a connection and for an answer, each.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two requests of a client, so that the machine keeps up on few cores.
const PAUSE: Duration = Duration::from_millis(5);

/// How each client behaves.
const CLIENTS: [Kind; 9] = [
    Kind::Keeping,
    Kind::Keeping,
    Kind::Keeping,
    Kind::Closing,
    Kind::Closing,
    Kind::Closing,
    Kind::Slow,
    Kind::Slow,
    Kind::Slow,
];

/// How many requests can be on their way at a time.
pub const AT_A_TIME: usize = CLIENTS.len();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Keeping,
    Closing,
    Slow,
}

/// A service and clients that ask for it.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Those with a good answer.
    pub answered: usize,
    /// Connections that were not accepted.
    pub refused: Vec<String>,
    /// Requests without a good answer.
    pub failed: Vec<String>,
    /// The longest time that a quick request took, with its connection.
    pub longest: Duration,
}

#[derive(Default)]
struct Shared {
    done: AtomicBool,
    next: AtomicUsize,
    answered: AtomicUsize,
    /// The requests that the service saw.
    seen: Mutex<HashSet<String>>,
    tally: Mutex<Tally>,
}

/// The service: it keeps in mind what it saw.
pub struct Service {
    origin: Origin,
    shared: Arc<Shared>,
}

impl Service {
    /// Starts it.
    pub fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let seen = Arc::clone(&shared);
        let origin = Origin::start(move |asked: &Recorded| {
            seen.seen.lock().unwrap().insert(asked.path().to_owned());
            if asked.path().starts_with("/slow") {
                thread::sleep(SLOW);
            }
            Reply::json(200, "{}")
        });
        Self { origin, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.origin.address()
    }

    /// Lets clients ask the gateway at this address for it, and waits until it answers.
    pub fn load(&self, gateway: SocketAddr) -> Load {
        *self.shared.tally.lock().unwrap() = Tally::default();
        self.shared.done.store(false, Ordering::Relaxed);
        self.shared.answered.store(0, Ordering::Relaxed);
        let clients = CLIENTS.map(|kind| {
            let shared = Arc::clone(&self.shared);
            thread::spawn(move || shared.ask_until_done(kind, gateway))
        });
        let load = Load { shared: Arc::clone(&self.shared), clients: clients.into() };
        load.go_on();
        load
    }
}

impl Load {
    /// Waits until some more requests are answered, slow ones among them.
    pub fn go_on(&self) {
        let (until, before) = (Instant::now() + PATIENCE, self.shared.answered.load(Ordering::Relaxed));
        let begun = Instant::now();
        while self.shared.answered.load(Ordering::Relaxed) < before + 50 || begun.elapsed() < SLOW {
            assert!(Instant::now() < until, "no answers: {:?}", self.shared.tally.lock().unwrap());
            thread::sleep(PAUSE);
        }
    }

    /// Ends it.
    pub fn end(self) -> Tally {
        self.shared.done.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().expect("a client does not panic"));
        let mut tally = std::mem::take(&mut *self.shared.tally.lock().unwrap());
        tally.answered = self.shared.answered.load(Ordering::Relaxed);
        tally
    }
}

impl Tally {
    /// Panics when something was lost.
    pub fn assert_nothing_lost(&self, during: &str) {
        assert!(self.refused.is_empty() && self.failed.is_empty(), "{during}: {self:?}");
    }
}

impl Shared {
    fn ask_until_done(&self, kind: Kind, gateway: SocketAddr) {
        let mut kept = None;
        while !self.done.load(Ordering::Relaxed) {
            let word = if kind == Kind::Slow { "slow" } else { "quick" };
            let path = format!("/{word}/{}", self.next.fetch_add(1, Ordering::Relaxed));
            let begun = Instant::now();
            kept = self.ask(kind, gateway, &path, kept);
            if kind != Kind::Slow {
                let mut tally = self.tally.lock().unwrap();
                tally.longest = tally.longest.max(begun.elapsed());
            }
            thread::sleep(PAUSE);
        }
    }

    /// Asks once. The connection, if it may be used again.
    fn ask(&self, kind: Kind, gateway: SocketAddr, path: &str, kept: Option<Client>) -> Option<Client> {
        let fields: &[_] = if kind == Kind::Keeping { &[] } else { &[("connection", "close")] };
        let bytes = request("GET", path, fields, b"");
        if let Some(mut client) = kept {
            match client.ask(&bytes) {
                Err(failed) if is_closed(&failed) && !self.seen.lock().unwrap().contains(path) => {}
                answer => return self.note(kind, path, client, answer),
            }
        }
        match TcpStream::connect_timeout(&gateway, PATIENCE) {
            Ok(stream) => {
                let mut client = Client::over(stream).patient(PATIENCE);
                let answer = client.ask(&bytes);
                self.note(kind, path, client, answer)
            }
            Err(failed) => {
                self.tally.lock().unwrap().refused.push(format!("{path}: {failed}"));
                None
            }
        }
    }

    fn note(
        &self,
        kind: Kind,
        path: &str,
        client: Client,
        answer: io::Result<crate::support::client::Response>,
    ) -> Option<Client> {
        match answer {
            Ok(answer) if answer.status == 200 && !answer.cut => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                (kind == Kind::Keeping && answer.value("connection") != Some("close")).then_some(client)
            }
            Ok(answer) => {
                self.tally.lock().unwrap().failed.push(format!("{path}: {} cut={}", answer.status, answer.cut));
                None
            }
            Err(failed) => {
                self.tally.lock().unwrap().failed.push(format!("{path}: {failed}"));
                None
            }
        }
    }
}

/// Whether the other end closed before it answered.
fn is_closed(failed: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(failed.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}
