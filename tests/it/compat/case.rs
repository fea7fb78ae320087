//! A recorded case, and the bytes it stands for.
//!
//! The recording writes header values and targets as Latin-1 text, so that every byte has its character; bodies and
//! scripted replies are UTF-8.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::support::client::Response;
use crate::support::origin::{Recorded as Request, Reply};
use crate::support::wire::Field;

/// One recorded request with everything that followed.
#[derive(Debug, Deserialize)]
pub struct Case {
    pub name: String,
    pub group: String,
    pub gateway: Side,
    pub client_request: ClientRequest,
    /// `the demo microservice`, `down`, `redirect_same`, or the bytes of a response.
    pub upstream_reply: String,
    pub upstream_saw: Option<Saw>,
    pub upstream_request_count: usize,
    pub client_got: Got,
    pub verdict: Verdict,
    pub expect: Map<String, Value>,
}

/// Which of the two recorded gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Demo,
    Probe,
}

/// What the recording means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Keep,
    Fix,
}

/// What the client sent.
#[derive(Debug, Deserialize)]
pub struct ClientRequest {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    pub body: String,
    http_version: String,
    /// In words, when the body was not sent as one piece.
    #[serde(default)]
    sent_as: Option<String>,
}

/// What the service got from the Python gateway.
#[derive(Debug, Deserialize)]
pub struct Saw {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What the client got from the Python gateway.
#[derive(Debug, Deserialize)]
pub struct Got {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The text, or a summary of a long one.
    pub body: Value,
}

/// What the service does.
#[derive(Debug, Clone)]
pub enum Service {
    /// It is the demo microservice.
    Microservice,
    /// It does not listen.
    Down,
    /// It says this.
    Says(Reply),
}

/// The recorded exchange in the form of a played one.
pub struct Recorded {
    pub response: Response,
    pub upstream: Vec<Request>,
}

/// All cases.
pub fn load() -> Vec<Case> {
    serde_json::from_str(include_str!("../../compat/cases.json")).expect("cases.json is well-formed")
}

impl Case {
    /// The request as it goes onto the wire.
    pub fn request(&self) -> Vec<u8> {
        let request = &self.client_request;
        let question = if request.query.is_empty() { "" } else { "?" };
        let (path, query) = (&request.path, &request.query);
        let mut bytes =
            latin1(&format!("{} {path}{question}{query} HTTP/{}\r\n", request.method, request.http_version));
        for (name, value) in &request.headers {
            bytes.extend(latin1(&format!("{name}: {value}\r\n")));
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.sent_body());
        bytes
    }

    /// The path that was asked for.
    pub fn path(&self) -> &str {
        &self.client_request.path
    }

    fn sent_body(&self) -> Vec<u8> {
        let Some(words) = &self.client_request.sent_as else { return self.client_request.body.clone().into_bytes() };
        if let Some(literal) = words.strip_prefix("body: ") {
            return literal.replace("\\r\\n", "\r\n").into_bytes();
        }
        let text = words.strip_prefix("body sent as two chunks: ").expect("a known way of sending");
        let (one, two) = text.split_at(text.len() / 2);
        format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len()).into_bytes()
    }

    /// What the service behind the gateway does in this case.
    pub fn service(&self) -> Service {
        match self.upstream_reply.as_str() {
            "the demo microservice" => Service::Microservice,
            "down" => Service::Down,
            "redirect_same" => {
                Service::Says(Reply::raw("HTTP/1.1 302 -\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"))
            }
            bytes => Service::Says(scripted(bytes)),
        }
    }

    /// What the Python library did.
    pub fn recorded(&self) -> Recorded {
        let got = &self.client_got;
        let (fields, body) = (fields(&got.headers), got.body.as_str().unwrap_or_default().as_bytes().to_vec());
        let response = Response { status: got.status, fields, body, cut: false, interim: Vec::new() };
        let upstream =
            self.upstream_saw.iter().flat_map(|saw| vec![saw.request(); self.upstream_request_count]).collect();
        Recorded { response, upstream }
    }
}

impl Saw {
    fn request(&self) -> Request {
        let question = if self.query.is_empty() { "" } else { "?" };
        Request {
            connection: 0,
            method: self.method.clone(),
            target: format!("{}{question}{}", self.path, self.query),
            fields: fields(&self.headers),
            body: self.body.clone().into_bytes(),
        }
    }
}

/// A reply after which the connection is closed if it says so, or if it announces more than it has.
fn scripted(bytes: &str) -> Reply {
    let (head, body) = bytes.split_once("\r\n\r\n").expect("a scripted reply has a head");
    let head = head.to_ascii_lowercase();
    let announced = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let reply = Reply::raw(bytes);
    if head.contains("connection: close") || announced.is_some_and(|length: usize| length > body.len()) {
        return reply.closing();
    }
    reply
}

fn fields(headers: &[(String, String)]) -> Vec<Field> {
    headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), latin1(value))).collect()
}

/// One byte for each character. A character beyond Latin-1 would be a fault of the recording.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(char).expect("headers and targets are recorded as Latin-1")).collect()
}
