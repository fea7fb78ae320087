//! Asks auth services who calls (`forward_auth`).
//!
//! What holds:
//! - One deadline for all of it, the authenticator's `timeout`. Whatever is not a whole answer by then, or is none of
//!   2xx, 401 and 403, is a fault of the auth service and says nothing of the caller.
//! - The header of an answer has at most [`MAX_HEADER`] bytes. Of its body at most [`MAX_BODY`] are read off, in at most
//!   [`BODY_PATIENCE`], to keep the connection for the next request; else it is closed.
//! - A kept connection that turns out to be closed costs a second attempt on a new one; asking changes nothing at the
//!   auth service.

use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT, WWW_AUTHENTICATE};
use http::request::Parts;
use pingora::connectors::TransportConnector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use tokio::time::timeout;

use crate::gateway::forward_auth::{ForwardAuthenticator, Nameless};
use crate::gateway::{Consumer, connector};
use crate::policy::headers::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO};
use crate::policy::rejection::X_REQUEST_ID;
use crate::policy::trace_context::TRACEPARENT;

use super::client::scheme;
use super::exchange::{Exchange, Peer};
use super::trace::Step;

/// Largest header of an answer, in bytes.
const MAX_HEADER: usize = 16 * 1024;

/// Largest body of an answer that is read off, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// Most connections that are kept.
const POOL_SIZE: usize = 128;

/// How long that may take.
const BODY_PATIENCE: Duration = Duration::from_millis(50);

/// Kept connections are closed after this, in time before most servers close them.
const POOL_IDLE: Duration = Duration::from_secs(55);

/// Interim answers before the final one.
const MAX_INTERIM: usize = 4;

/// `X-Forwarded-Method`: of the request that is asked about.
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
/// `X-Forwarded-Uri`: its path and query.
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// The process's connections to auth services.
#[derive(Default)]
pub struct AuthServices {
    connector: OnceLock<TransportConnector>,
}

/// What an auth service says.
pub enum Answer {
    /// The caller is this consumer.
    Known(Box<Consumer>),
    /// The caller should show another credential; these challenges say how.
    Unknown(Vec<HeaderValue>),
    /// The caller may not.
    Forbidden,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskFault {
    /// Its name has no address.
    #[error("it has no address")]
    NoAddress,
    /// Nobody is there.
    #[error("it cannot be reached")]
    Unreachable,
    /// Not in time.
    #[error("it did not answer in time")]
    Timeout,
    /// Something else than HTTP, or too much of it.
    #[error("its answer cannot be used")]
    Reply,
    /// A status that means nothing here.
    #[error("it answered with status {0}")]
    Status(u16),
    /// Its answer names no consumer.
    #[error("its answer names no consumer")]
    Consumer,
    /// Its answer names a plan that there is not, or none.
    #[error("its answer names no plan that there is")]
    Plan,
}

impl AskFault {
    /// For metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoAddress | Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Reply => "reply",
            Self::Status(_) => "status",
            Self::Consumer => "consumer",
            Self::Plan => "plan",
        }
    }
}

impl AuthServices {
    /// Asks who sends this request.
    ///
    /// # Errors
    /// When the auth service does not say.
    pub async fn ask(
        &self,
        authenticator: &ForwardAuthenticator,
        parts: &Parts,
        exchange: &Exchange,
    ) -> Result<Answer, AskFault> {
        let answer = timeout(authenticator.timeout, self.exchange(authenticator, parts, exchange));
        answer.await.unwrap_or(Err(AskFault::Timeout))
    }

    async fn exchange(
        &self,
        authenticator: &ForwardAuthenticator,
        parts: &Parts,
        exchange: &Exchange,
    ) -> Result<Answer, AskFault> {
        let target = authenticator.service.next_target().ok_or(AskFault::NoAddress)?;
        let peer = authenticator.service.peer(&target);
        let question = question(authenticator, &target.host, parts, exchange).map_err(|_| AskFault::Reply)?;
        let connector = self.connector.get_or_init(|| connector(POOL_SIZE));
        if let Some(stream) = connector.reused_stream(&peer).await
            && let Ok(session) = send(stream, &peer, question.clone()).await
        {
            return self.settle(session, &peer, authenticator).await;
        }
        let stream = connector.new_stream(&peer).await.map_err(|_| AskFault::Unreachable)?;
        let session = send(stream, &peer, question).await?;
        self.settle(session, &peer, authenticator).await
    }

    /// Reads the answer, and keeps the connection if it can be kept.
    async fn settle(
        &self,
        mut session: HttpSession,
        peer: &HttpPeer,
        authenticator: &ForwardAuthenticator,
    ) -> Result<Answer, AskFault> {
        let answer = match session.resp_header() {
            Some(header) => understood(authenticator, header),
            None => Err(AskFault::Reply),
        };
        if timeout(BODY_PATIENCE, read_off(&mut session)).await == Ok(Ending::Whole) {
            session.respect_keepalive();
            if let (Some(stream), Some(connector)) = (session.reuse().await, self.connector.get()) {
                connector.release_stream(stream, peer.reuse_hash(), Some(POOL_IDLE));
            }
        }
        answer
    }
}

/// What the auth service is asked.
fn question(
    authenticator: &ForwardAuthenticator,
    host: &HeaderValue,
    parts: &Parts,
    exchange: &Exchange,
) -> pingora::Result<RequestHeader> {
    let mut question = RequestHeader::build("GET", authenticator.path.as_bytes(), None)?;
    question.insert_header(HOST, host.clone())?;
    question.insert_header(USER_AGENT, concat!("tollgate/", env!("CARGO_PKG_VERSION")))?;
    for name in &authenticator.request_headers {
        for value in parts.headers.get_all(name) {
            // Also in place of our own, where it is the client's that is asked for.
            match *name == USER_AGENT {
                true => question.insert_header(name, value.clone())?,
                false => question.append_header(name, value.clone()).map(|_| ())?,
            }
        }
    }
    let said = |name: &HeaderName| parts.headers.get(name).filter(|_| exchange.peer == Peer::Trusted);
    let proto = scheme(&parts.headers, exchange);
    question.insert_header(FORWARDED_METHOD, parts.method.as_str())?;
    question.insert_header(FORWARDED_PROTO, proto)?;
    if let Some(host) = said(&FORWARDED_HOST).or_else(|| parts.headers.get(HOST)) {
        question.insert_header(FORWARDED_HOST, host.clone())?;
    }
    let uri = parts.uri.path_and_query().map_or("/", |uri| uri.as_str());
    question.insert_header(FORWARDED_URI, uri)?;
    question.insert_header(FORWARDED_FOR, exchange.client.value())?;
    question.insert_header(X_REQUEST_ID, exchange.id.value())?;
    if let Some(trace) = &exchange.trace {
        question.insert_header(TRACEPARENT, trace.of_step(Step::Authenticate).value())?;
    }
    Ok(question)
}

/// Sends the question and reads the header of the answer.
async fn send(stream: Stream, peer: &HttpPeer, question: RequestHeader) -> Result<HttpSession, AskFault> {
    let mut session = HttpSession::new_with_options(stream, peer);
    session.write_request_header(Box::new(question)).await.map_err(|_| AskFault::Reply)?;
    for _ in 0..=MAX_INTERIM {
        session.read_response().await.map_err(|_| AskFault::Reply)?;
        if session.get_headers_raw_bytes().len() > MAX_HEADER {
            return Err(AskFault::Reply);
        }
        if session.get_status().is_some_and(|status| !status.is_informational()) {
            return Ok(session);
        }
    }
    Err(AskFault::Reply)
}

fn understood(authenticator: &ForwardAuthenticator, header: &ResponseHeader) -> Result<Answer, AskFault> {
    match header.status {
        status if status.is_success() => match authenticator.consumer(&header.headers) {
            Ok(consumer) => Ok(Answer::Known(Box::new(consumer))),
            Err(Nameless::Consumer) => Err(AskFault::Consumer),
            Err(Nameless::Plan) => Err(AskFault::Plan),
            Err(Nameless::TooLarge) => Err(AskFault::Reply),
        },
        StatusCode::UNAUTHORIZED => {
            Ok(Answer::Unknown(header.headers.get_all(WWW_AUTHENTICATE).iter().cloned().collect()))
        }
        StatusCode::FORBIDDEN => Ok(Answer::Forbidden),
        other => Err(AskFault::Status(other.as_u16())),
    }
}

/// How the body of an answer ended.
#[derive(PartialEq)]
enum Ending {
    Whole,
    /// Too long, or broken off.
    Cut,
}

async fn read_off(session: &mut HttpSession) -> Ending {
    let mut read = 0;
    loop {
        match session.read_body_ref().await {
            Ok(None) => return Ending::Whole,
            Ok(Some(chunk)) if read + chunk.len() <= MAX_BODY => read += chunk.len(),
            Ok(Some(_)) | Err(_) => return Ending::Cut,
        }
    }
}
