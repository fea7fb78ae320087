//! A client that speaks TLS.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::DEADLINE;
use super::client::Response;
use super::pki::{Authority, Pair};
use super::wire::{self, Framing};

/// Whom a client trusts and who it is.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

/// A connection.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Tls {
    /// Trusts this authority.
    pub fn trusting(authority: &Authority) -> Self {
        Self::of(authority, None, rustls::ALL_VERSIONS)
    }

    /// The same, with a certificate of its own.
    pub fn with(authority: &Authority, pair: &Pair) -> Self {
        Self::of(authority, Some(pair), rustls::ALL_VERSIONS)
    }

    /// The same, speaking these versions only.
    pub fn of(authority: &Authority, pair: Option<&Pair>, versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::by(rustls::crypto::ring::default_provider(), authority, pair, versions)
    }

    /// Offers these suites, which are of one version, in this order.
    pub fn offering(authority: &Authority, suites: &[CipherSuite]) -> Self {
        let mut provider = rustls::crypto::ring::default_provider();
        let known = |wanted| provider.cipher_suites.iter().find(|known| known.suite() == wanted).copied();
        let offered: Vec<_> = suites.iter().map(|wanted| known(*wanted).expect("a suite")).collect();
        let version = offered[0].version();
        provider.cipher_suites = offered;
        Self::by(provider, authority, None, &[version])
    }

    fn by(
        provider: CryptoProvider,
        authority: &Authority,
        pair: Option<&Pair>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match pair {
            Some(pair) => builder.with_client_auth_cert(vec![pair.certificate.clone()], pair.key()).expect("a pair"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { config: Arc::new(config) }
    }

    /// With other protocols to choose from.
    pub fn speaking(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config) }
    }

    /// The same for those who shake hands themselves.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Connects, and shakes hands to the end: TLS 1.3 tells a client only afterwards that its certificate is not good.
    pub fn connect(&self, address: SocketAddr, name: &str) -> io::Result<Connection> {
        let tcp = TcpStream::connect_timeout(&address, DEADLINE)?;
        tcp.set_read_timeout(Some(DEADLINE))?;
        tcp.set_write_timeout(Some(DEADLINE))?;
        let name = ServerName::try_from(name.to_owned()).expect("a host name");
        let session = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// The answer to a GET, with its own connection.
    pub fn fetch(&self, address: SocketAddr, name: &str, path: &str) -> io::Result<Response> {
        self.connect(address, name)?.ask(&format!("GET {path} HTTP/1.1\r\nhost: {name}\r\n\r\n"))
    }
}

impl Connection {
    /// Sends a request and returns the response to it.
    pub fn ask(&mut self, request: &str) -> io::Result<Response> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        let head = wire::read_head(&mut self.stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status =
            head.start.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let framing =
            if matches!(status, 204 | 304) { Framing::Absent } else { head.framing().unwrap_or(Framing::UntilClose) };
        let body = wire::read_body(&mut self.stream, framing);
        Ok(Response { status, fields: head.fields, body: body.bytes, cut: body.cut, interim: Vec::new() })
    }

    /// The server's certificate.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        Some(self.stream.get_ref().conn.peer_certificates()?.first()?.clone().into_owned())
    }

    /// Whether an earlier session goes on.
    pub fn is_resumed(&self) -> bool {
        self.stream.get_ref().conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The suite that the server chose.
    pub fn suite(&self) -> Option<CipherSuite> {
        Some(self.stream.get_ref().conn.negotiated_cipher_suite()?.suite())
    }

    /// The protocol that was agreed on.
    pub fn protocol(&self) -> Option<String> {
        self.stream.get_ref().conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// What is below HTTP.
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        self.stream.into_inner()
    }

    /// Whether the server ends the connection, and says nothing before.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }
}
