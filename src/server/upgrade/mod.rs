//! A new binary takes over from the old one, without a refused connection or a lost request.
//!
//! ```text
//! tollgate upgrade ──"upgrade"──▶ old ──starts──▶ new
//!                                 old ◀──"take over"── new
//!                                 old ──listening sockets──▶ new      loads, binds what is new
//!                                 old ══counters of limits══▶ new     serves
//!                                 old ◀──"serving"── new
//! tollgate upgrade ◀──"done"───── old                 stops accepting, drains, leaves
//!                                 old ◀══decisions on limits══ new    until then
//! ```
//!
//! All of it goes over one Unix socket in a folder that only the gateway's user can enter; who connects is asked of the
//! kernel besides: the same user or root, and for the sockets the very process that was started for it. The listening
//! sockets are the same in both processes, so a connection that nobody has accepted yet is accepted by either.
//!
//! What limits have counted goes over a connection of its own (`counters`); a process of a version that cannot do so is
//! taken over from nevertheless.
//!
//! The new process is nobody's child (`launch`), so that systemd takes it for the unit's main process.
//!
//! Until the new process serves, nothing is given up: one that cannot start, does not speak in time or dies leaves the
//! old one serving, and the command says why. Each says a line of JSON at a time (`Word`).

mod counters;
mod launch;
mod new;
mod old;
mod socket;

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::config::Config;
use crate::proxy::State;

use super::listeners::{Held, Keeper};
use super::{Source, unit_directory};

pub use counters::Counters;
pub use launch::launch;
pub use new::Takeover;

use old::Offer;

/// How long a new process may take from its start until it serves.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where operators look when neither the file nor systemd says where.
const RUNTIME_DIRECTORY: &str = "/run/tollgate";

/// The socket's name in its folder.
const NAME: &str = "upgrade.sock";

/// How this process was started, to start the next one alike.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where its file was; another one may be there by now.
    pub path: PathBuf,
    /// What it was told, without a takeover.
    pub arguments: Vec<OsString>,
}

/// What the two ends say to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// A command asks for a new process.
    Upgrade,
    /// The new process asks for the sockets.
    TakeOver,
    /// What the new process goes on with.
    Sockets {
        /// Those beside this word, by the addresses they are bound to.
        sockets: Vec<Socket>,
        /// The number of the generation that serves.
        generation: u64,
    },
    /// The new process can take over what limits have counted, on a connection of its own.
    Counters {
        /// What it understands.
        format: u32,
        /// How it lays counters out.
        layout: u64,
    },
    /// So can the old one give; by these keys counters are laid out.
    Keys([u64; 4]),
    /// The new process is about to serve and wants the counters now. What follows is no word any longer.
    HandOver,
    /// The new process serves.
    Serving,
    /// The old one leaves; this process is the gateway now.
    Done {
        /// Its process id.
        pid: u32,
    },
    /// It comes to nothing, and nothing has changed.
    Failed {
        /// Why, for an operator.
        reason: String,
    },
}

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// Whom it is for.
    pub role: Role,
    /// Its address as the configuration says it; the port may be 0.
    pub written: std::net::SocketAddr,
    /// Who keeps it when the process ends.
    pub keeper: Keeper,
}

/// Whom a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Clients.
    Public,
    /// Operators.
    Admin,
}

/// What is left to do when this process serves: to end the one before, and to await the next.
pub struct Succession {
    /// The process before, where there is one.
    pub takeover: Option<Takeover>,
    /// Where the next one finds this, how it is started, and what it gets.
    pub next: Option<(PathBuf, Program, Vec<Held>)>,
    /// Told when the next one serves.
    pub served: Arc<Notify>,
}

impl Succession {
    /// Does it. Only now, since until now the process before was the one to be found.
    ///
    /// # Errors
    /// What an operator should know; this process serves nevertheless.
    pub fn complete(self, state: &Arc<State>) -> Result<(), String> {
        let finished = self.takeover.map(Takeover::finish).transpose();
        let before = finished.map_err(|failed| format!("upgrade: the process before may go on serving: {failed}"))?;
        let next = self.next;
        let started = next.map_or(Ok(()), |(path, program, sockets)| {
            Offer::start(&path, program, sockets, self.served, Arc::clone(state))
        });
        drop(before);
        started
    }
}

/// Makes the folder of an upgrade socket.
///
/// # Errors
/// Why no socket can be there, in a sentence.
pub fn prepare(path: &Path) -> Result<(), String> {
    socket::make_private(socket::folder(path)).map_err(|failed| format!("upgrade socket {}: {failed}", path.display()))
}

/// Where the socket of this process is: what the file says, or systemd's runtime directory; `None` without either.
/// `runtime_directory` is what systemd says.
pub fn socket_path(config: &Config, source: &Source, runtime_directory: Option<&str>) -> Option<PathBuf> {
    if let Some(path) = &config.upgrade.socket {
        return Some(source.folder().join(path));
    }
    unit_directory(runtime_directory).map(|directory| Path::new(directory).join(NAME))
}

/// Where a command looks for the socket of a running gateway.
pub fn socket_of_running(config: &Config, source: &Source, runtime_directory: Option<&str>) -> PathBuf {
    socket_path(config, source, runtime_directory).unwrap_or_else(|| Path::new(RUNTIME_DIRECTORY).join(NAME))
}

/// Why an upgrade that was asked for did not come about.
#[derive(Debug)]
pub enum RequestFault {
    /// Nobody was there to ask, or stopped answering.
    Silence(String),
    /// The gateway goes on as it was.
    Refused(String),
}

/// Asks the gateway behind a socket to hand over to a new process, and waits until that serves. Its process id.
///
/// # Errors
/// Why not, in a sentence.
pub fn request(path: &Path) -> Result<u32, RequestFault> {
    let silence = |failed: &str| RequestFault::Silence(format!("{}: {failed}", path.display()));
    let stream = UnixStream::connect(path)
        .map_err(|failed| silence(&format!("no gateway listens for upgrades here: {failed}")))?;
    // The other end has its own, which ends first.
    let patience = PATIENCE + Duration::from_secs(10);
    let failed = |failed| silence(&format!("the gateway does not answer: {failed}"));
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    let mut channel = socket::Channel::new(stream);
    channel.say(&Word::Upgrade).map_err(failed)?;
    match channel.hear().map_err(failed)? {
        Word::Done { pid } => Ok(pid),
        Word::Failed { reason } => Err(RequestFault::Refused(reason)),
        other => Err(silence(&format!("the gateway answers {other:?}"))),
    }
}
