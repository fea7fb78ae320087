//! A session whose body is not the client's, or whose reply is not written as it comes.
//!
//! pingora asks it for a body and gets the checked bytes: whole, as what a retry would send again, or piece by piece
//! from memory and file. A [`Hold`] decides when a reply is written, a [`Relay`] whether it is this reply that the client
//! gets. Everything else goes to the real session, which waits in a [`Slot`].
//!
//! Where the client gets something else that is still coming, a task of its own takes the real session away and writes
//! it, and what stands in for it knows what pingora asks of a session meanwhile.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HeaderMap;
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::{Digest, l4::socket::SocketAddr};
use pingora::proxy::Session;
use pingora::{Error, Result};
use tokio::task::JoinHandle;

use super::super::cache::{Answer, Next, Relay};
use super::super::reply::model::Hold;
use super::spool::Replay;

/// Where the real session waits while a [`Substituted`] one stands in.
pub type Slot = Arc<Mutex<Waiting>>;

/// Where a real session is.
#[derive(Default)]
pub enum Waiting {
    /// With the one that stands in for it.
    #[default]
    Inside,
    /// Here.
    Here(Box<ServerSession>),
    /// With a task that writes to its client, and gives it back.
    Away(JoinHandle<Box<ServerSession>>),
}

/// What stands for the client's body.
pub enum Substitute {
    /// Nothing: it passes as it comes.
    Nothing,
    /// These bytes.
    Whole(Bytes),
    /// Pieces, some of them in a file.
    Replayed(Replay),
}

/// What decides on a reply, besides pingora.
#[derive(Default)]
pub struct Deciding {
    /// When it is written.
    pub hold: Option<Arc<Hold>>,
    /// Whether it is what the client gets.
    pub relay: Option<Arc<Relay>>,
}

/// Lets `body` stand for what the client sent, and others decide on the reply.
pub fn swap_in(session: &mut Session, body: Substitute, deciding: Deciding) -> Slot {
    let slot = Slot::default();
    let real = std::mem::replace(&mut session.downstream_session, placeholder());
    let real = Real::Here(real);
    let substituted = Substituted { real, body, deciding, slot: Arc::clone(&slot), deaf: false };
    *session.downstream_session = ServerSession::new_custom(Box::new(substituted));
    slot
}

/// Puts the real session back, once whoever writes to its client is done.
pub async fn swap_out(session: &mut Session, slot: &Slot) {
    let waiting = std::mem::take(&mut *slot.lock());
    if let Waiting::Away(writes) = waiting {
        // What stands in stays where the task has panicked: its connection is lost.
        if let Ok(real) = writes.await {
            session.downstream_session = real;
        }
        return;
    }
    // Dropping the substitute hands the real session over.
    *session.downstream_session = ServerSession::new_custom(Box::new(()));
    if let Waiting::Here(real) = std::mem::take(&mut *slot.lock()) {
        session.downstream_session = real;
    }
}

fn placeholder() -> Box<ServerSession> {
    Box::new(ServerSession::new_custom(Box::new(())))
}

/// A session whose body has been read, checked and rewritten, or whose reply may be held or be another.
struct Substituted {
    real: Real,
    body: Substitute,
    deciding: Deciding,
    slot: Slot,
    /// The client is not listened to any more: it has left, and the request goes on.
    deaf: bool,
}

/// The real session, or what is known of it.
enum Real {
    Here(Box<ServerSession>),
    Away {
        request: Box<RequestHeader>,
        written: Box<ResponseHeader>,
    },
    /// Given back.
    Nowhere,
}

impl Substituted {
    fn here(&self) -> Option<&ServerSession> {
        match &self.real {
            Real::Here(real) => Some(real),
            Real::Away { .. } | Real::Nowhere => None,
        }
    }

    fn here_mut(&mut self) -> Option<&mut ServerSession> {
        match &mut self.real {
            Real::Here(real) => Some(real),
            Real::Away { .. } | Real::Nowhere => None,
        }
    }

    /// Writes an answer: at once where all of it is there, otherwise while it comes.
    async fn answer(&mut self, answer: Answer, is_whole: bool) -> Result<()> {
        if is_whole {
            return match self.here_mut() {
                Some(real) => answer.write(real).await,
                None => Ok(()),
            };
        }
        let Some(real) = self.here() else { return Ok(()) };
        let away =
            Real::Away { request: Box::new(real.req_header().clone()), written: Box::new(answer.header().clone()) };
        let Real::Here(mut real) = std::mem::replace(&mut self.real, away) else { return Ok(()) };
        let writes = tokio::spawn(async move {
            // A client that has left does not matter to those who share the reply; its session says that it has.
            let _ = answer.write(&mut real).await;
            real
        });
        *self.slot.lock() = Waiting::Away(writes);
        Ok(())
    }

    /// Whether the request goes on when its client leaves.
    fn goes_on_alone(&self) -> bool {
        self.deciding.relay.as_ref().is_some_and(|relay| relay.goes_on_alone())
    }
}

impl Drop for Substituted {
    fn drop(&mut self) {
        if let Real::Here(real) = std::mem::replace(&mut self.real, Real::Nowhere) {
            *self.slot.lock() = Waiting::Here(real);
        }
    }
}

type MessageReader = Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

#[async_trait]
impl CustomSession for Substituted {
    fn is_body_done(&mut self) -> bool {
        match &self.body {
            Substitute::Nothing => self.here_mut().is_none_or(ServerSession::is_body_done),
            Substitute::Whole(_) => true,
            Substitute::Replayed(replay) => replay.is_done(),
        }
    }

    fn is_body_empty(&mut self) -> bool {
        match &self.body {
            Substitute::Nothing => self.here_mut().is_none_or(ServerSession::is_body_empty),
            Substitute::Whole(bytes) => bytes.is_empty(),
            Substitute::Replayed(_) => false,
        }
    }

    /// Said by pingora when it begins with a target: what an earlier one got is sent again.
    fn enable_retry_buffering(&mut self) {
        match &mut self.body {
            Substitute::Nothing => self.here_mut().into_iter().for_each(ServerSession::enable_retry_buffering),
            Substitute::Whole(_) => {}
            Substitute::Replayed(replay) => replay.rewind(),
        }
    }

    fn retry_buffer_truncated(&self) -> bool {
        matches!(self.body, Substitute::Nothing) && self.here().is_some_and(ServerSession::retry_buffer_truncated)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        match &self.body {
            Substitute::Nothing => self.here()?.get_retry_buffer(),
            Substitute::Whole(bytes) => (!bytes.is_empty()).then(|| bytes.clone()),
            Substitute::Replayed(_) => None,
        }
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        match &mut self.body {
            Substitute::Nothing => match self.here_mut() {
                Some(real) => real.read_request_body().await,
                None => Ok(None),
            },
            Substitute::Whole(_) => Ok(None),
            Substitute::Replayed(replay) => replay.next().await,
        }
    }

    /// Once the body is read, what is left to notice is a client that leaves.
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let alone = self.goes_on_alone();
        let real = match &mut self.real {
            Real::Here(real) if !self.deaf || !alone => real,
            Real::Here(_) | Real::Away { .. } | Real::Nowhere => return std::future::pending().await,
        };
        let heard = match &mut self.body {
            Substitute::Replayed(replay) if !no_body_expected => tokio::select! {
                biased;
                left = real.read_body_or_idle(true) => left,
                piece = replay.next() => piece,
            },
            Substitute::Nothing => real.read_body_or_idle(no_body_expected).await,
            Substitute::Whole(_) | Substitute::Replayed(_) => real.read_body_or_idle(true).await,
        };
        match heard {
            Err(error) if alone && !is_impatience(&error) => {
                self.deaf = true;
                std::future::pending().await
            }
            heard => heard,
        }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        match self.here_mut() {
            Some(real) => real.drain_request_body().await,
            None => Ok(()),
        }
    }

    async fn finish(&mut self) -> Result<()> {
        match self.here_mut() {
            Some(real) => real.finish_body().await,
            None => Ok(()),
        }
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

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let tasks = match &self.deciding.hold {
            Some(hold) => hold.pass(tasks)?,
            None => Some(tasks),
        };
        let Some(tasks) = tasks else { return Ok(false) };
        let Some(relay) = self.deciding.relay.clone() else { return self.write(tasks).await };
        let (next, over) = relay.next(tasks)?;
        match next {
            Next::Write(tasks) => return self.write(tasks).await,
            Next::Answer { before, answer } => {
                if !before.is_empty() {
                    self.write(before).await?;
                }
                self.answer(*answer, over).await?;
            }
            Next::Nothing => {}
        }
        if let Some(stored) = relay.pace() {
            stored.body.room().await;
        }
        Ok(over)
    }

    // From here on everything is the real session's, as long as it is here.

    fn req_header(&self) -> &RequestHeader {
        match &self.real {
            Real::Here(real) => real.req_header(),
            Real::Away { request, .. } => request,
            Real::Nowhere => unreachable!("a session is given back by drop alone"),
        }
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        match &mut self.real {
            Real::Here(real) => real.req_header_mut(),
            Real::Away { request, .. } => request,
            Real::Nowhere => unreachable!("a session is given back by drop alone"),
        }
    }

    async fn write_response_header(&mut self, header: Box<ResponseHeader>, _end: bool) -> Result<()> {
        match self.here_mut() {
            Some(real) => real.write_response_header(header).await,
            None => Ok(()),
        }
    }

    async fn write_response_header_ref(&mut self, header: &ResponseHeader, _end: bool) -> Result<()> {
        match self.here_mut() {
            Some(real) => real.write_response_header_ref(header).await,
            None => Ok(()),
        }
    }

    async fn write_body(&mut self, bytes: Bytes, end: bool) -> Result<()> {
        match self.here_mut() {
            Some(real) => real.write_response_body(bytes, end).await,
            None => Ok(()),
        }
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        match self.here_mut() {
            Some(real) => real.write_response_trailers(trailers).await,
            None => Ok(()),
        }
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.here_mut().into_iter().for_each(|real| real.set_read_timeout(timeout));
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.here()?.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.here_mut().into_iter().for_each(|real| real.set_write_timeout(timeout));
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.here()?.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.here_mut().into_iter().for_each(|real| real.set_total_drain_timeout(timeout));
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.here()?.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.here().map(ServerSession::request_summary).unwrap_or_default()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        match &self.real {
            Real::Here(real) => real.response_written(),
            Real::Away { written, .. } => Some(written),
            Real::Nowhere => None,
        }
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        if let Some(real) = self.here_mut() {
            real.shutdown().await;
        }
    }

    fn body_bytes_sent(&self) -> usize {
        self.here().map_or(0, ServerSession::body_bytes_sent)
    }

    fn body_bytes_read(&self) -> usize {
        self.here().map_or(0, ServerSession::body_bytes_read)
    }

    fn digest(&self) -> Option<&Digest> {
        self.here()?.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.here_mut()?.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.here()?.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.here()?.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.here().map(ServerSession::to_h1_raw).unwrap_or_default()
    }

    fn is_upgrade_req(&self) -> bool {
        self.here().is_some_and(ServerSession::is_upgrade_req)
    }

    fn was_upgraded(&self) -> bool {
        self.here().is_some_and(ServerSession::was_upgraded)
    }
}

impl Substituted {
    async fn write(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        match self.here_mut() {
            Some(real) => real.response_duplex_vec(tasks).await,
            None => Ok(tasks.iter().any(HttpTask::is_end)),
        }
    }
}

/// Whether an error says that the patience with the service is over, which is kept below the client's connection.
fn is_impatience(error: &Error) -> bool {
    let cause = error.cause.as_deref().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}
