//! What a connection may cost before it has sent a request: deadlines and caps, below pingora.
//!
//! pingora has no deadline for a whole header, none between requests after the first, and no cap on connections.
//! [`GuardedApp`] wraps each accepted stream in a [`Guarded`] one, which knows in which phase the connection is:
//!
//! ```text
//! IDLE ── first byte ──▶ HEADER ── early_request_filter ──▶ BUSY ── logging ──▶ IDLE
//! ```
//!
//! A connection with TLS shakes hands before that, counted already and within a deadline of its own (`tls`).
//! In IDLE and HEADER an absolute deadline runs; a header that misses it is answered 408, an idle connection is
//! closed. In BUSY the timeouts of body and service hold instead. The deadlines are those of the generation that
//! was current when the connection came.
//!
//! Invariant: a connection is counted from [`Connections::enter`] until its [`Entry`] is dropped, whatever happens.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
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
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::gateway::ConnectionLimits;
use crate::gateway::tls::{Entrance, ListenerTls};

use super::Proxy;
use super::client::Address;
use super::listening::entrance_of;
use super::occasion::{Occasion, Serving};
use super::tls::{self, Secured};

/// The open connections of the process.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    closed: AtomicBool,
}

/// Why a connection is closed at accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// `max_connections` is reached.
    Total,
    /// `max_connections_per_address` is reached.
    Address,
    /// The process is about to leave.
    Leaving,
}

impl Full {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
            Self::Leaving => "leaving",
        }
    }
}

/// One counted connection.
#[derive(Debug)]
pub struct Entry {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
}

impl Connections {
    /// Counts a connection, if there is room.
    ///
    /// # Errors
    /// Which cap is reached; nothing is counted then.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>, limits: &ConnectionLimits) -> Result<Entry, Full> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Full::Leaving);
        }
        let count = |open: usize| (open < limits.max_connections).then_some(open + 1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_err() {
            return Err(Full::Total);
        }
        // From here on dropping the entry undoes the count.
        let mut entry = Entry { connections: Arc::clone(self), address: None };
        if let (Some(max), Some(address)) = (limits.max_per_address, address) {
            let mut by_address = self.by_address.lock();
            let open = by_address.entry(address).or_default();
            if *open >= max {
                return Err(Full::Address);
            }
            *open += 1;
            entry.address = Some(address);
        }
        Ok(entry)
    }

    /// Lets no further connection in.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Number of open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut by_address = self.connections.by_address.lock();
        if let Some(open) = by_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// pingora's HTTP proxy behind the guard.
pub struct GuardedApp<O = Serving> {
    inner: Arc<HttpProxy<Proxy<O>>>,
    proxy: Proxy<O>,
    /// Never says a word: pingora closes idle connections the moment that it is told to leave, and with them loses the
    /// requests that are on their way. When a connection ends is for the drain to say. For the same reason the proxy's
    /// own `cleanup` is not called when its last listener ends.
    steady: (watch::Sender<bool>, ShutdownWatch),
}

impl<O: Occasion> GuardedApp<O> {
    /// Puts the guard before a proxy; both share one state.
    pub fn new(inner: HttpProxy<Proxy<O>>, proxy: Proxy<O>) -> Self {
        Self { inner: Arc::new(inner), proxy, steady: watch::channel(false) }
    }
}

/// A connection that has been counted.
struct Arrival {
    peer: Address,
    limits: ConnectionLimits,
    entry: Entry,
}

impl<O: Occasion> GuardedApp<O> {
    /// Counts the connection, or turns it away.
    fn count(&self, io: &Stream) -> Option<Arrival> {
        let state = &self.proxy.state;
        let limits = state.gateway.load().connection_limits;
        let address = io
            .get_socket_digest()
            .and_then(|digest| digest.peer_addr().and_then(|address| address.as_inet().map(|inet| inet.ip())));
        match state.connections.enter(address, &limits) {
            Ok(entry) => Some(Arrival { peer: address.map_or_else(Address::default, Address::of), limits, entry }),
            Err(full) => {
                state.telemetry.connections_refused.with_label_values(&[full.label()]).inc();
                None
            }
        }
    }

    /// The connection once TLS is spoken on it.
    async fn secure(&self, io: Stream, tls: &ListenerTls, arrival: Arrival) -> Option<Stream> {
        let telemetry = &self.proxy.state.telemetry;
        let shaken = tls::accept(io, tls, arrival.limits.handshake_timeout).await;
        let (io, secured, result) = match shaken {
            Ok(shaken) => shaken,
            Err(result) => {
                telemetry.shook_hands(result);
                return None;
            }
        };
        telemetry.shook_hands(result);
        let guarded = Guarded::new(io, arrival, Arc::clone(&self.proxy.state));
        Some(Box::new(Guarded { secured: Some(Arc::new(secured)), ..guarded }))
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
        if (*io).as_any().is::<Guarded>() {
            // Its handshake is done: see below.
            return self.inner.process_new(io, &self.steady.1);
        }
        let state = &self.proxy.state;
        let (Some(arrival), Some(entrance)) = (self.count(&io), entrance_of(&io, &state.listeners)) else {
            return Box::pin(std::future::ready(None));
        };
        match &*entrance {
            Entrance::Plain => {
                self.inner.process_new(Box::new(Guarded::new(io, arrival, Arc::clone(state))), &self.steady.1)
            }
            Entrance::Redirect(port) => {
                let guarded = Guarded::new(io, arrival, Arc::clone(state));
                self.inner.process_new(Box::new(Guarded { redirect: Some(*port), ..guarded }), &self.steady.1)
            }
            Entrance::Tls(tls) => {
                let tls = Arc::clone(tls);
                // pingora comes back with a stream that is given back to it.
                Box::pin(async move { self.secure(io, &tls, arrival).await })
            }
        }
    }
}

/// Between requests; the idle deadline runs.
const IDLE: u8 = 0;
/// Within a header; the header deadline runs.
const HEADER: u8 = 1;
/// Within a request; no deadline here.
const BUSY: u8 = 2;
/// No deadline has been armed.
const NEVER: u8 = u8::MAX;

/// The other end of a session's connection.
pub fn peer(session: &Session) -> Address {
    guarded(session).map(|guarded| guarded.peer.clone()).unwrap_or_default()
}

/// What is known of the connection, where it is over TLS.
pub fn secured(session: &Session) -> Option<Arc<Secured>> {
    guarded(session)?.secured.clone()
}

/// The port of TLS, where the connection's listener only shows the way there.
pub fn redirect(session: &Session) -> Option<NonZeroU16> {
    guarded(session)?.redirect
}

/// Marks the connection of a session as busy with a request.
pub fn mark_busy(session: &Session) {
    set_phase(session, BUSY);
}

/// Marks the connection of a session as waiting for the next request.
pub fn mark_idle(session: &Session) {
    set_phase(session, IDLE);
}

fn set_phase(session: &Session, phase: u8) {
    if let Some(guarded) = guarded(session) {
        guarded.phase.store(phase, Ordering::Relaxed);
    }
}

fn guarded(session: &Session) -> Option<&Guarded> {
    session.as_downstream().stream()?.as_any().downcast_ref()
}

/// A client's stream with deadlines.
pub struct Guarded {
    io: Stream,
    peer: Address,
    secured: Option<Arc<Secured>>,
    /// The port of TLS, where nothing is served but the way there.
    redirect: Option<NonZeroU16>,
    phase: AtomicU8,
    limits: ConnectionLimits,
    /// The phase for which `due` holds.
    armed: u8,
    due: Instant,
    /// Fires when `due` is reached or before. A connection that is never idle for long keeps one timer for many
    /// requests: it is moved only when it fires too early, or would fire too late.
    timer: Option<Pin<Box<Sleep>>>,
    state: Arc<super::State>,
    _entry: Entry,
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded").field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// Sent when a header does not come to its end; the connection closes after it.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

impl Guarded {
    fn new(io: Stream, arrival: Arrival, state: Arc<super::State>) -> Self {
        let Arrival { peer, limits, entry } = arrival;
        Self {
            io,
            peer,
            secured: None,
            redirect: None,
            phase: AtomicU8::new(IDLE),
            limits,
            armed: NEVER,
            due: Instant::now(),
            timer: None,
            state,
            _entry: entry,
        }
    }

    /// Waits for the deadline of a phase: Pending while there is time.
    fn poll_deadline(&mut self, phase: u8, context: &mut Context<'_>) -> Poll<io::Error> {
        let limit = if phase == IDLE { self.limits.idle_timeout } else { self.limits.header_timeout };
        if self.armed != phase {
            self.due = Instant::now() + limit;
            self.armed = phase;
        }
        let due = self.due;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        ready!(timer.as_mut().poll(context));
        if timer.deadline() < due {
            timer.as_mut().reset(due);
            ready!(timer.as_mut().poll(context));
        }
        let label = if phase == IDLE { "idle" } else { "header" };
        self.state.telemetry.connections_expired.with_label_values(&[label]).inc();
        if phase == HEADER {
            // Courtesy, without waiting: a client that cannot take it learns it from the closed connection.
            if let Poll::Ready(Ok(_)) = Pin::new(&mut self.io).poll_write(context, REQUEST_TIMEOUT) {
                let _ = Pin::new(&mut self.io).poll_flush(context);
            }
        }
        if self.secured.is_some() {
            // TLS has a word for the end, without which a client must take it for an attack.
            let _ = Pin::new(&mut self.io).poll_shutdown(context);
        }
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "guard deadline"))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut me.io).poll_read(context, buf);
        let phase = me.phase.load(Ordering::Relaxed);
        if read.is_ready() {
            if phase == IDLE && buf.filled().len() > before {
                me.phase.store(HEADER, Ordering::Relaxed);
                me.armed = NEVER;
            }
            return read;
        }
        if phase == BUSY {
            me.armed = NEVER;
            return Poll::Pending;
        }
        me.poll_deadline(phase, context).map(Err)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
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
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: usize, per_address: Option<usize>) -> ConnectionLimits {
        ConnectionLimits {
            header_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(1),
            max_connections: total,
            max_per_address: per_address,
        }
    }

    #[test]
    fn a_cap_refuses_and_a_closed_connection_makes_room() {
        let connections = Arc::new(Connections::default());
        let (one, two) = (Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2])));
        let limits = limits(3, Some(2));
        let first = connections.enter(one, &limits).unwrap();
        let _second = connections.enter(one, &limits).unwrap();
        assert_eq!(connections.enter(one, &limits).unwrap_err(), Full::Address);
        let third = connections.enter(two, &limits).unwrap();
        assert_eq!(connections.enter(two, &limits).unwrap_err(), Full::Total);
        assert_eq!(connections.open(), 3);
        drop(first);
        drop(third);
        let _fourth = connections.enter(one, &limits).unwrap();
        assert_eq!(connections.open(), 2);
    }

    #[test]
    fn nobody_comes_in_once_it_is_closed() {
        let connections = Arc::new(Connections::default());
        let _first = connections.enter(None, &limits(3, None)).unwrap();
        connections.close();
        assert_eq!(connections.enter(None, &limits(3, None)).unwrap_err(), Full::Leaving);
        assert_eq!(connections.open(), 1);
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let connections = Arc::new(Connections::default());
        for last in 0..=255 {
            drop(connections.enter(Some(IpAddr::from([192, 0, 2, last])), &limits(10, Some(1))).unwrap());
        }
        assert!(connections.by_address.lock().is_empty());
    }
}
