//! A connection over HTTP/2: many requests at a time, each a stream.
//!
//! pingora and h2 read and write the frames; what is kept here is how long the connection lives and what it may cost:
//!
//! - It is idle when no stream is open. After `guard.idle_timeout` of that it is told goodbye (GOAWAY) and closed.
//! - A drain says the same at once, and every request that the client sent before it heard of it is still served.
//! - At most `guard.max_streams` requests are open. A client that resets a stream may open another while the request of the
//!   first is still being worked on, so these are counted too: at twice the number the connection ends.
//! - A client that resets most of its requests as soon as it has sent them, or sends broken ones, ends it as well.
//! - What a client sends ahead is bounded by the windows below, what waits for one that does not read by the buffer of
//!   each stream, and how long that waits by the timeouts of its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use h2::Reason;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake};
use pingora::protocols::{Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest};
use pingora::proxy::Session;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::gateway::ConnectionLimits;

use super::super::body::of_stream;
use super::super::client::Address;
use super::super::occasion::Occasion;
use super::super::plain;
use super::super::tls::Secured;
use super::stream::Guarded;
use super::{GuardedApp, Watch};

/// How much a client may send ahead on one stream, in bytes: at a distance of 50 ms it uploads 5 MiB a second.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The same on all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How much of a reply waits on one stream for its client, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a client may take to end a connection that it is told to end.
const GOODBYE: Duration = Duration::from_secs(1);

/// A request that its client gives up sooner than this was not worth sending.
const PREMATURE: Duration = Duration::from_secs(1);

/// Most of these on one connection, less one for each that is answered.
const MAX_PREMATURE: u32 = 500;

/// Most requests of one connection that are no HTTP.
const MAX_MALFORMED: u32 = 32;

/// One connection.
#[derive(Debug)]
struct Connection {
    peer: Address,
    secured: Option<Arc<Secured>>,
    /// Requests being worked on, also those that their client has reset.
    open: AtomicUsize,
    /// Told whenever none is.
    rested: Notify,
    premature: AtomicU32,
}

/// One stream; known to its request's header, with which it travels.
#[derive(Debug)]
pub struct Stream {
    connection: Arc<Connection>,
    /// What its request waits for.
    pub watch: Arc<Watch>,
    /// Whether a body follows the header, perhaps an empty one.
    pub has_body: bool,
}

/// The stream of a session, where it has one.
pub fn stream(session: &Session) -> Option<&Arc<Stream>> {
    session.req_header().extensions.get()
}

impl Stream {
    /// The other end of its connection.
    pub fn peer(&self) -> &Address {
        &self.connection.peer
    }

    /// What is known of its connection, where it is over TLS.
    pub fn secured(&self) -> Option<&Arc<Secured>> {
        self.connection.secured.as_ref()
    }
}

/// A stream counts as open until this is dropped.
pub struct Open {
    stream: Arc<Stream>,
    since: Instant,
    /// All of its answer was written.
    pub answered: bool,
}

impl Open {
    fn begin(stream: &Arc<Stream>) -> Self {
        stream.connection.open.fetch_add(1, Ordering::Relaxed);
        Self { stream: Arc::clone(stream), since: Instant::now(), answered: false }
    }

    /// What its request waits for.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.stream.watch)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let connection = &self.stream.connection;
        if self.answered {
            let less = |premature: u32| premature.checked_sub(1);
            let _ = connection.premature.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        } else if self.since.elapsed() < PREMATURE {
            connection.premature.fetch_add(1, Ordering::Relaxed);
        }
        if connection.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            connection.rested.notify_one();
        }
    }
}

impl Connection {
    /// Waits until nothing has been open for so long.
    async fn idle(&self, time: Duration) {
        while self.open.load(Ordering::Relaxed) > 0 {
            self.rested.notified().await;
        }
        sleep(time).await;
    }

    /// Whether it costs more than any client needs.
    fn is_abused(&self, malformed: u32, limits: &ConnectionLimits) -> bool {
        malformed >= MAX_MALFORMED
            || self.premature.load(Ordering::Relaxed) >= MAX_PREMATURE
            || self.open.load(Ordering::Relaxed) >= (limits.max_streams as usize).saturating_mul(2)
    }
}

/// pingora's bounds and ours.
fn options(limits: &ConnectionLimits) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_header_list)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER);
    options
}

impl<O: Occasion> GuardedApp<O> {
    /// Serves a connection to its end.
    pub(super) async fn serve_http2(self: Arc<Self>, io: Box<Guarded>) {
        let state = Arc::clone(&self.proxy.state);
        let expired = |label: &str| state.telemetry.connections_expired.with_label_values(&[label]).inc();
        let limits = io.arrival.limits;
        let connection = Arc::new(Connection {
            peer: io.arrival.peer.clone(),
            secured: io.secured().cloned(),
            open: AtomicUsize::new(0),
            rested: Notify::new(),
            premature: AtomicU32::new(0),
        });
        let digest = Arc::new(Digest {
            ssl_digest: None,
            timing_digest: io.get_timing_digest(),
            proxy_digest: io.get_proxy_digest(),
            socket_digest: io.get_socket_digest(),
        });
        let mut h2 = match timeout(limits.header_timeout, handshake(io, Some(options(&limits)))).await {
            Ok(Ok(h2)) => h2,
            Ok(Err(_)) => return,
            Err(_) => return expired("header"),
        };
        let mut leaving = state.leaving.subscribe();
        let (mut ending, mut malformed) = (false, 0);
        loop {
            tokio::select! {
                biased;
                _ = leaving.wait_for(|leaving| *leaving), if !ending => {
                    h2.graceful_shutdown();
                    ending = true;
                }
                accepted = HttpSession::from_h2_conn(&mut h2, Arc::clone(&digest)) => match accepted {
                    Ok(Some(H2Accept::Session(session))) => self.begin(&connection, session),
                    Ok(Some(H2Accept::Rejected)) => malformed += 1,
                    Ok(None) | Err(_) => return,
                },
                () = connection.idle(if ending { GOODBYE } else { limits.idle_timeout }) => {
                    if ending {
                        return;
                    }
                    expired("idle");
                    h2.graceful_shutdown();
                    ending = true;
                }
            }
            if connection.is_abused(malformed, &limits) {
                expired("abuse");
                h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                // The last word is written, and nobody's answer is waited for.
                let _ = timeout(GOODBYE, async { while let Some(Ok(_)) = h2.accept().await {} }).await;
                return;
            }
        }
    }

    /// Serves one stream beside the others, on the worker of its connection.
    fn begin(&self, connection: &Arc<Connection>, mut session: HttpSession) {
        let stream = Arc::new(Stream {
            connection: Arc::clone(connection),
            watch: Arc::default(),
            has_body: !session.is_body_empty(),
        });
        let open = Open::begin(&stream);
        plain::settle_stream(session.req_header_mut(), stream);
        let session = of_stream(ServerSession::new_http2(session), open);
        let (inner, steady) = (Arc::clone(&self.inner), self.steady.1.clone());
        tokio::spawn(async move { inner.process_new_http(session, &steady).await });
    }
}
