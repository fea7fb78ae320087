//! A gateway whose folder belongs to the test: its file can be edited, replaced and removed under it.
//!
//! Its outputs are files in the same folder, `log` for the process log and `out` for access lines, read when asked
//! for. Waiting means looking at a condition again until a deadline. Dropping an instance kills the program.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::DEADLINE;
use crate::support::client::{Response, ask};
use crate::support::gateway::program;

/// A running gateway and its folder.
pub struct Instance {
    child: Child,
    folder: TempDir,
    /// Where clients connect.
    pub public: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
}

impl Instance {
    /// Starts the gateway and waits until it serves.
    pub fn start(config: &Value) -> Self {
        Self::start_with(config, &[], &[])
    }

    /// The same with further arguments and variables.
    pub fn start_with(config: &Value, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = program();
        command.arg("run").stdin(Stdio::null());
        Self::start_by(command, config, arguments, variables)
    }

    /// The same by a command that lacks the file only.
    pub fn start_by(mut command: Command, config: &Value, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("make a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("tollgate.yaml"), config.to_string()).expect("write the configuration");
        let child = command
            .arg(at("tollgate.yaml"))
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(File::create(at("out")).expect("make a file"))
            .stderr(File::create(at("log")).expect("make a file"))
            .spawn()
            .expect("start the gateway");
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut instance = Self { child, folder, public: nowhere, admin: nowhere };
        instance.logged("ready generation=1 ");
        instance.public = instance.listener("public");
        instance.admin = instance.listener("admin");
        instance
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("tollgate.yaml")
    }

    /// The folder it is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the configuration file anew.
    pub fn write(&self, config: &Value) {
        fs::write(self.file(), config.to_string()).expect("write the configuration");
    }

    /// The process log so far.
    pub fn log(&self) -> String {
        self.read("log")
    }

    /// Standard output so far: the access log, unless it goes elsewhere.
    pub fn out(&self) -> String {
        self.read("out")
    }

    /// Waits until the process log says this.
    pub fn logged(&self, what: &str) {
        let known = eventually(|| self.log().contains(what));
        assert!(known, "the log does not say {what:?}:\n{}", self.log());
    }

    /// Waits for an access line on standard output.
    pub fn line(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        eventually(|| {
            found = self.out().lines().find(|line| wanted(line)).map(str::to_owned);
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("no such line in:\n{}", self.out()))
    }

    /// Asks the admin listener, as a program on this machine does.
    pub fn operator(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.admin);
        fields.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        ask(self.admin, format!("{request}connection: close\r\n\r\n").as_bytes())
    }

    /// Writes this configuration, asks for a reload and returns the answer.
    pub fn reload(&self, config: &Value) -> Value {
        self.write(config);
        let answer = self.operator("POST", "/reload", &[("x-tollgate", "reload"), ("content-length", "0")]);
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}: {}", answer.status, answer.text()))
    }

    /// Runs `tollgate reload` for this gateway.
    pub fn reload_command(&self) -> Output {
        let admin = self.admin.to_string();
        program().arg("reload").arg(self.file()).args(["--admin", &admin]).output().expect("run the program")
    }

    /// The value of one metric without labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.operator("GET", "/metrics", &[]).text();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name} failed");
    }

    /// How the process ended; `None` when it has not in this time.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + within;
        loop {
            match self.child.try_wait().expect("wait for the gateway") {
                None if Instant::now() < until => thread::sleep(LOOK_EVERY),
                status => return status,
            }
        }
    }

    fn listener(&self, name: &str) -> SocketAddr {
        let log = self.log();
        let line = log.lines().find(|line| line.contains(&format!("listener={name}")));
        let address = line.and_then(|line| line.split("address=").nth(1)?.split(' ').next()?.parse().ok());
        address.unwrap_or_else(|| panic!("no {name} listener:\n{log}"))
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks at a condition until it holds; `false` when it does not in time.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        if Instant::now() > until {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
    true
}

/// A configuration with free ports and the one service `origin`, to which a test adds sections or puts its own.
pub fn config(origin: SocketAddr, sections: Value) -> Value {
    let mut config = json!({
        "version": 1,
        "listeners": [{"address": "127.0.0.1:0"}],
        "admin": {"address": "127.0.0.1:0"},
        "services": {"origin": {"url": format!("http://{origin}")}},
    });
    if let (Some(config), Value::Object(sections)) = (config.as_object_mut(), sections) {
        config.extend(sections);
    }
    config
}

/// A consumer whose one key is `key-NAME`.
pub fn consumer(name: &str, plan: &str) -> Value {
    json!({"plan": plan, "api_keys": [{"sha256": sha256(&format!("key-{name}"))}]})
}

/// As in a configuration.
pub fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
