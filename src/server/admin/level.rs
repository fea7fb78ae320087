//! How much the process log says, over the admin listener: `GET /log/level` shows it, `PUT /log/level` with
//! `{"level": "debug"}` and the token of `admin.token_sha256` changes it, until the next change or the end of the process.

use http::{Method, Response};
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use serde_json::json;

use crate::config::{LogLevel, Sha256};
use crate::telemetry;

use super::super::process_log;
use super::keys::{Refused, body, check_token};
use super::{json_page, not_allowed};

/// Where the level is.
pub const PATH: &str = "/log/level";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    level: LogLevel,
}

/// Answers a request for [`PATH`].
pub async fn answer(token: Option<&Sha256>, session: &mut ServerSession) -> Response<Vec<u8>> {
    match session.req_header().method {
        Method::GET => shown(),
        Method::PUT => set(token, session).await.unwrap_or_else(Refused::into_answer),
        _ => not_allowed("GET, PUT"),
    }
}

async fn set(token: Option<&Sha256>, session: &mut ServerSession) -> Result<Response<Vec<u8>>, Refused> {
    check_token(token, "the log level is not changed here", session)?;
    let Wanted { level } = body(session, None).await?;
    process_log::set_level(level);
    Ok(shown())
}

fn shown() -> Response<Vec<u8>> {
    json_page(&json!({ "level": telemetry::log_level().as_str().to_ascii_lowercase() }))
}
