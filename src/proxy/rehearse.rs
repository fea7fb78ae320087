//! A request played through the gateway without clients, services or a network.
//!
//! A [`Rehearsal`] is the running gateway itself, down to pingora's reading and writing of HTTP, between two ends of its
//! own: the client's connection is a pipe in memory, and whatever service a request is sent to, it arrives at a socket in
//! a directory of its own. So what is found out here cannot differ from what a client and a service would see, but for
//! what depends on others: what limits have counted before, and what the service replies.
//!
//! The caller can be given instead of a credential ([`Part::consumer`]). Nothing else of admission is changed, and a
//! running gateway has no such way in: see `occasion`.

mod line;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::SocketAddr as UnixAddress;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::apps::ServerApp;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};

use crate::gateway::tls::Entrance;
use crate::gateway::{Consumer, Gateway, NO_AUTHORITIES, Route};
use crate::policy::contract::Violation;
use crate::policy::limit::headers::Fields;
use crate::policy::rejection::Rejection;
use crate::store::Snapshot;
use crate::telemetry::{AccessLog, Telemetry};

use super::exchange::Exchange;
use super::occasion::Occasion;
use super::{GuardedApp, Listening, Proxy, State};

use line::Line;

pub use line::Message;

/// A gateway on which requests can be tried out, one after the other; limits count over all of them.
pub struct Rehearsal {
    app: Arc<GuardedApp<Rehearsing>>,
    state: Arc<State>,
    scene: Arc<Mutex<Scene>>,
    service: UnixListener,
    _directory: TempDir,
}

/// A request to be tried out.
#[derive(Clone)]
pub struct Part {
    /// The bytes that a client sends.
    pub bytes: Vec<u8>,
    /// Where it sends them from.
    pub peer: IpAddr,
    /// The listener they come through, as written in the configuration.
    pub listener: Option<SocketAddr>,
    /// Who calls, instead of whoever a credential would find. Where a route is public nobody is asked.
    pub consumer: Option<Arc<Consumer>>,
}

/// What became of a request.
pub struct Performance {
    /// What the service got. Also set when the gateway found out only then that the request has to be refused.
    pub service: Option<Message>,
    /// What the client got; of a service's reply nothing is said here.
    pub answer: Option<Message>,
    /// What the gateway found out on the way.
    pub found: Found,
}

/// What the gateway found out about a request, as far as it got.
#[derive(Default)]
pub struct Found {
    /// The matched route.
    pub route: Option<Arc<Route>>,
    /// Who calls.
    pub consumer: Option<Arc<Consumer>>,
    /// What clients are told of the limits that were asked and passed.
    pub limits: Fields,
    /// The client, seen through trusted proxies.
    pub client: Option<IpAddr>,
    /// The request's id in logs and answers.
    pub id: String,
    /// Why the request ends here.
    pub refused: Option<Refused>,
    /// What the contract found and only observes.
    pub observed: Vec<Violation>,
    /// What went wrong, for operators.
    pub cause: Option<String>,
}

/// Why a request ends at the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Where.
    pub step: Step,
    /// The reason, as in metrics and the access line.
    pub code: &'static str,
    /// In what it differs from the contract.
    pub violations: Vec<Violation>,
}

/// The steps of admission, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Is this HTTP that a gateway should act on?
    Request,
    /// Which route is it for?
    Route,
    /// Who calls?
    Caller,
    /// May they?
    Conditions,
    /// So often?
    Limits,
    /// Does it fit what the route declares?
    Contract,
    /// Beyond admission.
    Service,
}

impl Step {
    fn of(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::Malformed(_)
            | Rejection::Path(_)
            | Rejection::Handshake(_)
            | Rejection::UriTooLong
            | Rejection::Misdirected
            | Rejection::HeaderTooLarge
            | Rejection::TransferCoding
            | Rejection::Flood => Self::Request,
            Rejection::EncodedSlash | Rejection::NotFound | Rejection::MethodNotAllowed(_) => Self::Route,
            Rejection::CredentialMissing(_)
            | Rejection::CredentialUnknown(_)
            | Rejection::CredentialAmbiguous
            | Rejection::TokenInvalid(_)
            | Rejection::PlanUnknown
            | Rejection::KeysUnavailable
            | Rejection::PasswordsBusy
            | Rejection::CallerRefused(_)
            | Rejection::AuthUnavailable => Self::Caller,
            Rejection::Forbidden | Rejection::Origin => Self::Conditions,
            Rejection::Limited(_) | Rejection::LimitsUnavailable => Self::Limits,
            Rejection::BodyTooLarge(_)
            | Rejection::BodyTimeout
            | Rejection::BodyMemory
            | Rejection::UploadDisk
            | Rejection::Media(_)
            | Rejection::Multipart(_)
            | Rejection::Contract(_) => Self::Contract,
            Rejection::ServiceDown
            | Rejection::ServiceBusy
            | Rejection::NotCached
            | Rejection::ServiceTimeout
            | Rejection::ServiceReply
            | Rejection::BadReply
            | Rejection::Internal => Self::Service,
        }
    }
}

/// What every service replies.
const REPLY: &[u8] = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

/// What the client's pipe holds.
const PIPE: usize = 64 * 1024;

impl Rehearsal {
    /// Sets a gateway up, with the keys of its store if it has one. Needs a tokio runtime with input, output and time
    /// around it.
    ///
    /// # Errors
    /// The machine does not give a directory with a socket, or a thread.
    pub fn begin(
        gateway: Gateway,
        telemetry: Arc<Telemetry>,
        listeners: &[SocketAddr],
        stored_keys: Option<Snapshot>,
    ) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let address = directory.path().join("service");
        let service = UnixListener::bind(&address)?;
        let scene = Arc::default();
        let rehearsing = Rehearsing { scene: Arc::clone(&scene), service: UnixAddress::from_pathname(address)? };
        let entrance = || Entrance::Plain { http2: false };
        let listeners = listeners.iter().map(|&address| Listening::new(address, address, entrance())).collect();
        let stored_keys = stored_keys.map(ArcSwap::from_pointee);
        let state =
            Arc::new(State { listeners, stored_keys, ..State::new(gateway, telemetry, AccessLog::open("off")?) });
        let proxy = Proxy { state: Arc::clone(&state), occasion: rehearsing };
        let conf = ServerConf { ca_file: Some(NO_AUTHORITIES.to_owned()), ..ServerConf::default() };
        let app = Arc::new(GuardedApp::new(http_proxy(&Arc::new(conf), proxy.clone()), proxy));
        Ok(Self { app, state, scene, service, _directory: directory })
    }

    /// The generation that requests are tried out on.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.state.gateway.load_full()
    }

    /// Tries a request out.
    pub async fn play(&mut self, part: &Part) -> Performance {
        let (ended, over) = oneshot::channel();
        *self.scene.lock() = Scene { given: part.consumer.clone(), ended: Some(ended), found: Found::default() };
        let received = Mutex::new(None);
        let client = self.exchange(part, over);
        let answer = tokio::select! {
            answer = client => answer,
            never = receive(&self.service, &received) => match never {},
        };
        let found = std::mem::take(&mut self.scene.lock().found);
        Performance { service: received.into_inner(), answer: Message::answer(&answer), found }
    }

    /// Sends a request and reads all that comes back.
    async fn exchange(&self, part: &Part, over: oneshot::Receiver<()>) -> Vec<u8> {
        let (client, gateway) = tokio::io::duplex(PIPE);
        let (mut reading, mut writing) = tokio::io::split(client);
        let serve = async {
            // A client that stays: nobody tells the gateway to leave.
            let (_leave, shutdown) = watch::channel(false);
            self.app.process_new(Box::new(Line::new(gateway, part.peer, part.listener)), &shutdown).await;
            self.scene.lock().ended = None;
        };
        let speak = async {
            // A gateway that refuses may stop listening.
            let _ = writing.write_all(&part.bytes).await;
            let _ = over.await;
            let _ = writing.shutdown().await;
        };
        let listen = async {
            let mut answer = Vec::new();
            let _ = reading.read_to_end(&mut answer).await;
            answer
        };
        tokio::join!(serve, speak, listen).2
    }
}

/// Takes what is sent to services, and replies.
async fn receive(listener: &UnixListener, received: &Mutex<Option<Message>>) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => read_one(stream, received).await,
            // Without connections there is nothing to do but to wait for the gateway's answer.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn read_one(mut stream: UnixStream, received: &Mutex<Option<Message>>) {
    let mut bytes = Vec::new();
    while !Message::is_whole(&bytes) {
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    *received.lock() = Message::request(&bytes);
    let _ = stream.write_all(REPLY).await;
}

/// What a rehearsal and its gateway tell each other.
#[derive(Default)]
struct Scene {
    given: Option<Arc<Consumer>>,
    /// Dropped when the request is over.
    ended: Option<oneshot::Sender<()>>,
    found: Found,
}

#[derive(Clone)]
struct Rehearsing {
    scene: Arc<Mutex<Scene>>,
    service: UnixAddress,
}

impl Occasion for Rehearsing {
    fn consumer(&self, route: &Route) -> Option<Arc<Consumer>> {
        if route.access.is_public() { None } else { self.scene.lock().given.clone() }
    }

    fn may_ask(&self) -> bool {
        false
    }

    fn may_mirror(&self) -> bool {
        false
    }

    fn may_cache(&self) -> bool {
        false
    }

    fn lead(&self, peer: &mut HttpPeer) {
        // In clear and as HTTP/1.1, also where the service speaks TLS or HTTP/2.
        let plain = HttpPeer::new(SocketAddr::from(([127, 0, 0, 1], 1)), false, String::new());
        let HttpPeer { options, .. } = std::mem::replace(peer, plain);
        peer.options = options;
        peer.options.set_http_version(1, 1);
        peer._address = self.service.clone().into();
    }

    fn refused(&self, rejection: &Rejection) {
        let violations = match rejection {
            Rejection::Contract(violations) => violations.clone(),
            _ => Vec::new(),
        };
        let refused = Refused { step: Step::of(rejection), code: rejection.code(), violations };
        self.scene.lock().found.refused = Some(refused);
    }

    fn over(&self, exchange: &Exchange) {
        let mut scene = self.scene.lock();
        let refused = scene.found.refused.take();
        let admission = exchange.admission.as_ref();
        scene.found = Found {
            route: exchange.trail.route.clone(),
            consumer: exchange.trail.consumer.clone(),
            limits: exchange.trail.held.as_ref().map(|held| held.fields.clone()).unwrap_or_default(),
            client: Some(exchange.client.ip),
            id: exchange.id.as_str().to_owned(),
            refused,
            observed: admission.map(|admission| admission.observed.as_slice().to_vec()).unwrap_or_default(),
            cause: exchange.cause.clone(),
        };
        scene.ended = None;
    }
}
