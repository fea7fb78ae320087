//! One decision each, pure: from `http` types and plain values to a decision, without clock, network or pingora.
//!
//! Nothing here knows the configuration file or the running gateway; `gateway::compile` makes these values, and
//! `proxy::admit` asks them in order. That is why each is tested in microseconds, without a server.

pub mod path;

pub mod authenticate;

pub mod authorise;

pub mod api_key;

pub mod token;

pub mod password;

pub mod flood;

pub mod limit;

pub mod contract;

pub mod balance;

pub mod standing;

pub mod retry;

pub mod headers;

pub mod cors;

pub mod coding;

pub mod mode;

pub mod trace_context;

pub mod rejection;

pub mod grpc;

pub mod websocket;

pub mod cache;
