//! Services that speak TLS.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::process::instance::eventually;
use crate::support::client::fetch;
use crate::support::gateway::Gateway;
use crate::support::pki::{Authority, Life, Pair};
use crate::support::wire;

/// A service over TLS that answers with the name it was asked for and the length of its client's certificate. It serves
/// until the test ends.
pub struct Secure {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Secure {
    /// Starts it; with `clients` only certificates of this authority come in.
    pub fn start(pair: &Pair, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.unwrap().with_client_cert_verifier(verifier)
            }
            None => builder.unwrap().with_no_client_auth(),
        };
        let config = Arc::new(builder.with_single_cert(vec![pair.certificate.clone()], pair.key()).unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                let config = Arc::clone(&config);
                thread::spawn(move || serve(config, stream));
            }
        });
        Self { address, connections }
    }
}

fn serve(config: Arc<ServerConfig>, stream: TcpStream) {
    let session = ServerConnection::new(config).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(session, stream));
    while let Ok(Some(_)) = wire::read_head(&mut stream) {
        let session = &stream.get_ref().conn;
        let client = session.peer_certificates().map_or(0, |chain| chain[0].len());
        let said = format!("{} {client}", session.server_name().unwrap_or("-"));
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{said}", said.len());
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The gateway before this service.
fn gateway(service: &str) -> Gateway {
    Gateway::start(&format!(
        "version: 1
listeners: [{{ address: 127.0.0.1:0 }}]
services: {{ secure: {{ {service} }} }}
routes: [{{ name: asked, method: GET, gateway_path: /asked, service: secure, auth: public }}]
"
    ))
}

/// Whether another request needs no other connection.
fn keeps(gateway: &Gateway, secure: &Secure) -> bool {
    let before = secure.connections.load(Ordering::Relaxed);
    assert_eq!(fetch(gateway.address(), "/asked").status, 200);
    secure.connections.load(Ordering::Relaxed) == before
}

#[test]
fn only_the_right_certificate_is_taken_and_the_cause_is_told() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let ca = known.file();
    let ca = ca.display();
    let right = known.server(&["localhost", "127.0.0.1"]);
    let cases = [
        (known.server(&["localhost"]), "", Ok("localhost")),
        (known.server(&["secure.test"]), "server_name: secure.test, ", Ok("secure.test")),
        (known.server(&["secure.test"]), "", Err("its certificate is for another name")),
        (known.server(&["localhost"]), "server_name: secure.test, ", Err("its certificate is for another name")),
        (unknown.server(&["localhost"]), "", Err("its certificate is of an unknown authority")),
        (known.server_of(&["localhost"], Life::Past), "", Err("its certificate has expired")),
        (known.server_of(&["localhost"], Life::Future), "", Err("its certificate is not valid yet")),
        (unknown.server_of(&["other.test"], Life::Past), "verify: false, ", Ok("localhost")),
    ];
    for (pair, tls, expected) in cases {
        let secure = Secure::start(&pair, None);
        let port = secure.address.port();
        let gateway = gateway(&format!("url: \"https://localhost:{port}\", tls: {{ {tls} ca: \"{ca}\" }}"));
        let answers = [fetch(gateway.address(), "/asked"), fetch(gateway.address(), "/asked")];
        for answer in answers {
            match expected {
                Ok(name) => assert_eq!((answer.status, answer.text()), (200, format!("{name} 0")), "{tls}"),
                Err(_) => assert_eq!(answer.status, 502, "{tls}: {}", answer.text()),
            }
        }
        match expected {
            Ok(_) => assert!(eventually(|| keeps(&gateway, &secure)), "connections are not kept"),
            Err(cause) => {
                let line = gateway.printed(|line| line.contains("\"status\":502")).unwrap();
                assert!(line.contains(cause), "{cause}: {line}");
            }
        }
    }
    // By address, where the certificate is for one, and without a name among the targets.
    let secure = Secure::start(&right, None);
    let by_address = gateway(&format!("targets: [{{ address: \"{}\" }}], tls: {{ ca: \"{ca}\" }}", secure.address));
    assert_eq!(fetch(by_address.address(), "/asked").text(), "- 0");
    // Nobody has made the machine trust this authority.
    let by_default = gateway(&format!("url: \"https://localhost:{}\"", secure.address.port()));
    assert_eq!(fetch(by_default.address(), "/asked").status, 502);
    // A service that speaks in clear.
    let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to_plain = gateway(&format!("url: \"https://localhost:{}\"", plain.local_addr().unwrap().port()));
    thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    assert_eq!(fetch(to_plain.address(), "/asked").status, 502);
    let line = to_plain.printed(|line| line.contains("\"status\":502")).unwrap();
    assert!(line.contains("it does not speak TLS"), "{line}");
}

#[test]
fn a_service_gets_the_certificate_of_the_gateway_also_a_renewed_one() {
    let authority = Authority::new();
    let secure = Secure::start(&authority.server(&["localhost"]), Some(&authority));
    let url = format!("url: \"https://localhost:{}\"", secure.address.port());
    let ca = format!("ca: \"{}\"", authority.file().display());
    let first = authority.client("gateway", &[], Life::Now);
    let own = authority.yaml("gateway", &first);
    let with = gateway(&format!("{url}, tls: {{ {ca}, {own} }}"));
    let said = || fetch(with.address(), "/asked").text();
    assert_eq!(said(), format!("localhost {}", first.certificate.len()));
    let renewed = authority.client("gateway with a longer name", &[], Life::Now);
    authority.place("gateway", &renewed);
    assert!(eventually(|| said() == format!("localhost {}", renewed.certificate.len())), "{}", said());
    let without = gateway(&format!("{url}, tls: {{ {ca} }}"));
    assert_eq!(fetch(without.address(), "/asked").status, 502);
    let line = without.printed(|line| line.contains("\"status\":502")).unwrap();
    assert!(line.contains("it refuses the gateway's certificate"), "{line}");
}
