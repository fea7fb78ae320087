//! Keys of the store over the admin listener: JSON in and out.
//!
//! `GET /keys`, `POST /keys`, `DELETE /keys/{id}`, `POST /keys/{id}/rotate`. Whoever asks proves it with the token whose
//! SHA-256 is in the configuration, as `Authorization: Bearer`; without one configured nothing is answered but 403,
//! without a store 404. Bodies are bounded in size and time, and the file is read and written beside the thread that
//! answers probes.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use log::info;
use pingora::protocols::http::ServerSession;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::config::Sha256;
use crate::policy::authenticate::digest;
use crate::proxy::State;
use crate::store::{Made, Place, StoreError};

use super::super::keys::{self, Refusal, Rotation, Wanted};
use super::{json_page, not_allowed};

/// The largest body.
const MOST_BYTES: usize = 16 * 1024;
/// How the token is announced.
const SCHEME: &[u8] = b"bearer ";
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The application for keys.
pub struct Keys {
    state: Arc<State>,
    place: Place,
    token: Option<Sha256>,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'p> {
    All,
    One(&'p str),
    Rotation(&'p str),
}

/// Why a request gets nothing.
pub(super) struct Refused {
    status: StatusCode,
    reason: String,
}

impl Keys {
    /// For the keys at this place.
    pub fn new(state: Arc<State>, place: Place, token: Option<Sha256>) -> Self {
        Self { state, place, token }
    }

    /// Answers a request for a path below `/keys`; `None` for any other.
    pub async fn answer(&self, session: &mut ServerSession) -> Option<Response<Vec<u8>>> {
        let path = session.req_header().uri.path().to_owned();
        let asked = asked(&path)?;
        let mut answer = self.decide(&asked, session).await.unwrap_or_else(Refused::into_answer);
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(answer)
    }

    async fn decide(&self, asked: &Asked<'_>, session: &mut ServerSession) -> Result<Response<Vec<u8>>, Refused> {
        check_token(self.token.as_ref(), "keys are not managed here", session)?;
        let method = session.req_header().method.clone();
        match (asked, method) {
            (Asked::All, Method::GET) => {
                let found = self.at_store(keys::list).await??;
                Ok(json_page(&json!({ "keys": found.iter().map(keys::describe).collect::<Vec<_>>() })))
            }
            (Asked::All, Method::POST) => {
                let wanted: Wanted = body(session, None).await?;
                let gateway = self.state.gateway.load_full();
                // An empty file in place of one that is missing would end all other keys.
                let made = self.at_store(move |place| keys::create(|| place.open(), &gateway, &wanted)).await??;
                info!("key made id={} consumer={:?}", made.key.id, made.key.consumer);
                Ok(created(&made))
            }
            (Asked::One(id), Method::DELETE) => {
                let id = (*id).to_owned();
                let ended = self.at_store(move |place| keys::revoke(place, &id)).await??;
                info!("key revoked id={} consumer={:?}", ended.id, ended.consumer);
                Ok(json_page(&keys::describe(&ended)))
            }
            (Asked::Rotation(id), Method::POST) => {
                let (id, rotation) = ((*id).to_owned(), body(session, Some(Rotation::default())).await?);
                let made = self.at_store(move |place| keys::rotate(place, &id, rotation)).await??;
                info!("key rotated id={} consumer={:?}", made.key.id, made.key.consumer);
                Ok(created(&made))
            }
            (Asked::All, _) => Ok(not_allowed("GET, POST")),
            (Asked::One(_), _) => Ok(not_allowed("DELETE")),
            (Asked::Rotation(_), _) => Ok(not_allowed("POST")),
        }
    }

    /// Works on the keys beside the runtime.
    async fn at_store<T: Send + 'static>(&self, work: impl FnOnce(&Place) -> T + Send + 'static) -> Result<T, Refused> {
        let place = self.place.clone();
        let done = tokio::task::spawn_blocking(move || work(&place)).await;
        done.map_err(|_| refused(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed"))
    }
}

/// Whether a request proves that it may change something; `otherwise` says what nobody may, where no token is set.
pub(super) fn check_token(expected: Option<&Sha256>, otherwise: &str, session: &ServerSession) -> Result<(), Refused> {
    let Some(expected) = expected else {
        return Err(refused(StatusCode::FORBIDDEN, &format!("{otherwise}: `admin.token_sha256` is not set")));
    };
    let given = session.req_header().headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let token = given.and_then(|value| value.split_at_checked(SCHEME.len()));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
    if token.is_some_and(|(_, token)| bool::from(digest(token).ct_eq(&expected.0))) {
        return Ok(());
    }
    Err(refused(StatusCode::UNAUTHORIZED, "this needs the token of `admin.token_sha256`"))
}

fn asked(path: &str) -> Option<Asked<'_>> {
    let rest = path.strip_prefix("/keys")?;
    if rest.is_empty() {
        return Some(Asked::All);
    }
    let mut segments = rest.strip_prefix('/')?.split('/');
    match (segments.next().filter(|id| !id.is_empty())?, segments.next(), segments.next()) {
        (id, None, None) => Some(Asked::One(id)),
        (id, Some("rotate"), None) => Some(Asked::Rotation(id)),
        _ => None,
    }
}

/// The body as a value; `absent` stands for one that is empty, where it may be.
pub(super) async fn body<T: DeserializeOwned>(session: &mut ServerSession, absent: Option<T>) -> Result<T, Refused> {
    let read = tokio::time::timeout(PATIENCE, read(session)).await;
    let bytes = match read {
        Ok(read) => read?,
        Err(_) => {
            session.set_keepalive(None);
            return Err(refused(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"));
        }
    };
    if let (true, Some(absent)) = (bytes.is_empty(), absent) {
        return Ok(absent);
    }
    serde_json::from_slice(&bytes).map_err(|wrong| refused(StatusCode::UNPROCESSABLE_ENTITY, &wrong.to_string()))
}

async fn read(session: &mut ServerSession) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    loop {
        match session.read_request_body().await {
            Ok(None) => return Ok(bytes),
            Ok(Some(part)) if bytes.len() + part.len() <= MOST_BYTES => bytes.extend_from_slice(&part),
            Ok(Some(_)) => {
                session.set_keepalive(None);
                return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 16 KiB"));
            }
            Err(_) => {
                session.set_keepalive(None);
                return Err(refused(StatusCode::BAD_REQUEST, "the body cannot be read"));
            }
        }
    }
}

/// The only answer that has the key itself.
fn created(made: &Made) -> Response<Vec<u8>> {
    let mut description = keys::describe(&made.key);
    description["key"] = Value::from(made.secret.as_str());
    let mut answer = json_page(&description);
    *answer.status_mut() = StatusCode::CREATED;
    answer
}

pub(super) fn refused(status: StatusCode, reason: &str) -> Refused {
    Refused { status, reason: reason.to_owned() }
}

impl Refused {
    pub(super) fn into_answer(self) -> Response<Vec<u8>> {
        let mut answer = json_page(&json!({ "error": self.reason }));
        *answer.status_mut() = self.status;
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unfit(reason) => Self { status: StatusCode::UNPROCESSABLE_ENTITY, reason },
            Refusal::Store(failed) => failed.into(),
            Refusal::Random => refused(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(failed: StoreError) -> Self {
        let status = match failed {
            StoreError::Unknown => StatusCode::NOT_FOUND,
            StoreError::Ambiguous | StoreError::Ended(_) | StoreError::Exists => StatusCode::CONFLICT,
            StoreError::Text(_) => StatusCode::UNPROCESSABLE_ENTITY,
            StoreError::Full => StatusCode::INSUFFICIENT_STORAGE,
            StoreError::File(_)
            | StoreError::Foreign
            | StoreError::Newer { .. }
            | StoreError::ReadOnly
            | StoreError::Damaged(_)
            | StoreError::Database(_)
            | StoreError::Redis(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let place = if failed.is_fault() { "store: " } else { "" };
        Self { status, reason: format!("{place}{failed}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_keys_asks_for_one_thing() {
        for (path, expected) in [
            ("/keys", Some(Asked::All)),
            ("/keys/1f", Some(Asked::One("1f"))),
            ("/keys/1f/rotate", Some(Asked::Rotation("1f"))),
            ("/keys/", None),
            ("/keys//rotate", None),
            ("/keys/1f/", None),
            ("/keys/1f/rotate/", None),
            ("/keys/1f/other", None),
            ("/keysx", None),
            ("/metrics", None),
        ] {
            assert_eq!(asked(path), expected, "{path}");
        }
    }
}
