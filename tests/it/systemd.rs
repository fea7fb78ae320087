//! What systemd gives the process and hears of it: sockets, readiness, signs of life; and whether the units are right.

mod activation;
mod told;
mod unit;
mod watchdog;

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::instance::config;
use crate::support::DEADLINE;
use crate::support::origin::{Origin, Recorded, Reply};

/// Hears what the process tells systemd.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("make a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("bind a socket");
        Self { socket, folder }
    }

    /// For `NOTIFY_SOCKET`.
    fn path(&self) -> String {
        self.folder.path().join("notify").display().to_string()
    }

    /// The next message; `None` when there is none in this time.
    fn next(&self, within: Duration) -> Option<String> {
        let mut message = [0; 4096];
        self.socket.set_read_timeout(Some(within)).expect("set a read timeout");
        let length = self.socket.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..length]).trim_end().to_owned())
    }

    /// Waits for a message with all of these lines, and gives those before it, too.
    fn hears(&self, lines: &[&str]) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        let mut heard = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let message = self.next(left).unwrap_or_else(|| panic!("systemd is not told {lines:?}, but {heard:?}"));
            let said: Vec<&str> = message.lines().collect();
            let found = lines.iter().all(|line| said.contains(line));
            heard.push(message);
            if found {
                return heard;
            }
        }
    }
}

/// A service that holds requests for `/slow` until something is sent on this channel.
fn holding() -> (Origin, mpsc::Sender<()>) {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let origin = Origin::start(move |request: &Recorded| {
        if request.path() == "/slow" {
            let _ = held.lock().unwrap().recv();
        }
        Reply::json(200, "{}")
    });
    (origin, release)
}

/// Everything passes to the service; with these sections.
fn open_to_all(origin: &Origin, sections: Value) -> Value {
    let mut all = json!({
        "routes": [{"name": "all", "methods": ["GET", "POST"], "gateway_path": "/{*rest}", "service": "origin",
                    "body": "any", "query_params": "any", "auth": "public"}],
    });
    if let (Some(all), Value::Object(sections)) = (all.as_object_mut(), sections) {
        all.extend(sections);
    }
    config(origin.address(), all)
}

/// The folder of the units.
fn units() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("systemd")
}
