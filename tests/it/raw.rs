//! Bytes that a stranger may send: what is refused, what is understood, and that nobody behind the gateway
//! understands it otherwise.
//!
//! - `stage`      — one service behind one gateway, for the other tests of the request path too
//! - `framing`    — where a message ends, and that no request hides in another
//! - `targets`    — request lines, paths and `Host`
//! - `sizes`      — how long a header and a target may be
//! - `identity`   — fields that only the gateway may send
//! - `connection` — pipelining, and connections that outlive a rejection

pub mod stage;

mod connection;
mod framing;
mod identity;
mod sizes;
mod targets;
