//! Times and texts as the logs write them.

use std::cell::Cell;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// Most bytes of one text that a client chose, before it is escaped.
pub const MOST_OF_A_TEXT: usize = 1024;

/// Writes text for the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD; what a terminal would obey is
/// escaped as well.
pub fn escape_json(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) {
        out.extend_from_slice(text);
    } else {
        escape_characters(out, &String::from_utf8_lossy(text), |character| matches!(character, '"' | '\\'));
    }
}

/// The same, of a text as long as its client likes: what is beyond [`MOST_OF_A_TEXT`] becomes `…`.
#[inline]
pub fn escape_json_cut(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() <= MOST_OF_A_TEXT {
        return escape_json(out, text);
    }
    let is_inside = |end: &usize| text[*end] & 0xc0 == 0x80;
    // A character has at most three bytes after its first.
    let end = (MOST_OF_A_TEXT - 3..=MOST_OF_A_TEXT).rev().find(|end| !is_inside(end)).unwrap_or(MOST_OF_A_TEXT);
    escape_json(out, &text[..end]);
    out.extend_from_slice("…".as_bytes());
}

/// Writes text as it is, but for what a terminal would obey.
pub fn escape_line(out: &mut Vec<u8>, text: &str) {
    escape_characters(out, text, |_| false);
}

#[cold]
fn escape_characters(out: &mut Vec<u8>, text: &str, is_quoted: impl Fn(char) -> bool) {
    for character in text.chars() {
        if is_obeyed(character) {
            let _ = write!(out, "\\u{:04x}", character as u32);
            continue;
        }
        if is_quoted(character) {
            out.push(b'\\');
        }
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Whether a terminal or an editor acts on a character instead of showing it: controls of either set, ends of lines, and
/// what changes the direction of the text around it.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
