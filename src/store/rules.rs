//! What keys must be, wherever they are kept.

use http::HeaderValue;

use crate::policy::api_key;
use crate::policy::authenticate::{Digest, digest};
use crate::policy::limit::Subject;

use super::{Entropy, Holder, Key, LONGEST_NAME, LONGEST_NOTE, Made, NewKey, Status, StoreError};

/// A key as it is wanted, and its digest.
pub(super) fn make(new: &NewKey<'_>, entropy: &Entropy, now: i64) -> Result<(Made, Digest), StoreError> {
    check_name(new.consumer, "a consumer's name is 1 to 128 printable ASCII characters")?;
    new.plan.map_or(Ok(()), |plan| check_name(plan, "a plan's name is 1 to 128 printable ASCII characters"))?;
    if new.note.len() > LONGEST_NOTE || new.note.chars().any(char::is_control) {
        return Err(StoreError::Text("a note is at most 256 bytes without control characters"));
    }
    let secret = api_key::make(&entropy.secret);
    let key = Key {
        id: entropy.id.iter().map(|byte| format!("{byte:02x}")).collect(),
        prefix: api_key::shown(&secret).to_owned(),
        consumer: new.consumer.to_owned(),
        plan: new.plan.map(str::to_owned),
        note: new.note.to_owned(),
        created: now,
        expires: new.lifetime.map(|lifetime| now.saturating_add(lifetime)),
        revoked: None,
    };
    let digest = digest(secret.as_bytes());
    Ok((Made { secret, key }, digest))
}

/// The key that takes the place of another. Without `lifetime` it lives as long as the old one was made for.
pub(super) fn successor(old: &Key, lifetime: Option<i64>, now: i64) -> Result<NewKey<'_>, StoreError> {
    match old.status(now) {
        Status::Active => {}
        ended @ (Status::Expired | Status::Revoked) => return Err(StoreError::Ended(ended)),
    }
    let lifetime = lifetime.or_else(|| old.expires.map(|expires| expires.saturating_sub(old.created)));
    Ok(NewKey { consumer: &old.consumer, plan: old.plan.as_deref(), note: &old.note, lifetime })
}

/// Whom a key names.
pub(super) fn holder(consumer: &str, plan: Option<&str>) -> Result<Holder, StoreError> {
    let name_header = HeaderValue::from_str(consumer)
        .map_err(|_| StoreError::Damaged("the name of a consumer cannot be a header's value".to_owned()))?;
    Ok(Holder {
        consumer: consumer.into(),
        plan: plan.map(Into::into),
        name_header,
        subject: Subject::consumer(consumer),
    })
}

/// The rules of names in the configuration file.
fn check_name(name: &str, rule: &'static str) -> Result<(), StoreError> {
    let printable = name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let good = printable && (1..=LONGEST_NAME).contains(&name.len()) && name.trim() == name;
    if good { Ok(()) } else { Err(StoreError::Text(rule)) }
}
