//! Tollgate as a user runs it: the built program, real sockets, one test binary.
//!
//! - `support` — a scripted service, a client that sees every byte, the gateway as a child process
//! - `process` — reload, start and end, the walk of `tollgate demo`
//! - `config_reports` — what a user sees of a faulty file
//! - `compat`  — the recorded behaviour of fastapi-gateway-ultra, replayed case by case

mod support;

mod compat;
mod config_reports;
mod process;
