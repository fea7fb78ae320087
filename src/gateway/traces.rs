//! Distributed traces: what is recorded, and where it goes.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};

use crate::policy::trace_context::Share;

/// How a generation records requests.
#[derive(Debug)]
pub struct Traces {
    /// How many of the traces that begin here are recorded.
    pub share: Share,
    /// From whom a trace is continued.
    pub parent: Parent,
    /// What is recorded beyond that.
    pub errors: Errors,
    /// Most spans that wait to be sent.
    pub queue: usize,
    /// Where they are sent, and how.
    pub export: Arc<Export>,
}

/// From whom a trace is continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// From trusted proxies.
    Trusted,
    /// From everybody.
    Always,
    /// From nobody.
    Never,
}

/// Which requests are recorded because they fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errors {
    /// All of them.
    Always,
    /// None but those that are recorded anyway.
    Sampled,
}

/// Where spans are sent, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// The URL that takes them.
    pub url: Box<str>,
    /// Headers that go with them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether they are compressed with gzip.
    pub compression: Compression,
    /// How long one batch may take.
    pub timeout: Duration,
    /// The longest time that a span waits for others.
    pub interval: Duration,
    /// Most spans that are sent together.
    pub batch: usize,
    /// What is said of the gateway itself.
    pub resource: Vec<(Box<str>, Box<str>)>,
}

/// How a batch is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
}
