//! Many large uploads at once, slow ones, and those that never end: what they take of the process.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{BOUNDARY, MIB, Uploads, kind, noise};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::wire;

/// Uploads at the same time.
const UPLOADS: usize = 64;

/// The size of each file.
const SIZE: usize = 50 * MIB;

/// `guard.body_memory`, and what all of it together may take: the uploads, their connections, and the threads that
/// read and write.
const BUDGET: usize = 48 * MIB;

/// A figure of `/proc/PID/status`, in bytes.
fn memory(gateway: &Gateway, figure: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id())).expect("the gateway runs");
    let line = status.lines().find(|line| line.starts_with(figure)).expect("Linux has this figure");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("kibibytes") * 1024
}

/// A service that compares what it gets with what was sent and keeps nothing of it. Every other upload is read only
/// when all have come, so that all are on their way at the same time.
struct Sink {
    listener: TcpListener,
    arrived: Arc<(Mutex<usize>, Condvar)>,
}

impl Sink {
    fn start(content: &Arc<Vec<u8>>) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sink = Self { listener, arrived: Arc::default() };
        let content = Arc::clone(content);
        thread::spawn(move || sink.accept(&content));
        address
    }

    fn accept(&self, content: &Arc<Vec<u8>>) {
        while let Ok((stream, _)) = self.listener.accept() {
            let (arrived, content) = (Arc::clone(&self.arrived), Arc::clone(content));
            thread::spawn(move || serve(&stream, &arrived, &content));
        }
    }
}

/// Answers with how many bytes of the file were as expected.
fn serve(mut stream: &TcpStream, arrived: &(Mutex<usize>, Condvar), content: &[u8]) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(head)) = wire::read_head(&mut reader) {
        let number = {
            let mut count = arrived.0.lock().unwrap();
            *count += 1;
            arrived.1.notify_all();
            *count
        };
        if number.is_multiple_of(2) {
            drop(arrived.1.wait_while(arrived.0.lock().unwrap(), |count| *count < UPLOADS).unwrap());
        }
        let length: usize = String::from_utf8_lossy(head.values("content-length")[0]).parse().unwrap();
        let same = compare(&mut reader, length, content);
        let text = format!("{same}");
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// How many bytes of the only part are the expected ones.
fn compare(reader: &mut BufReader<&TcpStream>, length: usize, content: &[u8]) -> usize {
    let mut left = length;
    let boundary = wire::read_head(reader).unwrap().expect("a part");
    // The line ends of the head are CRLF.
    let lines = boundary.fields.iter().map(|(name, value)| name.len() + 2 + value.len() + 2).sum::<usize>();
    left -= boundary.start.len() + 2 + lines + 2;
    let (mut same, mut chunk) = (0, vec![0; 256 * 1024]);
    while left > 0 {
        let room = chunk.len().min(left);
        let read = reader.read(&mut chunk[..room]).unwrap();
        if read == 0 {
            return 0;
        }
        let wanted = SIZE.saturating_sub(same).min(read);
        let start = same % content.len();
        let first = wanted.min(content.len() - start);
        let equal =
            chunk[..first] == content[start..start + first] && chunk[first..wanted] == content[..wanted - first];
        same += if equal { wanted } else { 0 };
        left -= read;
    }
    same
}

/// One upload of [`SIZE`] bytes; the answer of the service.
fn upload(uploads: &Uploads, content: &[u8]) -> String {
    let stream = TcpStream::connect(uploads.stage.gateway.address()).unwrap();
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\nContent-Type: a/b\r\n\r\n"
    );
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    let length = head.len() + SIZE + end.len();
    let mut write = &stream;
    let request =
        format!("POST /large HTTP/1.1\r\nHost: a\r\n{}Content-Length: {length}\r\n\r\n{head}", kind(BOUNDARY));
    write.write_all(request.as_bytes()).unwrap();
    for _ in 0..SIZE / content.len() {
        write.write_all(content).unwrap();
    }
    write.write_all(end.as_bytes()).unwrap();
    let mut reader = BufReader::new(&stream);
    let head = wire::read_head(&mut reader).unwrap().expect("an answer");
    let body = wire::read_body(&mut reader, head.framing().expect("a body"));
    format!("{} {}", head.start, String::from_utf8_lossy(&body.bytes))
}

#[test]
fn many_large_uploads_at_once_stay_within_the_budget() {
    let content = Arc::new(noise(MIB));
    let service = Sink::start(&content);
    let uploads = Arc::new(Uploads::to(
        &service.to_string(),
        json!({"body_memory": BUDGET, "upload_disk": "4GiB", "body_timeout": "5m"}),
        json!([{"method": "POST", "gateway_path": "/large", "max_body": "51MiB", "form_params": {"file": {"type": "file"}}}]),
    ));
    let before = memory(&uploads.stage.gateway, "VmRSS:");
    let begun = Instant::now();
    let clients: Vec<_> = (0..UPLOADS)
        .map(|_| {
            let (uploads, content) = (Arc::clone(&uploads), Arc::clone(&content));
            thread::spawn(move || upload(&uploads, &content))
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), format!("HTTP/1.1 200 OK {SIZE}"));
    }
    let grown = memory(&uploads.stage.gateway, "VmHWM:").saturating_sub(before);
    println!("{UPLOADS} uploads of {SIZE} bytes: {grown} bytes more at the highest, {:?}", begun.elapsed());
    assert!(grown <= BUDGET, "{grown} bytes more than the {before} before");
    uploads.disk_becomes(|bytes| bytes == 0);
}

#[test]
fn a_stalled_upload_is_ended_by_its_deadline_and_leaves_nothing() {
    let uploads = Uploads::plain(json!({"body_timeout": "500ms"}));
    let begun = Instant::now();
    let head = format!("POST /drop HTTP/1.1\r\nHost: a\r\n{}Content-Length: 3000000\r\n\r\n", kind(BOUNDARY));
    let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=file; filename=f\r\n\r\n");
    let mut stalled: Vec<Client> = (0..4).map(|_| uploads.stage.connect()).collect();
    for (client, sent) in stalled.iter_mut().zip([0, 10, 100_000, 2_000_000]) {
        client.send(head.as_bytes());
        client.send(part.as_bytes());
        client.send(&noise(sent));
    }
    for mut client in stalled {
        let response = client.response().unwrap();
        assert!(response.status == 408 && response.text().contains("body-timeout"), "{}", response.text());
    }
    assert!(begun.elapsed() >= Duration::from_millis(450));
    uploads.disk_becomes(|bytes| bytes == 0);
    assert_eq!(uploads.stage.origin.connections(), 0);
}
