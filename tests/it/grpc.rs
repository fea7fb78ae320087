//! Calls of gRPC by a real client (tonic) to a real service behind the gateway, and what becomes of calls that the gateway
//! ends itself. Messages are bytes: how they are encoded concerns nobody here.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::codegen::tokio_stream::{self, Stream, StreamExt};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::StreamingService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::http2::over_http2;
use crate::raw::stage::Stage;
use crate::support::http2::{self, Http2, run, until};
use crate::support::origin::{Origin, Unreachable};

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// Messages as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// The service. What it does is in the name of the method.
#[derive(Clone, Default)]
struct Calls {
    /// Calls that their client has given up.
    dropped: Arc<AtomicUsize>,
}

/// One call of it.
struct Call {
    method: String,
    calls: Calls,
}

/// Counted when it goes.
struct Going(Arc<AtomicUsize>);

impl Drop for Going {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Service<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let call = Call { method, calls: self.clone() };
        // On the wire all kinds of calls are one.
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).streaming(call, request).await) })
    }
}

impl StreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = Replies;
    type Future = BoxFuture<Response<Replies>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (method, calls) = (self.method.clone(), self.calls.clone());
        Box::pin(async move {
            let waits = request.metadata().get("grpc-timeout").cloned();
            let mut asked = request.into_inner();
            let replies: Replies = match &*method {
                // As many replies as the number that is asked for.
                "Count" => {
                    let number = asked.message().await?.map_or(0, |message| message[0]);
                    Box::pin(tokio_stream::iter((0..number).map(|reply| Ok(Bytes::copy_from_slice(&[reply])))))
                }
                // One reply for all messages.
                "Sum" => {
                    let mut sum = 0;
                    while let Some(message) = asked.message().await? {
                        sum += message.len();
                    }
                    Box::pin(tokio_stream::once(Ok(Bytes::from(sum.to_string()))))
                }
                "Fail" => {
                    return Err(Status::with_details(Code::DataLoss, "lost: 100 % naïve", Bytes::from_static(b"why")));
                }
                "FailLater" => {
                    Box::pin(tokio_stream::iter([Ok(Bytes::from_static(b"one")), Err(Status::aborted("enough"))]))
                }
                "Hang" => {
                    let _going = Going(Arc::clone(&calls.dropped));
                    assert!(waits.is_none_or(|waits| !waits.is_empty()));
                    std::future::pending().await
                }
                // A message, and nothing after it.
                "HangLater" => {
                    let going = Going(Arc::clone(&calls.dropped));
                    let first = tokio_stream::once(Ok(Bytes::from_static(b"one")));
                    Box::pin(first.chain(tokio_stream::pending()).map(move |reply| {
                        let _ = &going;
                        reply
                    }))
                }
                _ => Box::pin(asked),
            };
            Ok(Response::new(replies))
        })
    }
}

impl Calls {
    /// Serves on a free port for as long as the test lives.
    fn start(&self) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a free port");
        listener.set_nonblocking(true).expect("prepare a listener");
        let address = listener.local_addr().expect("a bound listener has an address");
        let calls = self.clone();
        thread::spawn(move || {
            run(async move {
                let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).expect("a listener"));
                let _ = Server::builder().serve_with_incoming(calls, incoming).await;
            });
        });
        address
    }
}

/// A gateway in front of a service of gRPC.
fn before(service: SocketAddr, mut sections: Value) -> Stage {
    let timeouts = json!({"response": "5s", "idle": "700ms"});
    let url = |address: SocketAddr| format!("http://{address}");
    sections["services"] = json!({
        "calls": {"url": url(service), "protocol": "http2", "timeouts": timeouts},
        "nobody": {"url": url(Unreachable::reserve().address()), "protocol": "http2"},
    });
    sections["authenticators"] = json!({"key": {"api_key": {"header": "x-key"}}});
    sections["consumers"] = json!({"alice": {"api_keys": [{"sha256": SECRET}], "groups": ["staff"]}});
    let route = |name: &str, more: Value| {
        let mut route = json!({
            "name": name, "method": "POST", "gateway_path": format!("/test.{name}/{{method}}"), "service": "calls",
            "body": "any", "max_body": "1MiB",
        });
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        route
    };
    let routes = json!([
        route("Calls", json!({})),
        route("Keyed", json!({"auth": ["key"]})),
        route("Bosses", json!({"auth": ["key"], "allow": {"groups": ["bosses"]}})),
        route("Rare", json!({"limits": [{"rate": "1/hour", "by": "route"}]})),
        route("Tenants", json!({"header_params": {"x-tenant": {"type": "integer"}}})),
        route("Down", json!({"service": "nobody"})),
        route("Small", json!({"max_body": "10"})),
    ]);
    Stage::set(Origin::json("{}"), routes, over_http2(sections))
}

async fn client(stage: &Stage) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", stage.gateway.address())).expect("an endpoint");
    Grpc::new(endpoint.connect().await.expect("connect"))
}

fn path(text: &str) -> http::uri::PathAndQuery {
    text.parse().expect("a path")
}

async fn unary(client: &mut Grpc<Channel>, method: &str, message: &'static [u8]) -> Result<Bytes, Status> {
    unary_with(client, method, message, &[]).await
}

async fn unary_with(
    client: &mut Grpc<Channel>,
    method: &str,
    message: &'static [u8],
    fields: &[(&'static str, &'static str)],
) -> Result<Bytes, Status> {
    let mut request = Request::new(Bytes::from_static(message));
    for (name, value) in fields {
        request.metadata_mut().insert(*name, value.parse().expect("a value"));
    }
    client.ready().await.expect("a connection");
    client.unary(request, path(method), Raw).await.map(Response::into_inner)
}

#[test]
fn all_four_kinds_of_calls_pass() {
    let stage = before(Calls::default().start(), json!({}));
    run(async {
        let mut client = client(&stage).await;
        assert_eq!(unary(&mut client, "/test.Calls/Echo", b"hello").await.unwrap(), "hello");
        assert_eq!(unary(&mut client, "/test.Calls/Echo", b"").await.unwrap(), "");

        let five = Request::new(Bytes::from_static(&[5]));
        client.ready().await.unwrap();
        let mut counted = client.server_streaming(five, path("/test.Calls/Count"), Raw).await.unwrap().into_inner();
        let mut replies = Vec::new();
        while let Some(reply) = counted.message().await.unwrap() {
            replies.push(reply[0]);
        }
        assert_eq!(replies, [0, 1, 2, 3, 4]);

        let pieces = tokio_stream::iter([1, 20, 300_000].map(|length| Bytes::from(vec![b'x'; length])));
        client.ready().await.unwrap();
        let sum = client.client_streaming(Request::new(pieces), path("/test.Calls/Sum"), Raw).await.unwrap();
        assert_eq!(sum.into_inner(), "300021");
    });
    let line = stage.gateway.printed(|line| line.contains("/test.Calls/Sum")).expect("a line");
    assert!(line.contains("\"status\":200,\"grpc_status\":0,\"decision\":\"admitted\""), "{line}");
}

#[test]
fn both_sides_of_a_call_may_be_silent_in_turn() {
    // Neither may be for long; both together may not be for longer than the service.
    let stage = before(Calls::default().start(), json!({"guard": {"body_timeout": "100ms"}}));
    run(async {
        let mut client = client(&stage).await;
        let (say, said) = mpsc::channel(1);
        let asked = Request::new(ReceiverStream::new(said));
        client.ready().await.unwrap();
        let mut heard = client.streaming(asked, path("/test.Calls/Echo"), Raw).await.unwrap().into_inner();
        for turn in 0..5_u8 {
            say.send(Bytes::copy_from_slice(&[turn])).await.unwrap();
            assert_eq!(heard.message().await.unwrap().unwrap()[0], turn);
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        let begun = Instant::now();
        let status = heard.message().await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert!(begun.elapsed() < Duration::from_secs(3));
    });
}

#[test]
fn what_the_service_says_of_failures_passes() {
    let stage = before(Calls::default().start(), json!({}));
    run(async {
        let mut client = client(&stage).await;
        let status = unary(&mut client, "/test.Calls/Fail", b"").await.unwrap_err();
        assert_eq!(
            (status.code(), status.message(), status.details()),
            (Code::DataLoss, "lost: 100 % naïve", &b"why"[..])
        );
        let asked = Request::new(Bytes::new());
        client.ready().await.unwrap();
        let mut later = client.server_streaming(asked, path("/test.Calls/FailLater"), Raw).await.unwrap().into_inner();
        assert_eq!(later.message().await.unwrap().unwrap(), "one");
        let status = later.message().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Aborted, "enough"));
    });
    let line = stage.gateway.printed(|line| line.contains("FailLater")).expect("a line");
    assert!(line.contains("\"grpc_status\":10"), "{line}");
}

#[test]
fn a_call_that_the_gateway_refuses_has_a_status_of_grpc() {
    let stage = before(Calls::default().start(), json!({}));
    run(async {
        let mut client = client(&stage).await;
        let key = [("x-key", "secret")];
        assert!(unary_with(&mut client, "/test.Keyed/Echo", b"a", &key).await.is_ok());
        assert!(unary(&mut client, "/test.Rare/Echo", b"a").await.is_ok());
        for (method, message, fields, code, text) in [
            ("/test.Keyed/Echo", &b"a"[..], &[][..], Code::Unauthenticated, "needs a credential"),
            ("/test.Keyed/Echo", b"a", &[("x-key", "wrong")], Code::Unauthenticated, "not valid"),
            ("/test.Bosses/Echo", b"a", &key, Code::PermissionDenied, "not allowed"),
            ("/test.Rare/Echo", b"a", &[], Code::ResourceExhausted, "limit"),
            ("/test.Tenants/Echo", b"a", &[("x-tenant", "x")], Code::InvalidArgument, "header.x-tenant"),
            ("/test.Nothing/Echo", b"a", &[], Code::Unimplemented, "No route"),
            ("/test.Down/Echo", b"a", &[], Code::Unavailable, "cannot be reached"),
            ("/test.Small/Sum", b"more than ten bytes", &[], Code::ResourceExhausted, "larger than 10 bytes"),
        ] {
            let status = unary_with(&mut client, method, message, fields).await.unwrap_err();
            assert_eq!(status.code(), code, "{method}: {status:?}");
            assert!(status.message().contains(text), "{method}: {status:?}");
            assert!(status.metadata().get("x-request-id").is_some(), "{method}: {status:?}");
        }
        let limited = unary(&mut client, "/test.Rare/Echo", b"a").await.unwrap_err();
        assert!(limited.metadata().get("retry-after").is_some(), "{limited:?}");
        // On the wire: the header is the end of the answer.
        let mut raw = Http2::connect(stage.gateway.address()).await;
        let request = http2::request("POST", "/test.Keyed/Echo", &[("content-type", "application/grpc+proto")]);
        let (response, _) = raw.begin(request, true).await.unwrap();
        let response = response.await.unwrap();
        assert_eq!((response.status().as_u16(), response.body().is_end_stream()), (200, true));
        assert_eq!(response.headers()["grpc-status"], "16");
        // Whoever does not speak gRPC hears it in HTTP's words.
        let request = http2::request("POST", "/test.Keyed/Echo", &[("content-type", "application/json")]);
        assert_eq!(raw.ask(request, b"{}").await.status, 401);
    });
    let line = stage.gateway.printed(|line| line.contains("credential-missing")).expect("a line");
    assert!(line.contains("\"status\":200,\"grpc_status\":16,\"decision\":\"credential-missing\""), "{line}");
}

#[test]
fn a_client_s_deadline_is_the_gateway_s() {
    let calls = Calls::default();
    let stage = before(calls.start(), json!({}));
    run(async {
        // Without a client that keeps its deadline itself.
        let mut client = Http2::connect(stage.gateway.address()).await;
        let fields = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "300m")];
        let message = [&[0, 0, 0, 0, 1][..], b"x"].concat();
        for (method, has_begun) in [("Hang", false), ("HangLater", true)] {
            let begun = Instant::now();
            let request = http2::request("POST", &format!("/test.Calls/{method}"), &fields);
            let answer = client.ask(request, &message).await;
            let ending = if has_begun { answer.trailers.as_ref().unwrap() } else { &answer.headers };
            assert_eq!((answer.status, &ending["grpc-status"]), (200, &"4".parse().unwrap()), "{method}: {answer:?}");
            assert!(ending["grpc-message"].to_str().unwrap().contains("in time"));
            assert!((Duration::from_millis(290)..Duration::from_millis(690)).contains(&begun.elapsed()), "{method}");
        }
    });
    assert!(run(until(|| calls.dropped.load(Ordering::SeqCst) == 2)), "the service hears of it");
}

#[test]
fn a_call_that_its_client_gives_up_ends_at_the_service() {
    let calls = Calls::default();
    let stage = before(calls.start(), json!({}));
    run(async {
        let mut client = client(&stage).await;
        let hangs = unary(&mut client, "/test.Calls/Hang", b"");
        assert!(tokio::time::timeout(Duration::from_millis(200), hangs).await.is_err());
        assert!(until(|| calls.dropped.load(Ordering::SeqCst) == 1).await);
        let asked = Request::new(Bytes::new());
        client.ready().await.unwrap();
        let mut later = client.server_streaming(asked, path("/test.Calls/HangLater"), Raw).await.unwrap().into_inner();
        assert_eq!(later.message().await.unwrap().unwrap(), "one");
        drop(later);
        assert!(until(|| calls.dropped.load(Ordering::SeqCst) == 2).await);
        assert_eq!(unary(&mut client, "/test.Calls/Echo", b"on").await.unwrap(), "on");
    });
    let left =
        |method: &str| stage.gateway.printed(|line| line.contains(method) && line.contains("client-left")).is_some();
    assert!(left("/Hang\"") && left("/HangLater\""), "{:?}", stage.gateway.log());
}
