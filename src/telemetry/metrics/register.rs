//! Every metric with its name, its help and its buckets.

use super::super::certificates::Handshake;
use super::super::make::{counter, counters, histogram, histograms, int_gauge, int_gauges};
use super::super::named::{CODINGS, COMPRESSION_STAGES, CompressionMetrics};
use super::super::series::Families;
use super::super::spans::SpanMetrics;
use super::super::usage::Usage;
use super::{DecidedBy, LOSSES, ReloadResult, Telemetry};

/// Seconds. From a fast service to a slow report.
const REQUEST_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Seconds. The gateway's own share is microseconds; the upper half shows auth services and stores that are asked.
const GATEWAY_BUCKETS: [f64; 11] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.5, 5.0];

/// Seconds. A Redis near by answers in a fraction of a millisecond; nobody waits for one longer than its timeout.
const STORE_BUCKETS: [f64; 10] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1];

/// Seconds. Nobody should wait for long: what does is refused.
const QUEUE_BUCKETS: [f64; 7] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

impl Telemetry {
    /// Registers every metric. `version` and `revision` are shown by `tollgate_build_info`.
    pub fn new(version: &str, revision: &str) -> Self {
        let registry = Families::default();
        let build = int_gauges(&registry, "tollgate_build_info", "What runs", &["version", "revision"]);
        build.with_label_values(&[version, revision]).set(1);
        let decided = counters(
            &registry,
            "tollgate_shared_limit_decisions_total",
            "Decisions on limits that gateways share, by who made them",
            &["by"],
        );
        let access_dropped = counters(
            &registry,
            "tollgate_access_lines_dropped_total",
            "Access lines lost, because their place is too slow or has no reader (slow) or refuses them (failed)",
            &["reason"],
        );
        let log_dropped = counters(
            &registry,
            "tollgate_log_entries_dropped_total",
            "Entries of the process log lost, likewise",
            &["reason"],
        );
        let compressed = counters(
            &registry,
            "tollgate_compression_bytes_total",
            "Bytes of replies before and after their compression, by coding",
            &["coding", "stage"],
        );
        let telemetry = Self {
            requests: counters(
                &registry,
                "tollgate_requests_total",
                "Requests answered, by route and status",
                &["route", "status"],
            ),
            rejections: counters(
                &registry,
                "tollgate_rejections_total",
                "Requests the gateway answered itself, by reason",
                &["route", "reason"],
            ),
            observed: counters(
                &registry,
                "tollgate_contract_observed_total",
                "Requests that passed although they violate their contract, by route",
                &["route"],
            ),
            observed_violations: counters(
                &registry,
                "tollgate_contract_observed_violations_total",
                "Violations of these requests, by route and type",
                &["route", "type"],
            ),
            limit_near: counters(
                &registry,
                "tollgate_limit_near_exhaustion_total",
                "Requests that left less than a tenth of a limit, by plan or route and policy",
                &["owner", "policy"],
            ),
            limit_refusals: counters(
                &registry,
                "tollgate_limit_refusals_total",
                "Limits that refused a request, by plan or route and policy",
                &["owner", "policy"],
            ),
            limits_observed: counters(
                &registry,
                "tollgate_limits_observed_total",
                "Requests that passed although a limit is used up, by route",
                &["route"],
            ),
            limit_observed_refusals: counters(
                &registry,
                "tollgate_limit_observed_refusals_total",
                "Limits that would have refused these requests, by plan or route and policy",
                &["owner", "policy"],
            ),
            authorisation_observed: counters(
                &registry,
                "tollgate_authorisation_observed_total",
                "Requests that passed authorisation although they fail a condition, by route and condition",
                &["route", "condition"],
            ),
            token_refusals: counters(
                &registry,
                "tollgate_token_refusals_total",
                "Tokens refused, by authenticator and reason",
                &["authenticator", "reason"],
            ),
            password_attempts: counters(
                &registry,
                "tollgate_password_attempts_total",
                "Passwords verified or refused, beside those that were remembered, by authenticator and result",
                &["authenticator", "result"],
            ),
            forward_auth: counters(
                &registry,
                "tollgate_forward_auth_total",
                "Questions to auth services, by authenticator and result",
                &["authenticator", "result"],
            ),
            key_fetches: counters(
                &registry,
                "tollgate_key_set_fetches_total",
                "Attempts to fetch a published key set, by authenticator and result",
                &["authenticator", "result"],
            ),
            key_set_timestamp: int_gauges(
                &registry,
                "tollgate_key_set_last_success_timestamp_seconds",
                "Unix time of the last good fetch of a key set",
                &["authenticator"],
            ),
            request_seconds: histograms(
                &registry,
                "tollgate_request_duration_seconds",
                "From the end of the request's header to the end of the answer",
                "route",
                &REQUEST_BUCKETS,
            ),
            service_seconds: histograms(
                &registry,
                "tollgate_service_duration_seconds",
                "From contacting the service to the header of its reply",
                "route",
                &REQUEST_BUCKETS,
            ),
            gateway_seconds: histograms(
                &registry,
                "tollgate_gateway_duration_seconds",
                "From the end of the request's header to the decision, without receiving a checked body",
                "route",
                &GATEWAY_BUCKETS,
            ),
            route_info: int_gauges(&registry, "tollgate_route_info", "The service of a route", &["route", "service"]),
            websockets: int_gauges(
                &registry,
                "tollgate_websocket_connections",
                "Open WebSockets, by route",
                &["route"],
            ),
            websocket_bytes: counters(
                &registry,
                "tollgate_websocket_bytes_total",
                "Bytes of WebSocket frames, by route, received from clients or sent to them",
                &["route", "direction"],
            ),
            cache_requests: counters(
                &registry,
                "tollgate_cache_requests_total",
                "Requests of routes with a cache, by route and what it did with them",
                &["route", "result"],
            ),
            cache_bytes: int_gauge(&registry, "tollgate_cache_bytes", "Memory that stored replies take"),
            cache_bytes_limit: int_gauge(
                &registry,
                "tollgate_cache_limit_bytes",
                "The most memory that stored replies ever take",
            ),
            cache_objects: int_gauge(&registry, "tollgate_cache_objects", "Replies that are stored"),
            cache_evictions: counter(
                &registry,
                "tollgate_cache_evictions_total",
                "Stored replies that had to leave for others",
            ),
            service_replies: counters(
                &registry,
                "tollgate_service_replies_total",
                "Replies of a service, by service and class of the status",
                &["service", "status"],
            ),
            service_failures: counters(
                &registry,
                "tollgate_service_failures_total",
                "Requests for which a service had no usable reply, by service and reason",
                &["service", "reason"],
            ),
            service_connect_failures: counters(
                &registry,
                "tollgate_service_connect_failures_total",
                "Connections to a service that could not be opened, also where another target could be reached",
                &["service"],
            ),
            service_retries: counters(
                &registry,
                "tollgate_service_retries_total",
                "Requests that were sent again, and those that were not because too many were, by service and result",
                &["service", "result"],
            ),
            service_ejections: counters(
                &registry,
                "tollgate_service_ejections_total",
                "Targets that were taken out because requests failed, by service",
                &["service"],
            ),
            service_checks: counters(
                &registry,
                "tollgate_service_health_checks_total",
                "Health checks, by service and result",
                &["service", "result"],
            ),
            service_queued: int_gauges(
                &registry,
                "tollgate_service_queued_requests",
                "Requests that wait for a place of their service",
                &["service"],
            ),
            service_queue_seconds: histograms(
                &registry,
                "tollgate_service_queue_duration_seconds",
                "How long requests have waited for a place, also those that got none",
                "service",
                &QUEUE_BUCKETS,
            ),
            service_queue_refusals: counters(
                &registry,
                "tollgate_service_queue_refusals_total",
                "Requests that got no place, because the queue was full (full) or they waited too long (timeout)",
                &["service", "reason"],
            ),
            service_targets: int_gauges(
                &registry,
                "tollgate_service_targets",
                "Addresses of targets, by service, target as in the configuration, and state",
                &["service", "target", "state"],
            ),
            reloads: counters(&registry, "tollgate_config_reloads_total", "Reloads, by result", &["result"]),
            in_flight: int_gauge(&registry, "tollgate_requests_in_flight", "Requests being served"),
            connections: int_gauge(&registry, "tollgate_connections", "Open client connections"),
            connections_limit: int_gauge(
                &registry,
                "tollgate_connections_limit",
                "The most client connections that are let in",
            ),
            connections_refused: counters(
                &registry,
                "tollgate_connections_refused_total",
                "Connections closed at accept, by reason",
                &["reason"],
            ),
            connections_expired: counters(
                &registry,
                "tollgate_connections_expired_total",
                "Connections closed at a deadline, by deadline, and those of HTTP/2 that cost too much",
                &["deadline"],
            ),
            handshakes: counters(
                &registry,
                "tollgate_tls_handshakes_total",
                "TLS handshakes with clients, by result",
                &["result"],
            ),
            certificate_expires: int_gauges(
                &registry,
                "tollgate_certificate_expires_timestamp_seconds",
                "Unix time at which the certificate that is served expires",
                &["listener", "certificate"],
            ),
            certificate_reloads: counters(
                &registry,
                "tollgate_certificate_reloads_total",
                "Changed certificates of listeners and services, by what became of them",
                &["result"],
            ),
            body_memory: int_gauge(&registry, "tollgate_body_memory_bytes", "Request bodies held for checking"),
            body_memory_limit: int_gauge(
                &registry,
                "tollgate_body_memory_limit_bytes",
                "The most memory for request bodies held for checking",
            ),
            upload_disk: int_gauge(&registry, "tollgate_upload_disk_bytes", "Temporary files of uploads"),
            upload_disk_limit: int_gauge(
                &registry,
                "tollgate_upload_disk_limit_bytes",
                "The most disk for temporary files of uploads",
            ),
            mirrored: counters(
                &registry,
                "tollgate_mirrored_requests_total",
                "Copies of requests for a second service, by route and by what became of them",
                &["route", "result"],
            ),
            compression_memory: int_gauge(&registry, "tollgate_compression_memory_bytes", "What compresses replies"),
            compression_memory_limit: int_gauge(
                &registry,
                "tollgate_compression_memory_limit_bytes",
                "The most memory for what compresses replies",
            ),
            compression: CompressionMetrics {
                bytes: CODINGS
                    .map(|coding| COMPRESSION_STAGES.map(|stage| compressed.with_label_values(&[coding, stage]))),
                skipped: counter(
                    &registry,
                    "tollgate_compression_skipped_total",
                    "Replies that were not compressed because there was no memory for it",
                ),
            },
            limit_entries: int_gauges(&registry, "tollgate_limit_entries", "Counters held, by kind", &["kind"]),
            limit_overflow: int_gauge(
                &registry,
                "tollgate_limit_overflow_decisions",
                "Decisions made by a shared counter because the table was full",
            ),
            limit_bytes: int_gauge(&registry, "tollgate_limit_bytes", "Memory that counters of limits take"),
            limit_max_bytes: int_gauge(
                &registry,
                "tollgate_limit_max_bytes",
                "The most memory that counters of limits ever take",
            ),
            access_dropped: LOSSES.map(|reason| access_dropped.with_label_values(&[reason])),
            log_dropped: LOSSES.map(|reason| log_dropped.with_label_values(&[reason])),
            spans: SpanMetrics::new(
                counter(&registry, "tollgate_spans_exported_total", "Spans of traces that the collector has taken"),
                &counters(
                    &registry,
                    "tollgate_spans_dropped_total",
                    "Spans of traces that the collector does not get, by reason",
                    &["reason"],
                ),
            ),
            store_keys: int_gauge(&registry, "tollgate_store_keys", "API keys of the store that are good"),
            store_refreshed: int_gauge(
                &registry,
                "tollgate_store_last_refresh_success_timestamp_seconds",
                "Unix time at which the keys of the store were known to be current",
            ),
            store_failures: counter(
                &registry,
                "tollgate_store_refresh_failures_total",
                "Times at which the store could not be read",
            ),
            quota_save_failures: counter(
                &registry,
                "tollgate_quota_save_failures_total",
                "Times at which quotas could not be saved",
            ),
            quota_unsaved: int_gauge(
                &registry,
                "tollgate_quota_unsaved_counters",
                "Quota counters whose use could not be saved so far",
            ),
            quota_dropped: counter(
                &registry,
                "tollgate_quota_dropped_total",
                "Use of quotas that is never saved, because there was no room for its counter",
            ),
            shared_store_up: int_gauges(
                &registry,
                "tollgate_shared_store_up",
                "1 while the store that gateways share answers",
                &["store"],
            ),
            shared_store_failures: counter(
                &registry,
                "tollgate_shared_store_failures_total",
                "Times at which the shared store was asked and failed",
            ),
            shared_store_seconds: histogram(
                &registry,
                "tollgate_shared_store_duration_seconds",
                "Time in which the shared store decided on limits",
                &STORE_BUCKETS,
            ),
            limits_decided: DecidedBy::ALL.map(|by| decided.with_label_values(&[by.label()])),
            ready: int_gauge(&registry, "tollgate_ready", "1 when requests are welcome, 0 when the process is leaving"),
            series_budget: int_gauge(
                &registry,
                "tollgate_series_budget",
                "The most series that metrics can have with this configuration",
            ),
            generation: int_gauge(&registry, "tollgate_config_generation", "Number of the generation that serves"),
            reload_successful: int_gauge(
                &registry,
                "tollgate_config_last_reload_successful",
                "1 when the last reload was accepted",
            ),
            reload_timestamp: int_gauge(
                &registry,
                "tollgate_config_last_reload_success_timestamp_seconds",
                "Unix time of the last accepted configuration",
            ),
            start_to_ready: int_gauge(
                &registry,
                "tollgate_start_to_ready_milliseconds",
                "From the start of the process to readiness",
            ),
            process: Usage::new(&registry),
            registry,
        };
        for result in [ReloadResult::Published, ReloadResult::Unchanged, ReloadResult::Refused] {
            telemetry.reloads.with_label_values(&[result.label()]);
        }
        for reason in ["total", "address", "leaving"] {
            telemetry.connections_refused.with_label_values(&[reason]);
        }
        for result in Handshake::ALL {
            telemetry.handshakes.with_label_values(&[result.label()]);
        }
        for result in [ReloadResult::Published, ReloadResult::Refused] {
            telemetry.certificate_reloads.with_label_values(&[result.label()]);
        }
        for deadline in ["idle", "header", "write", "abuse"] {
            telemetry.connections_expired.with_label_values(&[deadline]);
        }
        for kind in ["consumer", "stranger", "overflow"] {
            telemetry.limit_entries.with_label_values(&[kind]);
        }
        telemetry
    }
}
