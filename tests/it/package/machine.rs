//! A Debian that boots systemd in a container, as root, and is gone when it is dropped.
//!
//! Its files are made once for each list of packages and kept below `target/`; what a machine writes is kept in memory and
//! thrown away with it. One runs at a time. One that a killed test left behind is ended by the next.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::build::PACKAGES;
use crate::process::instance::eventually;

/// Packages of the machine. What they need comes with them.
const INCLUDED: [&str; 3] = ["systemd", "systemd-sysv", "dbus"];

/// Programs that have to be there, and the packages that bring them.
const PROGRAMS: [(&str, &str); 5] = [
    ("systemd-nspawn", "systemd-container"),
    ("mmdebstrap", "mmdebstrap"),
    ("dh", "debhelper"),
    ("make", "make"),
    ("nsenter", "util-linux"),
];

/// Where a machine sees the packages.
pub const SHARED: &str = "/packages";

/// Those of a shell of root.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How long booting and leaving may take each.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whose network a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Its own, which leads nowhere.
    Own,
    /// That of the test: its addresses are the machine's.
    Host,
}

/// A running one.
pub struct Machine {
    container: Child,
    /// Its first process, as the host counts.
    init: u32,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Machine {
    /// Boots one that sees the packages at [`SHARED`].
    pub fn boot(network: Network) -> Self {
        require_programs();
        let shared = PACKAGES.folder();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let files = files();
        end_stale(&files);
        let mut command = as_root("systemd-nspawn");
        command.args(["--quiet", "--register=no", "--keep-unit", "--settings=no", "--link-journal=no"]);
        command.args(["--volatile=overlay", "--console=pipe", "--boot", "--machine=tollgate"]);
        command.arg(format!("--directory={}", files.display()));
        command.arg(format!("--bind-ro={}:{SHARED}", shared.display()));
        if network == Network::Own {
            command.arg("--private-network");
        }
        let log = fs::File::create(beside(&files, "log")).expect("make a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("clone a file")).stderr(log);
        let container = command.spawn().expect("run systemd-nspawn");
        fs::write(beside(&files, "pid"), container.id().to_string()).expect("write a file");
        let mut machine = Self { container, init: 0, _turn: turn };
        let said = || fs::read_to_string(beside(&files, "log")).unwrap_or_default();
        let booted = within(PATIENCE, || {
            machine.init = first_process(machine.container.id()).unwrap_or(0);
            let ended = machine.container.try_wait().expect("wait for systemd-nspawn");
            assert!(ended.is_none(), "systemd-nspawn ended: {ended:?}\n{}", said());
            machine.init != 0 && matches!(machine.text("systemctl is-system-running").trim(), "running" | "degraded")
        });
        assert!(booted, "the machine does not boot:\n{}", said());
        machine
    }

    /// Runs a line of shell in it.
    pub fn run(&self, line: &str) -> Output {
        self.pipe(line, b"")
    }

    /// The same, which must succeed. What it says on both outputs.
    pub fn must(&self, line: &str) -> String {
        let output = self.run(line);
        let text = said(&output);
        assert!(output.status.success(), "{line}: {}\n{text}", output.status);
        text
    }

    /// What it says on standard output, whether it succeeds or not.
    pub fn text(&self, line: &str) -> String {
        String::from_utf8_lossy(&self.run(line).stdout).into_owned()
    }

    /// Writes a file in it, with the folders above.
    pub fn write(&self, path: &str, text: &str) {
        let output = self.pipe(&format!("mkdir -p $(dirname {path}) && cat > {path}"), text.as_bytes());
        assert!(output.status.success(), "{path}: {}", said(&output));
    }

    fn pipe(&self, line: &str, input: &[u8]) -> Output {
        let mut command = as_root("nsenter");
        command.arg("--target").arg(self.init.to_string()).args(["--all", "--root", "--wd"]);
        command.args(["env", "--ignore-environment", &format!("PATH={PATH}"), "LANG=C.UTF-8", "sh", "-c", line]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run nsenter");
        // Whoever does not read its input is not to blame.
        let _ = child.stdin.take().expect("stdin is piped").write_all(input);
        child.wait_with_output().expect("wait for nsenter")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.init != 0 {
            if thread::panicking() {
                eprintln!(
                    "the machine's journal:\n{}",
                    self.text("journalctl --no-pager --lines=300 --output=short-precise")
                );
            }
            end(self.init);
        }
        let left = within(PATIENCE, || !matches!(self.container.try_wait(), Ok(None)));
        if !left && !thread::panicking() {
            panic!("the machine does not leave");
        }
    }
}

/// Both outputs.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn require_programs() {
    let there = |program: &str| PATH.split(':').any(|folder| Path::new(folder).join(program).exists());
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    assert!(missing.is_empty(), "programs are missing: apt-get install {}", missing.join(" "));
    let root = as_root("true").output().is_ok_and(|output| output.status.success());
    assert!(root, "a container can be started by root only: run the tests as root, or let `sudo -n` work");
}

/// A command of root's.
fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

/// Where the machine's files are, made if need be.
fn files() -> PathBuf {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    // The program was built here, so that is where it runs.
    let suite = suite.expect("the tests run on Debian, whose release /etc/os-release names");
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("debian-{suite}-{}", INCLUDED.join("+")));
    if kept.exists() {
        return kept;
    }
    let unfinished = beside(&kept, "unfinished");
    let removed = as_root("rm").arg("-rf").arg(&unfinished).status();
    assert!(removed.is_ok_and(|status| status.success()), "cannot remove {}", unfinished.display());
    let mut make = as_root("mmdebstrap");
    make.args(["--quiet", "--variant=essential"]).arg(format!("--include={}", INCLUDED.join(",")));
    let output = make.arg(suite).arg(&unfinished).output().expect("run mmdebstrap");
    assert!(output.status.success(), "mmdebstrap: {}\n{}", output.status, said(&output));
    let moved = as_root("mv").arg(&unfinished).arg(&kept).status();
    assert!(moved.is_ok_and(|status| status.success()), "cannot move {}", unfinished.display());
    kept
}

/// A file of its own beside the machine's files.
fn beside(files: &Path, suffix: &str) -> PathBuf {
    let mut name = files.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    name.into()
}

/// Ends a machine that an earlier test left.
fn end_stale(files: &Path) {
    let Ok(pid) = fs::read_to_string(beside(files, "pid")) else { return };
    // Another process may have the number by now.
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if !String::from_utf8_lossy(&command).contains(&format!("--directory={}\0", files.display())) {
        return;
    }
    if let Some(init) = pid.parse().ok().and_then(first_process) {
        end(init);
    }
    let gone = eventually(|| !Path::new("/proc").join(&pid).exists());
    assert!(gone, "a machine of an earlier test does not end: process {pid}");
}

/// Tells a machine's first process to power off, and kills it when it does not.
fn end(init: u32) {
    let signal = |name: &str| as_root("kill").args(["--signal", name, &init.to_string()]).status();
    let _ = signal("RTMIN+4");
    if !within(PATIENCE / 4, || !Path::new(&format!("/proc/{init}")).exists()) {
        let _ = signal("KILL");
    }
}

/// The first process of the machine that this process runs: the one below it that is number 1 to itself.
fn first_process(of: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{of}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    if numbers.split_whitespace().count() > 1 && numbers.ends_with("\t1") {
        return Some(of);
    }
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).ok()?;
    children.split_whitespace().find_map(|child| first_process(child.parse().ok()?))
}

/// Looks at a condition until it holds or this time has passed.
fn within(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + time;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
