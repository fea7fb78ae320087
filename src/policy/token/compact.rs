//! The compact form of a token: three parts of base64url, read in exactly one way.
//!
//! Padding, white space, the other alphabet and bits that do not count are refused, so that a token has one spelling.
//! An encrypted token (five parts) and one inside another are refused: their inside is nobody's word here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{TokenFault, json};

/// Members of a header that carry a key or say where one is: a token does not choose the key it is checked with.
const KEY_MEMBERS: [&str; 4] = ["jwk", "jku", "x5u", "x5c"];

/// Types of tokens that are for a service; others (`logout+jwt`, `dpop+jwt`, …) are for somebody else.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// Longest key id.
const MAX_KEY_ID: usize = 512;

/// A token whose form is right. Nothing is verified yet.
pub(super) struct Compact<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<Box<str>>,
    pub(super) claims: Map<String, Value>,
    /// What the signature is of.
    pub(super) message: &'t [u8],
    /// Still in base64url.
    pub(super) signature: &'t str,
}

impl<'t> Compact<'t> {
    pub(super) fn read(token: &'t str) -> Result<Self, TokenFault> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), rest) =
            (parts.next(), parts.next(), parts.next(), parts.count())
        else {
            return Err(TokenFault::Malformed);
        };
        match rest {
            0 => {}
            2 => return Err(TokenFault::Nested),
            _ => return Err(TokenFault::Malformed),
        }
        let members = json::object(&decode(header)?)?;
        let (algorithm, key_id) = read_header(&members)?;
        let claims = json::object(&decode(payload)?)?;
        decode(signature)?;
        let message = &token.as_bytes()[..header.len() + 1 + payload.len()];
        Ok(Self { algorithm, key_id, claims, message, signature })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Encoding)
}

fn read_header(members: &Map<String, Value>) -> Result<(Algorithm, Option<Box<str>>), TokenFault> {
    if members.contains_key("crit") {
        // No extension is understood, so none may be critical.
        return Err(TokenFault::Critical);
    }
    if KEY_MEMBERS.iter().any(|member| members.contains_key(*member)) {
        return Err(TokenFault::KeyInHeader);
    }
    if ["cty", "enc", "zip"].iter().any(|member| members.contains_key(*member)) {
        return Err(TokenFault::Nested);
    }
    match members.get("typ") {
        None => {}
        Some(Value::String(kind)) if TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known)) => {}
        Some(_) => return Err(TokenFault::Type),
    }
    let key_id = match members.get("kid") {
        None => None,
        Some(Value::String(id)) if id.len() <= MAX_KEY_ID => Some(id.as_str().into()),
        Some(_) => return Err(TokenFault::Malformed),
    };
    let name = members.get("alg").and_then(Value::as_str).ok_or(TokenFault::Algorithm)?;
    let algorithm = name.parse().map_err(|_| TokenFault::Algorithm)?;
    Ok((algorithm, key_id))
}
