//! TLS with clients, between the socket and the guard.
//!
//! pingora can do this too, but before it shows us the connection: its handshakes count for no cap, have a deadline of
//! their own, and fail without a reason that could be counted. Here a connection is counted first, then shakes hands
//! within `guard.handshake_timeout`, and then is guarded like any other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::gateway::tls::{ClientCertificate, ListenerTls, Loaded};
use crate::telemetry::Handshake;

/// What is known of a connection over TLS.
#[derive(Debug)]
pub struct Secured {
    /// As in access lines.
    pub version: &'static str,
    /// The name that the client asked for.
    pub server_name: Option<Box<str>>,
    /// The client's certificate, verified.
    pub client: Option<ClientCertificate>,
    /// What it was made with.
    pub loaded: Arc<Loaded>,
}

/// Shakes hands with a client.
///
/// # Errors
/// How that ended.
pub async fn accept(
    io: Stream,
    tls: &ListenerTls,
    patience: Duration,
) -> Result<(Stream, Secured, Handshake), Handshake> {
    let loaded = tls.current();
    let handshake = TlsAcceptor::from(Arc::clone(&loaded.config)).accept(io);
    let stream = match tokio::time::timeout(patience, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(&error)),
        Err(_) => return Err(Handshake::Timeout),
    };
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let result = match session.handshake_kind() {
        Some(HandshakeKind::Resumed) => Handshake::Resumed,
        _ => Handshake::Full,
    };
    let server_name = session.server_name().map(Into::into);
    let client = session.peer_certificates().and_then(|chain| ClientCertificate::read(chain.first()?));
    let secured = Secured { version, server_name, client, loaded };
    Ok((Box::new(Encrypted(stream)), secured, result))
}

fn failed(error: &io::Error) -> Handshake {
    use rustls::Error::{AlertReceived, InvalidCertificate, NoCertificatesPresented};
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(InvalidCertificate(_) | NoCertificatesPresented) => Handshake::ClientCertificate,
        // Most often it does not trust our certificate.
        Some(AlertReceived(_)) => Handshake::Refused,
        Some(_) => Handshake::Protocol,
        None => Handshake::Left,
    }
}

/// A client's stream over TLS, as pingora wants it.
#[derive(Debug)]
struct Encrypted(TlsStream<Stream>);

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Encrypted {
    async fn shutdown(&mut self) {
        // A client that has gone already needs no goodbye.
        let _ = AsyncWriteExt::shutdown(&mut self.0).await;
    }
}

impl UniqueID for Encrypted {
    fn id(&self) -> UniqueIDType {
        self.0.get_ref().0.id()
    }
}

impl Ssl for Encrypted {
    /// By this pingora would know HTTP/2.
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.0.get_ref().1.alpn_protocol()? {
            b"h2" => Some(ALPN::H2),
            _ => Some(ALPN::H1),
        }
    }
}

impl GetTimingDigest for Encrypted {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.0.get_ref().0.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.0.get_ref().0.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.0.get_ref().0.get_write_pending_time()
    }
}

impl GetProxyDigest for Encrypted {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.0.get_ref().0.get_proxy_digest()
    }
}

impl GetSocketDigest for Encrypted {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.0.get_ref().0.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Encrypted {}
