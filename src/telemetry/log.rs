//! The process log: one line per event on standard error, for operators.
//!
//! It implements the `log` facade, which pingora writes to as well. What pingora says of single requests and
//! connections is left out: a stranger can provoke it at will, it may quote the request, and the access line carries
//! the cause. Its words about listeners and runtimes stay.

use std::cell::Cell;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// RFC 3339 in UTC with milliseconds: `2026-11-21T09:30:00.123Z`. Times before 1970 and from the end of 9999 on become 1970.
pub(super) fn write_timestamp(out: &mut Vec<u8>, at: SystemTime) {
    thread_local! {
        /// The second written last: a busy thread writes many lines in one.
        static LAST: Cell<(u64, [u8; 20])> = const { Cell::new((0, *b"1970-01-01T00:00:00.")) };
    }
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut text) = LAST.get();
    if second != since.as_secs() {
        second = since.as_secs();
        text = date_and_time(second);
        LAST.set((second, text));
    }
    let mut end = *b"000Z";
    put(&mut end[..3], since.subsec_millis());
    out.extend_from_slice(&text);
    out.extend_from_slice(&end);
}

/// A second since 1970, up to its decimal point.
fn date_and_time(second: u64) -> [u8; 20] {
    let second = i64::try_from(second).unwrap_or_default();
    let at = jiff::Timestamp::from_second(second).unwrap_or_default();
    let civil = jiff::tz::Offset::UTC.to_datetime(at);
    let mut text = *b"0000-00-00T00:00:00.";
    put(&mut text[0..4], civil.year().unsigned_abs().into());
    put(&mut text[5..7], civil.month().unsigned_abs().into());
    put(&mut text[8..10], civil.day().unsigned_abs().into());
    put(&mut text[11..13], civil.hour().unsigned_abs().into());
    put(&mut text[14..16], civil.minute().unsigned_abs().into());
    put(&mut text[17..19], civil.second().unsigned_abs().into());
    text
}

/// A number with leading zeros.
fn put(digits: &mut [u8], mut value: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Writes text for the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD.
pub fn escape_json(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) {
        out.extend_from_slice(text);
    } else {
        escape_characters(out, text);
    }
}

#[cold]
fn escape_characters(out: &mut Vec<u8>, text: &[u8]) {
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

/// Whether text is ASCII that a JSON string takes as it is. Eight bytes are looked at in one: nearly all texts are
/// short, and nearly all are plain.
fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<8>() else {
        return text.iter().all(|&byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\');
    };
    // The last eight overlap those before them where the length is no multiple.
    text.as_chunks::<8>().0.iter().all(is_plain_word) && is_plain_word(last)
}

fn is_plain_word(word: &[u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let word = u64::from_le_bytes(*word);
    // High bits of zero bytes. Those of others may be set too, but only where there is a zero byte.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20);
    let others = zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c)) | zero(word ^ (ONES * 0x7f));
    (word | control | others) & HIGH == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn written(at: SystemTime) -> String {
        let mut out = Vec::new();
        write_timestamp(&mut out, at);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_follow_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (253_402_207_199, "9999-12-30T21:59:59.000Z"),
            (253_402_300_800, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(written(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
            // The same second again, and a part of it.
            assert_eq!(written(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
            let later = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 987);
            assert_eq!(written(later), expected.replace(".000Z", ".987Z"));
        }
        assert_eq!(written(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn every_byte_that_needs_it_is_escaped_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for (before, after) in [(0, 0), (0, 7), (3, 12), (9, 0), (15, 1)] {
                let text = [vec![b'x'; before], vec![byte], vec![b'~'; after]].concat();
                let mut out = vec![b'"'];
                escape_json(&mut out, &text);
                out.push(b'"');
                let read = serde_json::from_slice::<String>(&out).unwrap();
                assert_eq!(read, String::from_utf8_lossy(&text), "{byte} after {before}");
                assert!(!out.contains(&0x7f));
            }
        }
    }

    #[test]
    fn escaped_text_reads_back_as_json() {
        let long = "x".repeat(21);
        for text in [&*long, "plain", "quote\" back\\ tab\t nul\0 del\u{7f} é 😀", "\u{2028}"] {
            let mut out = vec![b'"'];
            escape_json(&mut out, text.as_bytes());
            out.push(b'"');
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
