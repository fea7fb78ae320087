//! API keys in Redis: made and revoked by any node, known to all.
//!
//! Every key is a member of one hash, by id, and its digest a member of another. A change names what it saw, and one
//! script makes it or says that somebody was faster ([`TRIES`] times at most), so there is no half of a change. A mark
//! tells whether anything has changed; a reader that finds another one reads all keys again, a part at a time, so that no
//! request waits for it. What changes meanwhile is seen as it was or as it is, and once more after the next look.
//!
//! Bounds and rules are those of the file (`super::super`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;
use serde::{Deserialize, Serialize};

use crate::policy::authenticate::{Digest, digest};

use super::super::place::Redis;
use super::super::{Entropy, Holder, KEEP_ENDED, Key, Live, MOST_KEYS, Made, NewKey, Snapshot, StoreError, rules};
use super::link::Script;
use super::{Fault, Shared, Sharing};

/// How long a command about keys may take: no request waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keys that one command reads.
const READ_AT_ONCE: usize = 512;

/// How often a change is tried while others change the same keys.
const TRIES: usize = 16;

/// A key as it is kept. Its id is the name of the member.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    digest: String,
    prefix: String,
    consumer: String,
    plan: Option<String>,
    note: String,
    created: i64,
    expires: Option<i64>,
    revoked: Option<i64>,
}

/// A key, and how it stands in Redis.
#[derive(Debug, Clone)]
struct Kept {
    key: Key,
    digest: String,
    text: String,
}

/// One member before and after a change; empty where there is none.
struct Step {
    id: String,
    before: String,
    after: String,
    digest: String,
}

/// Keys in a Redis, for those who may wait for it.
pub struct SharedKeys {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Runtime,
}

impl SharedKeys {
    /// Reaches the Redis.
    ///
    /// # Errors
    /// Why not.
    pub fn open(redis: &Redis) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StoreError::File)?;
        let shared = Shared::new(redis, PATIENCE, Sharing::Exact, [0; 8])?;
        runtime.block_on(shared.probe())?;
        Ok(Self { shared, runtime })
    }

    /// See `Keys`.
    pub(in super::super) fn create(&self, new: &NewKey<'_>, entropy: &Entropy, now: i64) -> Result<Made, StoreError> {
        self.change(|all| {
            let (made, digest) = rules::make(new, entropy, now)?;
            let ended = |kept: &&Kept| {
                let end = kept.key.revoked.or(kept.key.expires);
                end.is_some_and(|end| end < now.saturating_sub(KEEP_ENDED))
            };
            let mut steps: Vec<Step> = all.iter().filter(ended).map(Kept::removed).collect();
            steps.push(added(&made.key, &hex(&digest))?);
            Ok((steps, made))
        })
    }

    /// See `Keys`.
    pub(in super::super) fn list(&self) -> Result<Vec<Key>, StoreError> {
        let mut keys: Vec<Key> = self.runtime.block_on(all(&self.shared))?.into_iter().map(|kept| kept.key).collect();
        keys.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
        Ok(keys)
    }

    /// See `Keys`.
    pub(in super::super) fn revoke(&self, name: &str, now: i64) -> Result<Key, StoreError> {
        self.change(|all| {
            let kept = find(all, name)?;
            let mut key = kept.key.clone();
            if key.revoked.is_some() {
                return Ok((Vec::new(), key));
            }
            key.revoked = Some(now);
            Ok((vec![kept.changed(&key)?], key))
        })
    }

    /// See `Keys`.
    pub(in super::super) fn rotate(
        &self,
        name: &str,
        grace: i64,
        lifetime: Option<i64>,
        entropy: &Entropy,
        now: i64,
    ) -> Result<Made, StoreError> {
        self.change(|all| {
            let kept = find(all, name)?;
            let (made, digest) = rules::make(&rules::successor(&kept.key, lifetime, now)?, entropy, now)?;
            let ends = now.saturating_add(grace);
            let mut old = kept.key.clone();
            old.expires = Some(old.expires.map_or(ends, |expires| expires.min(ends)));
            Ok((vec![kept.changed(&old)?, added(&made.key, &hex(&digest))?], made))
        })
    }

    /// Reads all keys, decides on them, and makes the change that came of it.
    fn change<T>(&self, decide: impl Fn(&[Kept]) -> Result<(Vec<Step>, T), StoreError>) -> Result<T, StoreError> {
        let script = Script::new(include_str!("change.lua"));
        for _ in 0..TRIES {
            let kept = self.runtime.block_on(all(&self.shared))?;
            let (steps, result) = decide(&kept)?;
            if steps.is_empty() {
                return Ok(result);
            }
            let arguments = |command: &mut Cmd| {
                let names = ["keys", "digests", "changed", "changes"].map(|name| self.shared.named(name));
                command.arg(names.len()).arg(&names).arg(MOST_KEYS);
                steps.iter().for_each(|Step { id, before, after, digest }| {
                    command.arg(id).arg(before).arg(after).arg(digest);
                });
            };
            let word: String = self.runtime.block_on(self.shared.link.run(&script, arguments))?;
            match word.as_str() {
                "done" => return Ok(result),
                "exists" => return Err(StoreError::Exists),
                "full" => return Err(StoreError::Full),
                // Somebody was faster.
                _ => {}
            }
        }
        Err(StoreError::Redis("others change the same keys all the time".to_owned()))
    }
}

impl Shared {
    /// What tells whether keys have changed; empty while there never was one.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn keys_mark(&self) -> Result<String, Fault> {
        let get = redis::cmd("GET").arg(self.named("changed")).to_owned();
        Ok(self.link.ask::<Option<String>>(&get, PATIENCE).await?.unwrap_or_default())
    }

    /// All keys that are good.
    ///
    /// # Errors
    /// When Redis does not answer, or holds what no key can have.
    pub async fn keys_snapshot(&self, now: i64) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot::default();
        let mut holders: HashMap<(String, Option<String>), Arc<Holder>> = HashMap::new();
        for Kept { key, digest, .. } in all(self).await? {
            if key.status(now) != super::super::Status::Active {
                continue;
            }
            let digest = unhex(&digest).ok_or_else(|| damaged(&key.id))?;
            let whose = (key.consumer, key.plan);
            let holder = match holders.get(&whose) {
                Some(known) => Arc::clone(known),
                None => {
                    let made = Arc::new(rules::holder(&whose.0, whose.1.as_deref())?);
                    holders.insert(whose, Arc::clone(&made));
                    made
                }
            };
            snapshot.insert(digest, Live { id: key.id.into(), holder, expires: key.expires });
        }
        Ok(snapshot)
    }

    /// A key of Redis that is no counter.
    fn named(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }
}

impl Kept {
    fn removed(&self) -> Step {
        Step { id: self.key.id.clone(), before: self.text.clone(), after: String::new(), digest: self.digest.clone() }
    }

    fn changed(&self, key: &Key) -> Result<Step, StoreError> {
        Ok(Step { before: self.text.clone(), ..added(key, &self.digest)? })
    }
}

fn added(key: &Key, digest: &str) -> Result<Step, StoreError> {
    let Key { id, prefix, consumer, plan, note, created, expires, revoked } = key.clone();
    let record = Record { digest: digest.to_owned(), prefix, consumer, plan, note, created, expires, revoked };
    // Text and numbers always serialise.
    let after = serde_json::to_string(&record).map_err(|_| damaged(&id))?;
    Ok(Step { id, before: String::new(), after, digest: record.digest })
}

/// Every key, a part at a time.
async fn all(shared: &Shared) -> Result<Vec<Kept>, StoreError> {
    let mut texts: HashMap<String, String> = HashMap::new();
    let mut cursor = 0_u64;
    loop {
        let scan = redis::cmd("HSCAN").arg(shared.named("keys")).arg(cursor).arg("COUNT").arg(READ_AT_ONCE).to_owned();
        let (next, part): (u64, Vec<(String, String)>) = shared.link.ask(&scan, PATIENCE).await?;
        // A member may come twice while the hash grows.
        texts.extend(part);
        if next == 0 {
            return texts.into_iter().map(|(id, text)| read(id, text)).collect();
        }
        cursor = next;
    }
}

fn read(id: String, text: String) -> Result<Kept, StoreError> {
    let record: Record = serde_json::from_str(&text).map_err(|_| damaged(&id))?;
    let Record { digest, prefix, consumer, plan, note, created, expires, revoked } = record;
    Ok(Kept { key: Key { id, prefix, consumer, plan, note, created, expires, revoked }, digest, text })
}

/// The key of this id, beginning, or text.
fn find<'k>(all: &'k [Kept], name: &str) -> Result<&'k Kept, StoreError> {
    let digest = hex(&digest(name.as_bytes()));
    if let Some(kept) = all.iter().find(|kept| kept.key.id == name || kept.digest == digest) {
        return Ok(kept);
    }
    let mut begin = all.iter().filter(|kept| kept.key.prefix == name);
    match (begin.next(), begin.next()) {
        (Some(kept), None) => Ok(kept),
        (Some(_), Some(_)) => Err(StoreError::Ambiguous),
        (None, _) => Err(StoreError::Unknown),
    }
}

fn damaged(id: &str) -> StoreError {
    StoreError::Damaged(format!("key {id:?} cannot be read"))
}

fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Digest> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
}
