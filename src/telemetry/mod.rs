//! Every metric, the access line, the spans of traces and the process log, defined once.
//!
//! A leaf: it imports nothing of ours. Metric labels come from names in the configuration and from closed sets,
//! never from request text, so a scrape stays the same size whatever strangers send. The children of a route's
//! metrics are looked up once, when its generation is compiled: on the request path a metric is one atomic add. How many
//! series there can be follows from the configuration and is known before the first request.

mod access;
mod certificates;
mod log;
mod make;
mod metrics;
mod named;
pub mod otlp;
mod outlet;
mod series;
pub mod spans;
mod text;
mod usage;

pub use access::{
    ADMITTED, AccessLine, AccessLog, Field, Fields, Format, Lines, MAX_OBSERVED, Observed, Shape, WouldRefuse,
};
pub use certificates::Handshake;
pub use log::{flush_log, install, log_level, lost_log_entries, set_log_format, set_log_level};
pub use metrics::{DecidedBy, ReloadResult, Telemetry};
pub use named::{
    CacheMetrics, CacheResult, CompressionMetrics, LimitMetrics, MirrorMetrics, QueueMetrics, QueueRefusal,
    RouteMetrics, ServiceMetrics, TARGET_STATES, WebsocketMetrics,
};
pub use outlet::Lost;
pub use series::{Inventory, Names, Pairs};
