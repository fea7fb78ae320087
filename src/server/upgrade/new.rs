//! The side of the process that was started to take over.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;

use log::warn;

use super::counters::Counters;
use super::socket::Channel;
use super::{PATIENCE, Role, Socket, Word};

/// Sockets of the process before this one. The ones that nobody takes are closed with it, there too when it leaves.
pub struct Takeover {
    channel: Channel,
    sockets: Vec<(Socket, TcpListener)>,
    /// The number of the generation that it served when it was asked.
    generation: u64,
    /// What it has counted, where it can hand that over.
    counters: Option<Counters>,
}

impl Takeover {
    /// Asks the process behind this socket for its listeners.
    ///
    /// # Errors
    /// When it does not give them.
    pub fn begin(path: &Path) -> Result<Self, String> {
        let failed = |failed: io::Error| format!("cannot take over from {}: {failed}", path.display());
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let mut channel = Channel::new(stream);
        channel.say(&Word::TakeOver).map_err(failed)?;
        let (named, generation) = match channel.hear().map_err(failed)? {
            Word::Sockets { sockets, generation } => (sockets, generation),
            Word::Failed { reason } => return Err(reason),
            other => return Err(format!("the process before says {other:?}")),
        };
        let sockets = channel.take_sockets();
        if named.len() != sockets.len() {
            return Err(format!("{} listeners were named and {} came", named.len(), sockets.len()));
        }
        let sockets = named.into_iter().zip(sockets.into_iter().map(TcpListener::from)).collect();
        // Before anything is counted here.
        let counters = Counters::ask(path);
        let counters = counters.inspect_err(|reason| warn!("rates, quotas and concurrency begin anew: {reason}")).ok();
        Ok(Self { channel, sockets, generation, counters })
    }

    /// The number of the first generation of this process.
    pub fn next_generation(&self) -> u64 {
        self.generation + 1
    }

    /// What the process before has counted; `None` where it does not hand that over.
    pub fn counters(&mut self) -> Option<Counters> {
        self.counters.take()
    }

    /// The socket of a listener that the process before had too.
    pub fn take(&mut self, role: Role, written: std::net::SocketAddr) -> Option<(Socket, TcpListener)> {
        let at = self.sockets.iter().position(|(socket, _)| socket.role == role && socket.written == written)?;
        Some(self.sockets.remove(at))
    }

    /// Says that this process cannot take over.
    pub fn give_up(mut self, reason: &str) {
        // When the other end is gone, nobody is left to be told.
        let _ = self.channel.say(&Word::Failed { reason: reason.to_owned() });
    }

    /// Says that this process serves, and waits until the other one knows. That one tells whoever asked for the upgrade
    /// when what is returned is dropped.
    ///
    /// # Errors
    /// When the other end is gone: it serves no longer, or goes on beside this process.
    pub fn finish(mut self) -> io::Result<Self> {
        self.channel.say(&Word::Serving)?;
        match self.channel.hear()? {
            Word::Done { .. } => Ok(self),
            other => Err(io::Error::other(format!("the process before says {other:?}"))),
        }
    }
}
