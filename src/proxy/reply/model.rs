//! Replies that are checked before the client sees any of them.
//!
//! Where a route has a `response_model`, a successful JSON reply is held, header and body, until it is whole; then it
//! is checked, what the model does not name is removed, and it leaves with its exact length. A reply that does not fit
//! is answered with 502; which rule it broke is in the access line, as places and types, never values. Every other
//! reply streams through: other statuses and media types, answers to HEAD, 204, 304.
//!
//! At most [`MAX_REPLY`] bytes are held for one reply, out of the memory that bodies under check share (`guard:
//! body_memory`); how long a service may take is said by its own timeouts. Services are asked for the whole reply
//! without a coding, since neither a part nor a coded body can be checked.
//!
//! pingora has no phase that could hold a header. So the session that the client's replies are written to is
//! [substituted](super::super::body::swap_in) on such routes and asks a [`Hold`] what to write.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_RANGE, RANGE, TRANSFER_ENCODING,
};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::{Error, Result};

use crate::gateway::Route;
use crate::policy::contract::{LocPart, ReplyModel, Violation, is_json};
use crate::policy::rejection::Rejection;

use super::super::answer::Prepared;
use super::super::body::{Full, Lease, declared_length};
use super::compress::Compressor;

/// The largest reply that is checked, in bytes.
pub const MAX_REPLY: u64 = 8 << 20;

/// Most broken rules that an access line names.
const MOST_NAMED: usize = 10;

/// Describe the bytes that the service sent, not those that the client gets.
const OF_THE_BYTES: [HeaderName; 6] = [
    ETAG,
    ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// What becomes of the reply of one request.
#[derive(Default)]
pub struct Hold(Mutex<State>);

#[derive(Default)]
enum State {
    /// It passes as it comes.
    #[default]
    Passing,
    /// It is held until it is whole.
    Holding(Box<Held>),
    /// It cannot be used.
    Refused(Fault),
}

struct Held {
    route: Arc<Route>,
    header: Option<Box<ResponseHeader>>,
    body: BytesMut,
    memory: Lease,
    /// What is answered instead of a reply that cannot be used.
    instead: Prepared,
    /// What the header says already.
    doomed: Option<Fault>,
    /// Compresses the checked body, where that is done.
    compressor: Option<Box<Compressor>>,
}

/// Why a reply cannot be used.
#[derive(Debug)]
pub enum Fault {
    /// It violates the model.
    Violations(Vec<Violation>),
    /// It is larger than [`MAX_REPLY`].
    TooLarge,
    /// It has a content coding that nobody asked for.
    Coded,
    /// Too many bodies are being checked.
    Memory,
}

/// Asks the service for a reply that can be checked.
pub fn ask(headers: &mut HeaderMap, route: &Route) {
    if route.response_model.is_some() {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(RANGE);
        headers.remove(IF_RANGE);
    }
}

/// Whether a reply is one that a model is for.
pub fn concerns(method: &Method, header: &ResponseHeader) -> bool {
    *method != Method::HEAD && is_modelled(header)
}

fn is_modelled(header: &ResponseHeader) -> bool {
    header.status.is_success() && header.status != StatusCode::NO_CONTENT && is_json(&header.headers)
}

/// Takes out of the answer to a HEAD what the checked reply to a GET may have otherwise (RFC 9110 section 8.6): nobody
/// knows how much of it the model would leave.
pub fn edit_head(method: &Method, header: &mut ResponseHeader) {
    if *method == Method::HEAD && is_modelled(header) {
        OF_THE_BYTES.iter().chain([&CONTENT_LENGTH]).for_each(|name| drop(header.remove_header(name)));
    }
}

/// Takes out what describes the bytes of a reply that is going to be checked.
pub fn forget_bytes(headers: &mut HeaderMap) {
    OF_THE_BYTES.iter().for_each(|name| drop(headers.remove(name)));
}

impl Hold {
    /// Holds the reply that begins with this header.
    pub fn begin(&self, route: &Arc<Route>, header: &ResponseHeader, memory: Lease, instead: Prepared) {
        let coded = |value: &HeaderValue| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
        let doomed = if header.headers.get_all(CONTENT_ENCODING).iter().any(coded) {
            Some(Fault::Coded)
        } else if declared_length(&header.headers).is_some_and(|length| length > MAX_REPLY) {
            Some(Fault::TooLarge)
        } else {
            None
        };
        let (route, header, body, compressor) = (Arc::clone(route), None, BytesMut::new(), None);
        let held = Held { route, header, body, memory, instead, doomed, compressor };
        *self.0.lock() = State::Holding(Box::new(held));
    }

    /// Has a reply compressed once it is checked. Comes back where none is held.
    pub fn compress(&self, compressor: Box<Compressor>) -> Option<Box<Compressor>> {
        match &mut *self.0.lock() {
            State::Holding(held) => {
                held.compressor = Some(compressor);
                None
            }
            State::Passing | State::Refused(_) => Some(compressor),
        }
    }

    /// What is to be written now that these parts have come; nothing yet while the reply is held.
    ///
    /// # Errors
    /// When the reply broke off.
    pub fn pass(&self, parts: Vec<HttpTask>) -> Result<Option<Vec<HttpTask>>> {
        let mut state = self.0.lock();
        let held = match &mut *state {
            State::Passing => return Ok(Some(parts)),
            // The answer has been written.
            State::Refused(_) => return Ok(Some(vec![HttpTask::Done])),
            State::Holding(held) => held,
        };
        match held.take(parts) {
            Ok(Taken::More) => Ok(None),
            Ok(Taken::Interim(parts)) => Ok(Some(parts)),
            Ok(Taken::Whole(parts)) => {
                *state = State::Passing;
                Ok(Some(parts))
            }
            Err(Broken::Cut(error)) => Err(error),
            Err(Broken::Fault(fault)) => {
                let (header, body) = held.instead.answer(&fault.rejection())?;
                *state = State::Refused(fault);
                Ok(Some(vec![HttpTask::Header(Box::new(header), false), HttpTask::Body(Some(body), true)]))
            }
        }
    }

    /// Why the reply was refused, if it was.
    pub fn take_fault(&self) -> Option<Fault> {
        match std::mem::take(&mut *self.0.lock()) {
            State::Refused(fault) => Some(fault),
            State::Passing | State::Holding(_) => None,
        }
    }
}

/// How far a held reply is.
enum Taken {
    More,
    /// Informational responses, which are not held.
    Interim(Vec<HttpTask>),
    Whole(Vec<HttpTask>),
}

enum Broken {
    Cut(Box<Error>),
    Fault(Fault),
}

impl Held {
    fn take(&mut self, parts: Vec<HttpTask>) -> Result<Taken, Broken> {
        let mut interim = Vec::new();
        for part in parts {
            let ends = part.is_end();
            match part {
                HttpTask::Header(header, _) if header.status.is_informational() => {
                    interim.push(HttpTask::Header(header, false));
                    continue;
                }
                HttpTask::Header(..) if self.doomed.is_some() => {
                    return Err(self.doomed.take().map_or(Broken::Fault(Fault::TooLarge), Broken::Fault));
                }
                HttpTask::Header(header, _) => self.header = Some(header),
                HttpTask::Body(Some(chunk), _) => self.append(&chunk)?,
                HttpTask::Failed(error) => return Err(Broken::Cut(error)),
                HttpTask::Body(None, _) | HttpTask::Trailer(_) | HttpTask::Done | HttpTask::UpgradedBody(..) => {}
            }
            if ends {
                return self.finish().map(Taken::Whole);
            }
        }
        Ok(if interim.is_empty() { Taken::More } else { Taken::Interim(interim) })
    }

    fn append(&mut self, chunk: &Bytes) -> Result<(), Broken> {
        let length = self.body.len() as u64 + chunk.len() as u64;
        if length > MAX_REPLY {
            return Err(Broken::Fault(Fault::TooLarge));
        }
        self.memory.grow_to(length).map_err(|Full| Broken::Fault(Fault::Memory))?;
        self.body.extend_from_slice(chunk);
        Ok(())
    }

    /// The checked reply. A header that never came leaves nothing to write.
    fn finish(&mut self) -> Result<Vec<HttpTask>, Broken> {
        let (Some(mut header), Some(model)) = (self.header.take(), &self.route.response_model) else {
            return Ok(vec![HttpTask::Done]);
        };
        let body = checked(model, &self.body).map_err(Broken::Fault)?;
        header.remove_header(&TRANSFER_ENCODING);
        if body != self.body {
            OF_THE_BYTES.iter().for_each(|name| drop(header.remove_header(name)));
        }
        let body = match &mut self.compressor {
            Some(compressor) => compressor.whole(body).map_err(Broken::Cut)?,
            None => body,
        };
        // A number is always a header's value.
        let _ = header.insert_header(CONTENT_LENGTH, HeaderValue::from(body.len()));
        Ok(vec![HttpTask::Header(header, false), HttpTask::Body(Some(body), true)])
    }
}

fn checked(model: &ReplyModel, body: &[u8]) -> Result<Bytes, Fault> {
    model.check(body).map_err(Fault::Violations)
}

impl Fault {
    /// What the client is told.
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::Violations(_) | Self::TooLarge | Self::Coded => Rejection::BadReply,
            Self::Memory => Rejection::BodyMemory,
        }
    }

    /// What the access line says: places and types, never values.
    pub fn cause(&self) -> String {
        let violations = match self {
            Self::Violations(violations) => violations,
            Self::TooLarge => return format!("reply is larger than {MAX_REPLY} bytes"),
            Self::Coded => return "reply has a content coding".to_owned(),
            Self::Memory => return "no memory for the reply".to_owned(),
        };
        let mut text = "reply violates its model:".to_owned();
        for (index, violation) in violations.iter().take(MOST_NAMED).enumerate() {
            text.push_str(if index == 0 { " " } else { ", " });
            for (step, part) in violation.loc.0.iter().enumerate() {
                let dot = if step == 0 { "" } else { "." };
                // Writing to a string cannot fail.
                let _ = match part {
                    LocPart::Text(name) => write!(text, "{dot}{name}"),
                    LocPart::Index(index) => write!(text, "{dot}{index}"),
                };
            }
            let _ = write!(text, " {}", violation.kind.code());
        }
        if violations.len() > MOST_NAMED {
            let _ = write!(text, " and {} more", violations.len() - MOST_NAMED);
        }
        text
    }
}
