//! The API's description as it is served: `/openapi.json`, the page `/docs`, and what the page loads.
//!
//! Everything is made once per generation and held compressed; a client that does not take gzip gets it inflated, and
//! the two large files of Swagger UI are inflated at most once per process. The page needs nothing from elsewhere: its
//! policy allows no other origin, so it works offline and tells nobody what is read.
//!
//! Invariant: what is answered here depends on the path and the two headers `Accept-Encoding` and
//! `If-None-Match` only. Which listener is asked is decided by who calls ([`Docs::place`]).
//!
//! What the description says is `gateway::compile`'s `openapi`.

mod page;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue};
use http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

use crate::telemetry::RouteMetrics;

use page::{Page, escape};

/// Where the document is.
pub const DOCUMENT: &str = "/openapi.json";

/// Every path that is answered here.
pub const PATHS: [&str; 5] = [DOCUMENT, "/docs", "/docs/init.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"];

/// What stands for these pages in metrics and access lines. No route can have this name.
pub const LABEL: &str = "(docs)";

/// The methods of every page, as `Allow` has them.
pub const METHODS: &str = "GET, HEAD, OPTIONS";

/// Nothing but this origin, and nothing inline. Swagger UI draws its icons from `data:` addresses.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The description of one generation, ready to be sent.
pub struct Docs {
    /// Where it is served, and nowhere else.
    pub place: Place,
    /// Its metrics.
    pub metrics: RouteMetrics,
    document: Page,
    index: Page,
}

/// The one listener that serves the description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// That of the operators. It is another origin than the API, so the page sends no requests there.
    Admin {
        /// Where the API is reached, for people.
        elsewhere: Vec<String>,
    },
    /// That of clients with this address, as written in the configuration.
    Listener(SocketAddr),
}

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200 or 304.
    pub status: u16,
    /// Without `Content-Length`.
    pub headers: HeaderMap,
    /// For HEAD, who writes it leaves it out.
    pub body: Bytes,
}

impl Docs {
    /// Makes the pages of a document.
    pub fn new(place: Place, title: &str, document: &serde_json::Value, metrics: RouteMetrics) -> Self {
        // A value that was built here always serialises.
        let text = serde_json::to_vec(document).unwrap_or_default();
        let index = index(title, &place);
        Self {
            place,
            metrics,
            document: Page::made("application/json", &text),
            index: Page::made("text/html; charset=utf-8", index.as_bytes()),
        }
    }

    /// Answers a GET for one of [`PATHS`]; `None` for another path.
    pub fn answer(&self, path: &str, request: &HeaderMap) -> Option<Answer> {
        let page = match path {
            DOCUMENT => &self.document,
            "/docs" => &self.index,
            "/docs/init.js" => page::init(),
            "/docs/swagger-ui-bundle.js" => page::bundle(),
            "/docs/swagger-ui.css" => page::styles(),
            _ => return None,
        };
        let mut answer = page.answer(request);
        for (name, value) in [
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ] {
            answer.headers.insert(name, HeaderValue::from_static(value));
        }
        Some(answer)
    }
}

/// The page around Swagger UI.
fn index(title: &str, place: &Place) -> String {
    let (send, notice) = match place {
        Place::Listener(_) => ("on", String::new()),
        Place::Admin { elsewhere } => {
            let addresses: Vec<String> =
                elsewhere.iter().map(|address| format!("<code>{}</code>", escape(address))).collect();
            let notice = format!(
                "<p class=\"notice\">This page sends no requests: it is served to operators, apart from the API. \
                 The API is at {}.</p>\n",
                addresses.join(", ")
            );
            ("off", notice)
        }
    };
    // The title comes last: a title that holds one of the other words is not replaced again.
    let page = include_str!("index.html").replace("{send}", send).replace("{notice}", &notice);
    page.replacen("{title}", &escape(title), 1)
}
