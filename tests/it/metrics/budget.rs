//! The number of series is known when a configuration is loaded, and nobody outside can change it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::scrape::Scrape;
use super::stage::{Stage, configuration};
use crate::process::instance::{Instance, config, eventually};
use crate::support::gateway::check;
use crate::support::origin::{Origin, Unreachable};
use crate::support::requests_at_least;

/// How much larger the budget may be than what a busy gateway has: routes do not fail in every way there is.
const SLACK: f64 = 2.0;

#[test]
fn a_busy_gateway_has_no_more_series_than_check_said_and_not_far_fewer() {
    let stage = Stage::start();
    let (origin, down) = (Origin::json("{}"), Unreachable::reserve());
    let said = check(&configuration(&origin, &down).to_string());
    assert_eq!(said.code, Some(0), "{}", said.text);
    let budget = said.text.lines().find_map(|line| line.strip_prefix("metrics: at most ")?.strip_suffix(" series"));
    let budget: f64 = budget.expect("a line on metrics").parse().expect("a number");

    stage.touch_everything();
    let scrape = stage.scrape();
    let found = scrape.series.len() as f64;
    assert_eq!(scrape.value("tollgate_series_budget"), Some(budget));
    assert!(found <= budget, "{found} series, {budget} said");
    assert!(budget < found * SLACK, "{found} series, {budget} said");
}

#[test]
fn a_scrape_stays_as_it_is_after_any_number_of_users_and_paths() {
    let (stage, half) = (Stage::start(), requests_at_least(100_000) / 2);
    stage.touch_everything();
    stage.crowd(100);
    assert!(eventually(|| counted(&stage) == [102.0, 101.0]), "{:?}", counted(&stage));
    let before = stage.scrape().series;
    stage.crowd(half as usize);
    let all = half as f64 + 100.0;
    assert!(eventually(|| counted(&stage) == [all + 2.0, all + 1.0]), "{:?}", counted(&stage));
    assert_eq!(stage.scrape().series, before);
}

/// Requests of users and of strangers. A request is counted when its answer is out.
fn counted(stage: &Stage) -> [f64; 2] {
    let scrape = stage.scrape();
    ["route=\"typed\",status=\"422\"", "route=\"-\",status=\"404\""]
        .map(|labels| scrape.value(&format!("tollgate_requests_total{{{labels}}}")).unwrap_or_default())
}

/// A configuration with these routes, each with a limit.
fn with_routes(origin: &Origin, names: &[&str]) -> Value {
    let route = |name: &&str| {
        json!({
            "name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": "origin", "auth": "public",
            "limits": [{ "rate": "1/hour", "by": "route" }],
        })
    };
    config(origin.address(), json!({ "routes": names.iter().map(route).collect::<Vec<_>>() }))
}

const ONCE: &str = r#"tollgate_requests_total{route="one",status="200"}"#;

#[test]
fn a_reload_forgets_the_series_of_what_is_gone() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_routes(&origin, &["one", "two"]));
    let scrape = || Scrape::parse(&gateway.operator("GET", "/metrics", &[]).text());
    let naming = |name: &str| -> BTreeSet<String> {
        scrape().series.into_iter().filter(|series| series.contains(&format!("=\"{name}\""))).collect()
    };
    for path in ["/one", "/two", "/two"] {
        crate::support::client::fetch(gateway.public, path);
    }
    let twice = r#"tollgate_requests_total{route="two",status="429"}"#;
    assert!(eventually(|| scrape().value(twice) == Some(1.0) && scrape().value(ONCE) == Some(1.0)), "not counted");
    let before = (naming("one"), naming("two"), scrape().value("tollgate_series_budget"));
    assert!(before.1.len() > before.0.len() && before.0.len() > 40, "{before:#?}");

    assert_eq!(gateway.reload(&with_routes(&origin, &["one"]))["result"], "published");
    assert_eq!((naming("one"), naming("two")), (before.0.clone(), BTreeSet::new()));
    assert!(scrape().value("tollgate_series_budget") < before.2);

    let mut refused = with_routes(&origin, &["one", "three"]);
    refused["routes"][0]["service"] = "nowhere".into();
    assert_eq!(gateway.reload(&refused)["result"], "refused");
    assert_eq!((naming("one"), naming("three")), (before.0, BTreeSet::new()));
}
