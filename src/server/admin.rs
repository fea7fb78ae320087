//! The listener for operators: probes, metrics, what runs, reload.
//!
//! It answers everyone who can connect, so it belongs on loopback or a private network; `check` warns otherwise.
//! `POST /reload` is answered only to peers on the same machine, and only with the header `X-Tollgate: reload`, which a
//! web page cannot send across origins; what has to do with API keys (`keys`), a change of the log's `level`, and what the
//! `cache` is to forget, only to whoever has the token for it.

mod cache;
mod keys;
mod level;
mod services;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Response, StatusCode, Version};
use pingora::apps::http_app::ServeHttp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use serde_json::json;

use crate::config::Sha256;
use crate::gateway::{Access, Route, docs};
use crate::proxy::State;
use crate::telemetry;

use super::reload::{Outcome, Reloader};
use super::unix_now;

pub use keys::Keys;

/// The admin application.
pub struct Admin {
    state: Arc<State>,
    reloader: Arc<Reloader>,
    /// Where there is a store.
    keys: Option<Keys>,
    /// Of whoever may change something.
    token: Option<Sha256>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Pages and their method.
const PAGES: [(&str, Method); 7] = [
    ("/metrics", Method::GET),
    ("/livez", Method::GET),
    ("/readyz", Method::GET),
    ("/routes", Method::GET),
    ("/services", Method::GET),
    ("/config", Method::GET),
    ("/reload", Method::POST),
];

impl Admin {
    /// For this process.
    pub fn new(state: Arc<State>, reloader: Arc<Reloader>, keys: Option<Keys>, token: Option<Sha256>) -> Self {
        Self { state, reloader, keys, token }
    }

    fn answer(&self, path: &str) -> Response<Vec<u8>> {
        match path {
            "/metrics" => page(StatusCode::OK, METRICS, self.metrics()),
            "/livez" => page(StatusCode::OK, TEXT, b"ok\n".to_vec()),
            "/readyz" if self.state.draining.load(Ordering::Relaxed) => {
                page(StatusCode::SERVICE_UNAVAILABLE, TEXT, b"draining\n".to_vec())
            }
            "/readyz" => page(StatusCode::OK, TEXT, b"ready\n".to_vec()),
            "/routes" => json_page(&self.routes()),
            "/services" => json_page(&services::describe(&self.state.gateway.load())),
            "/config" => json_page(&self.config()),
            _ => not_found(),
        }
    }

    /// Figures that others keep are read now.
    fn metrics(&self) -> Vec<u8> {
        let telemetry = &self.state.telemetry;
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let gateway = self.state.gateway.load();
        telemetry.ready.set(i64::from(!self.state.draining.load(Ordering::Relaxed)));
        telemetry.connections_limit.set(int(gateway.connection_limits.max_connections as u64));
        telemetry.body_memory_limit.set(int(gateway.request_limits.body_memory));
        telemetry.compression_memory_limit.set(int(gateway.request_limits.compression_memory));
        telemetry.compression_memory.set(int(self.state.compressors.used()));
        telemetry.upload_disk_limit.set(int(gateway.upload_limits.disk));
        telemetry.in_flight.set(int(self.state.in_flight.load(Ordering::Relaxed) as u64));
        telemetry.connections.set(int(self.state.connections.open() as u64));
        telemetry.body_memory.set(int(self.state.bodies.used()));
        telemetry.upload_disk.set(int(self.state.uploads.used()));
        let (bytes, limit) = self.state.cache.bytes();
        telemetry.cache_bytes.set(int(bytes));
        telemetry.cache_bytes_limit.set(int(limit));
        telemetry.cache_objects.set(int(self.state.cache.objects()));
        telemetry.cache_evictions(self.state.cache.evictions());
        telemetry.lost_lines(self.state.access.lost(), telemetry::lost_log_entries());
        if let Some(keys) = &self.state.stored_keys {
            telemetry.store_keys.set(int(keys.load().good(unix_now()) as u64));
        }
        let limits = self.state.limiter.statistics();
        for (kind, entries) in
            [("consumer", limits.consumers), ("stranger", limits.strangers), ("overflow", limits.overflow_entries)]
        {
            telemetry.limit_entries.with_label_values(&[kind]).set(int(entries));
        }
        telemetry.limit_overflow.set(int(limits.overflow_hits));
        let defined = self.state.gateway.load().limit_count();
        telemetry.limit_bytes.set(int(self.state.limiter.bytes() as u64));
        telemetry.limit_max_bytes.set(int(self.state.limiter.bound(defined) as u64));
        services::count(&gateway, telemetry);
        telemetry.render()
    }

    fn routes(&self) -> serde_json::Value {
        let gateway = self.state.gateway.load();
        gateway.routes.iter().map(|route| describe(route)).collect()
    }

    fn config(&self) -> serde_json::Value {
        let gateway = self.state.gateway.load();
        let configuration: serde_json::Value = serde_json::from_str(&gateway.configuration).unwrap_or_default();
        json!({ "generation": gateway.generation, "hash": gateway.hash, "configuration": configuration })
    }

    /// The API's description, where it is served here.
    fn description(&self, path: &str, headers: &HeaderMap) -> Option<Response<Vec<u8>>> {
        let gateway = self.state.gateway.load();
        let docs = gateway.docs.as_ref().filter(|docs| matches!(docs.place, docs::Place::Admin { .. }))?;
        let made = docs.answer(path, headers)?;
        let mut answer = Response::new(made.body.to_vec());
        *answer.status_mut() = StatusCode::from_u16(made.status).ok()?;
        *answer.headers_mut() = made.headers;
        if answer.status() != StatusCode::NOT_MODIFIED {
            let length = answer.body().len();
            answer.headers_mut().insert(CONTENT_LENGTH, http::HeaderValue::from(length));
        }
        Some(answer)
    }

    async fn reload(&self, peer: Option<IpAddr>, session: &ServerSession) -> Response<Vec<u8>> {
        let marked = session.req_header().headers.get("x-tollgate").is_some_and(|value| value == "reload");
        if !marked || !peer.is_some_and(|peer| peer.is_loopback()) {
            let text = b"reload is answered to `tollgate reload` on the same machine only\n".to_vec();
            return page(StatusCode::FORBIDDEN, TEXT, text);
        }
        let reloader = Arc::clone(&self.reloader);
        // Loading reads files and resolves names: not on the thread that answers probes.
        let Ok(outcome) = tokio::task::spawn_blocking(move || reloader.reload()).await else {
            return page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, b"the reload failed\n".to_vec());
        };
        match outcome {
            Outcome::Published { generation, upgrade_needed, warnings } => json_page(&json!({
                "result": "published", "generation": generation,
                "upgrade_needed": upgrade_needed, "warnings": warnings,
            })),
            Outcome::Unchanged { generation } => json_page(&json!({ "result": "unchanged", "generation": generation })),
            Outcome::Refused { report } => {
                let body = json!({ "result": "refused", "report": report });
                let mut answer = json_page(&body);
                *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
                answer
            }
        }
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        if asks_to_close(session.req_header()) {
            // pingora keeps every connection of an application, but such clients read until it is closed.
            session.set_keepalive(None);
        }
        let request = session.req_header();
        let (path, method) = (request.uri.path().to_owned(), request.method.clone());
        if is_rebound(session) {
            // A web page whose name was rebound to this machine must not read what operators read.
            return page(StatusCode::MISDIRECTED_REQUEST, TEXT, b"use an address or localhost\n".to_vec());
        }
        if docs::PATHS.contains(&path.as_str())
            && let Some(answer) = self.description(&path, &request.headers)
        {
            return read_only(&method, answer);
        }
        if let Some(keys) = &self.keys
            && let Some(answer) = keys.answer(session).await
        {
            return answer;
        }
        if path == cache::PATH {
            return cache::answer(&self.state, self.token.as_ref(), session).await;
        }
        if path == level::PATH {
            return level::answer(self.token.as_ref(), session).await;
        }
        let Some((_, expected)) = PAGES.iter().find(|(page, _)| *page == path) else { return not_found() };
        if *expected != Method::POST {
            return read_only(&method, self.answer(&path));
        }
        if method != *expected {
            return not_allowed("POST");
        }
        let peer = session.client_addr().and_then(|address| address.as_inet().map(|inet| inet.ip()));
        self.reload(peer, session).await
    }
}

/// A page for those who only read.
fn read_only(method: &Method, mut answer: Response<Vec<u8>>) -> Response<Vec<u8>> {
    match *method {
        Method::GET => answer,
        Method::HEAD => {
            answer.body_mut().clear();
            answer
        }
        _ => not_allowed("GET"),
    }
}

fn not_allowed(allow: &'static str) -> Response<Vec<u8>> {
    let mut answer = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, b"method not allowed\n".to_vec());
    answer.headers_mut().insert(ALLOW, http::HeaderValue::from_static(allow));
    answer
}

/// Whether the client wants the connection to end with the answer (RFC 9112 section 9.3).
fn asks_to_close(request: &RequestHeader) -> bool {
    let mut options = request.headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut says =
        |option: &str| options.any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(option)));
    if request.version == Version::HTTP_10 { !says("keep-alive") } else { says("close") }
}

/// Whether a request came over loopback under a name that is not this machine's.
fn is_rebound(session: &ServerSession) -> bool {
    let local = session.server_addr().and_then(|address| address.as_inet().map(|inet| inet.ip()));
    let host = session.req_header().headers.get(HOST).and_then(|host| host.to_str().ok());
    local.is_some_and(|address| address.is_loopback()) && !host.is_none_or(is_local_host)
}

/// An address or `localhost`, with or without a port.
fn is_local_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

fn describe(route: &Route) -> serde_json::Value {
    json!({
        "name": &*route.name,
        "methods": route.methods.iter().map(Method::as_str).collect::<Vec<_>>(),
        "host": route.host.as_deref(),
        "gateway_path": &*route.gateway_path,
        "service": route.service_text(),
        "service_path": &*route.service_path_text,
        "mode": if route.observes() { "observe" } else { "enforce" },
        "observed": route.modes.observed().collect::<Vec<_>>(),
        "conditions": route.conditions().collect::<Vec<_>>(),
        "public": matches!(route.access, Access::Public),
        "targets": route
            .services()
            .flat_map(|service| service.addresses())
            .map(|address| address.to_string())
            .collect::<Vec<_>>(),
    })
}

fn page(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let length = answer.body().len();
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    answer.headers_mut().insert(CONTENT_LENGTH, http::HeaderValue::from(length));
    answer
}

fn json_page(value: &serde_json::Value) -> Response<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    page(StatusCode::OK, JSON, text)
}

fn not_found() -> Response<Vec<u8>> {
    let pages: Vec<&str> = PAGES.iter().map(|(page, _)| *page).collect();
    page(StatusCode::NOT_FOUND, TEXT, format!("not found; there are {}\n", pages.join(", ")).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::is_local_host;

    #[test]
    fn a_web_page_cannot_name_this_machine() {
        for (host, local) in [
            ("127.0.0.1:9090", true),
            ("[::1]:9090", true),
            ("[::1]", true),
            ("localhost", true),
            ("localhost:9090", true),
            ("evil.example.com", false),
            ("evil.example.com:9090", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(is_local_host(host), local, "{host}");
        }
    }
}
