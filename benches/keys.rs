//! What it costs to find a consumer by API key: hashing what was presented and looking it up among 1,000 keys; and to
//! read all keys of a store after a change.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tollgate::policy::authenticate::{Forward, KeyPlace, Keyring, Part, Presented, presented};
use tollgate::store::{Entropy, NewKey, Store};

const HEADER: HeaderName = HeaderName::from_static("x-api-key");

fn key(number: usize) -> String {
    format!("{number:064x}")
}

fn request(key: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("*/*"));
    headers.insert("user-agent", HeaderValue::from_static("bench"));
    headers.insert(HEADER, HeaderValue::from_str(key).unwrap_or(HeaderValue::from_static("")));
    headers
}

fn find<'a>(ring: &'a Keyring<usize>, places: &[KeyPlace], headers: &HeaderMap) -> Option<&'a usize> {
    match presented(places.iter(), headers, None) {
        Presented::Key(digest, _) => ring.owner(&digest),
        Presented::Nothing | Presented::Ambiguous => None,
    }
}

fn keys(criterion: &mut Criterion) {
    let places = [KeyPlace { part: Part::Header(HEADER), forward: Forward::Strip }];
    let mut ring = Keyring::default();
    for number in 0..1_000 {
        if let Presented::Key(digest, _) = presented(places.iter(), &request(&key(number)), None) {
            ring.add(digest, number).unwrap_or_else(|_| panic!("keys differ"));
        }
    }
    let known = request(&key(500));
    let unknown = request("nobody's");
    assert_eq!(find(&ring, &places, &known), Some(&500));
    assert_eq!(find(&ring, &places, &unknown), None);
    criterion.bench_function("key/known among 1,000", |bencher| {
        bencher.iter(|| find(black_box(&ring), &places, black_box(&known)));
    });
    criterion.bench_function("key/unknown among 1,000", |bencher| {
        bencher.iter(|| find(black_box(&ring), &places, black_box(&unknown)));
    });
}

/// A store with this many keys of as many consumers.
fn store(folder: &std::path::Path, keys: u32) -> Store {
    let mut store = Store::open_or_create(&folder.join(format!("{keys}.db"))).unwrap_or_else(|fault| panic!("{fault}"));
    let all = (0..keys).map(|number| {
        let mut entropy = Entropy { secret: [1; 32], id: [1; 8] };
        entropy.secret[..4].copy_from_slice(&number.to_be_bytes());
        entropy.id[..4].copy_from_slice(&number.to_be_bytes());
        (format!("consumer-{number}"), entropy)
    });
    for (consumer, entropy) in all {
        let new = NewKey { consumer: &consumer, plan: Some("free"), note: "", lifetime: None };
        store.create(&new, &entropy, 0).unwrap_or_else(|fault| panic!("{fault}"));
    }
    store
}

fn snapshots(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap_or_else(|fault| panic!("{fault}"));
    let store = store(folder.path(), 10_000);
    assert_eq!(store.snapshot(0).map(|snapshot| snapshot.good(0)).ok(), Some(10_000));
    criterion.bench_function("store/version", |bencher| bencher.iter(|| store.version()));
    criterion.bench_function("store/snapshot of 10,000", |bencher| bencher.iter(|| store.snapshot(0)));
}

criterion_group!(benches, keys, snapshots);
criterion_main!(benches);
