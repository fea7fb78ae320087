//! Every metric, the access line and the process log, defined once.
//!
//! A leaf: it imports nothing of ours. Metric labels come from names in the configuration and from closed sets,
//! never from request text, so a scrape stays the same size whatever strangers send. The children of a route's
//! metrics are looked up once, when its generation is compiled: on the request path a metric is one atomic add.

mod access;
mod log;
mod metrics;
mod series;

pub use access::{AccessLine, AccessLog, Format, MAX_OBSERVED, Observed, WouldRefuse};
pub use log::{escape_json, install};
pub use metrics::{LimitMetrics, ReloadResult, RouteMetrics, ServiceMetrics, Telemetry};
pub use series::{Inventory, Names, Pairs};
