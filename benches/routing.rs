//! What finding a route costs: hygiene of a path, a match among few and many routes, building the router.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::Method;
use tollgate::gateway::router::{HostPattern, Router, RouterBuilder};
use tollgate::gateway::template::Template;
use tollgate::policy::path::RequestPath;

/// Templates like those of real APIs: eight per resource, with literals, parameters and a catch-all.
fn templates(count: usize) -> Vec<Template> {
    let shapes = ["", "/{id}", "/{id}/items", "/{id}/items/{item}", "/me", "/search", "/{id}.json", "/files/{*rest}"];
    (0..count)
        .map(|nth| format!("/api/v1/resource-{}{}", nth / shapes.len(), shapes[nth % shapes.len()]))
        .map(|text| Template::parse(&text).expect("a sound template"))
        .collect()
}

/// The bad case: every template is a pattern of one node and is compared with all others.
fn flat_templates(count: usize) -> Vec<Template> {
    (0..count).map(|nth| Template::parse(&format!("/report-{nth}-{{id}}.json")).expect("a sound template")).collect()
}

fn router(templates: &[Template], host: Option<&HostPattern>) -> Router<usize> {
    let mut builder = RouterBuilder::new();
    for (nth, template) in templates.iter().enumerate() {
        builder.add(host, &[Method::GET, Method::PUT], template, nth).expect("no conflict");
    }
    builder.build()
}

fn hygiene(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hygiene");
    for (name, path) in [
        ("plain", "/api/v1/resource-0/12345/items/67890"),
        ("escape kept", "/api/v1/resource-0/12345/items/a%20b"),
        ("escape decoded", "/api/v1/resource-0/12345/items/%61b"),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| RequestPath::parse(black_box(path)).is_ok()));
    }
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match");
    for count in [10, 1_000, 10_000] {
        let router = router(&templates(count), None);
        let last = (count - 1) / 8;
        for (name, path) in [
            ("literal", "/api/v1/resource-0/me".to_owned()),
            ("two parameters", "/api/v1/resource-0/12345/items/67890".to_owned()),
            ("last resource", format!("/api/v1/resource-{last}/12345")),
            ("catch-all", "/api/v1/resource-0/files/a/b/c.txt".to_owned()),
        ] {
            let path = RequestPath::parse(&path).expect("a clean path");
            assert!(router.find(None, &Method::GET, &path).is_ok(), "{name} of {count} is missed");
            group.bench_function(format!("{count}/{name}"), |bencher| {
                bencher.iter(|| router.find(None, &Method::GET, black_box(&path)).is_ok());
            });
        }
        let path = RequestPath::parse("/api/v1/resource-0/12345/nothing").expect("a clean path");
        group.bench_function(format!("{count}/not found"), |bencher| {
            bencher.iter(|| router.find(None, &Method::GET, black_box(&path)).is_err());
        });
    }
    let flat = router(&flat_templates(10_000), None);
    let path = RequestPath::parse("/report-9999-7.json").expect("a clean path");
    group.bench_function("10000/patterns of one segment", |bencher| {
        bencher.iter(|| flat.find(None, &Method::GET, black_box(&path)).is_ok());
    });
    let host = HostPattern::parse("*.example.com").expect("a sound pattern");
    let router = router(&templates(1_000), Some(&host));
    let path = RequestPath::parse("/api/v1/resource-0/12345").expect("a clean path");
    group.bench_function("1000/wildcard host", |bencher| {
        bencher.iter(|| router.find(black_box(Some("Api.Example.com:8080")), &Method::GET, black_box(&path)).is_ok());
    });
}

fn building(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10);
    let plain = templates(10_000);
    group.bench_function("10000", |bencher| {
        bencher.iter_batched(|| &plain, |t| router(t, None), BatchSize::PerIteration)
    });
    let flat = flat_templates(10_000);
    group.bench_function("10000/patterns of one segment", |bencher| {
        bencher.iter_batched(|| &flat, |t| router(t, None), BatchSize::PerIteration);
    });
}

criterion_group!(benches, hygiene, matching, building);
criterion_main!(benches);
