//! One page: its bytes in both codings, its tag, and what a conditional request gets.

use std::io::{Read, Write};
use std::sync::OnceLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::header::{HeaderMap, HeaderValue};

use super::Answer;

/// A file in both codings.
///
/// Invariant: `tag` names the content, not the coding: it is weak.
pub(super) struct Page {
    media_type: &'static str,
    tag: HeaderValue,
    gzip: Bytes,
    plain: OnceLock<Bytes>,
}

/// What the page runs last.
pub(super) fn init() -> &'static Page {
    static PAGE: OnceLock<Page> = OnceLock::new();
    PAGE.get_or_init(|| Page::made(JAVASCRIPT, include_bytes!("init.js")))
}

/// Swagger UI.
pub(super) fn bundle() -> &'static Page {
    static PAGE: OnceLock<Page> = OnceLock::new();
    static GZIP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));
    PAGE.get_or_init(|| Page::stored(JAVASCRIPT, GZIP))
}

/// How it looks.
pub(super) fn styles() -> &'static Page {
    static PAGE: OnceLock<Page> = OnceLock::new();
    static GZIP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));
    PAGE.get_or_init(|| Page::stored("text/css; charset=utf-8", GZIP))
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

impl Page {
    /// Of a text.
    pub(super) fn made(media_type: &'static str, text: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::best());
        // Memory takes every byte.
        let _ = encoder.write_all(text);
        let gzip = encoder.finish().unwrap_or_default();
        let plain = OnceLock::from(Bytes::copy_from_slice(text));
        Self { media_type, tag: tag(text), gzip: gzip.into(), plain }
    }

    /// Of what was compressed when the program was built.
    fn stored(media_type: &'static str, gzip: &'static [u8]) -> Self {
        Self { media_type, tag: tag(gzip), gzip: Bytes::from_static(gzip), plain: OnceLock::new() }
    }

    /// The answer to a GET.
    pub(super) fn answer(&self, request: &HeaderMap) -> Answer {
        let mut answer = Answer { status: 200, headers: HeaderMap::new(), body: Bytes::new() };
        answer.headers.insert(ETAG, self.tag.clone());
        answer.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if self.is_known(request) {
            answer.status = 304;
            return answer;
        }
        answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        if takes_gzip(request) {
            answer.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            answer.body = self.gzip.clone();
        } else {
            answer.body = self.plain.get_or_init(|| inflate(&self.gzip)).clone();
        }
        answer
    }

    /// Whether the client says that it has this content already (RFC 9110 section 13.1.2).
    fn is_known(&self, request: &HeaderMap) -> bool {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = self.tag.to_str().map(opaque).unwrap_or_default();
        let values = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|tag| tag.trim() == "*" || opaque(tag) == own)
    }
}

/// A content's name: the first half of its SHA-256.
fn tag(content: &[u8]) -> HeaderValue {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    let half: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("W/\"{half}\"")).unwrap_or(HeaderValue::from_static("W/\"\""))
}

pub(super) fn inflate(gzip: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    // What is inflated was compressed here or when the program was built.
    let _ = GzDecoder::new(gzip).read_to_end(&mut plain);
    plain.into()
}

/// Whether a client takes gzip (RFC 9110 section 12.5.3). One that says nothing gets the content as it is: many such
/// cannot inflate.
fn takes_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut any = false;
    for coding in values.flat_map(|value| value.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
        let wanted = weight.unwrap_or(1.0_f32) > 0.0;
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return wanted,
            "*" => any = wanted,
            _ => {}
        }
    }
    any
}

/// Text between tags or quotes of HTML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char => escaped.push(char),
        }
    }
    escaped
}
