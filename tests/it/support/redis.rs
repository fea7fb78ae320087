//! A real `redis-server` on a free port, without files. Dropping it kills it.
//!
//! The Debian package `redis-server` has the program; its service need not run.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// A running server.
pub struct Redis {
    child: Child,
    port: u16,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts an empty one.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with further arguments.
    pub fn with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        // Somebody may be faster in taking the port.
        (0..5).find_map(|_| Self::at(free_port(), &arguments)).expect("redis-server starts on a free port")
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as a power cut does. What it knew is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was, empty.
    pub fn restart(&mut self) {
        self.kill();
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(mut again) = Self::at(self.port, &self.arguments) {
                std::mem::swap(self, &mut again);
                return;
            }
            assert!(Instant::now() < until, "redis-server does not start again on port {}", self.port);
        }
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name} failed");
    }

    /// The reply to one command, as it comes.
    pub fn ask(&self, words: &[&str]) -> String {
        ask(self.port, words).unwrap_or_default()
    }

    fn at(port: u16, arguments: &[String]) -> Option<Self> {
        let mut child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("run redis-server: install the package `redis-server`");
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if child.try_wait().expect("wait for redis-server").is_some() {
                return None;
            }
            // One with a password says so, which will do.
            if ask(port, &["PING"]).is_some_and(|reply| reply.starts_with("+PONG") || reply.starts_with("-NOAUTH")) {
                return Some(Self { child, port, arguments: arguments.to_vec() });
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn ask(port: u16, words: &[&str]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let mut request = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| request.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = vec![0; 4096];
    let length = stream.read(&mut reply).ok()?;
    reply.truncate(length);
    Some(String::from_utf8_lossy(&reply).into_owned())
}
