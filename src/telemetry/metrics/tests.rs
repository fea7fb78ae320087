//! What a scrape shows.

use std::time::Duration;

use super::super::named::STATUSES;
use super::*;

fn scrape(telemetry: &Telemetry) -> String {
    String::from_utf8(telemetry.render()).unwrap()
}

#[test]
fn known_statuses_are_sorted_so_that_each_has_its_label() {
    assert!(STATUSES.is_sorted());
}

#[test]
fn a_status_outside_the_set_is_counted_as_other() {
    let telemetry = Telemetry::new("1", "abc");
    let route = telemetry.route("users");
    for status in [200, 200, 599, 299] {
        route.answered(status, Duration::from_millis(3));
    }
    let text = scrape(&telemetry);
    assert!(text.contains(r#"tollgate_requests_total{route="users",status="200"} 2"#), "{text}");
    assert!(text.contains(r#"tollgate_requests_total{route="users",status="other"} 2"#), "{text}");
}

#[test]
fn the_same_route_in_two_generations_counts_together() {
    let telemetry = Telemetry::new("1", "abc");
    for _ in 0..2 {
        telemetry.route("users").answered(404, Duration::ZERO);
    }
    assert!(scrape(&telemetry).contains(r#"tollgate_requests_total{route="users",status="404"} 2"#));
}

#[test]
fn a_request_that_was_only_observed_counts_once_and_its_violations_by_type() {
    let telemetry = Telemetry::new("1", "abc");
    telemetry.route("users").observed(["missing", "enum", "missing"].into_iter());
    let text = scrape(&telemetry);
    for line in [
        r#"tollgate_contract_observed_total{route="users"} 1"#,
        r#"tollgate_contract_observed_violations_total{route="users",type="missing"} 2"#,
        r#"tollgate_contract_observed_violations_total{route="users",type="enum"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn replies_count_by_class_and_failures_by_fault() {
    let telemetry = Telemetry::new("1", "abc");
    let service = telemetry.service("users");
    [200, 299, 301, 404, 503, 101, 999].into_iter().for_each(|status| service.replied(status));
    ["service-timeout", "contract-violated"].into_iter().for_each(|reason| service.failed(reason));
    let text = scrape(&telemetry);
    for (family, count) in [
        (r#"replies_total{service="users",status="2xx"}"#, 2),
        (r#"replies_total{service="users",status="3xx"}"#, 1),
        (r#"replies_total{service="users",status="4xx"}"#, 1),
        (r#"replies_total{service="users",status="5xx"}"#, 1),
        (r#"replies_total{service="users",status="other"}"#, 2),
        (r#"failures_total{reason="service-timeout",service="users"}"#, 1),
        (r#"failures_total{reason="service-reply",service="users"}"#, 0),
    ] {
        assert!(text.contains(&format!("tollgate_service_{family} {count}\n")), "{family} is not {count} in\n{text}");
    }
}

#[test]
fn a_refused_reload_keeps_the_generation() {
    let telemetry = Telemetry::new("1", "abc");
    telemetry.published(1, 10);
    telemetry.reloaded(ReloadResult::Refused, 2, 20);
    let text = scrape(&telemetry);
    for line in [
        "tollgate_config_generation 1",
        "tollgate_config_last_reload_successful 0",
        "tollgate_config_last_reload_success_timestamp_seconds 10",
        r#"tollgate_config_reloads_total{result="refused"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn the_process_shows_its_memory() {
    let text = scrape(&Telemetry::new("1", "abc"));
    let line = text.lines().find(|line| line.starts_with("process_resident_memory_bytes")).unwrap();
    assert!(line.split(' ').next_back().unwrap().parse::<f64>().unwrap() > 100_000.0, "{line}");
}
