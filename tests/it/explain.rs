//! `tollgate explain`: what it says is what the running gateway does.
//!
//! - `agreement` — a thousand random requests, tried out and really sent
//! - `published` — tokens of providers
//! - `shown`     — what a user sees of one
//! - `stored`    — keys of the store

mod agreement;
mod published;
mod shown;
mod stored;
