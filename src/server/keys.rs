//! What operators do with the keys of the store: the same for `tollgate keys` and for the admin listener.
//!
//! The store knows names only; whether a consumer and a plan exist is asked of a generation here, before a key is made
//! for them. Every call opens the store anew, so that a file that was replaced is not written into by mistake; the gateway
//! notices the change like one of another process (`super::store`, `super::shared_keys`).

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::{Config, Duration};
use crate::gateway::{Gateway, Named};
use crate::store::{self, Entropy, Key, Made, NewKey, Place, StoreError};

use super::{Source, unit_directory};

/// How long a rotated key stays good unless it is said, in seconds.
const GRACE: i64 = 7 * 86_400;

/// Where the store is when neither the file nor systemd says: what the packaged unit gives as state directory, so that
/// `tollgate keys` in a shell finds the store of the packaged gateway.
const STATE_DIRECTORY: &str = "/var/lib/tollgate";

/// A key that somebody wants.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Whose it is to be.
    pub consumer: String,
    /// Its plan, where the configuration file does not name the consumer.
    #[serde(default)]
    pub plan: Option<String>,
    /// How long it is good.
    #[serde(default)]
    pub expires: Option<Duration>,
    /// About it.
    #[serde(default)]
    pub note: String,
}

/// How a key is to be replaced.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// How long the old key stays good.
    pub grace: Option<Duration>,
    /// How long the new one is good; default: as long as the old one was made for.
    pub expires: Option<Duration>,
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Consumer and plan do not fit the configuration.
    #[error("{0}")]
    Unfit(String),
    /// The store refuses.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The machine gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Where the file of a configuration's store is; `None` when it has none. `state_directory` is what systemd says.
pub fn store_path(config: &Config, source: &Source, state_directory: Option<&str>) -> Option<PathBuf> {
    let store = config.store.as_ref().filter(|store| store.redis.is_none())?;
    let Some(path) = &store.path else {
        let directory = unit_directory(state_directory).unwrap_or(STATE_DIRECTORY);
        return Some(Path::new(directory).join("tollgate.db"));
    };
    Some(source.folder().join(path))
}

/// Where the keys of a configuration are for this process; `None` when it has no store.
pub fn place_here(config: &Config, source: &Source) -> Option<Place> {
    if let Some(redis) = config.store.as_ref().and_then(super::shared::redis) {
        return Some(Place::Redis(redis));
    }
    store_path(config, source, std::env::var("STATE_DIRECTORY").ok().as_deref()).map(Place::File)
}

/// Makes a key for a consumer that this generation knows, or for one that has one of its plans. `open` opens the store
/// once that is clear: whether one that is missing may be made is for the caller to say.
///
/// # Errors
/// Why not.
pub fn create(
    open: impl FnOnce() -> Result<store::Keys, StoreError>,
    gateway: &Gateway,
    wanted: &Wanted,
) -> Result<Made, Refusal> {
    check(gateway, &wanted.consumer, wanted.plan.as_deref()).map_err(Refusal::Unfit)?;
    let new = NewKey {
        consumer: &wanted.consumer,
        plan: wanted.plan.as_deref(),
        note: &wanted.note,
        lifetime: wanted.expires.map(seconds),
    };
    Ok(open()?.create(&new, &entropy()?, now())?)
}

/// Every key of the store.
///
/// # Errors
/// What is wrong with the store.
pub fn list(place: &Place) -> Result<Vec<Key>, StoreError> {
    place.open()?.list()
}

/// Ends a key.
///
/// # Errors
/// Why not.
pub fn revoke(place: &Place, name: &str) -> Result<Key, StoreError> {
    place.open()?.revoke(name, now())
}

/// Makes a key in place of another, which stays good for a while.
///
/// # Errors
/// Why not.
pub fn rotate(place: &Place, name: &str, rotation: Rotation) -> Result<Made, Refusal> {
    let grace = rotation.grace.map_or(GRACE, seconds);
    let lifetime = rotation.expires.map(seconds);
    Ok(place.open()?.rotate(name, grace, lifetime, &entropy()?, now())?)
}

/// What operators see of a key, as JSON.
pub fn describe(key: &Key) -> Value {
    json!({
        "id": key.id,
        "prefix": key.prefix,
        "consumer": key.consumer,
        "plan": key.plan,
        "note": key.note,
        "status": key.status(now()).word(),
        "created": time(key.created),
        "expires": key.expires.map(time),
        "revoked": key.revoked.map(time),
    })
}

/// A time of the store as text, in UTC.
pub fn time(unix: i64) -> String {
    // Times beyond the calendar are in no key that was made here.
    Timestamp::from_second(unix).map_or_else(|_| unix.to_string(), |time| time.to_string())
}

/// The wall clock, in Unix seconds.
pub fn now() -> i64 {
    super::unix_now()
}

/// A consumer of the file has the plan of the file; any other one needs a plan of the file.
fn check(gateway: &Gateway, consumer: &str, plan: Option<&str>) -> Result<(), String> {
    match (gateway.named(consumer, plan), plan) {
        (Some(Named::Declared(_)), None) | (Some(Named::OfPlan(_)), _) => Ok(()),
        (Some(Named::Declared(declared)), Some(_)) => {
            let has = declared.plan.as_ref().map_or("no plan".to_owned(), |plan| format!("plan `{}`", plan.name));
            Err(format!("consumer `{consumer}` is in the configuration file and has {has} there: leave the plan out"))
        }
        (None, Some(plan)) => Err(format!("the configuration file has no plan `{plan}`")),
        (None, None) => Err(format!("the configuration file has no consumer `{consumer}`: say a plan for a new one")),
    }
}

fn entropy() -> Result<Entropy, Refusal> {
    let random = SystemRandom::new();
    let mut entropy = Entropy { secret: [0; 32], id: [0; 8] };
    random.fill(&mut entropy.secret).map_err(|_| Refusal::Random)?;
    random.fill(&mut entropy.id).map_err(|_| Refusal::Random)?;
    Ok(entropy)
}

/// At least one: times of the store are whole seconds.
fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.get().as_secs()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Store as Section;

    #[test]
    fn the_store_is_where_the_file_or_systemd_says() {
        let file = Source::File("/etc/tollgate/tollgate.yaml".into());
        let text = Source::Text { name: "demo".to_owned(), text: String::new() };
        for (source, path, state_directory, expected) in [
            (&file, Some("keys.db"), Some("/var/lib/x"), "/etc/tollgate/keys.db"),
            (&file, Some("/srv/keys.db"), None, "/srv/keys.db"),
            (&text, Some("keys.db"), None, "keys.db"),
            (&file, None, Some("/var/lib/x"), "/var/lib/x/tollgate.db"),
            (&file, None, Some("/var/lib/x:/var/lib/y"), "/var/lib/x/tollgate.db"),
            (&file, None, Some(""), "/var/lib/tollgate/tollgate.db"),
            (&file, None, None, "/var/lib/tollgate/tollgate.db"),
        ] {
            let (loading, ..) = crate::config::load_text("t", "{version: 1, listeners: []}");
            let mut config = loading.whole().unwrap().config;
            assert_eq!(store_path(&config, source, state_directory), None);
            config.store = Some(Section { path: path.map(str::to_owned), ..Section::default() });
            let found = store_path(&config, source, state_directory);
            assert_eq!(found.as_deref(), Some(Path::new(expected)), "{path:?} {state_directory:?}");
        }
    }
}
