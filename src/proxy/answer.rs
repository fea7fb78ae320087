//! Answers that the gateway writes itself.
//!
//! pingora's own error answers close the connection; these keep it, so that a flood of 401 or 429 does not become a
//! flood of handshakes. A body that the client is still sending is read off when it is short, otherwise the
//! connection closes after the answer.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode, Version};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;

use crate::gateway::docs;
use crate::policy::grpc;
use crate::policy::limit::headers::Fields;
use crate::policy::rejection::{Format, Malformed, Names, REDIRECTED, Rejection, X_REQUEST_ID};
use crate::policy::trace_context::TraceId;

use super::body::declared_length;
use super::client::RequestId;
use super::exchange::Exchange;

/// Longest unread body that is read off to keep a connection, in bytes.
const DRAIN_BYTES: u64 = 256 * 1024;

/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Answers with a rejection.
///
/// # Errors
/// When the client cannot be written to.
pub async fn reject(session: &mut Session, exchange: &mut Exchange, rejection: &Rejection) -> Result<()> {
    exchange.rejected = Some(rejection.code());
    if let Some(call) = &mut exchange.grpc {
        call.status = Some(grpc::code(rejection) as u32);
    }
    if matches!(rejection, Rejection::Malformed(_) | Rejection::BodyTimeout | Rejection::TransferCoding) {
        // Where the next request begins cannot be known.
        session.set_keepalive(None);
    }
    let (header, body) = Prepared::of(session, exchange).answer(rejection)?;
    write(session, header, body).await
}

/// Ends a call of gRPC that the service has begun to answer.
///
/// # Errors
/// When the client cannot be written to.
pub async fn end_call(session: &mut Session, exchange: &mut Exchange, rejection: &Rejection) -> Result<()> {
    if let Some(call) = &mut exchange.grpc {
        call.status = Some(grpc::code(rejection) as u32);
    }
    session.as_downstream_mut().write_response_trailers(grpc::trailers(rejection)).await
}

/// Answers an OPTIONS request that goes to no service with these fields.
///
/// # Errors
/// When the client cannot be written to.
pub async fn options(session: &mut Session, exchange: &mut Exchange, headers: HeaderMap) -> Result<()> {
    let header = built(StatusCode::NO_CONTENT.as_u16(), headers, exchange.id.value(), Some(0))?;
    write(session, header, Bytes::new()).await
}

/// Answers with another address, for good; the method and the body are to be sent there again.
///
/// # Errors
/// When the client cannot be written to.
pub async fn redirect(session: &mut Session, exchange: &mut Exchange, location: HeaderValue) -> Result<()> {
    exchange.rejected = Some(REDIRECTED);
    let headers = [(LOCATION, location)].into_iter().collect();
    let header = built(StatusCode::PERMANENT_REDIRECT.as_u16(), headers, exchange.id.value(), Some(0))?;
    write(session, header, Bytes::new()).await
}

/// Answers with a page of the API's description.
///
/// # Errors
/// When the client cannot be written to.
pub async fn page(session: &mut Session, exchange: &mut Exchange, page: docs::Answer) -> Result<()> {
    let header = built(page.status, page.headers, exchange.id.value(), Some(page.body.len()))?;
    write(session, header, page.body).await
}

/// What is known of a request when its answer is not decided yet.
pub struct Prepared {
    format: Format,
    is_grpc: bool,
    instance: String,
    id: RequestId,
    trace: Option<TraceId>,
    limits: Fields,
    /// What pages of other origins may do with it.
    cors: HeaderMap,
}

impl Prepared {
    /// Takes down what an answer needs.
    pub fn of(session: &Session, exchange: &Exchange) -> Self {
        let request = session.req_header();
        let mut cors = HeaderMap::new();
        if let Some(rules) = exchange.cors() {
            rules.say(&request.method, &request.headers, &mut cors);
        }
        Self {
            cors,
            format: exchange.gateway.format,
            is_grpc: exchange.grpc.is_some(),
            instance: request.uri.path().to_owned(),
            id: exchange.id.clone(),
            trace: exchange.trace.as_ref().map(|trace| trace.id),
            limits: exchange.trail.held.as_ref().map(|held| held.fields.clone()).unwrap_or_default(),
        }
    }

    /// Header and body of a rejection.
    ///
    /// # Errors
    /// When a value cannot be a header, which is an error of the gateway.
    pub fn answer(&self, rejection: &Rejection) -> Result<(ResponseHeader, Bytes)> {
        if self.is_grpc {
            let header = built(200, self.with_context(rejection, grpc::fields(rejection)), self.id.value(), None)?;
            return Ok((header, Bytes::new()));
        }
        let names = Names { instance: &self.instance, request_id: self.id.as_str(), trace_id: self.trace };
        let (body, media_type) = rejection.body(self.format, &names);
        let mut headers = HeaderMap::new();
        rejection.headers(&mut headers);
        let mut headers = self.with_context(rejection, headers);
        headers.insert(CONTENT_TYPE, media_type);
        let header = built(rejection.status(self.format), headers, self.id.value(), Some(body.len()))?;
        Ok((header, body.into()))
    }

    /// Beside what a rejection says itself: what is known of limits, and what pages may do with it.
    fn with_context(&self, rejection: &Rejection, mut headers: HeaderMap) -> HeaderMap {
        if !matches!(rejection, Rejection::Limited(_)) {
            headers.extend(self.limits.iter().cloned());
        }
        headers.extend(self.cors.clone());
        headers
    }
}

/// The header of an answer; with the length of its body, where it has one.
fn built(status: u16, headers: HeaderMap, id: HeaderValue, length: Option<usize>) -> Result<ResponseHeader> {
    let mut response = ResponseHeader::build_no_case(status, Some(headers.len() + 4))?;
    let mut last = None;
    for (name, value) in headers {
        // A repeated field comes with its name only once.
        last = name.or(last);
        if let Some(name) = &last {
            response.append_header(name, value)?;
        }
    }
    response.insert_header(X_REQUEST_ID, id)?;
    let has_body = ![StatusCode::NO_CONTENT.as_u16(), StatusCode::NOT_MODIFIED.as_u16()].contains(&status);
    if let Some(length) = length.filter(|_| has_body) {
        response.insert_header(CONTENT_LENGTH, HeaderValue::from(length))?;
    }
    Ok(response)
}

async fn write(session: &mut Session, response: ResponseHeader, body: Bytes) -> Result<()> {
    let unread = settle_unread_body(session);
    let without_body = body.is_empty() || session.req_header().method == Method::HEAD;
    if session.req_header().version == Version::HTTP_2 {
        // In one piece: the end of the answer is said with the last of it, for gRPC that is the header.
        let mut parts = vec![HttpTask::Header(Box::new(response), without_body)];
        parts.extend((!without_body).then(|| HttpTask::Body(Some(body), true)));
        return session.as_downstream_mut().response_duplex_vec(parts).await.map(drop);
    }
    session.write_response_header(Box::new(response), without_body).await?;
    if !without_body {
        session.write_response_body(Some(body), true).await?;
    }
    if unread == Unread::ReadOff {
        session.as_mut().finish_body().await?;
        // Here, and not by pingora after the log line: the guard would take these bytes for a next header.
        if session.as_mut().drain_request_body().await.is_err() {
            session.set_keepalive(None);
        }
    }
    Ok(())
}

/// What becomes of the rest of a body after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// There is none, or it ends the connection (pingora's default).
    Left,
    /// It is read, so that the connection can be kept.
    ReadOff,
}

fn settle_unread_body(session: &mut Session) -> Unread {
    if session.is_body_done() || session.get_keepalive().is_none() {
        return Unread::Left;
    }
    let headers = &session.req_header().headers;
    let short = declared_length(headers).is_some_and(|length| length <= DRAIN_BYTES);
    // A client that waits for 100 may send the body or not: it cannot be told from a next request.
    if !short || headers.contains_key(EXPECT) {
        return Unread::Left;
    }
    session.set_close_on_response_before_downstream_finish(false);
    session.set_total_drain_timeout(Some(DRAIN_TIME));
    Unread::ReadOff
}

/// The rejection that stands for an error of pingora, for the client.
pub fn rejection_of(error: &pingora::Error, max_body: u64) -> Rejection {
    use pingora::{ErrorSource, ErrorType};
    match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(413)) => Rejection::BodyTooLarge(max_body),
        (ErrorSource::Upstream, ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
            Rejection::ServiceTimeout
        }
        (
            ErrorSource::Upstream,
            ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::BindError
            | ErrorType::SocketError
            | ErrorType::ConnectProxyFailure,
        ) => Rejection::ServiceDown,
        (ErrorSource::Upstream, _) => Rejection::ServiceReply,
        // The file of an upload, which pingora takes for the client's body.
        (_, ErrorType::FileReadError) => Rejection::Internal,
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => Rejection::BodyTimeout,
        (ErrorSource::Downstream, _) => Rejection::Malformed(Malformed::Message),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Rejection::Internal,
    }
}
