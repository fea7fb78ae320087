//! Listening sockets, bound before pingora starts.
//!
//! pingora binds its listeners inside a task, retries for half a minute and then panics there while the process
//! lives on. Bound here, a port in use stops the start at once, and port 0 works.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};

/// A bound socket.
#[derive(Debug)]
pub struct Bound {
    /// The address it is bound to; with the real port where port 0 was asked for.
    pub address: SocketAddr,
    listener: TcpListener,
}

impl Bound {
    /// Binds an address.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn bind(address: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        Self::take(listener)
    }

    /// Takes a bound socket over.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn take(listener: TcpListener) -> Result<Self, String> {
        let prepared = listener.set_nonblocking(true).and_then(|()| listener.local_addr());
        let address = prepared.map_err(|error| format!("cannot prepare a listener: {error}"))?;
        Ok(Self { address, listener })
    }
}

/// A pingora service that finds its sockets bound.
pub struct WithListener<S> {
    service: S,
    bound: Vec<Bound>,
}

impl<S> WithListener<S> {
    /// Gives a service its sockets.
    pub fn new(service: S, bound: Vec<Bound>) -> Self {
        Self { service, bound }
    }
}

#[async_trait]
impl<S: ServiceWithDependents + 'static> ServiceWithDependents for WithListener<S> {
    async fn start_service(
        &mut self,
        inherited: Option<ListenFds>,
        shutdown: ShutdownWatch,
        tasks_per_listener: usize,
        ready: ServiceReadyNotifier,
    ) {
        if let Some(table) = &inherited {
            let mut table = table.lock();
            for Bound { address, listener } in self.bound.drain(..) {
                table.add(address.to_string(), listener.into_raw_fd());
            }
        }
        self.service.start_service(inherited, shutdown, tasks_per_listener, ready).await;
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
