//! Listening sockets: from the process before this one, from systemd, or bound before pingora starts.
//!
//! pingora binds its listeners inside a task, retries for half a minute and then panics there while the process
//! lives on. Bound here, a port in use stops the start at once, and port 0 works.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::activation::Activated;
use super::upgrade::{Role, Socket, Takeover};

/// A bound socket.
#[derive(Debug)]
pub struct Bound {
    /// The address it is bound to; with the real port where port 0 was asked for.
    pub address: SocketAddr,
    /// Who keeps it when this process ends.
    pub keeper: Keeper,
    listener: TcpListener,
}

/// Who keeps a listening socket when the process ends, and with it the connections that nobody has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeper {
    /// Nobody: such connections are reset.
    Nobody,
    /// systemd: they wait for the next process.
    Systemd,
}

impl Bound {
    /// Binds an address.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn bind(address: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind(address).map_err(|failed| refusal(address, &failed))?;
        Self::take(listener, Keeper::Nobody)
    }

    /// The same socket for another worker.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn share(&self) -> Result<Self, String> {
        let listener = self.listener.try_clone();
        let listener = listener.map_err(|error| format!("cannot share the listener {}: {error}", self.address))?;
        Ok(Self { address: self.address, keeper: self.keeper, listener })
    }

    /// Takes a bound socket over.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn take(listener: TcpListener, keeper: Keeper) -> Result<Self, String> {
        let prepared = listener.set_nonblocking(true).and_then(|()| listener.local_addr());
        let address = prepared.map_err(|error| format!("cannot prepare a listener: {error}"))?;
        Ok(Self { address, keeper, listener })
    }
}

/// Why an address cannot be listened on.
fn refusal(address: SocketAddr, failed: &Error) -> String {
    let reason = match failed.kind() {
        ErrorKind::AddrInUse => "another process listens there".to_owned(),
        ErrorKind::AddrNotAvailable => "it is no address of this machine".to_owned(),
        ErrorKind::PermissionDenied => {
            "not permitted; a port below 1024 needs CAP_NET_BIND_SERVICE or a socket unit of systemd".to_owned()
        }
        _ => failed.to_string(),
    };
    format!("cannot listen on {address}: {reason}")
}

/// The sockets that others have bound for this process.
pub struct Inheritance<'t> {
    /// Those of the process that this one takes over from.
    pub takeover: Option<&'t mut Takeover>,
    /// Those of systemd.
    pub activated: Activated,
}

impl Inheritance<'_> {
    /// The socket of a listener: one that is there, or else a new one.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn bind(&mut self, role: Role, written: SocketAddr) -> Result<(Bound, Held), String> {
        let bound = if let Some((socket, listener)) =
            self.takeover.as_mut().and_then(|takeover| takeover.take(role, written))
        {
            Bound::take(listener, socket.keeper)
        } else if let Some(listener) = self.activated.take(written) {
            Bound::take(listener, Keeper::Systemd)
        } else {
            Bound::bind(written)
        }?;
        let held = bound.hold(role, written)?;
        Ok((bound, held))
    }
}

/// A listening socket that the next process may go on with.
pub struct Held {
    /// What it is for.
    pub socket: Socket,
    /// The same socket as the one that is accepted on.
    pub listener: TcpListener,
}

impl Bound {
    /// Keeps a second handle of the socket.
    ///
    /// # Errors
    /// A sentence for the operator.
    fn hold(&self, role: Role, written: SocketAddr) -> Result<Held, String> {
        let listener = self.listener.try_clone();
        let listener = listener.map_err(|error| format!("cannot hold the listener {}: {error}", self.address))?;
        Ok(Held { socket: Socket { role, written, keeper: self.keeper }, listener })
    }
}

/// Ends the acceptance of connections before the process ends: those that are waiting are another process's then.
#[derive(Clone)]
pub struct Acceptance {
    over: watch::Sender<bool>,
    /// Services that accept.
    accepting: watch::Sender<usize>,
    /// Where they run.
    runtimes: Arc<Mutex<Vec<Handle>>>,
}

impl Acceptance {
    /// Of services that are still to come.
    pub fn new() -> Self {
        Self { over: watch::Sender::new(false), accepting: watch::Sender::new(0), runtimes: Arc::default() }
    }

    /// Waits until so many services accept, and the runtime of each has done something since this was called.
    pub async fn answer(&self, services: usize) {
        let mut accepting = self.accepting.subscribe();
        // The sender is here, so it cannot fail.
        let _ = accepting.wait_for(|accepting| *accepting >= services).await;
        let runtimes = self.runtimes.lock().clone();
        for runtime in runtimes {
            // An error means that it has ended, and is asked nothing any more.
            let _ = runtime.spawn(async {}).await;
        }
    }

    /// Waits until no further connection is accepted by this process.
    pub async fn end(&self) {
        self.over.send_replace(true);
        let mut accepting = self.accepting.subscribe();
        // The sender is here, so it cannot fail.
        let _ = accepting.wait_for(|services| *services == 0).await;
    }
}

/// A pingora service that finds its sockets bound, and stops accepting when it is told to.
pub struct WithListener<S> {
    service: S,
    bound: Vec<Bound>,
    acceptance: Acceptance,
}

impl<S> WithListener<S> {
    /// Gives a service its sockets.
    pub fn new(service: S, bound: Vec<Bound>, acceptance: &Acceptance) -> Self {
        Self { service, bound, acceptance: acceptance.clone() }
    }
}

#[async_trait]
impl<S: ServiceWithDependents + 'static> ServiceWithDependents for WithListener<S> {
    async fn start_service(
        &mut self,
        _inherited: Option<ListenFds>,
        mut shutdown: ShutdownWatch,
        tasks_per_listener: usize,
        ready: ServiceReadyNotifier,
    ) {
        // A table of its own: services that share an address have a handle of its socket each.
        let mut table = Fds::new();
        for Bound { address, listener, .. } in self.bound.drain(..) {
            table.add(address.to_string(), listener.into_raw_fd());
        }
        let table = Arc::new(Mutex::new(table));
        let mut told = self.acceptance.over.subscribe();
        let (ended, end) = watch::channel(false);
        let either = async move {
            tokio::select! {
                _ = shutdown.wait_for(|over| *over) => {}
                _ = told.wait_for(|over| *over) => {}
            }
            ended.send_replace(true);
        };
        self.acceptance.runtimes.lock().push(Handle::current());
        self.acceptance.accepting.send_modify(|services| *services += 1);
        let serve = async {
            self.service.start_service(Some(table), end, tasks_per_listener, ready).await;
            self.acceptance.accepting.send_modify(|services| *services -= 1);
        };
        tokio::join!(serve, either);
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        self.service.listen_addresses()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_address_and_reason() {
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        for (kind, reason) in [
            (ErrorKind::AddrInUse, "another process listens there"),
            (ErrorKind::AddrNotAvailable, "no address of this machine"),
            (ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (ErrorKind::OutOfMemory, "out of memory"),
        ] {
            let said = refusal(address, &kind.into());
            assert!(said.starts_with("cannot listen on 192.0.2.1:80: ") && said.contains(reason), "{said}");
        }
    }
}
