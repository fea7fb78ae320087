//! Headers without their original spelling.
//!
//! pingora keeps a second map beside each HTTP/1 header, with every name as it was written. HTTP does not need it
//! (names are the same in any case), and whoever copies or changes a header pays for both. pingora lets a header's
//! map be dropped only by taking the header apart and putting it together again, which is what happens here.

use std::sync::Arc;

use http::header::{COOKIE, HOST, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Uri};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

use super::guard::Http2Stream;

/// Forgets how a client spelled its names, unless its target is in a form of which the parts hold only a part.
pub fn forget_spelling(request: &mut RequestHeader) {
    if request.raw_path().first() == Some(&b'/') && request.raw_path_is_utf8() {
        let parts = take_request(request);
        *request = RequestHeader::from(parts);
    }
}

/// Changes the header of a request to a service.
pub fn edit_request(request: &mut RequestHeader, edit: impl FnOnce(&mut Parts) -> Result<()>) -> Result<()> {
    let mut parts = take_request(request);
    let edited = edit(&mut parts);
    *request = RequestHeader::from(parts);
    edited
}

/// Changes the fields of a service's response. A reason phrase of its own is kept.
pub fn edit_response(response: &mut ResponseHeader, edit: impl FnOnce(&mut HeaderMap)) -> Result<()> {
    let reason = response.get_reason_phrase().filter(|reason| response.status.canonical_reason() != Some(reason));
    let reason = reason.map(str::to_owned);
    let blank = ResponseHeader::from(Response::new(()).into_parts().0);
    let mut parts = http::response::Parts::from(std::mem::replace(response, blank));
    edit(&mut parts.headers);
    *response = ResponseHeader::from(parts);
    if reason.is_some() {
        response.set_reason_phrase(reason.as_deref())?;
    }
    Ok(())
}

/// Brings the header of an HTTP/2 request into the form that everything behind this knows: the authority is its Host, the
/// target a path, and cookies stand in one field (RFC 9113 sections 8.3.1 and 8.2.3). Its stream goes with it.
pub fn settle_stream(request: &mut RequestHeader, stream: Arc<Http2Stream>) {
    let mut parts = take_request(request);
    if let Some(host) = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        parts.headers.insert(HOST, host);
    }
    // Nothing else has no path, and pingora refuses it.
    if parts.method != Method::CONNECT {
        parts.uri = parts.uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    }
    join_cookies(&mut parts.headers);
    parts.extensions.insert(stream);
    *request = RequestHeader::from(parts);
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let whole = [first, second].into_iter().chain(crumbs).collect::<Vec<_>>().join(&b"; "[..]);
        // Each of them was a value, and so is this.
        if let Ok(whole) = HeaderValue::from_bytes(&whole) {
            headers.insert(COOKIE, whole);
        }
    }
}

fn take_request(request: &mut RequestHeader) -> Parts {
    let blank = RequestHeader::from(Request::new(()).into_parts().0);
    Parts::from(std::mem::replace(request, blank))
}
