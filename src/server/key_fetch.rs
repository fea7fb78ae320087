//! Fetches the key sets that providers publish.
//!
//! One task for the whole life of the process; each fetch runs on a thread for blocking work, so that a slow provider
//! delays neither requests nor other fetches. What comes back is bounded in size and time. A provider is asked
//! directly, never through a proxy, and a redirect is not followed: the keys of a company's users come from where its
//! configuration says. What cannot be used is logged, and the set that was known stays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use log::{error, info, warn};
use once_cell::sync::OnceCell;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde_json::Value;
use ureq::Agent;
use ureq::http::header;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::gateway::key_source::{Address, RemoteKeys};
use crate::policy::token::KeySet;
use crate::proxy::State;

use super::unix_now;

/// How long a provider may take for one reply.
const PATIENCE: Duration = Duration::from_millis(2500);

/// The largest reply, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// How long nothing is due when nothing is configured; a reload wakes the task.
const IDLE: Duration = Duration::from_secs(3600);

/// The background task.
pub struct Fetcher {
    state: Arc<State>,
}

impl Fetcher {
    /// For this process.
    pub fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// Fetches in the background. A set that is no longer used meanwhile is fetched for nobody.
    fn begin(&self, remote: Arc<RemoteKeys>) {
        let state = Arc::clone(&self.state);
        tokio::task::spawn_blocking(move || {
            let fetched = fetch(&remote.source.address);
            let name = &*remote.name;
            match &fetched {
                Ok(_) => state.telemetry.key_set_fetched(name, unix_now()),
                Err(_) => state.telemetry.key_set_missed(name),
            }
            let count = fetched.as_ref().map_or(0, |(keys, _)| keys.len());
            let failed = fetched.as_ref().err().cloned();
            if remote.fetched(fetched.ok(), Instant::now()) {
                info!("key set fetched authenticator={name} keys={count}");
            }
            if let Some(failed) = failed {
                match remote.known() {
                    Some(_) => warn!("authenticator {name}: its key set cannot be fetched, known keys stay: {failed}"),
                    None => error!("authenticator {name}: no token can be verified, there are no keys: {failed}"),
                }
            }
        });
    }
}

#[async_trait]
impl BackgroundService for Fetcher {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            let (due, next) = self.state.keys.due(Instant::now());
            due.into_iter().for_each(|remote| self.begin(remote));
            let next = next.unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                () = self.state.keys.woken() => {}
                () = tokio::time::sleep_until(next.into()) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// Fetches a set for a process that does nothing else with it, on the thread that asks.
///
/// # Errors
/// Why it could not be fetched.
pub fn fetch_once(remote: &RemoteKeys) -> Result<(), String> {
    let fetched = fetch(&remote.source.address);
    let failed = fetched.as_ref().err().map(|why| format!("the keys of {} cannot be fetched: {why}", remote.name));
    remote.fetched_once(fetched.ok(), Instant::now());
    failed.map_or(Ok(()), Err)
}

/// The set at an address, and its text.
fn fetch(address: &Address) -> Result<(KeySet, Vec<u8>), String> {
    let text = match address {
        Address::Url(url) => get(url)?,
        Address::Discovery(issuer) => get(&discovered(issuer)?)?,
    };
    let set: Value = serde_json::from_slice(&text).map_err(|_| "the reply is not JSON".to_owned())?;
    KeySet::of_jwks(&set).map(|keys| (keys, text)).map_err(|fault| fault.to_string())
}

/// Where an issuer publishes its keys (OpenID Connect Discovery 1.0, section 4).
fn discovered(issuer: &str) -> Result<String, String> {
    let text = get(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))?;
    let document: Value =
        serde_json::from_slice(&text).map_err(|_| "the issuer's configuration is not JSON".to_owned())?;
    if document["issuer"].as_str() != Some(issuer) {
        return Err("the issuer's configuration is of another issuer".to_owned());
    }
    let url = document["jwks_uri"].as_str().ok_or("the issuer's configuration names no `jwks_uri`")?;
    let is = |scheme: &str, url: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if is("https:", url) || (is("http:", url) && is("http:", issuer)) {
        return Ok(url.to_owned());
    }
    Err("the issuer's `jwks_uri` is not as safe as the issuer".to_owned())
}

fn get(url: &str) -> Result<Vec<u8>, String> {
    let failed = |error: ureq::Error| error.to_string();
    let agent = agent()?;
    let mut reply = agent.get(url).header(header::ACCEPT, "application/json").call().map_err(failed)?;
    if reply.status() != 200 {
        return Err(format!("the provider answered with status {}", reply.status().as_u16()));
    }
    reply.body_mut().with_config().limit(MAX_BYTES).read_to_vec().map_err(failed)
}

/// One client for all whom the process itself asks. Whom the machine trusts is read once, at the first request.
pub(super) fn agent() -> Result<&'static Agent, String> {
    static AGENT: OnceCell<Agent> = OnceCell::new();
    AGENT.get_or_try_init(|| {
        let trusted = rustls_native_certs::load_native_certs().certs;
        let trusted: Vec<Certificate<'static>> =
            trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&trusted))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .tls_config(tls)
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Agent::new_with_config(config))
    })
}
