//! Who waits, who is turned away, and what is remembered.

use super::*;
use crate::gateway::password::Accounts;
use crate::proxy::admit::tests::state_of;

/// The password of each account is its name.
fn accounts(names: &[&str]) -> Accounts {
    let state = state_of(
        "
version: 1
listeners: [{ address: 127.0.0.1:0 }]
consumers: { alice: {}, bob: {} }
",
    );
    let gateway = state.gateway.load();
    let mut accounts = Accounts::default();
    for name in names {
        let text = crate::policy::password::PasswordHash::make(name.as_bytes(), &[1; 16]).unwrap();
        let hash = crate::policy::password::PasswordHash::parse(&text).unwrap();
        accounts.add(Account::new(Arc::clone(&gateway.consumers[*name]), vec![hash], &[&text]));
    }
    accounts
}

fn pair(name: &str, password: &str) -> Pair {
    Pair { name: name.into(), password: password.as_bytes().into() }
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn what_was_right_is_remembered_and_what_was_wrong_is_not() {
    let (passwords, accounts) = (Passwords::default(), accounts(&["alice", "bob"]));
    let verdict =
        |name, password| run(passwords.verify(accounts.claimed(name).unwrap(), pair(name, password), HERE)).unwrap();
    for (name, password, expected) in [
        ("alice", "alice", Verdict::Right),
        ("alice", "alice", Verdict::Remembered),
        ("alice", "bob", Verdict::Wrong),
        ("alice", "bob", Verdict::Wrong),
        ("bob", "alice", Verdict::Wrong),
        ("bob", "bob", Verdict::Right),
        // Whoever stands in for them, they are nobody.
        ("eve", "alice", Verdict::Wrong),
        ("eve", "alice", Verdict::Wrong),
        ("eve", "bob", Verdict::Wrong),
        ("", "alice", Verdict::Wrong),
    ] {
        assert_eq!(verdict(name, password), expected, "{name} {password}");
    }
}

#[test]
fn one_address_cannot_keep_others_out() {
    let (passwords, accounts) = (Passwords::default(), accounts(&["alice"]));
    let busy = run(async {
        let attempt = |password: String, address| {
            passwords.verify(accounts.claimed("alice").unwrap(), pair("alice", &password), address)
        };
        let mut flood: Vec<_> = (0..200).map(|guess| Box::pin(attempt(guess.to_string(), HERE))).collect();
        let mut busy = 0;
        // The first poll of each enters it, or not.
        for guess in &mut flood {
            tokio::select! {
                biased;
                ended = guess => busy += usize::from(ended == Err(Busy)),
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(attempt("alice".to_owned(), THERE).await, Ok(Verdict::Right));
        busy
    });
    assert!((100..=200 - MAX_OF_ADDRESS).contains(&busy), "{busy} of 200 were turned away");
    assert!(passwords.queue.state.lock().attempts.len() <= MAX_OF_ADDRESS);
}

#[test]
fn a_name_that_nobody_has_is_always_tried_with_the_same_account() {
    let accounts = accounts(&["alice", "bob"]);
    let stands_in = |name: &str| match accounts.claimed(name) {
        Some(Claimed::Nobodys(account)) => account.consumer.name.clone(),
        Some(Claimed::Own(_)) | None => panic!("{name} is somebody"),
    };
    let names: Vec<String> = (0..50).map(|nobody| format!("nobody-{nobody}")).collect();
    let first: Vec<_> = names.iter().map(|name| stands_in(name)).collect();
    assert_eq!(first, names.iter().map(|name| stands_in(name)).collect::<Vec<_>>());
    assert!(["alice", "bob"].iter().all(|name| first.iter().any(|found| **found == **name)), "{first:?}");
    assert!(Accounts::default().claimed("alice").is_none());
}
