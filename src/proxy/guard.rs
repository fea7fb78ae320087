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
//! closed. In BUSY the timeouts of body and service hold instead, and the [`Patience`](patience::Patience) with the
//! service; a client that takes nothing of what is written for `write_timeout` is cut off. The deadlines are those of
//! the generation that was current when the connection came.
//!
//! A connection that has become a WebSocket is ended here too, see `tunnel`. Over HTTP/2 all this is otherwise, see `http2`:
//! the guard below such a connection only counts it, and its requests keep their own [`Deadlines`].

mod alarm;
mod connections;
pub mod date;
mod deadlines;
mod frames;
mod http2;
mod patience;
mod preface;
mod stream;
mod tunnel;
mod watch;

use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::Arc;

use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::proxy::{HttpProxy, Session};
use pingora::server::ShutdownWatch;
use tokio::sync::watch::{Sender, channel};

use crate::gateway::tls::{Entrance, ListenerTls};

use super::Proxy;
use super::client::Address;
use super::listening::entrance_of;
use super::occasion::{Occasion, Serving};
use super::pulse::Pulse;
use super::tls::{self, Secured};

pub use connections::Connections;
pub use deadlines::{Awaited, Deadlines};
pub use http2::{Open, Stream as Http2Stream, stream};
pub use tunnel::{Entered, Terms, Tunnels};
pub use watch::Watch;

use stream::{Arrival, Caller, Guarded, Speaks, Way};
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
    /// Counts the connection, or turns it away.
    fn arrive(&self, io: &Stream) -> Option<Arrival> {
        let state = &self.proxy.state;
        let limits = state.gateway.load().connection_limits;
        let peer = io.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().copied());
        let address = peer.map(|peer| peer.ip());
        let admitted = match state.pulse.load_full().filter(|pulse| peer.is_some_and(|peer| pulse.arrives_from(peer))) {
            Some(pulse) => Ok(Caller::Itself(pulse)),
            None => state.connections.enter(address, &limits).map(Caller::Client),
        };
        match admitted {
            Ok(caller) => Some(Arrival { peer: address.map_or_else(Address::default, Address::of), limits, caller }),
            Err(full) => {
                state.telemetry.connections_refused.with_label_values(&[full.label()]).inc();
                None
            }
        }
    }

    /// How whoever has arrived comes in; `None` when that cannot be told and matters. The process asks itself in plain
    /// HTTP everywhere: it has no certificate that a listener may want, and whether others can use the listener's does
    /// not say whether it serves.
    fn entrance(&self, io: &Stream, arrival: &Arrival) -> Option<Arc<Entrance>> {
        match &arrival.caller {
            Caller::Client(_) => entrance_of(io, &self.proxy.state.listeners),
            Caller::Itself(_) => Some(Arc::new(Entrance::Plain { http2: false })),
        }
    }

    /// The connection once TLS is spoken on it.
    async fn secure(&self, io: Stream, tls: &ListenerTls, arrival: Arrival) -> Option<Stream> {
        let telemetry = &self.proxy.state.telemetry;
        let (io, secured, result) = match tls::accept(io, tls, arrival.limits.handshake_timeout).await {
            Ok(shaken) => shaken,
            Err(result) => {
                telemetry.shook_hands(result);
                return None;
            }
        };
        telemetry.shook_hands(result);
        Some(Box::new(Guarded::new(io, arrival, Way::Tls(Arc::new(secured)), Arc::clone(&self.proxy.state))))
    }
}

/// What becomes of a connection.
type Served<'served> = Pin<Box<dyn Future<Output = Option<Stream>> + Send + 'served>>;

impl<O: Occasion> GuardedApp<O> {
    /// Serves a connection on which HTTP is spoken, or finds out which.
    fn go_on<'served>(self: &'served Arc<Self>, guarded: Box<Guarded>) -> Served<'served> {
        match guarded.speaks {
            Speaks::Http1 => self.inner.process_new(guarded, &self.steady.1),
            Speaks::Http2 => {
                let app = Arc::clone(self);
                Box::pin(async move {
                    app.serve_http2(guarded).await;
                    None
                })
            }
            // pingora comes back with a stream that is given back to it.
            Speaks::Unknown => Box::pin(async move {
                let heard = preface::listen(*guarded).await?;
                Some(Box::new(heard) as Stream)
            }),
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
    ) -> Served<'served>
    where
        'app: 'served,
        'shutdown: 'served,
        Self: 'served,
    {
        if (*io).as_any().is::<Guarded>() {
            // Its handshake is done: see below.
            return match io.into_any().downcast() {
                Ok(guarded) => self.go_on(guarded),
                Err(_) => Box::pin(std::future::ready(None)),
            };
        }
        let arrived = self.arrive(&io).and_then(|arrival| Some((self.entrance(&io, &arrival)?, arrival)));
        let Some((entrance, arrival)) = arrived else {
            return Box::pin(std::future::ready(None));
        };
        let way = match &*entrance {
            Entrance::Plain { .. } => Way::Plain,
            Entrance::Redirect(port) => Way::Redirect(*port),
            Entrance::Tls(tls) => {
                let tls = Arc::clone(tls);
                // pingora comes back with a stream that is given back to it.
                return Box::pin(async move { self.secure(io, &tls, arrival).await });
            }
        };
        let mut guarded = Box::new(Guarded::new(io, arrival, way, Arc::clone(&self.proxy.state)));
        if matches!(*entrance, Entrance::Plain { http2: true }) {
            guarded.speaks = Speaks::Unknown;
        }
        self.go_on(guarded)
    }
}

/// The other end of a session's connection.
pub fn peer(session: &Session) -> Address {
    let http1 = || guarded(session).map(|guarded| &guarded.arrival.peer);
    http1().or_else(|| stream(session).map(|stream| stream.peer())).cloned().unwrap_or_default()
}

/// What is known of the connection, where it is over TLS.
pub fn secured(session: &Session) -> Option<Arc<Secured>> {
    let http1 = || guarded(session).and_then(Guarded::secured);
    http1().or_else(|| stream(session).and_then(|stream| stream.secured())).cloned()
}

/// The port of TLS, where the connection's listener only shows the way there.
pub fn redirect(session: &Session) -> Option<NonZeroU16> {
    match guarded(session)?.way {
        Way::Redirect(port) => Some(port),
        Way::Plain | Way::Tls(_) => None,
    }
}

/// What the request of a session waits for.
pub fn watch(session: &Session) -> Option<Arc<Watch>> {
    let http1 = || guarded(session).map(|guarded| &guarded.watch);
    http1().or_else(|| stream(session).map(|stream| &stream.watch)).cloned()
}

/// Marks the connection of a session as busy with a request, where it has one at a time. The process's own, if it is one.
pub fn mark_busy(session: &Session) -> Option<&Pulse> {
    let guarded = guarded(session)?;
    guarded.watch.enter(Phase::Busy);
    match &guarded.arrival.caller {
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
