//! Listening sockets that systemd holds and passes to the process (`sd_listen_fds`).
//!
//! A socket belongs to the listener of the configuration with exactly its address. One that no listener names is refused
//! at the start: what is not declared is not served. The variables that speak of the sockets are taken out of the
//! environment, so that nobody else takes them for theirs.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// Sockets that were passed and belong to no listener yet.
#[derive(Debug, Default)]
pub struct Activated {
    sockets: Vec<Passed>,
}

#[derive(Debug)]
struct Passed {
    /// As the socket unit calls it.
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

impl Activated {
    /// Takes the sockets that were passed to this very process. To be called before there are other threads.
    ///
    /// # Errors
    /// When one of them is no listening TCP socket.
    pub fn from_environment() -> Result<Self, String> {
        let variable = |name| std::env::var(name).ok();
        let own = variable("LISTEN_PID").and_then(|pid| pid.parse().ok()) == Some(std::process::id());
        if !own {
            return Ok(Self::default());
        }
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for at in 0..passed.len() {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
            let (address, listener) = take(&mut passed, at)
                .map_err(|failed| format!("socket `{name}`, which systemd passes, cannot be listened on: {failed}"))?;
            sockets.push(Passed { name, address, listener });
        }
        Ok(Self { sockets })
    }

    /// The socket of a listener.
    pub fn take(&mut self, written: SocketAddr) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|socket| socket.address == written)?;
        Some(self.sockets.remove(at).listener)
    }

    /// Whether every socket has found its listener.
    ///
    /// # Errors
    /// Those that have not, in a sentence.
    pub fn finish(self) -> Result<(), String> {
        if self.sockets.is_empty() {
            return Ok(());
        }
        let said = self.sockets.iter().map(|socket| format!("`{}` on {}", socket.name, socket.address));
        let said: Vec<_> = said.collect();
        Err(format!("systemd passes sockets that no listener of the configuration names: {}", said.join(", ")))
    }
}

fn take(passed: &mut ListenFd, at: usize) -> io::Result<(SocketAddr, TcpListener)> {
    let listener = passed.take_tcp_listener(at)?.ok_or_else(|| io::Error::other("it was taken before"))?;
    if !socket_acceptconn(&listener)? {
        return Err(io::Error::other("it is a TCP socket that does not listen"));
    }
    Ok((listener.local_addr()?, listener))
}
