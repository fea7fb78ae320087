//! What must not be shown: credentials, wherever an authenticator looks for one, and the `Authorization` fields.

use http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION};

use crate::gateway::{Access, Gateway};
use crate::policy::authenticate::Part;
use crate::proxy::rehearse::Message;

/// Stands for a credential.
pub const MASK: &str = "(hidden)";

/// Where credentials stand.
pub struct Secrets(Vec<Part>);

impl Secrets {
    /// Wherever any route of a gateway looks for a credential or takes one out.
    pub fn of(gateway: &Gateway) -> Self {
        let mut parts: Vec<Part> = [AUTHORIZATION, PROXY_AUTHORIZATION].map(Part::Header).into_iter().collect();
        for route in &gateway.routes {
            parts.extend(route.hidden_keys.iter().cloned());
            if let Access::Authenticated { places, .. } = &route.access {
                parts.extend(places.iter().map(|place| place.part.clone()));
            }
        }
        Self(parts)
    }

    /// Whether a field holds one.
    pub fn in_header(&self, name: &str) -> bool {
        let name = name.parse::<HeaderName>().ok();
        self.0.iter().any(|part| matches!(part, Part::Header(of) if Some(of) == name.as_ref()))
    }

    /// Whether a query parameter is one.
    pub fn in_query(&self, name: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Query(of) if **of == *name))
    }

    /// Whether a cookie is one.
    pub fn in_cookie(&self, name: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Cookie(of) if **of == *name))
    }

    /// A message without them.
    pub fn masked(&self, message: &Message) -> Message {
        let mut masked = message.clone();
        masked.start = self.masked_start(&message.start);
        for (name, value) in &mut masked.fields {
            if self.in_header(name) {
                *value = MASK.into();
            } else if name.eq_ignore_ascii_case(COOKIE.as_str()) {
                *value = self.masked_cookies(value);
            }
        }
        masked
    }

    fn masked_start(&self, start: &str) -> String {
        let Some((before, query)) = start.split_once('?') else { return start.to_owned() };
        let (query, after) = query.split_once(' ').unwrap_or((query, ""));
        let pairs: Vec<String> = query.split('&').map(|pair| self.masked_pair(pair)).collect();
        let space = if after.is_empty() { "" } else { " " };
        format!("{before}?{}{space}{after}", pairs.join("&"))
    }

    fn masked_pair(&self, pair: &str) -> String {
        let is_secret = form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| self.in_query(&name));
        let name = pair.split('=').next().unwrap_or_default();
        if is_secret { format!("{name}={MASK}") } else { pair.to_owned() }
    }

    fn masked_cookies(&self, value: &[u8]) -> Vec<u8> {
        let pairs = value.split(|&byte| byte == b';').map(|pair| {
            let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
            if self.in_cookie(&String::from_utf8_lossy(name.trim_ascii())) {
                [name, b"=", MASK.as_bytes()].concat()
            } else {
                pair.to_vec()
            }
        });
        pairs.collect::<Vec<_>>().join(&b';')
    }
}
