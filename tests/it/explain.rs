//! `tollgate explain`: what it says is what the running gateway does.
//!
//! - `agreement` — a thousand random requests, tried out and really sent
//! - `shown`     — what a user sees of one

mod agreement;
mod shown;
