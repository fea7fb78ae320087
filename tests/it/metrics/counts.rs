//! What limits and services did is counted for whom it belongs to.

use super::stage::exported;

#[test]
fn limits_and_services_count_for_their_own_name() {
    for (series, count) in [
        // 21 requests against 20 an hour: less than a tenth is left of two, and one is refused.
        ("limit_near_exhaustion_total{owner=\"limited\",policy=\"route-hour\"}", 2.0),
        ("limit_refusals_total{owner=\"limited\",policy=\"route-hour\"}", 1.0),
        // 11 of a consumer whose plan has 10 a day.
        ("limit_near_exhaustion_total{owner=\"tiny\",policy=\"total-day\"}", 1.0),
        ("limit_refusals_total{owner=\"tiny\",policy=\"total-day\"}", 1.0),
        // A route's limit of one, which is only observed, in 58 requests of a consumer with a plan.
        ("limit_near_exhaustion_total{owner=\"observed\",policy=\"consumer-hour\"}", 1.0),
        ("limit_refusals_total{owner=\"observed\",policy=\"consumer-hour\"}", 0.0),
        ("limit_observed_refusals_total{owner=\"observed\",policy=\"consumer-hour\"}", 57.0),
        ("limit_near_exhaustion_total{owner=\"free\",policy=\"total-day\"}", 0.0),
        ("service_failures_total{reason=\"service-unavailable\",service=\"down\"}", 1.0),
        ("service_connect_failures_total{service=\"down\"}", 1.0),
        ("service_failures_total{reason=\"service-timeout\",service=\"origin\"}", 1.0),
        ("service_failures_total{reason=\"service-reply\",service=\"origin\"}", 1.0),
        ("service_failures_total{reason=\"bad-reply\",service=\"origin\"}", 1.0),
        ("service_failures_total{reason=\"service-unavailable\",service=\"origin\"}", 0.0),
        // Four routes times six statuses; nothing else answers so.
        ("service_replies_total{service=\"origin\",status=\"5xx\"}", 24.0),
        ("service_replies_total{service=\"down\",status=\"2xx\"}", 0.0),
        ("route_info{route=\"down\",service=\"down\"}", 1.0),
        ("connections_limit", 20_000.0),
        ("ready", 1.0),
    ] {
        assert_eq!(exported().value(&format!("tollgate_{series}")), Some(count), "{series}");
    }
}
