//! Stored replies are forgotten over the admin listener: `POST /cache/purge` with the token of `admin.token_sha256` and
//! `{"route": "get-user"}`, `{"path": "/users/1"}`, `{"prefix": "/users/"}`, `{"tag": "user-1"}` or `{"all": true}`. What is
//! still coming from a service at that moment is not stored either.

use http::{Method, Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use serde_json::json;

use crate::config::Sha256;
use crate::proxy::{Purge, State};

use super::keys::{Refused, body, check_token, refused};
use super::{json_page, not_allowed};

/// Where it is asked for.
pub const PATH: &str = "/cache/purge";

/// What is to be forgotten: exactly one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    route: Option<String>,
    path: Option<String>,
    prefix: Option<String>,
    tag: Option<String>,
    all: Option<bool>,
}

impl Wanted {
    fn purge(&self) -> Option<Purge<'_>> {
        match (&self.route, &self.path, &self.prefix, &self.tag, self.all) {
            (Some(route), None, None, None, None) => Some(Purge::Route(route)),
            (None, Some(path), None, None, None) => Some(Purge::Path(path)),
            (None, None, Some(prefix), None, None) => Some(Purge::Prefix(prefix)),
            (None, None, None, Some(tag), None) => Some(Purge::Tag(tag)),
            (None, None, None, None, Some(true)) => Some(Purge::All),
            _ => None,
        }
    }
}

/// Answers a request for [`PATH`].
pub async fn answer(state: &State, token: Option<&Sha256>, session: &mut ServerSession) -> Response<Vec<u8>> {
    if session.req_header().method != Method::POST {
        return not_allowed("POST");
    }
    purge(state, token, session).await.unwrap_or_else(Refused::into_answer)
}

async fn purge(
    state: &State,
    token: Option<&Sha256>,
    session: &mut ServerSession,
) -> Result<Response<Vec<u8>>, Refused> {
    check_token(token, "nothing is purged here", session)?;
    let wanted: Wanted = body(session, None).await?;
    let Some(purge) = wanted.purge() else {
        let reason = "one of `route`, `path`, `prefix`, `tag` and `all: true` says what is purged";
        return Err(refused(StatusCode::UNPROCESSABLE_ENTITY, reason));
    };
    if let Purge::Route(name) = purge
        && !state.gateway.load().routes.iter().any(|route| *route.name == *name)
    {
        return Err(refused(StatusCode::NOT_FOUND, &format!("there is no route `{name}`")));
    }
    let purged = state.cache.purge(purge);
    log::info!("stored replies purged, purged={purged}");
    Ok(json_page(&json!({ "purged": purged })))
}
