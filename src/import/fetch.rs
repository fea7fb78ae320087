//! A document from a running service.
//!
//! `http:` only, straight to the service and not through a proxy, within [`PATIENCE`] and [`MAX_BYTES`]; a redirect is
//! followed on the same host only. The program has no TLS client, so `https:` is refused with what does it instead.

use std::time::Duration;

use thiserror::Error;
use ureq::Agent;
use ureq::http::{Uri, header};

use super::MAX_BYTES;

/// How long a service may take for everything.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// Why there is no document.
#[derive(Debug, Error)]
pub enum FetchError {
    /// TLS is not spoken here.
    #[error("`https:` is not spoken here: `curl -fsS {0} | tollgate import - …` does it")]
    Tls(String),
    /// No URL of HTTP.
    #[error("`{0}` is no URL like `http://127.0.0.1:8002/openapi.json`")]
    Url(String),
    /// A redirect to somewhere else.
    #[error("the service redirects to `{0}`, which is not followed: name that URL if it is right")]
    Elsewhere(String),
    /// An answer that is no document.
    #[error("the service answered with status {0}")]
    Status(u16),
    /// No answer in time, or one that is too large.
    #[error("{0}")]
    Transport(String),
}

/// What a service answers to a GET of `url`.
///
/// # Errors
/// When there is no answer of 200 in time, or one that is larger than [`MAX_BYTES`].
pub fn fetch(url: &str) -> Result<String, FetchError> {
    let mut url = parse(url)?;
    let config = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = Agent::new_with_config(config);
    for _ in 0..=MAX_REDIRECTS {
        let failed = |error: ureq::Error| FetchError::Transport(error.to_string());
        let mut answer = agent.get(&url).header(header::ACCEPT, "application/json, */*").call().map_err(failed)?;
        let status = answer.status();
        if status.is_redirection() {
            url = redirected(&url, answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()))?;
            continue;
        }
        if status != 200 {
            return Err(FetchError::Status(status.as_u16()));
        }
        let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        return answer.body_mut().with_config().limit(limit).read_to_string().map_err(failed);
    }
    Err(FetchError::Elsewhere(url.to_string()))
}

fn parse(url: &str) -> Result<Uri, FetchError> {
    let parsed = url.parse::<Uri>().map_err(|_| FetchError::Url(url.to_owned()))?;
    match parsed.scheme_str() {
        Some("http") if parsed.host().is_some_and(|host| !host.is_empty()) => Ok(parsed),
        Some("https") => Err(FetchError::Tls(url.to_owned())),
        _ => Err(FetchError::Url(url.to_owned())),
    }
}

/// Where a redirect leads, if that is the same host.
fn redirected(from: &Uri, to: Option<&str>) -> Result<Uri, FetchError> {
    let to = to.unwrap_or_default();
    let origin = format!("http://{}", from.authority().map_or("", |authority| authority.as_str()));
    let absolute = if to.starts_with('/') && !to.starts_with("//") { format!("{origin}{to}") } else { to.to_owned() };
    match absolute.parse::<Uri>() {
        Ok(uri) if uri.scheme_str() == Some("http") && uri.authority() == from.authority() => Ok(uri),
        _ => Err(FetchError::Elsewhere(to.chars().take(200).collect())),
    }
}
