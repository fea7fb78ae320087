//! Clients and services of HTTP/2, on the frames of the `h2` crate: what a test says is what is sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::server::{self, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::DEADLINE;

/// Runs a test's own side of the network.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test)
}

/// One connection to a gateway.
#[derive(Clone)]
pub struct Http2 {
    send: SendRequest<Bytes>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// The value of a header field, as text.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Http2 {
    /// Connects with prior knowledge.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("connect over HTTP/2")
    }

    /// The same where it may fail.
    pub async fn try_connect(address: SocketAddr) -> Result<Self, h2::Error> {
        let stream = TcpStream::connect(address).await.expect("connect");
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        Self::over(stream).await
    }

    /// Over a connection on which it was agreed on.
    pub async fn over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Result<Self, h2::Error> {
        let (send, connection) = client::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { send })
    }

    /// Begins a request; what follows its header goes into the stream.
    pub async fn begin(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> Result<(client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.send = timeout(DEADLINE, self.send.clone().ready()).await.expect("a free stream in time")?;
        self.send.send_request(request, end)
    }

    /// The answer to a request with this body.
    pub async fn try_ask(&mut self, request: Request<()>, body: &[u8]) -> Result<Answer, h2::Error> {
        let (response, mut stream) = self.begin(request, body.is_empty()).await?;
        if !body.is_empty() {
            // An early answer may end the stream before all of it is sent.
            let _ = send(&mut stream, Bytes::copy_from_slice(body), true).await;
        }
        whole(response).await
    }

    /// The same where it should not fail.
    pub async fn ask(&mut self, request: Request<()>, body: &[u8]) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        self.try_ask(request, body).await.unwrap_or_else(|failed| panic!("{what}: {failed}"))
    }

    /// The answer to a GET.
    pub async fn fetch(&mut self, path: &str) -> Answer {
        self.ask(get(path), b"").await
    }
}

/// A GET.
pub fn get(path: &str) -> Request<()> {
    request("GET", path, &[])
}

/// A request with these fields.
pub fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let request = Request::builder().method(method).uri(format!("http://gateway.test{path}"));
    fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).expect("a request")
}

/// Reads all of an answer.
pub async fn whole(response: client::ResponseFuture) -> Result<Answer, h2::Error> {
    let (parts, mut body) = timeout(4 * DEADLINE, response).await.expect("a header in time")?.into_parts();
    let (body, trailers) = timeout(4 * DEADLINE, read(&mut body)).await.expect("a body in time")?;
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
}

/// Reads a body and its trailers.
pub async fn read(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut whole = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        whole.extend_from_slice(&piece);
    }
    Ok((whole, body.trailers().await?))
}

/// Sends a piece of a body as fast as it is taken.
pub async fn send(stream: &mut SendStream<Bytes>, mut piece: Bytes, end: bool) -> Result<(), h2::Error> {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let Some(room) = std::future::poll_fn(|context| stream.poll_capacity(context)).await else { return Ok(()) };
        let now = piece.split_to(room?.min(piece.len()));
        stream.send_data(now, end && piece.is_empty())?;
    }
    Ok(())
}

/// A request that has come to a [`Service`], and the way to answer it.
pub struct Asked {
    pub request: Request<()>,
    pub body: RecvStream,
    pub answer: SendResponse<Bytes>,
    /// The number of its connection, from 0.
    pub connection: usize,
}

impl Asked {
    /// Answers in one piece, with trailers where there are any.
    pub async fn reply(mut self, status: u16, fields: &[(&str, &str)], body: &[u8], trailers: &[(&str, &str)]) {
        let response = Response::builder().status(status);
        let response = fields.iter().fold(response, |response, (name, value)| response.header(*name, *value));
        let response = response.body(()).expect("a response");
        let Ok(mut stream) = self.answer.send_response(response, body.is_empty() && trailers.is_empty()) else {
            return;
        };
        if !body.is_empty() && send(&mut stream, Bytes::copy_from_slice(body), trailers.is_empty()).await.is_err() {
            return;
        }
        if !trailers.is_empty() {
            let field = |(name, value): &(&str, &str)| (name.parse().expect("a name"), value.parse().expect("a value"));
            let _ = stream.send_trailers(trailers.iter().map(field).collect::<HeaderMap>());
        }
    }
}

/// A service of HTTP/2. It lives as long as the test.
pub struct Service {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Service {
    /// Starts it on a free port with a script for each request.
    pub fn start<F: Future<Output = ()> + Send + 'static>(script: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        Self::start_connections(move |number, stream| {
            let script = Arc::clone(&script);
            serve(number, stream, script)
        })
    }

    /// The same with a script for each connection.
    pub fn start_connections<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(usize, TcpStream) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a free port");
        listener.set_nonblocking(true).expect("prepare a listener");
        let address = listener.local_addr().expect("a bound listener has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            run(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(script(counted.fetch_add(1, Ordering::SeqCst), stream));
                }
            });
        });
        Self { address, connections }
    }

    /// Says again what it hears, with the request's target, authority and fields beside it.
    pub fn echo() -> Self {
        Self::start(|mut asked: Asked| async move {
            let request = &asked.request;
            let mut fields = vec![("x-uri".to_owned(), request.uri().to_string())];
            for (name, value) in request.headers() {
                fields.push((format!("x-heard-{name}"), value.to_str().unwrap_or("?").to_owned()));
            }
            let Ok((body, _)) = read(&mut asked.body).await else { return };
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            asked.reply(200, &fields, &body, &[]).await;
        })
    }

    /// How many connections were opened to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Serves one connection with a script for each request.
pub async fn serve<S, F>(number: usize, stream: S, script: Arc<impl Fn(Asked) -> F>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, answer))) = connection.accept().await {
        let (parts, body) = request.into_parts();
        let asked = Asked { request: Request::from_parts(parts, ()), body, answer, connection: number };
        tokio::spawn(script(asked));
    }
}

/// Waits for a condition.
pub async fn until(mut condition: impl FnMut() -> bool) -> bool {
    for _ in 0..DEADLINE.as_millis() / 5 {
        if condition() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}
