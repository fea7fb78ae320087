//! One request to the collector, and what its answer means (OTLP 1.x, section OTLP/HTTP).

use std::io::Write;
use std::time::Duration;

use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};

use crate::gateway::traces::{Compression, Export};
use crate::telemetry::otlp::{PartialSuccess, partial_success};

use super::super::key_fetch::agent;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// What became of a batch.
pub(super) enum Outcome {
    /// The collector has it, but for what it says.
    Taken(Option<PartialSuccess>),
    /// It will not be taken, however often it is sent.
    Refused(String),
    /// It may be taken another time, not before this.
    Later(String, Option<Duration>),
}

/// Sends a batch once.
pub(super) fn send(export: &Export, body: &[u8]) -> Outcome {
    let agent = match agent() {
        Ok(agent) => agent,
        Err(why) => return Outcome::Later(why, None),
    };
    let mut request = agent
        .post(&*export.url)
        .config()
        .timeout_global(Some(export.timeout))
        .build()
        .header(CONTENT_TYPE, "application/x-protobuf");
    for (name, value) in &export.headers {
        request = request.header(name, value);
    }
    let sent = match export.compression {
        Compression::None => request.send(body),
        Compression::Gzip => match compressed(body) {
            Ok(body) => request.header(CONTENT_ENCODING, "gzip").send(&body[..]),
            Err(why) => return Outcome::Refused(why.to_string()),
        },
    };
    let mut answer = match sent {
        Ok(answer) => answer,
        Err(why) => return Outcome::Later(why.to_string(), None),
    };
    let said = |status| format!("the collector answered with status {status}");
    match answer.status().as_u16() {
        200..300 => {
            let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
            Outcome::Taken(body.ok().and_then(|body| partial_success(&body)))
        }
        status @ (429 | 502 | 503 | 504) => {
            Outcome::Later(said(status), retry_after(answer.headers(), Timestamp::now()))
        }
        status => Outcome::Refused(said(status)),
    }
}

fn compressed(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTimeParser::new().parse_timestamp(value).ok()?;
    // A date that is over means now.
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_says_when_it_wants_to_be_asked_again() {
        let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sat, 21 Nov 2026 08:01:30 GMT", Some(90)),
            ("Sat, 21 Nov 2026 07:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999999999999", None),
        ] {
            let headers = [(RETRY_AFTER, value.parse().unwrap())].into_iter().collect();
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
