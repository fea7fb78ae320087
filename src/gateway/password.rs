//! Consumers that a name and a password name (Basic authentication).
//!
//! The name is the consumer's. A name that nobody has is treated like one that somebody has: it is given the account of
//! another consumer, always the same one, whose hashes are tried and whose answer does not count. So the time of a refusal
//! says nothing about which names there are, whatever the hashes of each cost.

use std::collections::HashMap;
use std::sync::Arc;

use crate::policy::authenticate::{Digest, KeyPlace, digest};
use crate::policy::password::PasswordHash;

use super::Consumer;

/// Finds consumers by name and password.
#[derive(Debug)]
pub struct PasswordAuthenticator {
    /// Its name.
    pub name: Box<str>,
    /// `Authorization`, and whether the service may see it.
    pub place: KeyPlace,
    /// What browsers show to users.
    pub realm: Box<str>,
}

/// A consumer with passwords.
pub struct Account {
    /// Whose it is.
    pub consumer: Arc<Consumer>,
    /// Any one suffices; never empty.
    pub hashes: Vec<PasswordHash>,
    /// Of the consumer's name and the texts of its hashes: the same account has the same in every generation.
    pub id: Digest,
}

/// All consumers with passwords.
#[derive(Default)]
pub struct Accounts {
    by_name: HashMap<Box<str>, usize, ahash::RandomState>,
    all: Vec<Arc<Account>>,
}

/// Whose account is tried.
pub enum Claimed<'a> {
    /// That of the consumer with this name.
    Own(&'a Arc<Account>),
    /// Somebody else's, since nobody has this name; it opens nothing.
    Nobodys(&'a Arc<Account>),
}

impl Account {
    /// The account of a consumer; `texts` are its hashes as written.
    pub fn new(consumer: Arc<Consumer>, hashes: Vec<PasswordHash>, texts: &[&str]) -> Self {
        let mut whole = consumer.name.as_bytes().to_vec();
        for text in texts {
            // Neither names nor hashes have a NUL.
            whole.push(0);
            whole.extend_from_slice(text.as_bytes());
        }
        Self { consumer, hashes, id: digest(&whole) }
    }

    /// Whether this is one of its passwords. Takes long, and equally long for every wrong one.
    pub fn opens(&self, password: &[u8]) -> bool {
        self.hashes.iter().any(|hash| hash.fits(password))
    }
}

impl Accounts {
    /// Adds an account under its consumer's name.
    pub fn add(&mut self, account: Account) {
        self.by_name.insert(account.consumer.name.clone(), self.all.len());
        self.all.push(Arc::new(account));
    }

    /// The account to try for a name; `None` when there is none at all.
    pub fn claimed(&self, name: &str) -> Option<Claimed<'_>> {
        if let Some(own) = self.by_name.get(name).and_then(|&at| self.all.get(at)) {
            return Some(Claimed::Own(own));
        }
        // Which one cannot be told from outside: the ids depend on salts.
        let keyed: Vec<u8> = self.all.first()?.id.iter().copied().chain(name.bytes()).collect();
        let chosen = digest(&keyed).iter().fold(0, |rest, &byte| (rest * 256 + usize::from(byte)) % self.all.len());
        self.all.get(chosen).map(Claimed::Nobodys)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
