//! The grammar of numbers, shared by text values and JSON.
//!
//! Works on the digits as written and never converts a number that it could not give back unchanged: a value has no
//! largest size here. What needs arithmetic beyond `i64` is left to the JSON Schema validator.

/// `-?(0|[1-9][0-9]*)`: no plus sign, leading zero, separator, space or digit outside ASCII.
pub(super) fn is_integer(text: &str) -> bool {
    integer_end(text.as_bytes()) == Some(text.len())
}

/// RFC 8259's `number`; neither `inf` nor `nan`.
pub(super) fn is_number(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(mut end) = integer_end(bytes) else { return false };
    if bytes.get(end) == Some(&b'.') {
        let Some(digits) = digits_end(bytes, end + 1) else { return false };
        end = digits;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        end += 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let Some(digits) = digits_end(bytes, end) else { return false };
        end = digits;
    }
    end == bytes.len()
}

/// Whether a JSON number is mathematically whole, as JSON Schema asks: `5`, `5.0` and `1e2` are.
///
/// Assumes [`is_number`].
pub(super) fn is_whole(text: &str) -> bool {
    if !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return true;
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let significant = |digits: &str| digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if !significant(integer) && !significant(fraction) {
        return true;
    }
    // An exponent too long for i64 is larger than any number of digits a request can hold.
    let exponent = exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    let trailing = if fraction.is_empty() { integer.len() - integer.trim_end_matches('0').len() } else { 0 };
    let lowest = i64::try_from(trailing).unwrap_or(i64::MAX) - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    exponent.saturating_add(lowest) >= 0
}

/// The value of a plain integer that fits.
pub(super) fn as_i64(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn integer_end(bytes: &[u8]) -> Option<usize> {
    let start = usize::from(bytes.first() == Some(&b'-'));
    match bytes.get(start)? {
        b'0' => Some(start + 1),
        b'1'..=b'9' => digits_end(bytes, start),
        _ => None,
    }
}

/// The end of one or more digits that begin at `start`.
fn digits_end(bytes: &[u8], start: usize) -> Option<usize> {
    let count = bytes.get(start..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then_some(start + count)
}

#[cfg(test)]
mod tests {
    use super::{is_integer, is_number, is_whole};

    #[test]
    fn only_the_canonical_spelling_of_a_number_is_one() {
        let rows = [
            ("0", "integer"),
            ("-0", "integer"),
            ("5", "integer"),
            ("-17", "integer"),
            ("123456789012345678901234567890", "integer"),
            ("5.0", "number"),
            ("1.50", "number"),
            ("1e3", "number"),
            ("1E+3", "number"),
            ("-2.5e-10", "number"),
            ("0.0", "number"),
            ("", "neither"),
            ("-", "neither"),
            ("+5", "neither"),
            ("007", "neither"),
            ("-01", "neither"),
            ("1_000", "neither"),
            (" 12 ", "neither"),
            ("٣", "neither"),
            ("1.", "neither"),
            (".5", "neither"),
            ("1e", "neither"),
            ("1e+", "neither"),
            ("inf", "neither"),
            ("nan", "neither"),
            ("NaN", "neither"),
            ("Infinity", "neither"),
            ("0x10", "neither"),
            ("1.5.2", "neither"),
            ("5\n", "neither"),
            ("1e5e5", "neither"),
            ("--1", "neither"),
        ];
        for (text, expected) in rows {
            let seen = match (is_integer(text), is_number(text)) {
                (true, true) => "integer",
                (false, true) => "number",
                (false, false) => "neither",
                (true, false) => "an integer that is no number",
            };
            assert_eq!(seen, expected, "{text:?}");
        }
    }

    #[test]
    fn a_json_number_is_whole_by_its_value() {
        let rows = [
            ("5", true),
            ("5.0", true),
            ("5.5", false),
            ("1e2", true),
            ("1.5e1", true),
            ("1.55e1", false),
            ("100e-2", true),
            ("100e-3", false),
            ("0.0e-99", true),
            ("0e-5", true),
            ("1e-1", false),
            ("1e99999999999999999999", true),
            ("1e-99999999999999999999", false),
            ("-2.0", true),
            ("10.50e1", true),
            ("10.05e1", false),
        ];
        for (text, expected) in rows {
            assert_eq!(is_whole(text), expected, "{text}");
        }
    }
}
