//! Connections over HTTP/2 when the process leaves, or another takes over: no request is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::over_http2;
use crate::raw::stage::Stage;
use crate::support::http2::{Http2, get, request, run, until, whole};
use crate::support::origin::{Origin, Reply};
use crate::upgrade::Line;

fn thoughtful() -> Origin {
    Origin::start(|request| {
        if request.path() == "/slow" {
            std::thread::sleep(Duration::from_millis(700));
        }
        Reply::json(200, "{}")
    })
}

#[test]
fn what_is_open_is_answered_before_the_end() {
    let routes = json!([{"method": "GET", "gateway_path": "/{*rest}"}]);
    let stage = Stage::set(thoughtful(), routes, over_http2(json!({})));
    run(async {
        let mut client = Http2::connect(stage.gateway.address()).await;
        let (slow, _) = client.begin(get("/slow"), true).await.unwrap();
        assert!(until(|| !stage.origin.requests().is_empty()).await);
        stage.gateway.signal("TERM");
        assert_eq!(whole(slow).await.unwrap().status, 200);
        // The connection has said goodbye; a client asks on another one, which is answered or not there.
        assert!(client.try_ask(get("/quick"), b"").await.is_err());
    });
}

#[test]
fn under_load_no_request_is_lost_by_upgrades() {
    const UPGRADES: usize = 4;
    let origin = thoughtful();
    let mut line = Line::start(&origin, over_http2(json!({})));
    let public = line.public;
    let done = Arc::new(AtomicBool::new(false));
    let (answered, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = ["/quick", "/slow", "/upload", "/quick"]
        .into_iter()
        .map(|path| {
            let (done, answered, connections) = (Arc::clone(&done), Arc::clone(&answered), Arc::clone(&connections));
            std::thread::spawn(move || {
                run(async move {
                    while !done.load(Ordering::Relaxed) {
                        connections.fetch_add(1, Ordering::Relaxed);
                        ask_until_goodbye(public, path, &done, &answered).await;
                    }
                });
            })
        })
        .collect();
    let grows = |by: usize| {
        let before = answered.load(Ordering::Relaxed);
        run(until(|| answered.load(Ordering::Relaxed) > before + by))
    };
    for turn in 0..UPGRADES {
        assert!(grows(50), "no load in turn {turn}");
        let upgraded = line.upgrade();
        assert!(upgraded.status.success(), "{}\n{}", String::from_utf8_lossy(&upgraded.stderr), line.log());
    }
    assert!(grows(50), "no load at the end");
    done.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("no request of this client was lost"));
    assert!(connections.load(Ordering::Relaxed) >= 4 * UPGRADES, "clients went over to the new process");
}

/// Asks on one connection, several requests at a time, until it takes no more. What it has taken must be answered.
async fn ask_until_goodbye(
    public: std::net::SocketAddr,
    path: &'static str,
    done: &AtomicBool,
    answered: &AtomicUsize,
) {
    let client = Http2::connect(public).await;
    let body = if path == "/upload" { vec![b'x'; 100_000] } else { Vec::new() };
    let method = if path == "/upload" { "POST" } else { "GET" };
    let asks = || {
        let (mut client, body) = (client.clone(), body.clone());
        async move {
            while !done.load(Ordering::Relaxed) {
                let request = request(method, path, &[("content-type", "text/plain")]);
                match client.try_ask(request, &body).await {
                    Ok(answer) => {
                        assert_eq!(answer.status, 200, "{path}: {answer:?}");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    // RFC 9113 section 6.8: beyond the last stream of a goodbye nothing was looked at.
                    Err(failed) if failed.is_go_away() && failed.reason() == Some(h2::Reason::NO_ERROR) => return,
                    // Over before it was sent.
                    Err(failed) if !failed.is_remote() && failed.reason().is_none() => return,
                    Err(failed) => panic!("{path}: {failed:?}"),
                }
            }
        }
    };
    tokio::join!(asks(), asks(), asks());
}
