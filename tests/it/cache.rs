//! Replies that are stored and used again.
//!
//! `rules` is about what is stored and for how long, `answers` about what clients get of it, `users` about whose it is,
//! `together` about many who want the same at once, `purge` about forgetting, `beside` about compression, CORS and HTTP/2.

mod answers;
mod beside;
mod purge;
mod rules;
mod together;
mod users;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::client::{Response, ask, request};
use crate::support::gateway::Gateway;
use crate::support::origin::{Origin, Recorded, Reply};

/// A service whose replies are numbered, with these header lines.
pub fn counting(lines: &str) -> Origin {
    let lines = lines.to_owned();
    numbered(move |_, number| reply(&lines, &number.to_string()))
}

/// A service that answers each request by its number, from 1.
pub fn numbered(script: impl Fn(&Recorded, usize) -> Reply + Send + Sync + 'static) -> Origin {
    let count = Arc::new(AtomicUsize::new(0));
    Origin::start(move |request| script(request, count.fetch_add(1, Ordering::SeqCst) + 1))
}

/// 200 with these header lines and this body.
pub fn reply(lines: &str, body: &str) -> Reply {
    Reply::raw(format!("HTTP/1.1 200 OK\r\n{lines}content-length: {}\r\n\r\n{body}", body.len()))
}

/// A route for `/a/…` with this cache, and one with the other methods of the same paths.
pub fn config(origin: SocketAddr, cache: &Value, changes: &Value) -> Value {
    let mut route = json!({
        "name": "cached", "methods": ["GET", "HEAD"], "gateway_path": "/a/{id}", "service": "origin", "auth": "public",
        "query_params": { "q": { "optional": true } }, "cache": cache,
    });
    for (name, value) in changes.as_object().unwrap() {
        route[name] = value.clone();
    }
    json!({
        "version": 1,
        "listeners": [{ "address": "127.0.0.1:0" }],
        "admin": {
            "address": "127.0.0.1:0",
            "token_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        },
        "services": { "origin": { "url": format!("http://{origin}") } },
        "routes": [
            route,
            { "name": "change", "methods": ["POST", "PUT", "DELETE"], "gateway_path": "/a/{id}", "service": "origin", "auth": "public" },
        ],
    })
}

pub fn start(origin: &Origin, cache: &Value, changes: &Value) -> Gateway {
    Gateway::start(&config(origin.address(), cache, changes).to_string())
}

pub fn send(gateway: &Gateway, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
    ask(gateway.address(), &request(method, target, fields, b""))
}

pub fn get(gateway: &Gateway, target: &str) -> Response {
    send(gateway, "GET", target, &[])
}

/// A figure of the admin listener.
pub fn metric(gateway: &Gateway, name: &str) -> Option<String> {
    let text = ask(gateway.admin(), b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").text();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
}
