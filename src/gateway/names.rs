//! Names of services: who is asked what they stand for, and for how long an answer holds.
//!
//! DNS servers are asked directly, since only they say how long an answer holds; `/etc/hosts`, search domains and
//! `localhost` count as everywhere. Where the configuration names no servers, those of the machine are asked, and the
//! machine's own resolver where they do not know a name: it may have other sources than DNS (`nsswitch.conf`), and tells no
//! time.
//!
//! Nothing here is on the request path: [`lookup`] is for making a generation, [`Names`] for the task that keeps it up to
//! date.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use tokio::runtime::Builder;

/// How long an answer of the machine's own resolver holds, within the bounds of the configuration.
const UNTOLD: Duration = Duration::from_secs(30);

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// Who is asked; empty: those whom the machine asks.
    pub servers: Vec<SocketAddr>,
    /// An answer holds at least so long.
    pub min_ttl: Duration,
    /// And at most so long.
    pub max_ttl: Duration,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its addresses, sorted; at least one.
    pub addresses: Vec<IpAddr>,
    /// For how long.
    pub holds: Duration,
}

/// Looks names up, with the machine's files as they were when it was made.
#[derive(Debug, Clone)]
pub struct Names {
    rules: Resolver,
    dns: TokioResolver,
}

impl Names {
    /// Reads the machine's files.
    ///
    /// # Errors
    /// When the resolver cannot be made.
    pub fn new(rules: &Resolver) -> io::Result<Self> {
        // Without the file, a server on this machine is what the C library asks, too.
        let (machine, mut options) = read_system_conf().unwrap_or_else(|_| {
            let here = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
            (ResolverConfig::from_parts(None, Vec::new(), vec![here]), ResolverOpts::default())
        });
        let servers = match rules.servers.is_empty() {
            true => machine.name_servers,
            false => rules.servers.iter().map(|server| name_server(*server)).collect(),
        };
        // Whoever asks knows when to ask again.
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        let config = ResolverConfig::from_parts(machine.domain, machine.search, servers);
        let dns = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
        Ok(Self { rules: rules.clone(), dns: dns.build().map_err(io::Error::other)? })
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// When it has no address, or nobody answers.
    pub async fn look_up(&self, host: &str) -> io::Result<Found> {
        // This machine is where its files say: not every one has an `::1` that somebody listens on.
        if host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
            let (addresses, holds) = machines_own(host).await?;
            return self.found(addresses, holds);
        }
        let (addresses, holds) = match self.dns.lookup_ip(host).await {
            Ok(found) => {
                // Of every record that led to the addresses.
                let records = found.as_lookup().answers();
                let seconds = records.iter().map(|record| record.ttl).min().unwrap_or_default();
                (found.iter().collect(), Duration::from_secs(seconds.into()))
            }
            Err(_) if self.rules.servers.is_empty() => machines_own(host).await?,
            Err(failed) => return Err(io::Error::other(failed)),
        };
        self.found(addresses, holds)
    }

    fn found(&self, mut addresses: Vec<IpAddr>, holds: Duration) -> io::Result<Found> {
        addresses.sort();
        addresses.dedup();
        match addresses.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            false => Ok(Found { addresses, holds: holds.clamp(self.rules.min_ttl, self.rules.max_ttl) }),
        }
    }
}

/// What the machine's own resolver says.
async fn machines_own(host: &str) -> io::Result<(Vec<IpAddr>, Duration)> {
    let found = tokio::net::lookup_host((host, 0)).await?;
    Ok((found.map(|address| address.ip()).collect(), UNTOLD))
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections.iter_mut().for_each(|connection| connection.port = address.port());
    server
}

/// Looks a name up once; blocks.
///
/// # Errors
/// When the name has no address, or nobody answers.
pub fn lookup(rules: &Resolver, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let ask = || Builder::new_current_thread().enable_all().build()?.block_on(Names::new(rules)?.look_up(host));
    // On a thread of its own: a reload asks from within a runtime, which must not wait for another one.
    let found = thread::scope(|scope| scope.spawn(ask).join());
    let found = found.unwrap_or_else(|_| Err(io::Error::other("the resolver failed")))?;
    Ok(found.addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_within_bounds() {
        let (min_ttl, max_ttl) = (Duration::from_secs(5), Duration::from_secs(60));
        let names = Names::new(&Resolver { servers: vec![([192, 0, 2, 53], 53).into()], min_ttl, max_ttl }).unwrap();
        let one = IpAddr::from([192, 0, 2, 1]);
        for (seconds, expected) in [(0, 5), (5, 5), (30, 30), (86_400, 60)] {
            let found = names.found(vec![one, one], Duration::from_secs(seconds)).unwrap();
            assert_eq!(found, Found { addresses: vec![one], holds: Duration::from_secs(expected) }, "{seconds}");
        }
        assert!(names.found(Vec::new(), min_ttl).is_err());
    }

    #[test]
    fn addresses_and_this_machine_need_no_server() {
        let second = Duration::from_secs(1);
        let rules = Resolver { servers: vec![([127, 0, 0, 1], 1).into()], min_ttl: second, max_ttl: second };
        for (host, expected) in [("192.0.2.7", "192.0.2.7:80"), ("::1", "[::1]:80"), ("localhost", "127.0.0.1:80")] {
            let found = lookup(&rules, host, 80).unwrap();
            assert!(found.contains(&expected.parse().unwrap()), "{host}: {found:?}");
        }
    }
}
