//! Asks the targets of services whether they are well, and lets those back in whose time is over.
//!
//! One task for the whole life of the process looks at the services of the current generation ten times a second. A check
//! is one GET on a connection of its own, so that it also shows whether new connections are taken; header and status
//! count, the body is not read. At most [`TURNS`] are under way at a time: with more targets than these can ask, checks
//! come later, and no sooner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::Uri;
use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use pingora::connectors::TransportConnector;
use pingora::connectors::http::v2::{H2HandshakeSettings, handshake};
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::protocols::{ALPN, Stream};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora::upstreams::peer::HttpPeer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::gateway::service::{HealthCheck, Protocol};
use crate::gateway::{Service, Target, connector, tls};
use crate::proxy::State;

/// How often it is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Most checks at a time.
const TURNS: usize = 64;

/// Interim replies before the final one.
const MAX_INTERIM: usize = 4;

/// The background task.
pub struct Checker {
    state: Arc<State>,
    turns: Arc<Semaphore>,
}

impl Checker {
    /// For this process.
    pub fn new(state: Arc<State>) -> Self {
        Self { state, turns: Arc::new(Semaphore::new(TURNS)) }
    }

    fn look(&self, connector: &Arc<TransportConnector>, now: Instant) {
        let gateway = self.state.gateway.load();
        for service in &gateway.services {
            service.settle(now);
            let Some(health) = &service.rules.health else { continue };
            for target in service.targets().iter() {
                // A tenth more or less, so that checks that begin together do not stay together.
                let next = now + health.interval.mul_f64(0.9 + fastrand::f64() / 5.0);
                let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else { return };
                if target.state.take_check(now, next) {
                    begin(Arc::clone(service), Arc::clone(target), Arc::clone(connector), turn);
                }
            }
        }
    }
}

#[async_trait]
impl BackgroundService for Checker {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let connector = Arc::new(connector(0));
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => self.look(&connector, Instant::now()),
                _ = shutdown.changed() => return,
            }
        }
    }
}

fn begin(service: Arc<Service>, target: Arc<Target>, connector: Arc<TransportConnector>, turn: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        if let Some(health) = &service.rules.health {
            let result = timeout(health.timeout, check(health, &service, &target, &connector)).await;
            let result = result.unwrap_or_else(|_| Err("timeout".to_owned()));
            service.checked(&target, result.as_ref().copied().map_err(String::as_str), Instant::now());
        }
        drop(turn);
    });
}

/// Asks once; what was wrong with the reply.
async fn check(
    health: &HealthCheck,
    service: &Service,
    target: &Target,
    connector: &TransportConnector,
) -> Result<(), String> {
    let question = question(health, target).map_err(|_| "request".to_owned())?;
    let peer = service.peer(target);
    let stream = connector.new_stream(&peer).await.map_err(|error| {
        let cause = tls::cause(&error.to_string());
        cause.map_or_else(|| "connect".to_owned(), |cause| format!("connect: {cause}"))
    })?;
    // A service over TLS says itself whether it speaks HTTP/2.
    let speaks_http2 = match stream.selected_alpn_proto() {
        Some(chosen) => chosen == ALPN::H2,
        None => service.rules.protocol == Protocol::Http2 && !peer.is_tls(),
    };
    let status = match speaks_http2 {
        true => ask_http2(stream, &peer, question).await?,
        false => ask(stream, &peer, question).await?,
    };
    let (first, last) = health.statuses;
    if (first..=last).contains(&status) { Ok(()) } else { Err(format!("status-{status}")) }
}

async fn ask(stream: Stream, peer: &HttpPeer, mut question: RequestHeader) -> Result<u16, &'static str> {
    question.insert_header(CONNECTION, "close").map_err(|_| "request")?;
    let mut session = HttpSession::new_with_options(stream, peer);
    session.write_request_header(Box::new(question)).await.map_err(|_| "reset")?;
    for _ in 0..=MAX_INTERIM {
        session.read_response().await.map_err(|_| "reply")?;
        let status = session.get_status().map_or(0, |status| status.as_u16());
        if status >= 200 {
            return Ok(status);
        }
    }
    Err("reply")
}

async fn ask_http2(stream: Stream, peer: &HttpPeer, mut question: RequestHeader) -> Result<u16, &'static str> {
    let host = question.headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
    let uri = Uri::builder()
        .scheme(if peer.is_tls() { "https" } else { "http" })
        .authority(host)
        .path_and_query(question.raw_path())
        .build();
    question.set_uri(uri.map_err(|_| "request")?);
    let mut settings = H2HandshakeSettings::new();
    settings.max_streams = 1;
    let connection = handshake(stream, settings).await.map_err(|_| "connect")?;
    let mut session = connection.spawn_stream().await.ok().flatten().ok_or("connect")?;
    session.write_request_header(Box::new(question), true).map_err(|_| "reset")?;
    session.read_response_header().await.map_err(|_| "reply")?;
    Ok(session.response_header().map_or(0, |header| header.status.as_u16()))
}

fn question(health: &HealthCheck, target: &Target) -> pingora::Result<RequestHeader> {
    let mut request = RequestHeader::build("GET", health.path.as_bytes(), None)?;
    request.insert_header(HOST, health.host.as_ref().unwrap_or(&target.host).clone())?;
    request.insert_header(USER_AGENT, concat!("tollgate/", env!("CARGO_PKG_VERSION"), " health"))?;
    Ok(request)
}
