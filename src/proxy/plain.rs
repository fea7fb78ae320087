//! Headers without their original spelling.
//!
//! pingora keeps a second map beside each HTTP/1 header, with every name as it was written. HTTP does not need it
//! (names are the same in any case), and whoever copies or changes a header pays for both. pingora lets a header's
//! map be dropped only by taking the header apart and putting it together again, which is what happens here.

use http::request::Parts;
use http::{HeaderMap, Request, Response};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

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

fn take_request(request: &mut RequestHeader) -> Parts {
    let blank = RequestHeader::from(Request::new(()).into_parts().0);
    Parts::from(std::mem::replace(request, blank))
}
