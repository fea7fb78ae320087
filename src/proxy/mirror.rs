//! Copies of requests for a second service (`mirror`): sent and forgotten.
//!
//! What holds:
//! - A copy is what the route's own service gets, with the identity of the caller, but for `Host`, the base path and
//!   [`MIRRORED`], by which the second service can tell. It is made with the first attempt; what ends before that, at
//!   the gateway or in its cache, has none.
//! - Nobody waits for it: it has a task of its own, its failures are counted, and its reply is read off and thrown
//!   away. It has no retries but one for a kept connection that turns out to be closed.
//! - It is bounded: [`MAX_IN_FLIGHT`] copies at a time, bodies of [`MAX_BODY`] bytes each and [`MAX_BODIES`] together, and
//!   the deadlines of the second service. A copy that does not fit is dropped and counted.
//! - Only a body that is held anyway, because the contract checks it, is copied. A request whose body streams or lies in
//!   files has no copy.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::gateway::service::Flight;
use crate::gateway::{HostHeader, Mirror, Target, connector_options};
use crate::policy::headers::{FORWARDED_HOST, MIRRORED};

use super::admit::{Admission, AdmittedBody};
use super::body::{Budget, Reservation};
use super::plain;

/// Most copies at a time.
const MAX_IN_FLIGHT: usize = 256;

/// Largest body of a copy, in bytes.
const MAX_BODY: u64 = 1 << 20;

/// All bodies of copies together, in bytes.
const MAX_BODIES: u64 = 64 << 20;

/// Most of a reply that is read off to keep the connection, in bytes.
const MAX_REPLY: usize = 256 << 10;

/// Most idle connections to second services.
const KEPT: usize = 128;

/// The copies that the process has under way, and its connections for them.
pub struct Mirrors {
    connector: OnceLock<Connector>,
    places: Arc<Semaphore>,
    bodies: Arc<Budget>,
}

impl Default for Mirrors {
    fn default() -> Self {
        Self { connector: OnceLock::new(), places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)), bodies: Arc::default() }
    }
}

/// What goes to the second service.
struct Copied {
    request: RequestHeader,
    body: Bytes,
    target: Arc<Target>,
    peer: HttpPeer,
    _memory: Reservation,
}

impl Mirrors {
    /// Sends a copy of what a route's own service gets, if the request is one that is drawn.
    pub fn send(self: &Arc<Self>, mirror: &Arc<Mirror>, request: &RequestHeader, admission: &Admission) {
        if fastrand::u32(..1_000_000) >= mirror.millionths {
            return;
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let (Ok(place), Some(copy)) = (place, self.copy(mirror, request, admission)) else {
            mirror.metrics.dropped();
            return;
        };
        let (mirrors, mirror) = (Arc::clone(self), Arc::clone(mirror));
        tokio::spawn(async move {
            let _place = place;
            let _flight = Flight::begin(&copy.target);
            let times = &mirror.service.rules.timeouts;
            match timeout(times.connect + times.response, mirrors.deliver(&copy)).await {
                Ok(Ok(())) => mirror.metrics.sent(),
                Ok(Err(_)) | Err(_) => mirror.metrics.failed(),
            }
        });
    }

    /// `None`: it cannot be copied, or there is no room or no target for it.
    fn copy(&self, mirror: &Mirror, request: &RequestHeader, admission: &Admission) -> Option<Copied> {
        let body = match &admission.body {
            AdmittedBody::None => Bytes::new(),
            AdmittedBody::Checked { bytes, .. } | AdmittedBody::Observed(bytes) => bytes.clone(),
            AdmittedBody::Streamed if !announces_body(request) => Bytes::new(),
            AdmittedBody::Streamed | AdmittedBody::Spooled { .. } => return None,
        };
        let mut memory = self.bodies.reserve();
        let length = body.len() as u64;
        if length > MAX_BODY || memory.grow_to(length, MAX_BODIES).is_err() {
            return None;
        }
        let target = mirror.service.next_target()?;
        let mut request = request.clone();
        rewrite(&mut request, mirror, admission, &target).ok()?;
        let peer = mirror.service.peer(&target);
        Some(Copied { request, body, target, peer, _memory: memory })
    }

    async fn deliver(&self, copy: &Copied) -> Result<()> {
        let connector = self.connector.get_or_init(|| Connector::new(Some(connector_options(KEPT))));
        let (session, reused) = connector.get_http_session(&copy.peer).await?;
        match converse(connector, session, copy).await {
            Err(_) if reused => {
                let (session, _) = connector.get_http_session(&copy.peer).await?;
                converse(connector, session, copy).await
            }
            ended => ended,
        }
    }
}

fn announces_body(request: &RequestHeader) -> bool {
    let length = request.headers.get(CONTENT_LENGTH);
    request.headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// Makes what the route's own service gets what the second one gets.
fn rewrite(request: &mut RequestHeader, mirror: &Mirror, admission: &Admission, target: &Target) -> Result<()> {
    let own = admission.service_target.strip_prefix(admission.route.service.base_path.as_bytes());
    let own = own.ok_or_else(|| Error::explain(ErrorType::InternalError, "the base path is not where it should be"))?;
    let uri = http::Uri::try_from([mirror.service.base_path.as_bytes(), own].concat());
    let uri = uri.or_err(ErrorType::InternalError, "service path is no URI")?;
    plain::edit_request(request, |parts| {
        let client_host = parts.headers.get(FORWARDED_HOST).filter(|_| mirror.service.host == HostHeader::Client);
        let host = client_host.unwrap_or(&target.host).clone();
        parts.headers.insert(HOST, host);
        parts.headers.insert(MIRRORED, HeaderValue::from_static("true"));
        parts.uri = uri;
        Ok(())
    })
}

/// Sends a copy, and reads the reply off.
async fn converse(connector: &Connector, mut session: HttpSession, copy: &Copied) -> Result<()> {
    session.write_request_header(Box::new(copy.request.clone())).await?;
    if !copy.body.is_empty() {
        session.write_request_body(copy.body.clone(), true).await?;
    }
    session.finish_request_body().await?;
    loop {
        session.read_response_header().await?;
        if session.response_header().is_none_or(|header| !header.status.is_informational()) {
            break;
        }
    }
    let mut read = 0;
    while let Some(piece) = session.read_response_body().await? {
        read += piece.len();
        if read > MAX_REPLY {
            return Ok(());
        }
    }
    if let HttpSession::H1(session) = &mut session {
        session.respect_keepalive();
    }
    keep(connector, session, &copy.peer).await;
    Ok(())
}

async fn keep(connector: &Connector, session: HttpSession, peer: &HttpPeer) {
    let idle = peer.options.idle_timeout;
    connector.release_http_session(session, peer, idle).await;
}
