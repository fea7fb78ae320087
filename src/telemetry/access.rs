//! The access log: one line per request, written off the request path.
//!
//! A worker appends its line to a buffer of its own thread, so workers never wait for each other or for a disk; one
//! writer thread collects the buffers a few times a second. A line costs a few hundred nanoseconds and no
//! allocation. A buffer holds at most [`BUFFER_BYTES`]: when the sink cannot keep up, lines are dropped and counted,
//! requests are not held up. Buffered lines are written when [`AccessLog::flush`] is called at exit; a killed
//! process loses at most the last [`COLLECT_EVERY`].
//!
//! Lines carry no query string and no header but the user agent: both may hold credentials. Of a violation that a
//! contract let pass they name the place and the rule, never the value; a name in the place may be the client's.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::log::{escape_json, write_timestamp};

/// Most bytes of lines that one worker keeps for the writer.
pub const BUFFER_BYTES: usize = 1 << 20;

/// How long a line may wait in a buffer.
pub const COLLECT_EVERY: Duration = Duration::from_millis(50);

/// Most violations that a line names.
pub const MAX_OBSERVED: usize = 5;

/// Most bytes of a violation's place in a line.
const MAX_PLACE: usize = 256;

/// A violation that a contract in mode `observe` let pass.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Where: `query.limit`.
    pub loc: String,
    /// Which rule: `less_than_equal`.
    pub kind: &'static str,
}

/// Something that would have refused the request, were it not only observed.
#[derive(Debug, Clone, Copy)]
pub struct WouldRefuse<'a> {
    /// The reason that a refusal would have had: `forbidden`.
    pub reason: &'static str,
    /// The condition or limit: `allow.groups`. A name of the configuration.
    pub by: &'a str,
}

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Readable on a terminal.
    Text,
}

/// What is said of one request. Times are durations since the end of the request's header.
#[derive(Debug, Clone)]
pub struct AccessLine<'a> {
    /// When the request's header was complete.
    pub at: SystemTime,
    /// As answered in `X-Request-Id`.
    pub request_id: &'a [u8],
    /// The address of the client, seen through trusted proxies.
    pub client: &'a [u8],
    /// As sent: an RFC 9110 token.
    pub method: &'a str,
    /// As sent; empty when there is none.
    pub host: &'a [u8],
    /// As sent, without the query.
    pub path: &'a str,
    /// `HTTP/1.1`.
    pub protocol: &'static str,
    /// The version of TLS, where the client came over it.
    pub tls: Option<&'static str>,
    /// Name of the matched route.
    pub route: Option<&'a str>,
    /// Name of the route's service.
    pub service: Option<&'a str>,
    /// The address that was contacted last.
    pub target: Option<&'a str>,
    /// Name of the consumer.
    pub consumer: Option<&'a str>,
    /// Name of its plan.
    pub plan: Option<&'a str>,
    /// As answered; 0 when the client left before.
    pub status: u16,
    /// `admitted`, `observed` where it passed something that only observes, or the reason of the rejection.
    pub decision: &'a str,
    /// The first violations that passed, at most [`MAX_OBSERVED`].
    pub observed: &'a [Observed],
    /// How many there are in all.
    pub observed_count: usize,
    /// The conditions and limits that would have refused it.
    pub would_refuse: &'a [WouldRefuse<'a>],
    /// What went wrong with the service or the connection, or the condition that is not met; for operators only.
    pub cause: Option<&'a str>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// To the last byte of the answer.
    pub total: Duration,
    /// Of that, until the gateway had decided.
    pub gateway: Duration,
    /// Of that, from contacting the service to its header.
    pub service_time: Option<Duration>,
    /// Attempts after the first.
    pub retries: u32,
    /// The generation that served.
    pub generation: u64,
    /// As sent.
    pub user_agent: Option<&'a [u8]>,
}

/// The access log of the process.
#[derive(Debug, Clone)]
pub struct AccessLog {
    shared: Arc<Shared>,
}

/// The lines of one worker, until the writer takes them.
type Buffer = Arc<Mutex<Vec<u8>>>;

#[derive(Debug)]
struct Shared {
    buffers: Mutex<Vec<Buffer>>,
    sink: Mutex<Sink>,
    pending: AtomicBool,
    dropped: AtomicU64,
    writer: Mutex<Option<Thread>>,
}

#[derive(Debug)]
enum Sink {
    Off,
    Stdout,
    File(PathBuf, File),
}

thread_local! {
    /// This worker's buffer, with the log it belongs to (there is one log per process but for tests).
    static MINE: RefCell<Option<(Arc<Shared>, Buffer)>> = const { RefCell::new(None) };
}

impl AccessLog {
    /// Opens the log and starts its writer. `path` is `stdout`, `off` or a file, which is appended to.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not started.
    pub fn open(path: &str) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            buffers: Mutex::new(Vec::new()),
            sink: Mutex::new(Sink::open(path)?),
            pending: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            writer: Mutex::new(None),
        });
        let for_writer = Arc::downgrade(&shared);
        let writer = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            loop {
                std::thread::park();
                // Lines of the next moments are collected together: one write for many requests.
                std::thread::sleep(COLLECT_EVERY);
                let Some(shared) = for_writer.upgrade() else { return };
                shared.collect();
            }
        })?;
        *shared.writer.lock() = Some(writer.thread().clone());
        Ok(Self { shared })
    }

    /// Sends the lines from now on to another place; the same place again reopens it.
    ///
    /// # Errors
    /// When the file cannot be opened; the old place is kept.
    pub fn redirect(&self, path: &str) -> io::Result<()> {
        let sink = Sink::open(path)?;
        self.shared.collect();
        *self.shared.sink.lock() = sink;
        Ok(())
    }

    /// Appends one line.
    pub fn write(&self, format: Format, line: &AccessLine<'_>) {
        MINE.with_borrow_mut(|mine| {
            let (_, buffer) = match mine {
                Some(mine) if Arc::ptr_eq(&mine.0, &self.shared) => mine,
                _ => mine.insert((Arc::clone(&self.shared), self.shared.new_buffer())),
            };
            let mut buffer = buffer.lock();
            if buffer.len() >= BUFFER_BYTES {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            match format {
                Format::Json => line.write_json(&mut buffer),
                Format::Text => line.write_text(&mut buffer),
            }
        });
        if !self.shared.pending.swap(true, Ordering::Relaxed)
            && let Some(writer) = &*self.shared.writer.lock()
        {
            writer.unpark();
        }
    }

    /// Writes what is buffered. For the end of the process.
    pub fn flush(&self) {
        self.shared.collect();
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn new_buffer(&self) -> Buffer {
        let buffer = Arc::new(Mutex::new(Vec::with_capacity(16 * 1024)));
        self.buffers.lock().push(Arc::clone(&buffer));
        buffer
    }

    /// Takes every buffer and writes it out. The sink's lock orders concurrent calls.
    fn collect(&self) {
        let mut sink = self.sink.lock();
        self.pending.store(false, Ordering::Relaxed);
        let buffers: Vec<_> = self.buffers.lock().clone();
        for buffer in buffers {
            let lines = {
                let mut buffer = buffer.lock();
                if buffer.is_empty() {
                    continue;
                }
                let capacity = buffer.capacity().min(256 * 1024);
                std::mem::replace(&mut *buffer, Vec::with_capacity(capacity))
            };
            if let Err(error) = sink.write(&lines) {
                let lost = lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
                // Said once: a full disk must not fill the process log too.
                if self.dropped.fetch_add(lost, Ordering::Relaxed) == 0 {
                    log::error!("access log could not be written, lines are dropped: {error}");
                }
            }
        }
    }
}

impl Sink {
    fn open(path: &str) -> io::Result<Self> {
        match path {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            file => {
                let path = PathBuf::from(file);
                let file = OpenOptions::new().create(true).append(true).open(&path)?;
                Ok(Self::File(path, file))
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Off => Ok(()),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::File(path, file) => file
                .write_all(lines)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }
}

impl AccessLine<'_> {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        write_timestamp(out, self.at);
        out.push(b'"');
        string(out, ",\"request_id\":\"", self.request_id);
        plain(out, ",\"client\":\"", self.client);
        plain(out, ",\"method\":\"", self.method);
        string(out, ",\"host\":\"", self.host);
        string(out, ",\"path\":\"", self.path.as_bytes());
        plain(out, ",\"protocol\":\"", self.protocol);
        if let Some(tls) = self.tls {
            plain(out, ",\"tls\":\"", tls);
        }
        optional(out, ",\"route\":\"", self.route);
        optional(out, ",\"service\":\"", self.service);
        if let Some(target) = self.target {
            plain(out, ",\"target\":\"", target);
        }
        optional(out, ",\"consumer\":\"", self.consumer);
        optional(out, ",\"plan\":\"", self.plan);
        number(out, ",\"status\":", u64::from(self.status));
        plain(out, ",\"decision\":\"", self.decision);
        self.write_observed(out);
        self.write_would_refuse(out);
        optional(out, ",\"cause\":\"", self.cause);
        number(out, ",\"bytes_in\":", self.bytes_in);
        number(out, ",\"bytes_out\":", self.bytes_out);
        milliseconds(out, ",\"duration_ms\":", self.total);
        milliseconds(out, ",\"gateway_ms\":", self.gateway);
        if let Some(time) = self.service_time {
            milliseconds(out, ",\"service_ms\":", time);
        }
        number(out, ",\"retries\":", u64::from(self.retries));
        number(out, ",\"generation\":", self.generation);
        if let Some(agent) = self.user_agent {
            string(out, ",\"user_agent\":\"", agent);
        }
        out.extend_from_slice(b"}\n");
    }

    fn write_observed(&self, out: &mut Vec<u8>) {
        if self.observed_count == 0 {
            return;
        }
        number(out, ",\"observed_count\":", self.observed_count as u64);
        out.extend_from_slice(b",\"observed\":[");
        for (index, observed) in self.observed.iter().take(MAX_OBSERVED).enumerate() {
            string(out, if index > 0 { ",{\"loc\":\"" } else { "{\"loc\":\"" }, observed.place());
            plain(out, ",\"type\":\"", observed.kind);
            out.push(b'}');
        }
        out.push(b']');
    }

    fn write_would_refuse(&self, out: &mut Vec<u8>) {
        for (index, would) in self.would_refuse.iter().enumerate() {
            plain(out, if index > 0 { ",{\"reason\":\"" } else { ",\"would_refuse\":[{\"reason\":\"" }, would.reason);
            string(out, ",\"by\":\"", would.by.as_bytes());
            out.push(b'}');
        }
        if !self.would_refuse.is_empty() {
            out.push(b']');
        }
    }

    fn write_text(&self, out: &mut Vec<u8>) {
        write_timestamp(out, self.at);
        out.push(b' ');
        out.extend_from_slice(self.client);
        let _ = write!(out, " {} ", self.status);
        escape_json(out, self.method.as_bytes());
        out.push(b' ');
        escape_json(out, self.path.as_bytes());
        let _ = write!(
            out,
            " {:.3}ms route={} consumer={} {}",
            self.total.as_secs_f64() * 1e3,
            self.route.unwrap_or("-"),
            self.consumer.unwrap_or("-"),
            self.decision
        );
        if self.observed_count > 0 {
            let _ = write!(out, " violations={}", self.observed_count);
            for observed in self.observed.iter().take(MAX_OBSERVED) {
                out.push(b' ');
                escape_json(out, observed.place());
                let _ = write!(out, ":{}", observed.kind);
            }
        }
        for would in self.would_refuse {
            let _ = write!(out, " {}=", would.reason);
            escape_json(out, would.by.as_bytes());
        }
        if let Some(cause) = self.cause {
            out.extend_from_slice(b" cause=\"");
            escape_json(out, cause.as_bytes());
            out.push(b'"');
        }
        out.push(b'\n');
    }
}

impl Observed {
    /// The place, cut where it would make the line long.
    fn place(&self) -> &[u8] {
        &self.loc.as_bytes()[..self.loc.floor_char_boundary(MAX_PLACE)]
    }
}
// Inlined, so that a member's name is stored and not copied.

/// A member whose text is known to need no escapes.
#[inline(always)]
fn plain(out: &mut Vec<u8>, start: &str, value: impl AsRef<[u8]>) {
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(value.as_ref());
    out.push(b'"');
}

/// A member of the line; `start` is everything up to its text, the name quoted already.
#[inline(always)]
fn string(out: &mut Vec<u8>, start: &str, value: &[u8]) {
    out.extend_from_slice(start.as_bytes());
    escape_json(out, value);
    out.push(b'"');
}

#[inline(always)]
fn optional(out: &mut Vec<u8>, start: &str, value: Option<&str>) {
    if let Some(value) = value {
        string(out, start, value.as_bytes());
    }
}

#[inline(always)]
fn number(out: &mut Vec<u8>, start: &str, value: u64) {
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with three digits after the point.
#[inline(always)]
fn milliseconds(out: &mut Vec<u8>, start: &str, value: Duration) {
    let micros = value.as_micros() as u64;
    let (whole, rest) = (micros / 1000, (micros % 1000) as u16);
    number(out, start, whole);
    let digit = |unit: u16| b'0' + (rest / unit % 10) as u8;
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> AccessLine<'static> {
        AccessLine {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_234),
            request_id: b"ab12",
            client: b"192.0.2.1",
            method: "GET",
            host: b"api.example.com",
            path: "/users/\"\u{7}é",
            protocol: "HTTP/1.1",
            tls: Some("TLSv1.3"),
            route: Some("users"),
            service: None,
            target: None,
            consumer: None,
            plan: None,
            status: 200,
            decision: "admitted",
            observed: &[],
            observed_count: 0,
            would_refuse: &[],
            cause: None,
            bytes_in: 0,
            bytes_out: 12,
            total: Duration::from_micros(1_042),
            gateway: Duration::from_micros(7),
            service_time: Some(Duration::from_micros(900)),
            retries: 0,
            generation: 3,
            user_agent: Some(b"curl/8\xff\n"),
        }
    }

    #[test]
    fn a_json_line_is_one_json_object_whatever_the_client_sent() {
        let mut out = Vec::new();
        line().write_json(&mut out);
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        for (name, expected) in [
            ("time", "1970-01-01T00:00:01.234Z"),
            ("path", "/users/\"\u{7}é"),
            ("decision", "admitted"),
            ("tls", "TLSv1.3"),
            ("user_agent", "curl/8\u{fffd}\n"),
        ] {
            assert_eq!(value[name], expected, "{name}");
        }
        assert_eq!(value["duration_ms"].to_string(), "1.042");
        assert_eq!(value["gateway_ms"].to_string(), "0.007");
        assert!(value.get("consumer").is_none());
    }

    #[test]
    fn a_line_names_the_first_violations_that_passed_and_counts_all() {
        let place = format!("body.{}\"ü", "ü".repeat(400));
        let one = |index: usize| match index {
            0 => Observed { loc: "query.limit".to_owned(), kind: "less_than_equal" },
            _ => Observed { loc: place.clone(), kind: "extra_forbidden" },
        };
        let observed: Vec<_> = (0..9).map(one).collect();
        let line = AccessLine { observed: &observed, observed_count: 9, decision: "observed", ..line() };
        let (mut json, mut text) = (Vec::new(), Vec::new());
        line.write_json(&mut json);
        line.write_text(&mut text);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["observed_count"].to_string(), "9");
        assert_eq!(value["observed"].as_array().map(Vec::len), Some(MAX_OBSERVED));
        assert_eq!(value["observed"][0], serde_json::json!({"loc": "query.limit", "type": "less_than_equal"}));
        assert!(value["observed"][1]["loc"].as_str().is_some_and(|loc| loc.len() <= MAX_PLACE));
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(" observed violations=9 query.limit:less_than_equal body."), "{text}");
    }

    #[test]
    fn a_line_names_what_would_have_refused() {
        let would = [
            WouldRefuse { reason: "forbidden", by: "allow.groups" },
            WouldRefuse { reason: "quota-exceeded", by: "total \"day" },
        ];
        let line = AccessLine { would_refuse: &would, decision: "observed", ..line() };
        let (mut json, mut text) = (Vec::new(), Vec::new());
        line.write_json(&mut json);
        line.write_text(&mut text);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let expected = serde_json::json!([
            {"reason": "forbidden", "by": "allow.groups"}, {"reason": "quota-exceeded", "by": "total \"day"},
        ]);
        assert_eq!(value["would_refuse"], expected);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(r#" observed forbidden=allow.groups quota-exceeded=total \"day"#), "{text}");
    }

    #[test]
    fn lines_of_many_threads_all_arrive_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = AccessLog::open(file.path().to_str().unwrap()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| log.write(Format::Json, &line())));
            }
        });
        log.flush();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.lines().count(), 2_000);
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    #[test]
    fn a_full_buffer_drops_and_counts() {
        let log = AccessLog::open("off").unwrap();
        let mut long = line();
        let path = "x".repeat(BUFFER_BYTES / 2);
        long.path = &path;
        // Hold the sink so that the writer cannot empty the buffer meanwhile.
        let sink = log.shared.sink.lock();
        for _ in 0..4 {
            log.write(Format::Json, &long);
        }
        drop(sink);
        assert!(log.dropped() >= 1, "{}", log.dropped());
    }
}
