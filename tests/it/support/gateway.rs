//! The gateway as an operator runs it: `tollgate run FILE` with signals and its log.
//!
//! Listeners in the configuration have port 0; where they ended up is read from the log. Both outputs are read by
//! threads all the time, so that the program never waits for the test. Dropping it kills it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::DEADLINE;

/// How long the program may take to leave: its default drain time and some.
const LEAVE: Duration = Duration::from_secs(60);

/// A running gateway.
pub struct Gateway {
    child: Child,
    file: PathBuf,
    stderr: Arc<Lines>,
    stdout: Arc<Lines>,
    public: SocketAddr,
    admin: Option<SocketAddr>,
    _directory: TempDir,
}

/// What became of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The new configuration is in force.
    Published,
    /// The old one stays.
    Refused,
}

/// What `tollgate check` said.
#[derive(Debug)]
pub struct Checked {
    /// Its exit code.
    pub code: Option<i32>,
    /// Both outputs.
    pub text: String,
}

impl Gateway {
    /// Starts the gateway with this configuration and waits until it serves.
    pub fn start(config: &str) -> Self {
        Self::try_start(config).unwrap_or_else(|said| panic!("the gateway did not start:\n{said}\nwith:\n{config}"))
    }

    /// The same for a configuration that may be refused: then what the gateway said.
    pub fn try_start(config: &str) -> Result<Self, String> {
        let (directory, file) = written(config);
        let mut child = program()
            .arg("run")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the gateway");
        let stderr = Lines::of(child.stderr.take().expect("stderr is piped"));
        let stdout = Lines::of(child.stdout.take().expect("stdout is piped"));
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut gateway = Self { child, file, stderr, stdout, public: unknown, admin: None, _directory: directory };
        if gateway.stderr.wait(0, DEADLINE, |line| is_word(line, "ready")).is_none() {
            return Err(gateway.stderr.all().join("\n"));
        }
        gateway.public = gateway.listener("public").ok_or_else(|| gateway.stderr.all().join("\n"))?;
        gateway.admin = gateway.listener("admin");
        Ok(gateway)
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.public
    }

    /// Where operators connect.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("the configuration has an admin listener")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// Waits for a line of the log, from the first on.
    pub fn logged(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.stderr.wait(0, DEADLINE, wanted).map(|(_, line)| line)
    }

    /// Waits for a line on standard output, from the first on: the access log, unless it goes elsewhere.
    pub fn printed(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.stdout.wait(0, DEADLINE, wanted).map(|(_, line)| line)
    }

    /// How many lines of standard output are like this, so far.
    pub fn lines_printed(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.stdout.all().iter().filter(|line| wanted(line)).count()
    }

    /// Replaces the configuration and waits until the gateway has judged it.
    pub fn reload(&self, config: &str) -> Reload {
        fs::write(&self.file, config).expect("write the configuration");
        let before = self.stderr.all().len();
        self.signal("HUP");
        let judged = |line: &str| line.contains("configuration published") || line.contains("configuration refused");
        let Some((_, line)) = self.stderr.wait(before, DEADLINE, judged) else {
            panic!("no word on the reload:\n{}", self.log().join("\n"));
        };
        if line.contains("configuration published") { Reload::Published } else { Reload::Refused }
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name} failed");
    }

    /// Asks it to leave and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        assert!(self.stderr.ended(LEAVE), "the gateway did not leave:\n{}", self.log().join("\n"));
        self.child.wait().expect("wait for the gateway")
    }

    /// The address of the listener that the log gives this name.
    fn listener(&self, name: &str) -> Option<SocketAddr> {
        let all = self.stderr.all();
        let line = all.iter().find(|line| is_word(line, "listening") && field(line, "listener") == Some(name))?;
        field(line, "address")?.parse().ok()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `tollgate check` on this configuration.
pub fn check(config: &str) -> Checked {
    let (_directory, file) = written(config);
    let output = program().arg("check").arg(&file).stdin(Stdio::null()).output().expect("run the gateway");
    let text = [output.stdout, output.stderr].concat();
    Checked { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
}

/// The program under test.
pub fn program() -> Command {
    Command::new(Path::new(env!("CARGO_BIN_EXE_tollgate")))
}

fn written(config: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("make a directory");
    let file = directory.path().join("tollgate.yaml");
    fs::write(&file, config).expect("write the configuration");
    (directory, file)
}

/// The lines of an output, as they come.
pub struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Reads them in a thread.
    pub fn of(output: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self { state: Mutex::default(), changed: Condvar::new() });
        let filled = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                filled.state.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
                filled.changed.notify_all();
            }
            filled.state.lock().unwrap().ended = true;
            filled.changed.notify_all();
        });
        lines
    }

    /// Those so far.
    pub fn all(&self) -> Vec<String> {
        self.state.lock().unwrap().lines.clone()
    }

    /// The first wanted line at or after `from`, with its number; `None` when the output ends or time is up first.
    pub fn wait(&self, from: usize, time: Duration, wanted: impl Fn(&str) -> bool) -> Option<(usize, String)> {
        let until = Instant::now() + time;
        let mut state = self.state.lock().unwrap();
        let mut seen = from;
        loop {
            while let Some(line) = state.lines.get(seen) {
                if wanted(line) {
                    return Some((seen, line.clone()));
                }
                seen += 1;
            }
            let left = until.checked_duration_since(Instant::now()).filter(|_| !state.ended)?;
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Whether the output ends in time.
    fn ended(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap();
        let (state, _) = self.changed.wait_timeout_while(state, time, |state| !state.ended).unwrap();
        state.ended
    }
}

/// The value of `name=value` in a log line, without quotes.
pub(super) fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', ',']))
}

/// Whether a word stands in a log line by itself.
pub(super) fn is_word(line: &str, word: &str) -> bool {
    line.split(|char: char| !char.is_alphanumeric()).any(|of| of == word)
}
