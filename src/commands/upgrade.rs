//! `tollgate upgrade`: a new process in place of a running one.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tollgate::config::{self, Loading};
use tollgate::server::upgrade::RequestFault;
use tollgate::server::{Source, upgrade};

/// Asks the gateway that runs this file to hand over, and says how it went.
pub fn run(file: &Path, socket: Option<PathBuf>) -> ExitCode {
    let socket = match socket.map_or_else(|| socket_of(file), Ok) {
        Ok(socket) => socket,
        Err(message) => {
            eprintln!("error: {message}; say the upgrade socket with --socket PATH");
            return ExitCode::from(2);
        }
    };
    match upgrade::request(&socket) {
        Ok(pid) => {
            println!("upgraded: process {pid} serves");
            ExitCode::SUCCESS
        }
        Err(RequestFault::Refused(reason)) => {
            eprintln!("error: {}", reason.trim_end());
            eprintln!("not upgraded: the running process goes on");
            ExitCode::from(1)
        }
        Err(RequestFault::Silence(reason)) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

/// Where the gateway of a file that may otherwise be wrong listens for upgrades.
fn socket_of(file: &Path) -> Result<PathBuf, String> {
    let (loading, _, _) = config::load(file, &|name| env::var(name).ok());
    let runtime_directory = env::var("RUNTIME_DIRECTORY").ok();
    match loading {
        Loading::Whole(loaded) => {
            let source = Source::File(file.to_owned());
            Ok(upgrade::socket_of_running(&loaded.config, &source, runtime_directory.as_deref()))
        }
        Loading::Damaged(_) | Loading::Nothing => Err(format!("{} cannot be read as a configuration", file.display())),
    }
}

/// How this process was started. Its file by the name that was called, since a link may lead to another version by the
/// time of an upgrade.
pub fn own_program() -> Option<upgrade::Program> {
    let mut arguments = env::args_os();
    let called = PathBuf::from(arguments.next()?);
    let path = if called.components().count() > 1 {
        env::current_dir().ok()?.join(called)
    } else {
        let folders = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&folders).map(|folder| folder.join(&called)).find(|path| path.is_file());
        found.or_else(|| env::current_exe().ok())?
    };
    Some(upgrade::Program { path, arguments: without_takeover(arguments) })
}

/// The arguments of the first process of the line.
fn without_takeover(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept: Vec<OsString> = arguments.collect();
    if let Some(at) = kept.iter().position(|argument| argument == "--takeover") {
        kept.drain(at..(at + 2).min(kept.len()));
    }
    kept
}
