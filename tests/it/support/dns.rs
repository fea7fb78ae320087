//! A DNS server that answers over UDP and TCP on one free port, for the names that a test gives it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The types of address records.
const A: u16 = 1;
const AAAA: u16 = 28;

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// What it knows.
    Well,
    /// Over UDP only that the answer does not fit; what it knows over TCP.
    Truncated,
    /// That it failed.
    Failing,
}

/// A DNS server. It stops when it is dropped.
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Zone>,
}

struct Zone {
    records: Mutex<HashMap<String, (Vec<IpAddr>, u32)>>,
    manner: Mutex<Manner>,
    /// Queries for A records.
    asked: AtomicUsize,
    over_tcp: AtomicUsize,
    stopped: AtomicBool,
}

impl Dns {
    /// Starts a server that knows nothing.
    pub fn start() -> Self {
        let (udp, tcp) = same_port();
        let address = udp.local_addr().expect("a bound socket has an address");
        let zone = Arc::new(Zone {
            records: Mutex::default(),
            manner: Mutex::new(Manner::Well),
            asked: AtomicUsize::new(0),
            over_tcp: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let (by_udp, by_tcp) = (Arc::clone(&zone), Arc::clone(&zone));
        thread::spawn(move || serve_udp(&udp, &by_udp));
        thread::spawn(move || {
            for stream in tcp.incoming().map_while(Result::ok) {
                if by_tcp.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let zone = Arc::clone(&by_tcp);
                thread::spawn(move || serve_tcp(stream, &zone));
            }
        });
        Self { address, zone }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on a name stands for these addresses, for so many seconds.
    pub fn set(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self.zone.records.lock().unwrap().insert(name.to_owned(), (addresses, ttl));
    }

    /// How it answers from now on.
    pub fn behave(&self, manner: Manner) {
        *self.zone.manner.lock().unwrap() = manner;
    }

    /// How often it was asked for IPv4 addresses.
    pub fn asked(&self) -> usize {
        self.zone.asked.load(Ordering::SeqCst)
    }

    /// How often it was asked over TCP.
    pub fn asked_over_tcp(&self) -> usize {
        self.zone.over_tcp.load(Ordering::SeqCst)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.zone.stopped.store(true, Ordering::SeqCst);
        // Wakes both threads.
        let _ = TcpStream::connect(self.address);
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"", self.address));
    }
}

/// A socket of each kind, on a port that is free for both.
fn same_port() -> (UdpSocket, TcpListener) {
    let pair = || {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        let tcp = TcpListener::bind(udp.local_addr()?)?;
        std::io::Result::Ok((udp, tcp))
    };
    (0..100).find_map(|_| pair().ok()).expect("a port that is free for UDP and TCP")
}

fn serve_udp(socket: &UdpSocket, zone: &Zone) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if zone.stopped.load(Ordering::SeqCst) {
            return;
        }
        let truncated = *zone.manner.lock().unwrap() == Manner::Truncated;
        if let Some(answer) = answer(&buffer[..length], zone, truncated) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// Messages with their length before them.
fn serve_tcp(mut stream: TcpStream, zone: &Zone) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        zone.over_tcp.fetch_add(1, Ordering::SeqCst);
        let Some(answer) = answer(&query, zone, false) else { return };
        let length = u16::try_from(answer.len()).expect("a short answer");
        if stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).is_err() {
            return;
        }
    }
}

/// The answer to a query with one question (RFC 1035 section 4.1).
fn answer(query: &[u8], zone: &Zone, truncated: bool) -> Option<Vec<u8>> {
    let (name, end) = name(query)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    if kind == A {
        zone.asked.fetch_add(1, Ordering::SeqCst);
    }
    let known = zone.records.lock().unwrap().get(&name).cloned();
    let failing = *zone.manner.lock().unwrap() == Manner::Failing;
    let code: u16 = match (failing, &known) {
        (true, _) => 2,
        (false, None) => 3,
        (false, Some(_)) => 0,
    };
    let (addresses, ttl) = known.filter(|_| code == 0 && !truncated).unwrap_or_default();
    let addresses: Vec<_> = addresses.iter().filter(|address| address.is_ipv4() == (kind == A)).collect();
    let addresses = if matches!(kind, A | AAAA) { addresses } else { Vec::new() };
    // A response, recursion desired and available.
    let flags = 0x8180 | (u16::from(truncated) << 9) | code;
    let counts = [1, u16::try_from(addresses.len()).ok()?, 0, 0];
    let mut bytes = query.get(..2)?.to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(counts.into_iter().flat_map(u16::to_be_bytes));
    bytes.extend(query.get(12..end + 4)?);
    for address in addresses {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        // The name is that of the question.
        bytes.extend([0xC0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(1_u16.to_be_bytes());
        bytes.extend(ttl.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        bytes.extend(data);
    }
    Some(bytes)
}

/// The name that is asked for, in lower case without the last dot, and where it ends.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
}
