//! What the integration tests are made of.
//!
//! [`origin::Origin`] plays the service behind the gateway, [`client::Client`] the client in front of it and
//! [`gateway::Gateway`] runs the program between them; [`dns::Dns`] knows names. All of them work on plain sockets and show raw bytes, so that a
//! test decides on what was really sent. They wait for conditions with a deadline, never for a time to pass.

pub mod client;
pub mod dns;
pub mod gateway;
pub mod http2;
pub mod multipart;
pub mod origin;
pub mod pki;
pub mod redis;
mod tests;
pub mod tls;
pub mod wire;

use std::env;
use std::time::Duration;

/// How long a test waits for something that should happen at once.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How many requests a test of endurance sends at least: what `TOLLGATE_TEST_REQUESTS` says, or else so many.
pub fn requests_at_least(unless_said: u64) -> u64 {
    match env::var("TOLLGATE_TEST_REQUESTS") {
        Ok(text) => text.parse().expect("TOLLGATE_TEST_REQUESTS is a number"),
        Err(_) => unless_said,
    }
}
