//! What a connection may cost before it has sent a request: deadlines and caps, below pingora.
//!
//! pingora has no deadline for a whole header, none between requests after the first, and no cap on connections.
//! [`GuardedApp`] wraps each accepted stream in a [`Guarded`] one, which knows in which phase the connection is:
//!
//! ```text
//! IDLE ── first byte ──▶ HEADER ── early_request_filter ──▶ BUSY ── logging ──▶ IDLE
//! ```
//!
//! In IDLE and HEADER an absolute deadline runs; a header that misses it is answered 408, an idle connection is
//! closed. In BUSY the timeouts of body and service hold instead, and the [`Patience`](patience::Patience) with the
//! service. The deadlines are those of the generation that was current when the connection came.
//!
//! A connection that has become a WebSocket is ended here too, see `tunnel`.

mod connections;
pub mod date;
mod frames;
mod patience;
mod tunnel;
mod watch;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::TlsRef;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType, tls::SslDigest,
};
use pingora::proxy::{HttpProxy, Session};
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch::{Sender, channel};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::gateway::ConnectionLimits;

use super::Proxy;
use super::client::Address;
use super::occasion::{Occasion, Serving};
use super::pulse::Pulse;

pub use connections::Connections;
pub use tunnel::{Entered, Terms, Tunnels};
pub use watch::Watch;

use connections::Entry;
use date::Dating;
use frames::{CLOSE_CLIENT, CLOSE_SERVICE};
use tunnel::{Ending, GOODBYE, Stage, Tunnel};
use watch::Phase;

/// pingora's HTTP proxy behind the guard.
pub struct GuardedApp<O = Serving> {
    inner: Arc<HttpProxy<Proxy<O>>>,
    proxy: Proxy<O>,
    /// Never says a word: pingora closes idle connections the moment that it is told to leave, and with them loses the
    /// requests that are on their way. When a connection ends is for the drain to say. For the same reason the proxy's
    /// own `cleanup` is not called when its last listener ends.
    steady: (Sender<bool>, ShutdownWatch),
}

impl<O: Occasion> GuardedApp<O> {
    /// Puts the guard before a proxy; both share one state.
    pub fn new(inner: HttpProxy<Proxy<O>>, proxy: Proxy<O>) -> Self {
        Self { inner: Arc::new(inner), proxy, steady: channel(false) }
    }
}

impl<O: Occasion> GuardedApp<O> {
    /// Counts the connection and wraps it, or turns it away.
    fn guard(&self, io: Stream) -> Option<Guarded> {
        let state = &self.proxy.state;
        let limits = state.gateway.load().connection_limits;
        let peer = io.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().copied());
        let address = peer.map(|peer| peer.ip());
        let admitted = match state.pulse.load_full().filter(|pulse| peer.is_some_and(|peer| pulse.comes_from(peer))) {
            Some(pulse) => Ok(Caller::Itself(pulse)),
            None => state.connections.enter(address, &limits).map(Caller::Client),
        };
        match admitted {
            Ok(caller) => {
                let peer = address.map_or_else(Address::default, Address::of);
                Some(Guarded::new(io, peer, limits, caller, Arc::clone(state)))
            }
            Err(full) => {
                state.telemetry.connections_refused.with_label_values(&[full.label()]).inc();
                None
            }
        }
    }
}

/// Written without `async_trait`: the proxy's own future is handed on, so that a connection is not polled through one
/// more at each of its wake-ups.
impl<O: Occasion> ServerApp for GuardedApp<O> {
    fn process_new<'app, 'shutdown, 'served>(
        self: &'app Arc<Self>,
        io: Stream,
        _shutdown: &'shutdown ShutdownWatch,
    ) -> Pin<Box<dyn Future<Output = Option<Stream>> + Send + 'served>>
    where
        'app: 'served,
        'shutdown: 'served,
        Self: 'served,
    {
        match self.guard(io) {
            Some(guarded) => self.inner.process_new(Box::new(guarded), &self.steady.1),
            None => Box::pin(std::future::ready(None)),
        }
    }
}

/// The other end of a session's connection.
pub fn peer(session: &Session) -> Address {
    guarded(session).map(|guarded| guarded.peer.clone()).unwrap_or_default()
}

/// What the connection of a session waits for.
pub fn watch(session: &Session) -> Option<Arc<Watch>> {
    guarded(session).map(|guarded| Arc::clone(&guarded.watch))
}

/// Marks the connection of a session as busy with a request. The process's own, if it is one.
pub fn mark_busy(session: &Session) -> Option<&Pulse> {
    let guarded = guarded(session)?;
    guarded.watch.enter(Phase::Busy);
    match &guarded.caller {
        Caller::Client(_) => None,
        Caller::Itself(pulse) => Some(pulse),
    }
}

/// Marks the connection of a session as waiting for the next request.
pub fn mark_idle(session: &Session) {
    if let Some(guarded) = guarded(session) {
        guarded.watch.enter(Phase::Idle);
    }
}

fn guarded(session: &Session) -> Option<&Guarded> {
    session.as_downstream().stream()?.as_any().downcast_ref()
}

/// A client's stream with deadlines.
pub struct Guarded {
    io: Stream,
    peer: Address,
    watch: Arc<Watch>,
    limits: ConnectionLimits,
    /// The phase and turn for which `due` holds.
    armed: Option<(Phase, u32)>,
    due: Instant,
    /// Fires when `due` is reached or before. A connection that is never idle for long keeps one timer for many
    /// requests: it is moved only when it fires too early, or would fire too late.
    timer: Option<Pin<Box<Sleep>>>,
    /// Where the connection has become a WebSocket.
    tunnel: Option<Box<Tunnel>>,
    /// The date of an answer that is older than its request, until it is written.
    dating: Option<Dating>,
    /// The client does not take what is written.
    stalled: bool,
    state: Arc<super::State>,
    caller: Caller,
}

/// Who is at the other end.
enum Caller {
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
    fn new(io: Stream, peer: Address, limits: ConnectionLimits, caller: Caller, state: Arc<super::State>) -> Self {
        Self {
            io,
            peer,
            watch: Arc::default(),
            limits,
            armed: None,
            due: Instant::now(),
            timer: None,
            tunnel: None,
            dating: None,
            stalled: false,
            state,
            caller,
        }
    }

    /// Waits for the deadline of a phase: Pending while there is time.
    fn poll_deadline(&mut self, armed: (Phase, u32), limit: Duration, context: &mut Context<'_>) -> Poll<()> {
        if self.armed != Some(armed) {
            self.due = Instant::now() + limit;
            self.armed = Some(armed);
        }
        self.poll_timer(self.due, context)
    }

    /// Waits for a moment with the one timer there is.
    fn poll_timer(&mut self, due: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        ready!(timer.as_mut().poll(context));
        if timer.deadline() < due {
            timer.as_mut().reset(due);
            ready!(timer.as_mut().poll(context));
        }
        Poll::Ready(())
    }

    /// What came of a write to the client: the time that it takes is not its service's.
    fn taken(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            self.stalled = true;
        } else if std::mem::take(&mut self.stalled) {
            self.watch.patience.restart();
        }
        written
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
        ready!(self.poll_timer(until.unwrap_or(self.due), context));
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
                        ready!(self.poll_timer(until, context));
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
    }

    /// Waits for the end of the patience with a service, where there is one.
    fn poll_patience(&mut self, due: Option<std::time::Instant>, context: &mut Context<'_>) -> Poll<io::Error> {
        let Some(due) = due else { return Poll::Pending };
        ready!(self.poll_timer(due.into(), context));
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
            Phase::Idle => me.limits.idle_timeout,
            Phase::Header => me.limits.header_timeout,
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
            return self.taken(written);
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
        Pin::new(&mut self.io).poll_flush(context)
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
        self.taken(written)
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
