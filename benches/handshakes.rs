//! Opens connections as fast as one core can, one request on each: the load of `benches/tls.py`.
//!
//!     handshakes plain|full|resumed ADDRESS PATH SECONDS CONNECTIONS
//!
//! `plain` has no TLS, `full` does a whole TLS 1.3 handshake each time, `resumed` one with a ticket of the connection before.
//! Ends with an error when an answer is not 200, or when a connection does not get the handshake that was asked for.
//! Nothing that the server proves is verified: it would make this side the slower one.

use std::env;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, Stream};

type Fault = Box<dyn Error + Send + Sync>;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Full,
    Resumed,
}

/// One client of many: its connections follow each other.
struct Client {
    kind: Kind,
    address: SocketAddr,
    request: String,
    tls: Arc<ClientConfig>,
}

/// Believes every server without a look.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

fn main() -> Result<(), Fault> {
    let words: Vec<String> = env::args().collect();
    let [_, kind, address, path, seconds, connections] = words.as_slice() else {
        return Err("usage: handshakes plain|full|resumed ADDRESS PATH SECONDS CONNECTIONS".into());
    };
    let kind = match kind.as_str() {
        "plain" => Kind::Plain,
        "full" => Kind::Full,
        "resumed" => Kind::Resumed,
        other => return Err(format!("`{other}` is none of plain, full, resumed").into()),
    };
    let (address, connections) = (address.parse()?, connections.parse()?);
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let mut client = Client::new(kind, address, path)?;
            Ok(thread::spawn(move || client.ask_until(end)))
        })
        .collect::<Result<_, Fault>>()?;
    let mut requests = 0;
    for client in clients {
        requests += client.join().map_err(|_| "a client panicked")??;
    }
    println!("{requests} requests");
    Ok(())
}

impl Client {
    fn new(kind: Kind, address: SocketAddr, path: &str) -> Result<Self, Fault> {
        let provider = Arc::new(ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous(provider)))
            .with_no_client_auth();
        if kind != Kind::Resumed {
            tls.resumption = Resumption::disabled();
        }
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        Ok(Client { kind, address, request, tls: Arc::new(tls) })
    }

    fn ask_until(&mut self, end: Instant) -> Result<u64, Fault> {
        let mut requests = 0;
        while Instant::now() < end {
            let shook = self.ask()?;
            let first = requests == 0; // nothing to resume yet
            let expected = match self.kind {
                Kind::Plain => None,
                Kind::Resumed if !first => Some(HandshakeKind::Resumed),
                _ => Some(HandshakeKind::Full),
            };
            if shook != expected {
                return Err(format!("the handshake was {shook:?}, not {expected:?}").into());
            }
            requests += 1;
        }
        Ok(requests)
    }

    /// One connection with one request; the handshake that it had.
    fn ask(&self) -> Result<Option<HandshakeKind>, Fault> {
        let mut socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        if self.kind == Kind::Plain {
            self.exchange(&mut socket)?;
            return Ok(None);
        }
        let mut connection = ClientConnection::new(Arc::clone(&self.tls), ServerName::try_from("localhost")?)?;
        self.exchange(&mut Stream::new(&mut connection, &mut socket))?;
        Ok(connection.handshake_kind())
    }

    /// To the end of the stream, so that the tickets in it are seen too.
    fn exchange(&self, stream: &mut (impl Read + Write)) -> Result<(), Fault> {
        stream.write_all(self.request.as_bytes())?;
        let mut answer = Vec::with_capacity(1024);
        match stream.read_to_end(&mut answer) {
            Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => {} // closed without a notice
            read => drop(read?),
        }
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            let line = String::from_utf8_lossy(&answer);
            return Err(io::Error::other(format!("the answer is `{}`", line.lines().next().unwrap_or_default())).into());
        }
        Ok(())
    }
}

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
