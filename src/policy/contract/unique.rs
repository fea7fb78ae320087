//! Whether the items of an array differ, in time linear in what the client sent.
//!
//! The validator's own `uniqueItems` hashes numbers by their rounding to `f64`: thousands of long numbers with one
//! rounding would be compared in pairs. Here each item is written in one normal form (numbers by value, members by
//! name) and looked up in a set keyed at random.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::tree::Json;

/// Whether no item equals another, as JSON Schema compares: `1`, `1.0` and `10e-1` are equal, and so are objects with
/// the same members in another order.
pub(super) fn all_differ(items: &[Json<'_>]) -> bool {
    let mut seen = HashSet::with_capacity(items.len().min(4096));
    items.iter().all(|item| seen.insert(form(item)))
}

/// The normal form of a value: two values are equal when their forms are.
pub(super) fn form(value: &Json<'_>) -> String {
    let mut out = String::new();
    write_form(value, &mut out);
    out
}

fn write_form(value: &Json<'_>, out: &mut String) {
    match value {
        Json::Null => out.push('n'),
        Json::Bool(true) => out.push('t'),
        Json::Bool(false) => out.push('f'),
        Json::Number(digits) => write_number(digits, out),
        Json::String(text) => write_text(text, out),
        Json::Array(items) => {
            out.push('[');
            items.iter().for_each(|item| write_form(item, out));
            out.push(']');
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| name);
            out.push('{');
            for (name, value) in members {
                write_text(name, out);
                write_form(value, out);
            }
            out.push('}');
        }
    }
}

/// The length before the text keeps forms apart without escapes.
fn write_text(text: &str, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{}:{text}", text.len());
}

/// `-12.50e3` as `-125` and the power of ten of its last digit.
fn write_number(text: &str, out: &mut String) {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [integer, fraction].concat();
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return out.push_str("#0;");
    }
    // Exponents beyond i64 count as one: no practical array holds two of them.
    let exponent = exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    let power = i128::from(exponent) - fraction.len() as i128 + (digits.len() - significant.len()) as i128;
    let _ = write!(out, "#{sign}{}e{power};", significant.trim_start_matches('0'));
}

#[cfg(test)]
mod tests {
    use super::all_differ;
    use crate::policy::contract::tree::Json;

    #[test]
    fn items_are_compared_by_value() {
        let rows = [
            ("[]", true),
            ("[1]", true),
            ("[1,2]", true),
            ("[1,1]", false),
            ("[1,1.0]", false),
            ("[1,10e-1]", false),
            ("[0,-0]", false),
            ("[0,0.0e5]", false),
            ("[1,\"1\"]", true),
            ("[1,-1]", true),
            ("[0.1,1e-1]", false),
            ("[12345678901234567890123,12345678901234567890124]", true),
            ("[1e400,1e401]", true),
            ("[1e400,10e399]", false),
            ("[true,1]", true),
            ("[null,false]", true),
            ("[[1],[1.0]]", false),
            ("[[1,2],[2,1]]", true),
            (r#"[{"a":1,"b":2},{"b":2,"a":1}]"#, false),
            (r#"[{"a":1},{"a":2}]"#, true),
            (r#"["a","A"]"#, true),
            (r#"["a","\u0061"]"#, false),
            (r#"[["ab"],["a","b"]]"#, true),
            (r#"[[12],[1,2]]"#, true),
            ("[100,1e2,7]", false),
            ("[10,100]", true),
        ];
        for (text, expected) in rows {
            let items: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
            let items: Vec<_> = items.iter().map(Json::of).collect();
            assert_eq!(all_differ(&items), expected, "{text}");
        }
    }
}
