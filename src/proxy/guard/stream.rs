//! A client's stream with deadlines, and the WebSocket that it may become.
//!
//! What the stream waits for is said by its [`Watch`]; here time runs out. What pingora asks of a stream besides goes
//! through to the one below.

use std::io;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::TlsRef;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType, tls::SslDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::gateway::ConnectionLimits;

use super::super::State;
use super::super::client::Address;
use super::super::pulse::Pulse;
use super::super::tls::Secured;
use super::alarm::Alarm;
use super::connections::Entry;
use super::date::Dating;
use super::frames::{CLOSE_CLIENT, CLOSE_SERVICE};
use super::tunnel::{Ending, GOODBYE, Stage, Terms, Tunnel};
use super::watch::{Phase, Watch};

/// A client's stream with deadlines.
pub struct Guarded {
    io: Stream,
    /// Whose it is.
    pub(super) arrival: Arrival,
    pub(super) way: Way,
    pub(super) watch: Arc<Watch>,
    /// The phase and turn for which `due` holds.
    armed: Option<(Phase, u32)>,
    due: Instant,
    /// Fires when `due` is reached or before.
    alarm: Alarm,
    /// What its client speaks.
    pub(super) speaks: Speaks,
    /// What was read to find that out, to be read once more.
    pub(super) ahead: Option<Box<[u8]>>,
    /// Where the connection has become a WebSocket.
    tunnel: Option<Box<Tunnel>>,
    /// The date of an answer that is older than its request, until it is written.
    dating: Option<Dating>,
    /// While the client does not take what is written: how long it still may. pingora has a timeout for pieces of a
    /// body, and none for headers, nor for the rest in its buffer.
    stall: Option<Pin<Box<Sleep>>>,
    state: Arc<State>,
}

/// A connection that was let in.
pub struct Arrival {
    /// The other end.
    pub peer: Address,
    /// The deadlines of the generation that was current.
    pub limits: ConnectionLimits,
    /// Who is there.
    pub caller: Caller,
}

/// How it came in.
pub enum Way {
    /// Plainly.
    Plain,
    /// Over TLS, of which this is known.
    Tls(Arc<Secured>),
    /// Plainly, where nothing is served but the way to TLS: to this port.
    Redirect(NonZeroU16),
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
    /// One of both: its first bytes tell.
    Unknown,
}

/// Who is at the other end.
pub enum Caller {
    /// Counted until the connection ends.
    Client(#[expect(dead_code, reason = "counts until it is dropped")] Entry),
    /// Not counted: what the process asks of itself takes nobody's place.
    Itself(Arc<Pulse>),
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded").field("watch", &self.watch).finish_non_exhaustive()
    }
}

/// Sent when a header does not come to its end; the connection closes after it.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

impl Guarded {
    /// Watches a stream from now on.
    pub fn new(io: Stream, arrival: Arrival, way: Way, state: Arc<State>) -> Self {
        let speaks = if io.selected_alpn_proto() == Some(ALPN::H2) { Speaks::Http2 } else { Speaks::Http1 };
        Self {
            io,
            arrival,
            way,
            watch: Arc::default(),
            armed: None,
            due: Instant::now(),
            alarm: Alarm::default(),
            speaks,
            ahead: None,
            tunnel: None,
            dating: None,
            stall: None,
            state,
        }
    }

    /// Waits for the deadline of a phase: Pending while there is time.
    fn poll_deadline(&mut self, armed: (Phase, u32), limit: Duration, context: &mut Context<'_>) -> Poll<()> {
        if self.armed != Some(armed) {
            self.due = Instant::now() + limit;
            self.armed = Some(armed);
        }
        self.alarm.poll(self.due, context)
    }

    /// What is known of it, where it is over TLS.
    pub fn secured(&self) -> Option<&Arc<Secured>> {
        match &self.way {
            Way::Tls(secured) => Some(secured),
            Way::Plain | Way::Redirect(_) => None,
        }
    }

    /// Reads again what was read ahead; whether there was anything.
    fn read_again(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(ahead) = self.ahead.take() else { return false };
        let (now, later) = ahead.split_at(ahead.len().min(buf.remaining()));
        buf.put_slice(now);
        self.ahead = (!later.is_empty()).then(|| later.into());
        true
    }

    /// What came of a write to the client: the time that it takes is not its service's, and it has an end.
    fn taken<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stall.take().is_some() {
                self.watch.patience.restart();
            }
            return written;
        }
        let limit = self.arrival.limits.write_timeout;
        ready!(self.stall.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(context));
        self.state.telemetry.connections_expired.with_label_values(&["write"]).inc();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }

    /// Writes a header with the date of an answer that is older than its request.
    fn poll_dated(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(date) = self.watch.take_date() {
            self.dating = Some(Dating::new(date));
        }
        let dated = self.dating.as_mut().and_then(|dating| dating.dated(bytes));
        let written = Pin::new(&mut self.io).poll_write(context, dated.as_deref().unwrap_or(bytes));
        if let Poll::Ready(Ok(count)) = written
            && self.dating.as_mut().is_some_and(|dating| dating.written(count))
        {
            self.dating = None;
        }
        written
    }

    /// The WebSocket that the connection has become, from the header of its 101 on.
    fn settle(&mut self) -> Option<Box<Tunnel>> {
        if self.watch.now().0 != Phase::Tunnel {
            return None;
        }
        self.tunnel.take().or_else(|| Some(Box::new(Tunnel::new(self.watch.take_terms()?))))
    }

    /// Reads what comes through a WebSocket, and ends it when it is time.
    fn poll_tunnel(
        &mut self,
        tunnel: &mut Tunnel,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if tunnel.stage != Stage::Open {
            return self.poll_end(tunnel, context, buf);
        }
        self.watch.park(context);
        let ending = match self.watch.ending() {
            Some(ending) => ending,
            None => {
                let before = buf.filled().len();
                let read = Pin::new(&mut self.io).poll_read(context, buf);
                if read.is_ready() {
                    tunnel.from_client.pass(&buf.filled()[before..]);
                    self.armed = None;
                    return read;
                }
                ready!(self.poll_terms(tunnel.terms, context))
            }
        };
        self.watch.end(ending);
        if tunnel.to_client.may_close()
            && let Poll::Ready(Ok(_)) = Pin::new(&mut self.io).poll_write(context, &CLOSE_CLIENT)
        {
            let _ = Pin::new(&mut self.io).poll_flush(context);
        }
        tunnel.stage = Stage::TellService;
        self.poll_end(tunnel, context, buf)
    }

    /// Waits until a WebSocket has been idle, or alive, for long enough.
    fn poll_terms(&mut self, terms: Terms, context: &mut Context<'_>) -> Poll<Ending> {
        let armed = Some(self.watch.now());
        if self.armed != armed {
            self.due = Instant::now() + terms.idle;
            self.armed = armed;
        }
        let until = terms.until.filter(|until| *until < self.due);
        ready!(self.alarm.poll(until.unwrap_or(self.due), context));
        Poll::Ready(if until.is_some() { Ending::Lifetime } else { Ending::Idle })
    }

    /// The service reads the last frame as if the client had sent it, and then the end.
    fn poll_end(
        &mut self,
        tunnel: &mut Tunnel,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if tunnel.stage == Stage::TellService {
            tunnel.stage = Stage::Goodbye(Instant::now() + GOODBYE);
            if tunnel.from_client.may_close() && buf.remaining() >= CLOSE_SERVICE.len() {
                buf.put_slice(&CLOSE_SERVICE);
                return Poll::Ready(Ok(()));
            }
        }
        if let Stage::Goodbye(until) = tunnel.stage {
            let mut left = [0; 1024];
            while !tunnel.from_client.closed() {
                let mut left = ReadBuf::new(&mut left);
                match Pin::new(&mut self.io).poll_read(context, &mut left) {
                    Poll::Ready(Ok(())) if !left.filled().is_empty() => tunnel.from_client.pass(left.filled()),
                    Poll::Ready(_) => break,
                    Poll::Pending => {
                        ready!(self.alarm.poll(until, context));
                        break;
                    }
                }
            }
            tunnel.stage = Stage::Over;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends a connection that brings no request in time.
    fn expire(&mut self, phase: Phase, context: &mut Context<'_>) {
        let label = if phase == Phase::Idle { "idle" } else { "header" };
        self.state.telemetry.connections_expired.with_label_values(&[label]).inc();
        if phase == Phase::Header {
            // Courtesy, without waiting: a client that cannot take it learns it from the closed connection.
            if let Poll::Ready(Ok(_)) = Pin::new(&mut self.io).poll_write(context, REQUEST_TIMEOUT) {
                let _ = Pin::new(&mut self.io).poll_flush(context);
            }
        }
        if let Way::Tls(_) = self.way {
            // TLS has a word for the end, without which a client must take it for an attack.
            let _ = Pin::new(&mut self.io).poll_shutdown(context);
        }
    }

    /// Waits for the end of the patience with a service, where there is one.
    fn poll_patience(&mut self, due: Option<std::time::Instant>, context: &mut Context<'_>) -> Poll<io::Error> {
        let Some(due) = due else { return Poll::Pending };
        ready!(self.alarm.poll(due.into(), context));
        self.watch.patience.run_out();
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the service took too long"))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if let Some(mut tunnel) = me.settle() {
            let polled = me.poll_tunnel(&mut tunnel, context, buf);
            me.tunnel = Some(tunnel);
            return polled;
        }
        if me.read_again(buf) {
            return Poll::Ready(Ok(()));
        }
        let (before, room) = (buf.filled().len(), buf.remaining());
        let read = Pin::new(&mut me.io).poll_read(context, buf);
        let (phase, turn) = me.watch.now();
        if read.is_ready() {
            if phase == Phase::Idle && buf.filled().len() > before {
                me.watch.enter(Phase::Header);
            }
            return read;
        }
        let limit = match phase {
            Phase::Idle => me.arrival.limits.idle_timeout,
            Phase::Header => me.arrival.limits.header_timeout,
            Phase::Busy | Phase::Tunnel => {
                me.armed = None;
                // pingora looks with one byte of room whether a client has left that has sent everything: until then
                // the service does not owe a reply, and a client that does not go on has a deadline of its own.
                let due = if room == 1 { me.watch.patience.due() } else { me.watch.patience.last() };
                return me.poll_patience(due, context).map(Err);
            }
        };
        ready!(me.poll_deadline((phase, turn), limit, context));
        me.expire(phase, context);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "guard deadline")))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(mut tunnel) = self.settle() else {
            let written = match self.watch.is_dated() || self.dating.is_some() {
                true => self.poll_dated(context, bytes),
                false => Pin::new(&mut self.io).poll_write(context, bytes),
            };
            if self.watch.is_eager() && matches!(written, Poll::Ready(Ok(_))) {
                // pingora keeps up to a packet of a body whose length is known until there is more; more may take long.
                // What cannot be sent now goes with the next write.
                let _ = Pin::new(&mut self.io).poll_flush(context);
            }
            return self.taken(written, context);
        };
        let written = match tunnel.stage {
            Stage::Open => Pin::new(&mut self.io).poll_write(context, bytes),
            // Behind the last frame there is nothing that a client would read.
            Stage::TellService | Stage::Goodbye(_) | Stage::Over => Poll::Ready(Ok(bytes.len())),
        };
        if let Poll::Ready(Ok(count)) = written {
            tunnel.to_client.pass(&bytes[..count]);
        }
        self.tunnel = Some(tunnel);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        match self.watch.now().0 {
            Phase::Tunnel => flushed,
            Phase::Idle | Phase::Header | Phase::Busy => self.taken(flushed, context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.watch.now().0 == Phase::Tunnel {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| slice));
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.taken(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        self.io.shutdown().await;
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.io.id()
    }
}

impl Ssl for Guarded {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.io.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.io.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.io.selected_alpn_proto()
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.io.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.io.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.io.get_write_pending_time()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.io.get_proxy_digest()
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.io.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Guarded {}
