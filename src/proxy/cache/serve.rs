//! Answers from what is stored: their header, and their body while it may still be coming.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};

use crate::gateway::Route;
use crate::policy::cache::condition::{self, Part};

use super::super::State;
use super::super::exchange::Exchange;
use super::super::guard::Watch;
use super::super::guard::date::{self, Date};
use super::super::reply;
use super::super::reply::compress::{self, Compressor};
use super::body::Reader;
use super::stored::Stored;

/// `Cache-Status`
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Fields that an answer has beyond the stored ones: age, status, length, id, and pingora's own two.
const ADDED: usize = 6;

/// An answer that can be written, now or bit by bit.
pub struct Answer {
    header: ResponseHeader,
    body: Option<Reader>,
    /// Of the body, where not all of it.
    left: Option<u64>,
    /// Its end cannot be told but by closing the connection.
    ends_connection: bool,
    /// When the reply was made.
    date: Option<Date>,
    /// The client's connection.
    watch: Option<Arc<Watch>>,
    /// What is stored is as its service sent it; some clients get it compressed.
    compressor: Option<Box<Compressor>>,
}

/// The answer to a request from what is stored for it.
pub fn answer(
    state: &State,
    stored: &Stored,
    request: &Parts,
    exchange: &Exchange,
    route: &Route,
    status: HeaderValue,
    now: Instant,
) -> Result<Answer> {
    let is_head = request.method == Method::HEAD;
    let mut parts = Response::new(()).into_parts().0;
    parts.status = stored.status;
    parts.headers = stored.headers.clone();
    parts.headers.reserve(ADDED + exchange.trail.held.as_ref().map_or(0, |held| held.fields.len()));
    let age = stored.lasting.age_after(now.saturating_duration_since(stored.came));
    parts.headers.insert(AGE, HeaderValue::from(age));
    let (mut from, mut left) = (0, None);
    let mut ends_connection = false;
    let mut has_body = !matches!(stored.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if stored.status.is_success() && condition::is_known(&request.headers, &stored.headers) {
        parts.status = StatusCode::NOT_MODIFIED;
        // They describe a body that a 304 does not have.
        for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_RANGE] {
            parts.headers.remove(name);
        }
        has_body = false;
    } else if let Some(length) = stored.body.length().filter(|_| has_body) {
        let part = match stored.status == StatusCode::OK && !is_head {
            true => condition::part(&request.headers, &stored.headers, length),
            false => Part::Whole,
        };
        let sent = match part {
            Part::Whole => length,
            Part::Bytes(first, last) => {
                parts.status = StatusCode::PARTIAL_CONTENT;
                insert_range(&mut parts.headers, Some((first, last)), length);
                (from, left) = (first, Some(last + 1 - first));
                last + 1 - first
            }
            Part::Beyond => {
                parts.status = StatusCode::RANGE_NOT_SATISFIABLE;
                insert_range(&mut parts.headers, None, length);
                has_body = false;
                0
            }
        };
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(sent));
    } else if has_body {
        match request.version {
            Version::HTTP_10 => ends_connection = true,
            _ => drop(parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
        }
    }
    parts.headers.append(CACHE_STATUS, status);
    reply::dress(&mut parts.headers, exchange, route);
    if let Some(cors) = &route.cors {
        cors.say(&request.method, &request.headers, &mut parts.headers);
    }
    let compressor = route
        .compression
        .as_ref()
        .and_then(|rules| compress::begin(rules, request, parts.status, &mut parts.headers, state, exchange));
    if compressor.is_some() {
        // How long it becomes is not known before its end.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let body = match has_body && !is_head {
        true => Some(stored.body.read(from).ok_or_else(gone)?),
        false => None,
    };
    let date = parts.headers.get(DATE).and_then(|date| date::of(date.as_bytes()));
    let watch = exchange.watch.clone();
    Ok(Answer { header: ResponseHeader::from(parts), body, left, ends_connection, date, watch, compressor })
}

fn insert_range(headers: &mut HeaderMap, part: Option<(u64, u64)>, length: u64) {
    let text = match part {
        Some((first, last)) => format!("bytes {first}-{last}/{length}"),
        None => format!("bytes */{length}"),
    };
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        headers.insert(CONTENT_RANGE, value);
    }
}

fn gone() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "the stored body has gone")
}

impl Answer {
    /// Its header, as it is written.
    pub fn header(&self) -> &ResponseHeader {
        &self.header
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the client cannot be written to, or the body breaks off. The connection ends then.
    pub async fn write(self, session: &mut ServerSession) -> Result<()> {
        let watch = self.watch.clone();
        let comes = self.body.as_ref().is_some_and(|body| body.whole().is_none());
        if let Some(watch) = watch.as_ref().filter(|_| comes) {
            watch.send_at_once(true);
        }
        let written = self.write_on(session).await;
        if let Some(watch) = watch.filter(|_| comes) {
            watch.send_at_once(false);
        }
        if written.is_err() {
            session.set_keepalive(None);
        }
        written
    }

    async fn write_on(self, session: &mut ServerSession) -> Result<()> {
        let Self { mut header, body, mut left, ends_connection, date, watch, mut compressor } = self;
        if let (Some(date), Some(watch)) = (date, watch) {
            watch.set_date(date);
        }
        if let Some(whole) = body.as_ref().filter(|_| compressor.is_none()).and_then(Reader::whole)
            && header.remove_header(&TRANSFER_ENCODING).is_some()
        {
            // It was not known how long it is when the header was made.
            header.insert_header(CONTENT_LENGTH, HeaderValue::from(whole))?;
        }
        if ends_connection {
            session.set_keepalive(None);
        }
        session.write_response_header(Box::new(header)).await.map_err(|error| error.into_down())?;
        let Some(mut body) = body else { return session.finish_body().await };
        while left != Some(0) {
            let piece = body.next().await.map_err(|_| broken())?;
            let Some(mut piece) = piece else { break };
            if let Some(left) = &mut left {
                piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= piece.len() as u64;
            }
            if let Some(compressor) = &mut compressor {
                let mut packed = Some(piece);
                compressor.pass(&mut packed, false)?;
                piece = packed.unwrap_or_default();
            }
            if !piece.is_empty() {
                session.write_response_body(piece, false).await.map_err(|error| error.into_down())?;
            }
        }
        if let Some(mut compressor) = compressor {
            let rest = compressor.end()?;
            session.write_response_body(rest, false).await.map_err(|error| error.into_down())?;
        }
        session.finish_body().await.map_err(|error| error.into_down())
    }
}

fn broken() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the reply that others share broke off").into_up()
}
