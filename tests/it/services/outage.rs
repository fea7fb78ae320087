//! One of three targets dies under load.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::gateway;
use crate::process::instance::eventually;
use crate::support::client::{Client, request};
use crate::support::origin::{Origin, Reply};

const CLIENTS: usize = 8;
const EACH: usize = 150;

/// A target that takes a moment for each request.
fn working() -> Origin {
    Origin::start(|_| {
        thread::sleep(Duration::from_millis(2));
        Reply::json(200, "{}")
    })
}

/// How many requests fail when a target dies in the middle of them.
fn failures(method: &str) -> usize {
    let origins: Vec<_> = (0..3).map(|_| working()).collect();
    let addresses: Vec<_> = origins.iter().map(Origin::address).collect();
    let (gateway, _other) = gateway(&addresses, json!({ "retries": { "attempts": 2, "on": ["connect", "reset"] } }));
    let victim = Mutex::new(origins);
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(gateway.public);
                for _ in 0..EACH {
                    let answered = client.ask(&request(method, "/a", &[], b""));
                    let good = answered.as_ref().is_ok_and(|response| response.status == 200 && !response.cut);
                    if !good {
                        failed.fetch_add(1, Ordering::SeqCst);
                        client = Client::connect(gateway.public);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        assert!(eventually(|| done.load(Ordering::SeqCst) > CLIENTS * EACH / 3));
        drop(victim.lock().unwrap().pop());
    });
    failed.into_inner()
}

#[test]
fn no_request_that_may_be_repeated_fails() {
    assert_eq!(failures("GET"), 0);
}

#[test]
fn of_the_others_no_more_fail_than_were_on_it() {
    let failed = failures("POST");
    assert!(failed <= CLIENTS, "{failed} of {}", CLIENTS * EACH);
}
