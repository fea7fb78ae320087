//! What passes between client and service, and what the gateway adds, removes and answers itself.
//!
//! - `requests`    — what the service gets
//! - `responses`   — what the client gets
//! - `credentials` — where API keys end
//! - `models`      — replies that are checked against a schema
//! - `failures`    — services that are down, slow or broken, and clients that leave
//! - `connections` — pooled connections to the service

mod connections;
mod credentials;
mod failures;
mod models;
mod requests;
mod responses;
