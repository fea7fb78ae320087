//! SIGTERM: readiness fails first, what is in flight is answered, and then the process leaves at once.

use std::io::{self, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{echo, number, numbered};
use crate::process::instance::{Instance, eventually};
use crate::support::client::{Client, Response, fetch, request};
use crate::support::origin::{Origin, Reply};
use crate::support::wire::{self, Framing};

/// Much longer than a process with nothing to do takes, much shorter than `drain.timeout`.
const SOON: Duration = Duration::from_secs(10);

/// A service that holds `/1/echo` until something is sent on this channel.
fn holding() -> (Origin, mpsc::Sender<()>) {
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let origin = Origin::start(move |request| {
        let _ = held.lock().unwrap().recv();
        echo(request)
    });
    (origin, release)
}

fn draining_for(origin: &Origin, timeout: &str) -> Value {
    let mut file = numbered(origin.address(), 1);
    file["drain"] = json!({"timeout": timeout});
    file
}

/// A client whose request the service has and holds.
fn in_flight(gateway: &Instance, origin: &Origin) -> Client {
    let mut client = Client::connect(gateway.public);
    client.send(&request("GET", "/echo", &[], b""));
    assert!(eventually(|| origin.requests().len() == 1));
    client
}

#[test]
fn readiness_fails_while_the_request_in_flight_is_answered() {
    let (origin, release) = holding();
    let mut gateway = Instance::start(&draining_for(&origin, "10m"));
    let ready = |gateway: &Instance| gateway.operator("GET", "/readyz", &[]).status;
    assert_eq!(ready(&gateway), 200);
    let mut client = in_flight(&gateway, &origin);
    gateway.signal("TERM");
    assert!(eventually(|| ready(&gateway) == 503));
    assert_eq!(gateway.operator("GET", "/livez", &[]).status, 200, "it is alive all the same");
    assert_eq!(gateway.ended(Duration::from_millis(700)), None, "longer than idle connections are given");

    release.send(()).unwrap();
    let answer = client.response().unwrap();
    assert_eq!(number(&answer), 1);
    drop(client);
    let begun = Instant::now();
    let status = gateway.ended(SOON).expect("it leaves when nothing is in flight");
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?} after the last answer", begun.elapsed());
    assert!(TcpStream::connect(gateway.public).is_err());
}

#[test]
fn new_requests_are_served_while_it_drains_and_close_their_connections() {
    let (origin, release) = holding();
    let mut gateway = Instance::start(&draining_for(&origin, "10m"));
    let mut client = in_flight(&gateway, &origin);
    gateway.signal("TERM");
    gateway.logged("draining");
    release.send(()).unwrap();
    let mut other = Client::connect(gateway.public);
    other.send(&request("GET", "/echo", &[], b""));
    assert_eq!(number(&client.response().unwrap()), 1);
    release.send(()).unwrap();
    let answer = other.response().unwrap();
    assert_eq!(number(&answer), 1);
    assert_eq!(answer.value("connection"), Some("close"));
    assert!(other.is_closed());
    drop(client);
    assert!(gateway.ended(SOON).is_some_and(|status| status.success()));
}

#[test]
fn an_idle_gateway_leaves_at_once() {
    let origin = Origin::start(echo);
    for signal in ["TERM", "INT", "QUIT"] {
        let mut gateway = Instance::start(&draining_for(&origin, "10m"));
        assert_eq!(number(&fetch(gateway.public, "/echo")), 1);
        let _idle = Client::connect(gateway.public);
        gateway.signal(signal);
        assert!(gateway.ended(SOON).is_some_and(|status| status.success()), "{signal}: {}", gateway.log());
    }
}

#[test]
fn the_drain_timeout_and_a_second_signal_cut_what_is_in_flight() {
    for (timeout, second) in [("300ms", false), ("10m", true)] {
        let (origin, release) = holding();
        let mut gateway = Instance::start(&draining_for(&origin, timeout));
        let mut client = in_flight(&gateway, &origin);
        gateway.signal("TERM");
        gateway.logged("draining");
        if second {
            gateway.signal("TERM");
        }
        let status = gateway.ended(SOON).unwrap_or_else(|| panic!("still there:\n{}", gateway.log()));
        assert!(status.success(), "{status}");
        assert!(client.response().is_err(), "cut, not answered wrongly");
        drop(release);
    }
}

#[test]
fn idle_connections_hold_it_for_less_than_a_second() {
    let origin = Origin::start(echo);
    let mut gateway = Instance::start(&draining_for(&origin, "10m"));
    let mut idle: Vec<Client> = (0..20).map(|_| Client::connect(gateway.public)).collect();
    let bytes = request("GET", "/echo", &[], b"");
    idle.iter_mut().for_each(|client| assert_eq!(number(&client.ask(&bytes).unwrap()), 1));
    let begun = Instant::now();
    gateway.signal("TERM");
    assert!(gateway.ended(SOON).is_some_and(|status| status.success()), "{}", gateway.log());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(idle.iter_mut().all(Client::is_closed));
}

#[test]
fn it_is_gone_right_after_the_last_answer_which_closes_its_connection() {
    let (origin, release) = holding();
    let mut gateway = Instance::start(&draining_for(&origin, "10m"));
    let mut client = in_flight(&gateway, &origin);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(Duration::from_millis(1500)), None);
    let begun = Instant::now();
    release.send(()).unwrap();
    let answer = client.response().unwrap();
    assert_eq!((number(&answer), answer.value("connection")), (1, Some("close")));
    assert!(gateway.ended(SOON).is_some_and(|status| status.success()));
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[test]
fn slow_uploads_and_slow_readers_are_waited_for() {
    const LARGE: usize = 32 << 20;
    let origin = Origin::start(|request| match request.path() {
        "/1/large" => Reply::json(200, &"x".repeat(LARGE)),
        _ => Reply::json(200, &request.body.len().to_string()),
    });
    let mut file = draining_for(&origin, "10m");
    file["routes"] = json!([{
        "name": "all", "methods": ["GET", "POST"], "gateway_path": "/{*rest}", "service_path": "/1/{rest}",
        "service": "origin", "body": "any", "auth": "public",
    }]);
    let mut gateway = Instance::start(&file);
    let mut upload = Client::connect(gateway.public);
    upload.send(b"POST /upload HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: 10\r\n\r\n12345");
    let mut reader = Client::connect(gateway.public);
    reader.send(&request("GET", "/large", &[], b""));
    assert!(eventually(|| gateway.metric("tollgate_requests_in_flight") == Some(2.0)));
    gateway.signal("TERM");
    gateway.logged("draining");
    assert_eq!(gateway.ended(Duration::from_millis(1500)), None);
    let answer = reader.response().unwrap();
    assert_eq!((answer.body.len(), answer.cut), (LARGE, false));
    upload.send(b"67890");
    let answer = upload.response().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "10"));
    assert!(gateway.ended(SOON).is_some_and(|status| status.success()));
}

/// Readiness is asked about and connections are made all the time: whoever balances has heard of the end before the
/// first connection is refused, and is answered while anything is in flight.
#[test]
fn readiness_fails_before_the_first_connection_is_refused() {
    let (origin, release) = holding();
    let mut gateway = Instance::start(&draining_for(&origin, "10m"));
    let mut client = in_flight(&gateway, &origin);
    gateway.signal("TERM");
    let ready = |gateway: &Instance| gateway.operator("GET", "/readyz", &[]).status;
    assert!(eventually(|| ready(&gateway) == 503 || TcpStream::connect(gateway.public).is_err()));
    assert_eq!(ready(&gateway), 503);
    assert!(TcpStream::connect(gateway.public).is_ok(), "accepts still");
    assert_eq!(gateway.ended(Duration::from_millis(700)), None);
    assert_eq!(ready(&gateway), 503);
    release.send(()).unwrap();
    assert_eq!(number(&client.response().unwrap()), 1);
    assert!(gateway.ended(SOON).is_some_and(|status| status.success()));
}

/// Asks until the gateway is gone; how many answers there were. Only a connection that was never answered on may be
/// refused or reset: it came when nobody listened any more.
fn ask_to_the_end(gateway: &Instance, keep: bool) -> usize {
    let fields: &[(&str, &str)] = if keep { &[] } else { &[("connection", "close")] };
    let bytes = request("GET", "/echo", fields, b"");
    let mut answers = 0;
    loop {
        let stream = match TcpStream::connect(gateway.public) {
            Ok(stream) => stream,
            Err(refused) if refused.kind() == ErrorKind::ConnectionRefused => return answers,
            Err(reset) if reset.kind() == ErrorKind::ConnectionReset => continue,
            Err(other) => panic!("{other}"),
        };
        let mut connection = BufReader::new(stream);
        let mut on_this_connection = 0;
        loop {
            let answer = match answer(&mut connection, &bytes) {
                Ok(answer) => answer,
                Err(_) if on_this_connection == 0 => break,
                Err(lost) => panic!("lost the answer to a request on a connection that was open: {lost}"),
            };
            number(&answer);
            (answers, on_this_connection) = (answers + 1, on_this_connection + 1);
            if answer.value("connection") == Some("close") {
                break;
            }
        }
    }
}

fn answer(connection: &mut BufReader<TcpStream>, request: &[u8]) -> io::Result<Response> {
    connection.get_mut().write_all(request)?;
    let head = wire::read_head(connection)?.ok_or(ErrorKind::UnexpectedEof)?;
    let status = head.start.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    let body = wire::read_body(connection, head.framing().unwrap_or(Framing::UntilClose));
    Ok(Response { status, fields: head.fields, body: body.bytes, cut: body.cut, interim: Vec::new() })
}

#[test]
fn under_load_no_request_is_lost_or_answered_wrongly_to_the_end() {
    // A service that takes its time keeps the count of requests in flight above zero all the time.
    for (takes, timeout) in [(Duration::ZERO, "1m"), (Duration::from_millis(30), "3s")] {
        let origin = Origin::start(move |request| {
            thread::sleep(takes);
            echo(request)
        });
        let mut file = draining_for(&origin, timeout);
        file["access_log"] = json!({"path": "stdout"});
        let mut gateway = Instance::start(&file);
        let answers: Vec<Option<usize>> = thread::scope(|scope| {
            let gateway = &gateway;
            let clients: Vec<_> =
                (0..8).map(|client| scope.spawn(move || ask_to_the_end(gateway, client % 2 == 0))).collect();
            assert!(eventually(|| origin.requests().len() > 200));
            gateway.signal("TERM");
            clients.into_iter().map(|client| client.join().ok()).collect()
        });
        assert!(gateway.ended(SOON).is_some_and(|status| status.success()), "{}", gateway.log());
        let out = gateway.out();
        let wrong: Vec<&str> = out.lines().filter(|line| !line.contains("\"status\":200")).collect();
        let all_answered = answers.iter().all(|answers| answers.is_some_and(|count| count > 0));
        assert!(all_answered && wrong.is_empty(), "{answers:?}\n{}\n{}", wrong.join("\n"), gateway.log());
        assert!(gateway.log().contains("drained after"), "{}", gateway.log());
    }
}
