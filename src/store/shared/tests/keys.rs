//! Keys in Redis obey the rules of keys in a file.

use super::*;
use crate::store::{Entropy, NewKey, Store, StoreError};

/// The keys of this server.
pub(super) fn keys(redis: &Redis) -> SharedKeys {
    SharedKeys::open(&at(redis)).unwrap()
}

#[test]
fn keys_follow_the_rules_of_the_file() {
    const NOW: i64 = 1_800_000_000;
    let redis = Redis::start();
    let shared = keys(&redis);
    let folder = tempfile::tempdir().unwrap();
    let mut file = Store::open_or_create(&folder.path().join("tollgate.db")).unwrap();
    let entropy = |seed: u8| Entropy { secret: [seed; 32], id: [seed; 8] };
    let (long_name, long_note) = ("x".repeat(129), "x".repeat(257));
    let mut names: Vec<String> = ["", "%", "tg_"].map(str::to_owned).to_vec();
    for (seed, consumer, plan, note, lifetime) in [
        (1, "alice", None, "", None),
        (1, "alice", None, "the same", None),
        (2, "bob", Some("free"), "phone \"x\"", Some(100)),
        (3, "", None, "", None),
        (4, &*long_name, None, "", None),
        (5, "bob", Some(""), "", None),
        (6, "bob", None, &*long_note, None),
        (7, "bob", None, "two\nlines", None),
    ] {
        let new = NewKey { consumer, plan, note, lifetime };
        let both = [shared.create(&new, &entropy(seed), NOW), file.create(&new, &entropy(seed), NOW)];
        let [one, other] = both.map(|made| made.map_err(|refused| refused.to_string()));
        assert_eq!(one, other, "{new:?}");
        names.extend(one.iter().flat_map(|made| [made.secret.clone(), made.key.id.clone(), made.key.prefix.clone()]));
    }
    for (turn, name) in names.iter().enumerate() {
        let (entropy, now) = (entropy(100 + turn as u8), NOW + 40 * turn as i64);
        let both = [
            shared.rotate(name, 50, None, &entropy, now).map(|made| made.key),
            file.rotate(name, 50, None, &entropy, now).map(|made| made.key),
        ];
        let [one, other] = both.map(|key| key.map_err(|refused| refused.to_string()));
        assert_eq!(one, other, "rotate {name}");
        assert_eq!(shared.list().unwrap(), file.list().unwrap());
    }
    for name in &names {
        let both = [shared.revoke(name, NOW + 9), file.revoke(name, NOW + 9)];
        let [one, other] = both.map(|key| key.map_err(|refused| refused.to_string()));
        assert_eq!(one, other, "revoke {name}");
    }
    // Those that ended long ago leave with the next one that is made.
    let later = NOW + crate::store::KEEP_ENDED + 60;
    let new = NewKey { consumer: "carol", plan: None, note: "", lifetime: None };
    assert_eq!(shared.create(&new, &entropy(50), later).unwrap(), file.create(&new, &entropy(50), later).unwrap());
    let listed = file.list().unwrap();
    assert_eq!(shared.list().unwrap(), listed);
    assert!(listed.iter().all(|key| key.id != names[4]), "{listed:?}");
}

#[test]
fn many_may_change_keys_at_once_and_a_full_store_says_so() {
    let redis = Redis::start();
    let new = NewKey { consumer: "alice", plan: None, note: "", lifetime: None };
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (redis, new) = (&redis, &new);
            scope.spawn(move || {
                let keys = keys(redis);
                for round in 0..10 {
                    let entropy = Entropy { secret: [thread * 10 + round; 32], id: [thread * 10 + round; 8] };
                    keys.create(new, &entropy, 1).unwrap();
                }
            });
        }
    });
    let shared = keys(&redis);
    assert_eq!(shared.list().unwrap().len(), 80);
    let fill = format!(
        "for i = 1, {} do redis.call('HSET', KEYS[1], 'x' .. i, redis.call('HGET', KEYS[1], ARGV[1])) end",
        crate::store::MOST_KEYS - 80
    );
    redis.ask(&["EVAL", &fill, "1", "{t}:keys", "0101010101010101"]);
    let entropy = Entropy { secret: [200; 32], id: [200; 8] };
    assert!(matches!(shared.create(&new, &entropy, 1), Err(StoreError::Full)));
    assert_eq!(shared.list().unwrap().len(), crate::store::MOST_KEYS);
}
