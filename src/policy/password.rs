//! Passwords (RFC 7617, Basic): what a request presents, and whether it fits a hash.
//!
//! A hash is argon2id in PHC form, as `tollgate hash-password` makes it, or bcrypt as `htpasswd -B` does. Both are slow by
//! design, so [`PasswordHash::fits`] must not be called where requests are served: see `proxy::passwords`. What one
//! attempt may cost is bounded when a hash is read: [`MAX_MEMORY`], [`MAX_WORK`], [`MAX_BCRYPT_COST`].

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::header::{AUTHORIZATION, HeaderMap};
use subtle::ConstantTimeEq;

/// The most memory of one attempt, in KiB.
pub const MAX_MEMORY: u32 = 64 * 1024;

/// The most memory times passes of one attempt, in KiB: about a second.
pub const MAX_WORK: u64 = 512 * 1024;

/// The largest cost of bcrypt: about a second.
pub const MAX_BCRYPT_COST: u32 = 14;

/// The longest password that is looked at, in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// Below this memory times passes (KiB) argon2id is weak; the OWASP cheat sheet's choices are above.
const WEAK_WORK: u64 = 35_840;

/// Below this cost bcrypt is weak; `htpasswd -B` makes 5 unless told otherwise.
const WEAK_BCRYPT_COST: u32 = 10;

/// What new hashes take: memory in KiB, passes.
const NEW: (u32, u32) = (19 * 1024, 2);

/// Bytes of a new hash.
const NEW_LENGTH: usize = 32;

/// The hash of a password.
pub struct PasswordHash(Kind);

enum Kind {
    Argon2id { argon2: Argon2<'static>, salt: Box<[u8]>, output: Box<[u8]> },
    Bcrypt { text: Box<str>, cost: u32 },
}

/// Why a text is no hash that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashFault {
    /// Another algorithm, or no hash at all.
    #[error("this is no hash of a password that can be used")]
    Form,
    /// Attempts could exhaust the machine's memory.
    #[error("an attempt would take more than 64 MiB of memory")]
    Memory,
    /// Attempts could exhaust its processors.
    #[error("an attempt would take too long")]
    Work,
}

/// What a request says about its caller by name and password.
#[derive(Debug, PartialEq, Eq)]
pub enum PresentedPassword {
    /// Nothing.
    Nothing,
    /// One pair.
    One(Pair),
    /// Something that is no pair.
    Malformed,
    /// More than one.
    Several,
}

/// A name and a password. Its debug form keeps the password to itself.
#[derive(PartialEq, Eq)]
pub struct Pair {
    /// Without a colon.
    pub name: Box<str>,
    /// As sent.
    pub password: Box<[u8]>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The pair that a request carries in `Authorization` behind the word `Basic`, which is read in any case. Another scheme
/// there is none.
pub fn presented(headers: &HeaderMap) -> PresentedPassword {
    let mut found = PresentedPassword::Nothing;
    for value in headers.get_all(AUTHORIZATION).iter().filter_map(|value| basic(value.as_bytes())) {
        if found != PresentedPassword::Nothing {
            return PresentedPassword::Several;
        }
        found = pair(value).map_or(PresentedPassword::Malformed, PresentedPassword::One);
    }
    found
}

/// What follows the scheme.
fn basic(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(5)?;
    let ends = rest.first().is_none_or(|byte| *byte == b' ');
    (ends && scheme.eq_ignore_ascii_case(b"basic")).then(|| rest.trim_ascii())
}

/// Base64 of `name:password`, with or without padding. A password may hold colons; neither may hold control characters.
fn pair(encoded: &[u8]) -> Option<Pair> {
    let decoded = match encoded.ends_with(b"=") {
        true => STANDARD.decode(encoded).ok()?,
        false => STANDARD_NO_PAD.decode(encoded).ok()?,
    };
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let (name, password) = (decoded.get(..colon)?, decoded.get(colon + 1..)?);
    if decoded.iter().any(u8::is_ascii_control) || password.len() > MAX_PASSWORD {
        return None;
    }
    Some(Pair { name: std::str::from_utf8(name).ok()?.into(), password: password.into() })
}

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn parse(text: &str) -> Result<Self, HashFault> {
        let mut parts = text.strip_prefix('$').ok_or(HashFault::Form)?.splitn(2, '$');
        match (parts.next(), parts.next()) {
            (Some("argon2id"), Some(rest)) => argon2id(rest).map(Self),
            (Some("2a" | "2b" | "2y"), Some(rest)) => bcrypt(text, rest).map(Self),
            _ => Err(HashFault::Form),
        }
    }

    /// A new hash in PHC form.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn make(password: &[u8], salt: &[u8; 16]) -> Result<String, HashFault> {
        let (memory, passes) = NEW;
        let params = Params::new(memory, passes, 1, Some(NEW_LENGTH)).map_err(|_| HashFault::Form)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut output = [0; NEW_LENGTH];
        compute(&argon2, password, salt, &mut output).ok_or(HashFault::Memory)?;
        let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
        Ok(format!("$argon2id$v=19$m={memory},t={passes},p=1${salt}${output}"))
    }

    /// Whether this is the password. Takes long; compares in constant time.
    pub fn fits(&self, password: &[u8]) -> bool {
        match &self.0 {
            Kind::Argon2id { argon2, salt, output } => {
                let mut computed = vec![0; output.len()];
                let done = compute(argon2, password, salt, &mut computed);
                done.is_some() && bool::from(computed.ct_eq(output))
            }
            Kind::Bcrypt { text, .. } => bcrypt::verify(password, text).unwrap_or(false),
        }
    }

    /// Whether stolen hashes of this kind are guessed too quickly.
    pub fn is_weak(&self) -> bool {
        match &self.0 {
            Kind::Argon2id { argon2, .. } => work(argon2.params()) < WEAK_WORK,
            Kind::Bcrypt { cost, .. } => *cost < WEAK_BCRYPT_COST,
        }
    }
}

/// KiB times passes.
fn work(params: &Params) -> u64 {
    u64::from(params.m_cost()) * u64::from(params.t_cost())
}

fn compute(argon2: &Argon2<'_>, password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<()> {
    let mut memory = vec![Block::default(); argon2.params().block_count()];
    argon2.hash_password_into_with_memory(password, salt, output, &mut memory).ok()
}

/// `v=19$m=19456,t=2,p=1$SALT$HASH`
fn argon2id(text: &str) -> Result<Kind, HashFault> {
    let mut parts = text.split('$');
    let mut next = || parts.next().ok_or(HashFault::Form);
    let (version, costs, salt, output) = (next()?, next()?, next()?, next()?);
    if version != "v=19" || parts.next().is_some() {
        return Err(HashFault::Form);
    }
    let mut costs = costs.split(',');
    let mut cost = |name: &str| -> Option<u32> { costs.next()?.strip_prefix(name)?.strip_prefix('=')?.parse().ok() };
    let (memory, passes, lanes) = (cost("m"), cost("t"), cost("p"));
    let (Some(memory), Some(passes), Some(lanes), None) = (memory, passes, lanes, costs.next()) else {
        return Err(HashFault::Form);
    };
    let decoded = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| HashFault::Form);
    let (salt, output) = (decoded(salt)?, decoded(output)?);
    if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&output.len()) || lanes > 16 {
        return Err(HashFault::Form);
    }
    if memory > MAX_MEMORY {
        return Err(HashFault::Memory);
    }
    let params = Params::new(memory, passes, lanes, Some(output.len())).map_err(|_| HashFault::Form)?;
    if work(&params) > MAX_WORK {
        return Err(HashFault::Work);
    }
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Ok(Kind::Argon2id { argon2, salt: salt.into(), output: output.into() })
}

/// `text` is the whole hash, `rest` what follows its version: `10$` and 22 characters of salt, 31 of hash.
fn bcrypt(text: &str, rest: &str) -> Result<Kind, HashFault> {
    let (cost, encoded) = rest.split_once('$').ok_or(HashFault::Form)?;
    let decodes = |text: Option<&str>, length| {
        text.and_then(|text| bcrypt::BASE_64.decode(text).ok()).is_some_and(|bytes| bytes.len() == length)
    };
    if encoded.len() != 53 || !decodes(encoded.get(..22), 16) || !decodes(encoded.get(22..), 23) || cost.len() != 2 {
        return Err(HashFault::Form);
    }
    match cost.parse::<u32>() {
        Ok(cost @ 4..=MAX_BCRYPT_COST) => Ok(Kind::Bcrypt { text: text.into(), cost }),
        Ok(cost) if cost > MAX_BCRYPT_COST => Err(HashFault::Work),
        Ok(_) | Err(_) => Err(HashFault::Form),
    }
}

#[cfg(test)]
mod tests;
