//! The process log: one line per event on standard error, for operators.
//!
//! It implements the `log` facade, which pingora writes to as well. What pingora says of single requests and
//! connections is left out: a stranger can provoke it at will, it may quote the request, and the access line carries
//! the cause. Its words about listeners and runtimes stay.

use std::io::Write;
use std::time::SystemTime;

use log::{LevelFilter, Log, Metadata, Record};

/// Starts the process log. The second call in a process changes only the level.
pub fn install(level: LevelFilter) {
    static LOGGER: StderrLog = StderrLog;
    // An error means that it is installed already.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

struct StderrLog;

impl Log for StderrLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        if !target.starts_with("pingora") {
            return true;
        }
        // Below the services there are only connections and requests.
        target.starts_with("pingora_core::services") && metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = Vec::with_capacity(128);
        write_timestamp(&mut line, SystemTime::now());
        let _ = writeln!(line, " {:<5} {}", record.level(), record.args());
        // There is nowhere left to report a failure of standard error.
        let _ = std::io::stderr().lock().write_all(&line);
    }

    fn flush(&self) {}
}

/// RFC 3339 in UTC with milliseconds: `2026-11-21T09:30:00.123Z`. Times outside the years 0 to 9999 become 1970.
pub(super) fn write_timestamp(out: &mut Vec<u8>, at: SystemTime) {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    let civil = jiff::tz::Offset::UTC.to_datetime(at);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut put = |range: std::ops::Range<usize>, mut value: u32| {
        for slot in text[range].iter_mut().rev() {
            *slot = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0..4, civil.year().unsigned_abs().into());
    put(5..7, civil.month().unsigned_abs().into());
    put(8..10, civil.day().unsigned_abs().into());
    put(11..13, civil.hour().unsigned_abs().into());
    put(14..16, civil.minute().unsigned_abs().into());
    put(17..19, civil.second().unsigned_abs().into());
    put(20..23, civil.millisecond().unsigned_abs().into());
    out.extend_from_slice(&text);
}

/// Writes text for the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD.
pub fn escape_json(out: &mut Vec<u8>, text: &[u8]) {
    // Without an early end, so that the compiler looks at many bytes at once.
    let special = |byte: u8| !(0x20..0x7f).contains(&byte) | (byte == b'"') | (byte == b'\\');
    if !text.iter().fold(false, |found, &byte| found | special(byte)) {
        out.extend_from_slice(text);
        return;
    }
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            '\u{0}'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", character as u32);
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn timestamps_follow_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = Vec::new();
            write_timestamp(&mut out, UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn escaped_text_reads_back_as_json() {
        for text in ["plain", "quote\" back\\ tab\t nul\0 del\u{7f} é 😀", "\u{2028}"] {
            let mut out = vec![b'"'];
            escape_json(&mut out, text.as_bytes());
            out.push(b'"');
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
