//! The microservice and the walk through it that `tollgate demo` offers.
//!
//! [`service`] serves what [`answer()`] decides: the routes of the demo microservice, and `/echo`, which shows what
//! reached it, so that a user sees what the gateway let through. [`CONFIG`] is the gateway in front of it and
//! [`tour`] the commands to try. Everything it holds is bounded; it is for trying out and for tests, not for
//! serving anyone, and it knows nothing of the rest of the crate.

mod answer;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use http::{HeaderValue, Method, Response, Version, header};
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::services::listening::Service;

pub use answer::{Answer, Received, answer};

/// The configuration that `tollgate demo` runs.
pub const CONFIG: &str = include_str!("../conf/demo.yaml");

/// The address that [`CONFIG`] expects the microservice at.
pub const SERVICE_ADDRESS: &str = "127.0.0.1:8002";

/// The API key of the consumer `alice` in [`CONFIG`].
pub const API_KEY: &str = "demo-key-alice";

/// The largest request body the microservice reads.
pub const MAX_BODY: usize = 1024 * 1024;

/// How long the microservice waits for the next piece of a request body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// One step of the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TourLine {
    /// What there is to see.
    pub title: &'static str,
    /// The shell command that shows it.
    pub command: String,
}

/// The demo microservice. It has no state.
#[derive(Debug, Clone, Copy, Default)]
pub struct DemoService;

/// The microservice as a pingora service, which still lacks its address.
pub fn service(name: &str) -> Service<HttpServer<DemoService>> {
    Service::new(name.to_owned(), HttpServer::new_app(DemoService))
}

/// What to try when [`CONFIG`] is served at `public`, with its operators' listener at `admin`.
pub fn tour(public: SocketAddr, admin: SocketAddr) -> Vec<TourLine> {
    let reports = format!("http://{public}/reports -H 'x-api-key: {API_KEY}'");
    let line = |title, command| TourLine { title, command };
    vec![
        line("a typed route; the answer is what the service received", format!("curl -s http://{public}/users/42")),
        line("a value of the wrong type stops here", format!("curl -si http://{public}/users/forty-two")),
        line(
            "only declared query parameters pass: debug is gone, limit is filled in",
            format!("curl -s 'http://{public}/search?q=tea&debug=1'"),
        ),
        line(
            "every fault of a body at once",
            format!(
                "curl -si http://{public}/orders -H 'content-type: application/json' \
                 -d '{{\"product\": \"\", \"quantity\": 0, \"express\": \"maybe\"}}'"
            ),
        ),
        line(
            "of a form only declared parts pass, files too",
            format!(
                "echo hello | curl -s http://{public}/notes -F title=tea -F debug=1 \
                 -F 'note=@-;filename=note.txt;type=text/plain'"
            ),
        ),
        line("no key, no entry", format!("curl -si http://{public}/reports")),
        line("with a key, which the service does not see", format!("curl -s {reports}")),
        line(
            "five a minute in alice's plan, then 429",
            format!("for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}}\\n' {reports}; done"),
        ),
        line("what the gateway counted", format!("curl -s http://{admin}/metrics | grep '^tollgate_'")),
    ]
}

#[async_trait]
impl ServeHttp for DemoService {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let Some(body) = read_body(session).await else {
            session.set_keepalive(None);
            return rendered(Answer::detail(413, "Content Too Large"), &Method::POST);
        };
        if asks_to_close(session.req_header()) {
            // pingora keeps every connection of an application, but such clients read until it is closed.
            session.set_keepalive(None);
        }
        let head = session.req_header();
        let headers: Vec<(String, String)> = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let method = head.method.clone();
        let answer = answer(&Received {
            method: method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &headers,
            body: &body,
        });
        if !answer.wait.is_zero() {
            tokio::time::sleep(answer.wait).await;
        }
        rendered(answer, &method)
    }
}

/// Whether the client wants the connection closed after the answer.
fn asks_to_close(request: &RequestHeader) -> bool {
    let mut options = request.headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut says =
        |option: &str| options.any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(option)));
    if request.version == Version::HTTP_10 { !says("keep-alive") } else { says("close") }
}

/// The whole body, or `None` when it is longer than [`MAX_BODY`] or does not arrive.
async fn read_body(session: &mut ServerSession) -> Option<BytesMut> {
    session.set_read_timeout(Some(READ_TIMEOUT));
    if session.req_header().headers.contains_key(header::EXPECT) {
        session.write_continue_response().await.ok()?;
    }
    let mut body = BytesMut::new();
    while let Some(piece) = session.read_request_body().await.ok()? {
        if body.len() + piece.len() > MAX_BODY {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    Some(body)
}

fn rendered(answer: Answer, method: &Method) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = answer.status;
    if let Some(json) = answer.json {
        let body = json.to_string().into_bytes();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        if method != Method::HEAD {
            *response.body_mut() = body;
        }
    }
    response
}
