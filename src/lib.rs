//! Tollgate, an API gateway.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod config;
pub mod demo;
pub mod gateway;
pub mod policy;
pub mod proxy;
pub mod server;
pub mod telemetry;
