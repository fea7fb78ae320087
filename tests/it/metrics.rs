//! What Prometheus gets of the gateway: its size, and whether the packaged rules and dashboard fit it.
//!
//! `stage` runs a gateway and touches everything that is counted, `scrape` reads what it exports, `promql` the names
//! that an expression uses.

mod budget;
mod counts;
mod dashboard;
mod promql;
mod rules;
mod scrape;
mod stage;
