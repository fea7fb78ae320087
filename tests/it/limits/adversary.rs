//! Somebody with as many names as there are requests, against the real gateway: a header that anyone may choose, with
//! four limits for each of its values, so that the table is full when two thirds of the requests have come.
//!
//! The adversary's requests break the contract, which is asked after the limits: those that limits let through are 422
//! and never reach the service. `policy::limit::tests::adversary` does the same with a million names and exact sums.

use std::fs;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};
use tollgate::policy::limit::Limiter;

use crate::process::instance::{Instance, config, consumer};
use crate::support::client::{Client, request};
use crate::support::origin::Origin;

const CLIENTS: usize = 8;
/// Names of each client, sent so many at a time.
const NAMES: usize = 11_000;
const BATCH: usize = 100;
/// For each value of the header, in all four limits.
const EACH: usize = 60;
/// Of each honest consumer, who uses all of it.
const HONEST: usize = NAMES / BATCH;

fn under_attack(origin: &Origin) -> Value {
    let consumers: serde_json::Map<_, _> =
        (0..CLIENTS).map(|number| (format!("c{number}"), consumer(&format!("c{number}"), "free"))).collect();
    // What one request owes is owed for as long as the test takes, in all four.
    let rates = ["1/minute burst EACH", "1/hour burst EACH", "EACH/day", "EACH/month"];
    let by_device = |rate: &str| json!({ "rate": rate.replace("EACH", &EACH.to_string()), "by": "header:x-device" });
    let limits = rates.map(by_device);
    config(
        origin.address(),
        json!({
            "access_log": { "path": "off" },
            "authenticators": { "key": { "api_key": { "header": "x-api-key" } } },
            "plans": { "free": { "total": format!("{HONEST}/hour") } },
            "consumers": consumers,
            "routes": [
                { "name": "open", "method": "GET", "gateway_path": "/open", "service": "origin", "auth": "public",
                  "query_params": { "q": { "type": "integer" } },
                  "limits": limits },
                { "name": "mine", "method": "GET", "gateway_path": "/mine", "service": "origin", "auth": ["key"] },
            ],
        }),
    )
}

/// The batch before which every shard of the table has had more names than it has room for.
const FULL: usize = HONEST * 9 / 10;

/// What connections and requests in flight may take beside the counters.
const BESIDE: f64 = 32.0 * 1024.0 * 1024.0;

/// Resident memory, in bytes.
fn memory(gateway: &Instance) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id())).expect("the gateway runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux has this figure");
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).expect("kibibytes") * 1024.0
}

fn of_device(device: &str, target: &str) -> Vec<u8> {
    request("GET", target, &[("x-device", device)], b"")
}

/// What one client saw: how many of each kind passed.
#[derive(Default)]
struct Seen {
    names: usize,
    early: usize,
    late: usize,
    regular: usize,
    honest: usize,
}

/// Sends batches of new names; with each, one request of both abusers, of a stranger that was there before, and of a
/// consumer with a key.
fn attack(gateway: &Instance, number: usize, full: &Barrier) -> Seen {
    let mut client = Client::connect(gateway.public);
    let mut seen = Seen::default();
    let key = format!("key-c{number}");
    for batch in 0..HONEST {
        let name = |turn| of_device(&format!("{number}-{batch}-{turn}"), "/open");
        let mut sent: Vec<u8> = (0..BATCH).flat_map(name).collect();
        if batch == FULL {
            full.wait();
        }
        let late = if batch >= FULL { "/open" } else { "/nowhere" };
        sent.extend(of_device("early", "/open"));
        sent.extend(of_device("late", late));
        sent.extend(of_device(&format!("regular-{number}"), if batch + 1 < EACH { "/open?q=1" } else { "/nowhere" }));
        sent.extend(request("GET", "/mine", &[("x-api-key", &key)], b""));
        client.send(&sent);
        let mut status = || client.response().expect("every request is answered").status;
        seen.names += (0..BATCH).filter(|_| status() == 422).count();
        seen.early += usize::from(status() == 422);
        seen.late += usize::from(status() == 422);
        seen.regular += usize::from(status() == 200);
        seen.honest += usize::from(status() == 200);
    }
    seen
}

#[test]
fn made_up_names_give_nobody_more_and_take_nothing_from_the_honest() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&under_attack(&origin));
    let bound = gateway.metric("tollgate_limit_max_bytes").expect("the bound is told");
    gateway.logged(&format!("counters of limits take at most bytes={bound} limits=5"));
    let mut client = Client::connect(gateway.public);
    let mut first = |device: &str, target: &str, times: usize| {
        (0..times).map(|_| client.ask(&of_device(device, target)).unwrap().status).collect::<Vec<_>>()
    };
    assert_eq!(first("early", "/open", EACH + 1), [vec![422; EACH], vec![429]].concat());
    for number in 0..CLIENTS {
        assert_eq!(first(&format!("regular-{number}"), "/open?q=1", 1), [200]);
    }
    let before = memory(&gateway);

    let full = Barrier::new(CLIENTS);
    let seen: Vec<Seen> = thread::scope(|scope| {
        let (gateway, full) = (&gateway, &full);
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || attack(gateway, number, full))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });

    for (number, seen) in seen.iter().enumerate() {
        assert_eq!(seen.honest, HONEST, "consumer {number} was refused");
        assert_eq!(seen.regular, EACH - 1, "stranger {number}, who was there before, was refused");
    }
    let sum = |of: fn(&Seen) -> usize| seen.iter().map(of).sum::<usize>();
    let (names, late) = (sum(|seen| seen.names), sum(|seen| seen.late));
    // Midnight would begin another day, but no token comes back to the hour's bucket in the time of a test.
    assert_eq!(sum(|seen| seen.early), 0, "what is spent stays spent");
    assert!(late <= EACH, "{late} of {EACH}");
    let figure = |name: &str| gateway.metric(name).unwrap();
    assert!(figure("tollgate_limit_overflow_decisions") > 0.0, "the table was never full");
    // Four counters of each name that found room, and one allowance that the others share in each of 64 shards.
    let most = Limiter::STRANGERS / 4 + 64 * EACH;
    assert!(most < CLIENTS * NAMES && names + late <= most, "{names} names, {late} of a late one");
    let (bytes, growth) = (figure("tollgate_limit_bytes"), memory(&gateway) - before);
    println!("{names} of {} names passed; {bytes} bytes of at most {bound}, {growth} more resident", CLIENTS * NAMES);
    assert!(bytes <= bound, "{bytes} of at most {bound}");
    assert!(growth <= bytes + BESIDE, "{growth} more resident, of which counters take {bytes}");
}
