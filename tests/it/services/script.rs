//! A service that does on each connection what a script says, on a raw socket.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::wire::{self, Framing};

/// The pause between two pieces that drip.
const DRIP: Duration = Duration::from_millis(20);

/// What a service does next.
#[derive(Debug, Clone)]
pub enum Step {
    /// Reads a request with its body.
    Read,
    /// Sends these bytes.
    Say(Vec<u8>),
    /// Sends these bytes again and again, slowly, until the other side is gone.
    Drip(&'static [u8]),
    /// Sends these bytes so many times, slowly.
    DripTimes(&'static [u8], usize),
    /// Says nothing for a while.
    Wait(Duration),
    /// Says nothing until the other side is gone.
    Hang,
    /// Ends the connection in good order.
    Close,
    /// Ends it without.
    Reset,
}

/// Bytes to send.
pub fn say(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Say(bytes.into())
}

/// A scripted service. It stops when it is dropped.
pub struct Scripted {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    /// Does this on every connection.
    pub fn start(steps: Vec<Step>) -> Self {
        Self::each(move |_| steps.clone())
    }

    /// Does on each connection, by its number from 0, what this says.
    pub fn each(script: impl Fn(usize) -> Vec<Step> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (stopped, connections) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stop, count) = (Arc::clone(&stopped), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let steps = script(count.fetch_add(1, Ordering::SeqCst));
                thread::spawn(move || play(stream, &steps));
            }
        });
        Self { address, stopped, connections }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were opened to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the accepting thread
    }
}

/// Plays a script; the connection ends with it.
fn play(mut stream: TcpStream, steps: &[Step]) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().expect("clone a socket"));
    for step in steps {
        let goes_on = match step {
            Step::Read => match wire::read_head(&mut reader) {
                Ok(Some(head)) => {
                    wire::read_body(&mut reader, head.framing().unwrap_or(Framing::Absent));
                    true
                }
                _ => false,
            },
            Step::Say(bytes) => stream.write_all(bytes).is_ok(),
            Step::Drip(bytes) => drip(&mut stream, bytes, usize::MAX),
            Step::DripTimes(bytes, times) => drip(&mut stream, bytes, *times),
            Step::Wait(time) => {
                thread::sleep(*time);
                true
            }
            Step::Hang => {
                let _ = reader.read_to_end(&mut Vec::new());
                false
            }
            Step::Close => false,
            Step::Reset => {
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("set SO_LINGER");
                return;
            }
        };
        if !goes_on {
            return;
        }
    }
}

fn drip(stream: &mut TcpStream, bytes: &[u8], times: usize) -> bool {
    (0..times).all(|_| {
        thread::sleep(DRIP);
        stream.write_all(bytes).is_ok()
    })
}
