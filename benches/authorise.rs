//! What conditions cost: an address among 10,000 denied networks, and a caller who meets every kind of condition.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use ipnet::{IpNet, Ipv4Net};
use serde_json::{Map, Value};
use tollgate::policy::authorise::{Authorisation, Caller, ClaimRule, Names, Networks, Wanted};

fn names(prefix: &str, count: usize) -> Option<Names> {
    Some((0..count).map(|number| format!("{prefix}-{number}").into()).collect())
}

/// Every second /24 from 10.0.0.0 on.
fn networks(count: u32) -> Networks {
    let network = |number: u32| {
        let first = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + number * 512);
        IpNet::V4(Ipv4Net::new_assert(first, 24))
    };
    let networks: Vec<IpNet> = (0..count).map(network).collect();
    Networks::of(&networks)
}

fn authorise(criterion: &mut Criterion) {
    let rules = Authorisation {
        denied: networks(10_000),
        consumers: names("consumer", 1_000),
        groups: names("group", 10),
        plans: names("plan", 3),
        scopes: names("scope", 10),
        claims: vec![ClaimRule { name: "tenant".into(), wanted: [Wanted::Text("acme".into())].into() }],
        ..Authorisation::default()
    };
    let mut claims = Map::new();
    claims.insert("scope".to_owned(), Value::from("openid profile scope-7"));
    claims.insert("tenant".to_owned(), Value::from("acme"));
    let groups = ["staff".into(), "group-3".into()];
    let caller = Caller { name: "consumer-500", plan: Some("plan-1"), groups: &groups, claims: &claims };
    let keyed = Authorisation { groups: names("group", 10), ..Authorisation::default() };
    let address = IpAddr::from([10, 60, 1, 1]);
    assert_eq!((rules.of_address(address), rules.of_caller(Some(caller))), (Ok(()), Ok(())));
    criterion.bench_function("authorise/address among 10,000 networks", |bencher| {
        bencher.iter(|| black_box(&rules).of_address(black_box(address)));
    });
    criterion.bench_function("authorise/one condition on groups", |bencher| {
        bencher.iter(|| black_box(&keyed).of_caller(black_box(Some(caller))));
    });
    criterion.bench_function("authorise/all five conditions on callers", |bencher| {
        bencher.iter(|| black_box(&rules).of_caller(black_box(Some(caller))));
    });
}

criterion_group!(benches, authorise);
criterion_main!(benches);
