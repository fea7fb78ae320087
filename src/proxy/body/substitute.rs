//! A session whose body is not the client's, or whose reply is not written as it comes.
//!
//! pingora asks it for a body and gets the checked bytes: whole, as what a retry would send again, or piece by piece
//! from memory and file. A [`Hold`] decides when a reply is written. Everything else goes to the real session, which
//! waits in a [`Slot`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Version;
use http::header::{HeaderMap, TRANSFER_ENCODING};
use parking_lot::Mutex;
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::{Digest, l4::socket::SocketAddr};
use pingora::proxy::Session;

use super::super::guard::{Awaited, Deadlines, Open};
use super::super::reply::model::Hold;
use super::spool::Replay;

/// Where the real session waits while a [`Substituted`] one stands in.
pub type Slot = Arc<Mutex<Option<Box<ServerSession>>>>;

/// What stands for the client's body.
pub enum Substitute {
    /// Nothing: it passes as it comes.
    Nothing,
    /// These bytes.
    Whole(Bytes),
    /// Pieces, some of them in a file.
    Replayed(Replay),
}

/// Lets `body` stand for what the client sent, `hold` decide on the reply, and `deadlines` be kept.
pub fn swap_in(session: &mut Session, body: Substitute, hold: Option<Arc<Hold>>, deadlines: Option<Deadlines>) -> Slot {
    let slot = Slot::default();
    let real = std::mem::replace(&mut session.downstream_session, placeholder());
    let mut substituted = Substituted::plain(real);
    (substituted.body, substituted.hold, substituted.deadlines) = (body, hold, deadlines);
    substituted.slot = Some(Arc::clone(&slot));
    *session.downstream_session = ServerSession::new_custom(Box::new(substituted));
    slot
}

/// The session of an HTTP/2 stream, which keeps its deadlines.
pub fn of_stream(real: ServerSession, open: Open) -> ServerSession {
    let mut session = Substituted::plain(Box::new(real));
    session.deadlines = Some(Deadlines::of(open.watch(), None));
    session.open = Some(open);
    ServerSession::new_custom(Box::new(session))
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

/// A session whose body has been read, checked and rewritten, whose reply may be held, or which keeps deadlines that pingora
/// does not keep.
struct Substituted {
    /// Present until drop.
    real: Option<Box<ServerSession>>,
    body: Substitute,
    hold: Option<Arc<Hold>>,
    /// Where the real one is put back, where it is.
    slot: Option<Slot>,
    deadlines: Option<Deadlines>,
    /// Of an HTTP/2 connection.
    open: Option<Open>,
}

impl Substituted {
    fn plain(real: Box<ServerSession>) -> Self {
        let body = Substitute::Nothing;
        Self { real: Some(real), body, hold: None, slot: None, deadlines: None, open: None }
    }

    /// All of the answer was written.
    fn answered(&mut self) {
        if let Some(open) = &mut self.open {
            open.answered = true;
        }
    }

    fn real(&self) -> &ServerSession {
        self.real.as_ref().expect("the real session is taken out only by drop")
    }

    fn real_mut(&mut self) -> &mut ServerSession {
        self.real.as_mut().expect("the real session is taken out only by drop")
    }
}

impl Drop for Substituted {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot {
            *slot.lock() = self.real.take();
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
            Substitute::Nothing => self.real_mut().is_body_done(),
            Substitute::Whole(_) => true,
            Substitute::Replayed(replay) => replay.is_done(),
        }
    }

    fn is_body_empty(&mut self) -> bool {
        match &self.body {
            Substitute::Nothing => self.real_mut().is_body_empty(),
            Substitute::Whole(bytes) => bytes.is_empty(),
            Substitute::Replayed(_) => false,
        }
    }

    /// Said by pingora when it begins with a target: what an earlier one got is sent again.
    fn enable_retry_buffering(&mut self) {
        match &mut self.body {
            Substitute::Nothing => self.real_mut().enable_retry_buffering(),
            Substitute::Whole(_) => {}
            Substitute::Replayed(replay) => replay.rewind(),
        }
    }

    fn retry_buffer_truncated(&self) -> bool {
        matches!(self.body, Substitute::Nothing) && self.real().retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        match &self.body {
            Substitute::Nothing => self.real().get_retry_buffer(),
            Substitute::Whole(bytes) => (!bytes.is_empty()).then(|| bytes.clone()),
            Substitute::Replayed(_) => None,
        }
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        let real = self.real.as_mut().expect("the real session is taken out only by drop");
        match &mut self.body {
            Substitute::Nothing => within(&mut self.deadlines, Awaited::Body, real.read_request_body()).await,
            Substitute::Whole(_) => Ok(None),
            Substitute::Replayed(replay) => replay.next().await,
        }
    }

    /// Once the body is read, what is left to notice is a client that leaves.
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let real = self.real.as_mut().expect("the real session is taken out only by drop");
        match &mut self.body {
            Substitute::Replayed(replay) if !no_body_expected => tokio::select! {
                biased;
                left = real.read_body_or_idle(true) => left,
                piece = replay.next() => piece,
            },
            Substitute::Nothing => {
                let is_read = no_body_expected || real.is_body_done();
                let awaited = if is_read { Awaited::Service } else { Awaited::Body };
                within(&mut self.deadlines, awaited, real.read_body_or_idle(no_body_expected)).await
            }
            Substitute::Whole(_) | Substitute::Replayed(_) => real.read_body_or_idle(true).await,
        }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.real_mut().drain_request_body().await
    }

    async fn finish(&mut self) -> Result<()> {
        self.real_mut().finish_body().await?;
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

    async fn response_duplex_vec(&mut self, mut tasks: Vec<HttpTask>) -> Result<bool> {
        if self.real().req_header().version == Version::HTTP_10 {
            // Which knows no chunks; pingora announces them where a service of HTTP/2 gives no length.
            tasks.iter_mut().for_each(end_with_connection);
        }
        let tasks = match &self.hold {
            Some(hold) => hold.pass(tasks)?,
            None => Some(tasks),
        };
        match tasks {
            Some(tasks) => {
                let ended = self.real_mut().response_duplex_vec(tasks).await?;
                if ended {
                    self.answered();
                }
                Ok(ended)
            }
            None => Ok(false),
        }
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.real_mut().set_read_timeout(timeout);
        if let Some(deadlines) = &mut self.deadlines {
            deadlines.silence = timeout;
        }
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
