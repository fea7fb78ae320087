//! HTTP/2 over TLS: who speaks what is agreed on in the handshake, with clients and with services.

use std::sync::Arc;

use rustls::ServerConfig;
use serde_json::json;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::raw::stage::Stage;
use crate::support::client;
use crate::support::http2::{Asked, Http2, Service, get, run, serve};
use crate::support::origin::Origin;
use crate::support::pki::{Authority, Pair};
use crate::support::tls::Tls;

fn stage(authority: &Authority, listener: &str, services: serde_json::Value) -> Stage {
    let pair = authority.server(&["gateway.test"]);
    let (certificate, private_key) = authority.place("gateway", &pair);
    let mut listening = json!({
        "address": "127.0.0.1:0", "tls": {"certificate": certificate, "private_key": private_key},
    });
    listening.as_object_mut().unwrap().extend(serde_json::from_str::<serde_json::Map<_, _>>(listener).unwrap());
    let mut sections = json!({"listeners": [listening]});
    if services != json!(null) {
        sections["services"] = services;
    }
    Stage::set(Origin::json("{}"), json!([{"method": "GET", "gateway_path": "/"}]), sections)
}

#[test]
fn a_client_gets_the_best_that_both_speak() {
    let authority = Authority::new();
    let client = Tls::trusting(&authority);
    for (listener, offered, agreed) in [
        ("{}", &["h2", "http/1.1"][..], Some("h2")),
        ("{}", &["http/1.1"], Some("http/1.1")),
        ("{}", &[], None),
        (r#"{"http2": false}"#, &["h2", "http/1.1"], Some("http/1.1")),
    ] {
        let stage = stage(&authority, listener, json!(null));
        let connection = client.speaking(offered).connect(stage.gateway.address(), "gateway.test").unwrap();
        assert_eq!(connection.protocol().as_deref(), agreed, "{listener} {offered:?}");
        if agreed != Some("h2") {
            let answer = client.speaking(offered).fetch(stage.gateway.address(), "gateway.test", "/").unwrap();
            assert_eq!(answer.status, 200);
            continue;
        }
        run(async {
            let connector = TlsConnector::from(client.speaking(offered).config());
            let stream = tokio::net::TcpStream::connect(stage.gateway.address()).await.unwrap();
            let name = "gateway.test".try_into().unwrap();
            let mut client = Http2::over(connector.connect(name, stream).await.unwrap()).await.unwrap();
            assert_eq!(client.fetch("/").await.status, 200);
        });
        let seen = stage.origin.take().remove(0);
        assert_eq!(seen.values("x-forwarded-proto"), [b"https"]);
        let line = stage.gateway.printed(|line| line.contains("HTTP/2")).expect("a line");
        assert!(line.contains("\"protocol\":\"HTTP/2\""), "{line}");
    }
}

/// A service over TLS that speaks these protocols, the first of them if it is HTTP/2.
fn secure(pair: &Pair, protocols: &[&str]) -> Service {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificate = vec![pair.certificate.clone()];
    let mut config = builder.with_no_client_auth().with_single_cert(certificate, pair.key()).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Service::start_connections(move |number, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            serve(
                number,
                stream,
                Arc::new(|asked: Asked| async move {
                    let uri = asked.request.uri().to_string();
                    asked.reply(200, &[("x-uri", &uri)], b"{}", &[]).await;
                }),
            )
            .await;
        }
    })
}

#[test]
fn a_service_over_tls_gets_http2() {
    let authority = Authority::new();
    let service = secure(&authority.server(&["calls.test"]), &["h2"]);
    let services = json!({"origin": {
        "targets": [{"address": service.address.to_string()}], "protocol": "http2",
        "tls": {"ca": authority.file(), "server_name": "calls.test"},
    }});
    let routes = json!([{"method": "GET", "gateway_path": "/"}]);
    let stage = Stage::set(Origin::json("{}"), routes, super::over_http2(json!({"services": services})));
    let answer = stage.ask(&client::request("GET", "/", &[], b""));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.value("x-uri").is_some_and(|uri| uri.starts_with("https://")), "{:?}", answer.value("x-uri"));
    let answer = run(async { Http2::connect(stage.gateway.address()).await.ask(get("/"), b"").await });
    assert_eq!(answer.status, 200);
}
