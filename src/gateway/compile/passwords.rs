//! Basic authentication: realms, and the accounts of consumers with passwords.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use indexmap::IndexMap;

use crate::config::{self, Basic, Config, Place, Report};
use crate::gateway::Consumer;
use crate::gateway::password::{Account, Accounts, PasswordAuthenticator};
use crate::policy::authenticate::{Forward, KeyPlace, Part};
use crate::policy::password::{HashFault, PasswordHash};

/// Passwords of one consumer: enough to replace one, and each is another attempt for whoever guesses.
const MAX_PASSWORDS: usize = 4;

pub(super) fn authenticator(name: &str, written: &Basic, place: &Place, report: &mut Report) -> PasswordAuthenticator {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\');
    if written.realm.is_empty() || written.realm.len() > 128 || !written.realm.bytes().all(plain) {
        report
            .error(place.clone().key("realm"), format!("`{}` cannot be sent as a realm", written.realm))
            .by_itself()
            .help("1 to 128 printable ASCII characters without `\"` and `\\`");
    }
    let forward = if written.forward { Forward::Pass } else { Forward::Strip };
    PasswordAuthenticator {
        name: name.into(),
        place: KeyPlace { part: Part::Header(AUTHORIZATION), forward },
        realm: written.realm.as_str().into(),
    }
}

/// The consumers with passwords.
pub(super) fn accounts(config: &Config, consumers: &IndexMap<String, Arc<Consumer>>, report: &mut Report) -> Accounts {
    let mut accounts = Accounts::default();
    for (name, written) in config.consumers.iter().filter(|(_, written)| !written.passwords.is_empty()) {
        let place = Place::root().key("consumers").key(name);
        check(config, name, written, &place, report);
        let hashes: Vec<PasswordHash> = hashes(written, &place, report);
        let Some(consumer) = consumers.get(name).filter(|_| !hashes.is_empty()) else { continue };
        let texts: Vec<&str> = written.passwords.iter().map(|password| password.hash.0.as_str()).collect();
        accounts.add(Account::new(Arc::clone(consumer), hashes, &texts));
    }
    accounts
}

fn check(config: &Config, name: &str, written: &config::Consumer, place: &Place, report: &mut Report) {
    let passwords = place.clone().key("passwords");
    if name.contains(':') {
        report
            .error(place.clone(), format!("`{name}` cannot log in with a password: a colon ends the name there"))
            .on_key()
            .given(passwords.clone());
    }
    if written.passwords.len() > MAX_PASSWORDS {
        report
            .error(passwords.clone(), format!("a consumer has at most {MAX_PASSWORDS} passwords"))
            .given(passwords.clone());
    }
    if !config.authenticators.values().any(|authenticator| authenticator.basic.is_some()) {
        report
            .warning(passwords, "no authenticator asks for passwords")
            .on_key()
            .given(Place::root().key("authenticators"))
            .help("add one: `people: { basic: {} }`");
    }
}

fn hashes(written: &config::Consumer, place: &Place, report: &mut Report) -> Vec<PasswordHash> {
    let mut hashes = Vec::new();
    for (index, password) in written.passwords.iter().enumerate() {
        let place = place.clone().key("passwords").index(index).key("hash");
        match PasswordHash::parse(&password.hash.0) {
            Ok(hash) => {
                if hash.is_weak() {
                    report
                        .warning(place, "this hash is guessed too quickly once it is stolen")
                        .by_itself()
                        .help("`tollgate hash-password` makes a better one; of bcrypt the cost should be 10 or more");
                }
                hashes.push(hash);
            }
            Err(fault) => {
                let help = match fault {
                    HashFault::Form => "`tollgate hash-password` prints one; argon2id or bcrypt",
                    HashFault::Memory | HashFault::Work => "take the hash that `tollgate hash-password` prints",
                };
                report.error(place, fault.to_string()).by_itself().help(help);
            }
        }
    }
    hashes
}
