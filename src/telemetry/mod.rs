//! Every metric, the access line and the process log, defined once.
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
mod series;
mod usage;

pub use access::{AccessLine, AccessLog, Format, MAX_OBSERVED, Observed, WouldRefuse};
pub use certificates::Handshake;
pub use log::{escape_json, install};
pub use metrics::{DecidedBy, ReloadResult, Telemetry};
pub use named::{LimitMetrics, RouteMetrics, ServiceMetrics};
pub use series::{Inventory, Names, Pairs};
