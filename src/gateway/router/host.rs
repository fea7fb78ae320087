//! Host patterns, and the `Host` header brought to the spelling they are compared in: lower case, without port and
//! without the dot of a fully qualified name.
//!
//! A header value that is no host name matches no pattern; it is not refused here, because routes without a host
//! take it. Internationalised names are written as they travel: `xn--…`.

use thiserror::Error;

/// The longest name DNS can carry.
const MAX_LEN: usize = 253;

/// Which hosts a route is for.
///
/// Invariant: a name is lower case, with non-empty labels, and no longer than DNS allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This name only.
    Exact(Box<str>),
    /// Every name with one or more labels before this suffix (written `*.example.com`, held without `*.`).
    Wildcard(Box<str>),
}

/// What is wrong with a host pattern, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct HostFault {
    /// A sentence without a final dot.
    pub message: String,
}

impl HostPattern {
    /// Reads `api.example.com` or `*.example.com`.
    pub fn parse(text: &str) -> Result<Self, HostFault> {
        let (name, wildcard) = match text.strip_prefix("*.") {
            Some(suffix) => (suffix, true),
            None => (text, false),
        };
        if let Some(message) = fault_of(name) {
            return Err(HostFault { message });
        }
        Ok(if wildcard { Self::Wildcard(name.into()) } else { Self::Exact(name.into()) })
    }
}

fn fault_of(name: &str) -> Option<String> {
    if name == "*" || name.is_empty() {
        return Some("a route for every host has no `host`: leave it out".to_owned());
    }
    if name.contains('*') {
        return Some("`*` stands for the first labels only, as in `*.example.com`".to_owned());
    }
    if name.contains(':') {
        return Some("a host is a name without a port, a scheme or an IPv6 address".to_owned());
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(format!("host names are compared in lower case: write `{}`", name.to_ascii_lowercase()));
    }
    if name.len() > MAX_LEN || !name.bytes().all(is_name_byte) || name.split('.').any(str::is_empty) {
        return Some(format!("`{name}` is no host name: letters, digits, `-` and `_` in labels joined by single dots"));
    }
    None
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
}

/// Room for one host name on the stack.
pub(super) struct HostBuffer {
    bytes: [u8; MAX_LEN],
}

impl Default for HostBuffer {
    fn default() -> Self {
        Self { bytes: [0; MAX_LEN] }
    }
}

impl HostBuffer {
    /// The name in a `Host` header as patterns have it; `None` when it is no name.
    pub(super) fn normalise(&mut self, header: &str) -> Option<&str> {
        let name = match header.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return None,
            None => header,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let lower = self.bytes.get_mut(..name.len())?;
        let mut before = b'.';
        for (to, from) in lower.iter_mut().zip(name.bytes()) {
            *to = from.to_ascii_lowercase();
            let is_empty_label = *to == b'.' && before == b'.';
            if is_empty_label || !is_name_byte(*to) {
                return None;
            }
            before = *to;
        }
        if before == b'.' { None } else { std::str::from_utf8(lower).ok() }
    }
}
