//! Request bodies that are read whole before the service is contacted.
//!
//! pingora connects to the service before it lets a filter see the first byte of a body, and a body read earlier is
//! lost to it. So a checked body is read here, within a deadline and a process-wide memory budget, and then the
//! session is [swapped](swap_in) for [`Substituted`], a session that presents the checked bytes as a replayable body,
//! lets a [`Hold`] decide when a reply is written, and passes everything else to the real one. [`swap_out`] puts the real session back before pingora decides
//! whether the connection is kept alive: it must run first in `logging` and in `fail_to_proxy`.
//!
//! The trait behind this is public in pingora, but not promised to be stable; the integration test
//! `bodies::a_checked_body_of_any_size_arrives_whole` guards the pinned version.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap};
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::{Digest, l4::socket::SocketAddr};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::policy::rejection::{Malformed, Rejection};

use super::reply::model::Hold;

/// The memory that bodies under check may take, all requests together.
#[derive(Debug, Default)]
pub struct BodyMemory {
    used: AtomicU64,
}

/// Memory that can grow within the budget of all bodies under check.
#[derive(Debug)]
pub struct Lease {
    /// What is taken.
    pub memory: Reservation,
    /// The budget, in bytes.
    pub budget: u64,
}

/// A part of [`BodyMemory`], given back on drop.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<BodyMemory>,
    bytes: u64,
}

impl BodyMemory {
    /// An empty reservation.
    pub fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { memory: Arc::clone(self), bytes: 0 }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Takes more, as long as all reservations together stay within `budget` bytes.
    fn grow_to(&mut self, bytes: u64, budget: u64) -> Result<(), Rejection> {
        let more = bytes.saturating_sub(self.bytes);
        let grow = |used: u64| used.checked_add(more).filter(|&total| total <= budget);
        match self.memory.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow) {
            Ok(_) => {
                self.bytes += more;
                Ok(())
            }
            Err(_) => Err(Rejection::BodyMemory),
        }
    }
}

impl Lease {
    /// Takes more, if there is any.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), Rejection> {
        self.memory.grow_to(bytes, self.budget)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bounds on reading one body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// The route's `max_body`, in bytes.
    pub max: u64,
    /// For the whole body.
    pub deadline: Duration,
    /// The budget of all bodies under check, in bytes.
    pub memory: u64,
}

/// What to do with the bytes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Hold them for checking.
    All,
    /// Read them off the connection, so that it can be kept alive.
    Nothing,
}

/// Reads a whole body.
///
/// # Errors
/// Too large, too slow, no memory, or not framed as HTTP wants it.
pub async fn read(
    session: &mut Session,
    keep: Keep,
    limits: BodyLimits,
    held: &mut Reservation,
) -> Result<Bytes, Rejection> {
    let declared = declared_length(&session.req_header().headers);
    if declared.is_some_and(|length| length > limits.max) {
        return Err(Rejection::BodyTooLarge(limits.max));
    }
    let read = read_within(session, keep, limits, declared, held);
    tokio::time::timeout(limits.deadline, read).await.unwrap_or(Err(Rejection::BodyTimeout))
}

async fn read_within(
    session: &mut Session,
    keep: Keep,
    limits: BodyLimits,
    declared: Option<u64>,
    held: &mut Reservation,
) -> Result<Bytes, Rejection> {
    if keep == Keep::All
        && let Some(length) = declared
    {
        held.grow_to(length, limits.memory)?;
    }
    if session.req_header().headers.contains_key(EXPECT) {
        // pingora takes the 100 for an early answer and would close the connection after the request.
        let keepalive = session.get_keepalive();
        session.write_continue_response().await.map_err(|error| body_fault(&error))?;
        session.set_keepalive(keepalive);
    }
    let mut whole = BytesMut::new();
    let mut length = 0_u64;
    while let Some(chunk) = session.read_request_body().await.map_err(|error| body_fault(&error))? {
        length += chunk.len() as u64;
        if length > limits.max {
            return Err(Rejection::BodyTooLarge(limits.max));
        }
        if keep == Keep::Nothing {
            continue;
        }
        held.grow_to(length, limits.memory)?;
        if whole.is_empty() {
            whole.reserve(usize::try_from(declared.unwrap_or_default()).unwrap_or_default());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The Content-Length of a request, where it has one.
pub fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn body_fault(error: &Error) -> Rejection {
    match error.etype() {
        ErrorType::ReadTimedout => Rejection::BodyTimeout,
        _ => Rejection::Malformed(Malformed::Message),
    }
}

/// Where the real session waits while a [`Substituted`] one stands in.
pub type Slot = Arc<Mutex<Option<Box<ServerSession>>>>;

/// Lets `body`, if there is one, stand for what the client sent, and `hold` decide on the reply.
pub fn swap_in(session: &mut Session, body: Option<Bytes>, hold: Option<Arc<Hold>>) -> Slot {
    let slot = Slot::default();
    let real = std::mem::replace(&mut session.downstream_session, placeholder());
    let substituted = Substituted { real: Some(real), body, hold, slot: Arc::clone(&slot) };
    *session.downstream_session = ServerSession::new_custom(Box::new(substituted));
    slot
}

/// Puts the real session back.
pub fn swap_out(session: &mut Session, slot: &Slot) {
    // Dropping the substitute hands the real session over.
    *session.downstream_session = ServerSession::new_custom(Box::new(()));
    if let Some(real) = slot.lock().take() {
        session.downstream_session = real;
    }
}

fn placeholder() -> Box<ServerSession> {
    Box::new(ServerSession::new_custom(Box::new(())))
}

/// A session whose body has been read, checked and rewritten, or whose reply is not written as it comes.
struct Substituted {
    /// Present until drop.
    real: Option<Box<ServerSession>>,
    /// Absent: the client's own, as it comes.
    body: Option<Bytes>,
    hold: Option<Arc<Hold>>,
    slot: Slot,
}

impl Substituted {
    fn real(&self) -> &ServerSession {
        self.real.as_ref().expect("the real session is taken out only by drop")
    }

    fn real_mut(&mut self) -> &mut ServerSession {
        self.real.as_mut().expect("the real session is taken out only by drop")
    }
}

impl Drop for Substituted {
    fn drop(&mut self) {
        *self.slot.lock() = self.real.take();
    }
}

type MessageReader = Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

#[async_trait]
impl CustomSession for Substituted {
    fn is_body_done(&mut self) -> bool {
        self.body.is_some() || self.real_mut().is_body_done()
    }

    fn is_body_empty(&mut self) -> bool {
        match &self.body {
            Some(body) => body.is_empty(),
            None => self.real_mut().is_body_empty(),
        }
    }

    fn enable_retry_buffering(&mut self) {
        if self.body.is_none() {
            self.real_mut().enable_retry_buffering();
        }
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.body.is_none() && self.real().retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        match &self.body {
            Some(body) => (!body.is_empty()).then(|| body.clone()),
            None => self.real().get_retry_buffer(),
        }
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        match &self.body {
            Some(_) => Ok(None),
            None => self.real_mut().read_request_body().await,
        }
    }

    /// Once the body is read, what is left to notice is a client that leaves.
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let read = no_body_expected || self.body.is_some();
        self.real_mut().read_body_or_idle(read).await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.real_mut().drain_request_body().await
    }

    async fn finish(&mut self) -> Result<()> {
        self.real_mut().finish_body().await
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<MessageReader> {
        None
    }

    fn restore_custom_message_reader(&mut self, _reader: MessageReader) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }

    // From here on everything is the real session's.

    fn req_header(&self) -> &RequestHeader {
        self.real().req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.real_mut().req_header_mut()
    }

    async fn write_response_header(&mut self, header: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.real_mut().write_response_header(header).await
    }

    async fn write_response_header_ref(&mut self, header: &ResponseHeader, _end: bool) -> Result<()> {
        self.real_mut().write_response_header_ref(header).await
    }

    async fn write_body(&mut self, bytes: Bytes, end: bool) -> Result<()> {
        self.real_mut().write_response_body(bytes, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.real_mut().write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let tasks = match &self.hold {
            Some(hold) => hold.pass(tasks)?,
            None => Some(tasks),
        };
        match tasks {
            Some(tasks) => self.real_mut().response_duplex_vec(tasks).await,
            None => Ok(false),
        }
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.real_mut().set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.real().get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.real_mut().set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.real().get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.real_mut().set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.real().get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.real().request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.real().response_written()
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.real_mut().shutdown().await;
    }

    fn body_bytes_sent(&self) -> usize {
        self.real().body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.real().body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.real().digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.real_mut().digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.real().client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.real().server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.real().to_h1_raw()
    }

    fn is_upgrade_req(&self) -> bool {
        self.real().is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        self.real().was_upgraded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_stay_within_the_budget_and_come_back() {
        let memory = Arc::new(BodyMemory::default());
        let mut first = memory.reserve();
        let mut second = memory.reserve();
        first.grow_to(60, 100).unwrap();
        first.grow_to(60, 100).unwrap();
        assert!(second.grow_to(41, 100).is_err());
        second.grow_to(40, 100).unwrap();
        assert_eq!(memory.used(), 100);
        drop(first);
        assert_eq!(memory.used(), 40);
        second.grow_to(100, 100).unwrap();
        assert!(second.grow_to(u64::MAX, 100).is_err());
        drop(second);
        assert_eq!(memory.used(), 0);
    }
}
