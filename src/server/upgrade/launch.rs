//! Starts the next process as nobody's child.
//!
//! systemd takes a process for the main one of a unit only if it is its own child: one whose parent is the old process is
//! neither waited for at a stop nor restarted when it dies. So a launcher stands between, this very program with the
//! hidden command `launch`: it starts the next process, tells its id over its standard input, and ends, which leaves the
//! process to whoever takes orphans, that is systemd.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{PATIENCE, Program};

/// The program that runs now, even when another file has taken its place.
const ITSELF: &str = "/proc/self/exe";

/// What the launcher says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Launched {
    Pid(i32),
    Failed(String),
}

/// A process that was started to take over.
pub struct Successor {
    pid: Pid,
    /// Stands for this process and no other that may get its id. `None`: it was gone at once.
    handle: Option<OwnedFd>,
}

impl Successor {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has ended.
    pub fn is_dead(&self) -> bool {
        let Some(handle) = &self.handle else { return true };
        // A handle can be read once its process has ended.
        let mut ended = [PollFd::new(handle, PollFlags::IN)];
        poll(&mut ended, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Ends it. It may have ended already.
    pub fn kill(&self) {
        if let Some(handle) = &self.handle {
            let _ = pidfd_send_signal(handle, Signal::KILL);
        }
    }
}

/// Starts a program that is to take over from the process behind this socket.
///
/// # Errors
/// Why it does not start.
pub fn orphan(program: &Program, socket: &Path) -> Result<Successor, String> {
    let failed = |failed: std::io::Error| format!("the launcher of the new process: {failed}");
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    ours.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut launcher = Command::new(ITSELF)
        .arg("launch")
        .arg(&program.path)
        .args(&program.arguments)
        .arg("--takeover")
        .arg(socket)
        // What systemd says to the process that it has started. The watchdog is for every process of the unit.
        .env_remove("WATCHDOG_PID")
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_FDNAMES")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    let heard = BufReader::new(ours).read_line(&mut line);
    // It ends by itself; this takes its remains.
    let ended = launcher.wait();
    heard.and(ended).map_err(failed)?;
    match serde_json::from_str(&line) {
        Ok(Launched::Pid(raw)) => {
            let pid = Pid::from_raw(raw).ok_or_else(|| "the new process has no id".to_owned())?;
            Ok(Successor { pid, handle: pidfd_open(pid, PidfdFlags::empty()).ok() })
        }
        Ok(Launched::Failed(reason)) => Err(format!("{} does not start: {reason}", program.path.display())),
        Err(_) => Err("the launcher of the new process says nothing".to_owned()),
    }
}

/// The launcher's part: starts this command and tells its process id.
///
/// # Errors
/// When nobody listens.
pub fn launch(command: &[OsString]) -> std::io::Result<()> {
    let started = match command {
        [] => Err("no program is named".to_owned()),
        [program, arguments @ ..] => {
            let child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
            child.map_err(|failed| failed.to_string())
        }
    };
    let said = match started {
        Ok(child) => Launched::Pid(i32::try_from(child.id()).unwrap_or_default()),
        Err(reason) => Launched::Failed(reason),
    };
    let mut line = serde_json::to_vec(&said)?;
    line.push(b'\n');
    rustix::io::write(std::io::stdin(), &line)?;
    Ok(())
}
