//! Who calls: API keys, and where a request carries a key or a token.
//!
//! A key is looked up by its SHA-256, so that neither the file nor the process holds it, and the time of a lookup
//! says nothing about a key: what an attacker controls is the preimage of a digest, and the stored digest is
//! compared in constant time besides. High-entropy keys need no slow hash.
//!
//! A request with two credentials is refused: otherwise gateway and service might each believe another one.

use std::borrow::Cow;
use std::collections::HashMap;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use subtle::ConstantTimeEq;

use super::api_key::{self, Form};

/// The SHA-256 of an API key.
pub type Digest = [u8; 32];

/// Where a request carries its API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlace {
    /// The part of the request.
    pub part: Part,
    /// Whether the service may see the key.
    pub forward: Forward,
}

/// The part of a request that carries a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The value of this header.
    Header(HeaderName),
    /// The value of this query parameter.
    Query(Box<str>),
    /// The value of this cookie.
    Cookie(Box<str>),
}

/// Whether the service may see a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Taken out on the way to every service.
    Strip,
    /// Passed on.
    Pass,
}

/// What a request says about its caller.
#[derive(Debug, PartialEq, Eq)]
pub enum Presented {
    /// Nothing.
    Nothing,
    /// One credential: the digest of the key, and whether the gateway may have made it.
    Key(Digest, Form),
    /// More than one.
    Ambiguous,
}

/// What a request says about its caller by token.
#[derive(Debug, PartialEq, Eq)]
pub enum PresentedToken<'a> {
    /// Nothing.
    Nothing,
    /// One token, and where it stands.
    One(&'a Part, Cow<'a, str>),
    /// More than one.
    Several,
}

/// Collects the keys that a request carries at these places.
pub fn presented<'a>(
    places: impl Iterator<Item = &'a KeyPlace>,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Presented {
    let mut found = Presented::Nothing;
    let mut add = |key: &[u8]| {
        found = match found {
            Presented::Nothing => Presented::Key(digest(key), api_key::form(key)),
            Presented::Key(..) | Presented::Ambiguous => Presented::Ambiguous,
        };
    };
    for place in places {
        match &place.part {
            Part::Header(name) => headers.get_all(name).iter().for_each(|value| add(value.as_bytes())),
            Part::Query(name) => query_values(query, name).for_each(|value| add(value.as_bytes())),
            Part::Cookie(name) => cookies(headers).filter(|(key, _)| *key == name.as_bytes()).for_each(|(_, v)| add(v)),
        }
    }
    found
}

/// The token that a request carries at one of these places. In `Authorization` it follows the word `Bearer`; another
/// scheme there is no token. A part that several places name is looked at once.
pub fn presented_token<'a>(
    places: impl Iterator<Item = &'a KeyPlace>,
    headers: &'a HeaderMap,
    query: Option<&'a str>,
) -> PresentedToken<'a> {
    let mut found = PresentedToken::Nothing;
    let mut seen: SmallVec<[&Part; 2]> = SmallVec::new();
    for KeyPlace { part, .. } in places {
        if seen.contains(&part) {
            continue;
        }
        seen.push(part);
        let mut add = |text: Cow<'a, str>| {
            found = match found {
                PresentedToken::Nothing => PresentedToken::One(part, text),
                PresentedToken::One(..) | PresentedToken::Several => PresentedToken::Several,
            };
        };
        // What is no text is no token either, but something was presented.
        let text = |bytes: &'a [u8]| Cow::Borrowed(std::str::from_utf8(bytes).unwrap_or_default());
        match part {
            Part::Header(name) if *name == AUTHORIZATION => {
                headers.get_all(name).iter().filter_map(|value| bearer(value.as_bytes())).for_each(|t| add(text(t)));
            }
            Part::Header(name) => headers.get_all(name).iter().for_each(|value| add(text(value.as_bytes()))),
            Part::Query(name) => query_values(query, name).for_each(&mut add),
            Part::Cookie(name) => {
                cookies(headers).filter(|(key, _)| *key == name.as_bytes()).for_each(|(_, value)| add(text(value)));
            }
        }
    }
    found
}

/// What follows the scheme (RFC 6750 section 2.1), which is read in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return None;
    }
    match token.first() {
        None => Some(token),
        Some(b' ') => Some(&token[1..]),
        Some(_) => None,
    }
}

/// The digest that stands for a key. Its cost is bounded by the guard's limit on the header.
pub fn digest(key: &[u8]) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, key).as_ref());
    digest
}

fn query_values<'a>(query: Option<&'a str>, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .filter(move |(key, _)| key == name)
        .map(|(_, value)| value)
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let split = pair.iter().position(|&byte| byte == b'=')?;
        Some((&pair[..split], &pair[split + 1..]))
    })
}

/// The value of a Cookie header without the named cookies; `None` when nothing is left of it.
pub fn cookies_without<'a>(value: &[u8], names: impl Iterator<Item = &'a str> + Clone) -> Option<HeaderValue> {
    let kept: Vec<&[u8]> = value
        .split(|&byte| byte == b';')
        .map(<[u8]>::trim_ascii)
        .filter(|pair| {
            let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
            !pair.is_empty() && !names.clone().any(|secret| secret.as_bytes() == name)
        })
        .collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok()
}

/// Every known key's digest, with whose it is.
#[derive(Debug, Clone)]
pub struct Keyring<T> {
    by_digest: HashMap<Digest, T, ahash::RandomState>,
}

impl<T> Default for Keyring<T> {
    fn default() -> Self {
        Self { by_digest: HashMap::default() }
    }
}

impl<T> Keyring<T> {
    /// Adds a key.
    ///
    /// # Errors
    /// The present owner when the key is known already; nothing is changed then.
    pub fn add(&mut self, digest: Digest, owner: T) -> Result<(), &T> {
        match self.by_digest.entry(digest) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(owner);
                Ok(())
            }
            std::collections::hash_map::Entry::Occupied(entry) => Err(entry.into_mut()),
        }
    }

    /// Whose key this is.
    pub fn owner(&self, digest: &Digest) -> Option<&T> {
        let (stored, owner) = self.by_digest.get_key_value(digest)?;
        bool::from(stored.ct_eq(digest)).then_some(owner)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn places() -> [KeyPlace; 3] {
        let place = |part| KeyPlace { part, forward: Forward::Strip };
        [
            place(Part::Header(HeaderName::from_static("x-api-key"))),
            place(Part::Query("key".into())),
            place(Part::Cookie("session".into())),
        ]
    }

    #[test]
    fn a_key_is_found_where_it_stands_and_two_are_refused() {
        let one = || Presented::Key(digest(b"one"), Form::Other);
        for (headers, query, expected) in [
            (vec![], None, Presented::Nothing),
            (vec![("x-api-key", "one")], None, one()),
            (vec![], Some("a=b&key=one"), one()),
            (vec![], Some("k%65y=%6fne"), one()),
            (vec![("cookie", "a=b; session=one")], None, one()),
            (vec![("cookie", "sessions=one; xsession=two")], None, Presented::Nothing),
            (vec![("x-api-key", "one"), ("x-api-key", "one")], None, Presented::Ambiguous),
            (vec![("x-api-key", "one")], Some("key=two"), Presented::Ambiguous),
            (vec![], Some("key=one&key=two"), Presented::Ambiguous),
            (vec![("cookie", "session=one; session=two")], None, Presented::Ambiguous),
        ] {
            let found = presented(places().iter(), &request(&headers), query);
            assert_eq!(found, expected, "{headers:?} {query:?}");
        }
    }

    #[test]
    fn a_keyring_knows_whole_keys_only() {
        let mut ring = Keyring::default();
        ring.add(digest(b"one"), "alice").unwrap();
        assert_eq!(ring.owner(&digest(b"one")), Some(&"alice"));
        for other in ["", "on", "ones", "One"] {
            assert_eq!(ring.owner(&digest(other.as_bytes())), None, "{other}");
        }
        assert_eq!(ring.add(digest(b"one"), "bob"), Err(&"alice"));
    }

    #[test]
    fn the_key_cookie_is_taken_out_and_others_stay() {
        for (value, expected) in [
            ("session=one", None),
            ("a=b; session=one; c=d", Some("a=b; c=d")),
            ("a=b", Some("a=b")),
            ("session=one; session=two;", None),
        ] {
            let left = cookies_without(value.as_bytes(), ["session"].into_iter());
            assert_eq!(left.as_ref().map(|value| value.to_str().unwrap()), expected, "{value}");
        }
    }
}
