//! The smallest sensible pingora pass-through: what `compare.py` divides by.
//!
//! It forwards every request to one upstream and does nothing else: no timeouts, no log, no metrics. It shares with
//! the gateway what is not the gateway's work: the allocator, the build profile, one worker without work stealing, the
//! size of the upstream pool, no response modules and a prebuilt peer. Run it as
//! `bare_pingora LISTEN_ADDRESS UPSTREAM_ADDRESS`.

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::Result;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct PassThrough {
    peer: HttpPeer,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<SocketAddr>());
    let (Some(Ok(listen)), Some(Ok(upstream)), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("usage: bare_pingora LISTEN_ADDRESS UPSTREAM_ADDRESS");
        std::process::exit(2);
    };
    let settings = ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: 512,
        fast_timeout_to_tokio_threshold_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let peer = HttpPeer::new(upstream, false, String::new());
    let mut service = http_proxy_service(&server.configuration, PassThrough { peer });
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run_forever();
}
