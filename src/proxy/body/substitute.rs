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
use http::Version;
use http::header::{HeaderMap, TRANSFER_ENCODING};
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::{Digest, l4::socket::SocketAddr};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use tokio::task::JoinHandle;

use super::super::cache::{Answer, Next, Relay};
use super::super::guard::{Awaited, Deadlines, Open};
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
    /// Until when it is waited for, where pingora keeps no time.
    pub deadlines: Option<Deadlines>,
}

/// Lets `body` stand for what the client sent, and others decide on the reply.
pub fn swap_in(session: &mut Session, body: Substitute, deciding: Deciding) -> Slot {
    let slot = Slot::default();
    let real = std::mem::replace(&mut session.downstream_session, placeholder());
    let mut substituted = Substituted::plain(real);
    (substituted.body, substituted.deciding) = (body, deciding);
    substituted.slot = Some(Arc::clone(&slot));
    *session.downstream_session = ServerSession::new_custom(Box::new(substituted));
    slot
}

/// The session of an HTTP/2 stream, which keeps its deadlines.
pub fn of_stream(real: ServerSession, open: Open) -> ServerSession {
    let mut session = Substituted::plain(Box::new(real));
    session.deciding.deadlines = Some(Deadlines::of(open.watch(), None));
    session.open = Some(open);
    ServerSession::new_custom(Box::new(session))
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

/// A session whose body has been read, checked and rewritten, whose reply may be held or be another, or which keeps
/// deadlines that pingora does not keep.
struct Substituted {
    real: Real,
    body: Substitute,
    deciding: Deciding,
    /// Where the real one is put back, where it is.
    slot: Option<Slot>,
    /// Of an HTTP/2 connection.
    open: Option<Open>,
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
    fn plain(real: Box<ServerSession>) -> Self {
        Self {
            real: Real::Here(real),
            body: Substitute::Nothing,
            deciding: Deciding::default(),
            slot: None,
            open: None,
            deaf: false,
        }
    }

    /// All of the answer was written.
    fn answered(&mut self) {
        if let Some(open) = &mut self.open {
            open.answered = true;
        }
    }

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
        let slot = match &self.slot {
            Some(slot) if !is_whole => Arc::clone(slot),
            _ => {
                return match self.here_mut() {
                    Some(real) => answer.write(real).await,
                    None => Ok(()),
                };
            }
        };
        let Some(real) = self.here() else { return Ok(()) };
        let away =
            Real::Away { request: Box::new(real.req_header().clone()), written: Box::new(answer.header().clone()) };
        let Real::Here(mut real) = std::mem::replace(&mut self.real, away) else { return Ok(()) };
        let writes = tokio::spawn(async move {
            // A client that has left does not matter to those who share the reply; its session says that it has.
            let _ = answer.write(&mut real).await;
            real
        });
        *slot.lock() = Waiting::Away(writes);
        Ok(())
    }

    /// Whether the request goes on when its client leaves.
    fn goes_on_alone(&self) -> bool {
        self.deciding.relay.as_ref().is_some_and(|relay| relay.goes_on_alone())
    }
}

impl Drop for Substituted {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot
            && let Real::Here(real) = std::mem::replace(&mut self.real, Real::Nowhere)
        {
            *slot.lock() = Waiting::Here(real);
        }
    }
}

/// Reads within the deadlines, where there are any.
async fn within<T>(
    deadlines: &mut Option<Deadlines>,
    awaited: Awaited,
    read: impl Future<Output = Result<T>>,
) -> Result<T> {
    match deadlines {
        Some(deadlines) => deadlines.keep(awaited, read).await,
        None => read.await,
    }
}

fn end_with_connection(task: &mut HttpTask) {
    if let HttpTask::Header(header, _) = task {
        header.remove_header(&TRANSFER_ENCODING);
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
            Substitute::Nothing => match &mut self.real {
                Real::Here(real) => within(&mut self.deciding.deadlines, Awaited::Body, real.read_request_body()).await,
                Real::Away { .. } | Real::Nowhere => Ok(None),
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
            Substitute::Nothing => {
                let is_read = no_body_expected || real.is_body_done();
                let awaited = if is_read { Awaited::Service } else { Awaited::Body };
                within(&mut self.deciding.deadlines, awaited, real.read_body_or_idle(no_body_expected)).await
            }
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
        let Some(real) = self.here_mut() else { return Ok(()) };
        real.finish_body().await?;
        if self.response_written().is_some() {
            self.answered();
        }
        Ok(())
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

    async fn response_duplex_vec(&mut self, mut tasks: Vec<HttpTask>) -> Result<bool> {
        if self.req_header().version == Version::HTTP_10 {
            // Which knows no chunks; pingora announces them where a service of HTTP/2 gives no length.
            tasks.iter_mut().for_each(end_with_connection);
        }
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
        if let Some(deadlines) = &mut self.deciding.deadlines {
            deadlines.silence = timeout;
        }
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
        let Some(real) = self.here_mut() else { return Ok(tasks.iter().any(HttpTask::is_end)) };
        let ended = real.response_duplex_vec(tasks).await?;
        if ended {
            self.answered();
        }
        Ok(ended)
    }
}

/// Whether an error says that the patience with the service is over, which is kept below the client's connection, or by the
/// [`Deadlines`].
fn is_impatience(error: &Error) -> bool {
    if *error.etype() == ErrorType::ReadTimedout {
        return true;
    }
    let cause = error.cause.as_deref().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}
