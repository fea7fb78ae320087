//! What a token says of its bearer, compared with what a route wants to hear.
//!
//! Values are compared as JSON values: text exactly, numbers by value (`1` is `1.0`), nothing across types. A list in
//! the token fits when one of its items does; an object never does. Scopes are words of `scope` (RFC 8693: text with
//! spaces between them) or `scp` (as some issuers have it); each may be a list as well, whose items are taken whole.

use serde_json::{Map, Number, Value};

/// A claim that a token must have.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimRule {
    /// Its name.
    pub name: Box<str>,
    /// One of these it must be, or hold.
    pub wanted: Box<[Wanted]>,
}

/// A value that a claim may have.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// This text.
    Text(Box<str>),
    /// This number, however it is written.
    Number(Number),
    /// This.
    Boolean(bool),
}

impl ClaimRule {
    /// Whether these claims meet it.
    pub fn is_met(&self, claims: &Map<String, Value>) -> bool {
        let fits = |value: &Value| self.wanted.iter().any(|wanted| wanted.is(value));
        match claims.get(&*self.name) {
            Some(Value::Array(items)) => items.iter().any(fits),
            Some(value) => fits(value),
            None => false,
        }
    }
}

impl Wanted {
    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(wanted), Value::String(text)) => **wanted == **text,
            (Self::Number(wanted), Value::Number(number)) => is_same(wanted.as_str(), number.as_str()),
            (Self::Boolean(wanted), Value::Bool(value)) => wanted == value,
            _ => false,
        }
    }
}

/// The scopes that a token grants.
pub(super) fn scopes(claims: &Map<String, Value>) -> impl Iterator<Item = &str> {
    ["scope", "scp"].into_iter().filter_map(|name| claims.get(name)).flat_map(|claim| {
        let words = claim.as_str().into_iter().flat_map(|text| text.split(' '));
        let items = claim.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.chain(items)
    })
}

/// Whether two JSON numbers have the same value. Digits are compared as written: nothing is rounded.
fn is_same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let (Some(one), Some(other)) = (Decimal::of(one), Decimal::of(other)) else { return false };
    match (one.is_zero(), other.is_zero()) {
        (false, false) => {
            one.negative == other.negative && one.scale == other.scale && one.significant().eq(other.significant())
        }
        (one, other) => one == other,
    }
}

/// A number as digits and a power of ten. Of two that are not zero, those with the same value have the same sign, scale
/// and significant digits.
struct Decimal<'a> {
    negative: bool,
    integer: &'a str,
    fraction: &'a str,
    /// The power of ten of the first significant digit.
    scale: i128,
}

impl<'a> Decimal<'a> {
    /// `None` for an exponent that nobody means: it is equal to nothing but itself.
    fn of(text: &'a str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent = i128::from(exponent.parse::<i64>().ok()?);
        let leading = integer.bytes().chain(fraction.bytes()).take_while(|digit| *digit == b'0').count();
        let scale = exponent + integer.len() as i128 - leading as i128;
        Some(Self { negative, integer, fraction, scale })
    }

    /// The digits without zeros at either end.
    fn significant(&self) -> impl Iterator<Item = u8> {
        let fraction = self.fraction.trim_end_matches('0');
        let integer = if fraction.is_empty() { self.integer.trim_end_matches('0') } else { self.integer };
        integer.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0')
    }

    fn is_zero(&self) -> bool {
        self.significant().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_are_the_same_by_value() {
        for (one, other, expected) in [
            ("1", "1", true),
            ("1", "1.0", true),
            ("1", "10e-1", true),
            ("100", "1E+2", true),
            ("0.05", "5e-2", true),
            ("0", "-0.0e7", true),
            ("1", "-1", false),
            ("1", "10", false),
            ("0", "0.1", false),
            ("120", "12", false),
            ("9007199254740993", "9007199254740992", false),
            ("1e99999999999999999999", "1e99999999999999999998", false),
            ("1e99999999999999999999", "1e99999999999999999999", true),
            ("0.1000000000000000000001", "0.1", false),
        ] {
            assert_eq!(is_same(one, other), expected, "{one} {other}");
            assert_eq!(is_same(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_claim_is_the_wanted_value_or_holds_it() {
        let text = |text: &str| Wanted::Text(text.into());
        let numeric = |text: &str| Wanted::Number(serde_json::from_str(text).unwrap());
        for (wanted, claim, expected) in [
            (vec![text("acme")], json!("acme"), true),
            (vec![text("acme")], json!("Acme"), false),
            (vec![text("acme")], json!("acme "), false),
            (vec![text("acme")], json!(["other", "acme"]), true),
            (vec![text("acme")], json!([]), false),
            (vec![text("acme")], json!([["acme"]]), false),
            (vec![text("acme")], json!({"acme": "acme"}), false),
            (vec![text("acme")], json!(null), false),
            (vec![text("a"), text("b")], json!("b"), true),
            (vec![text("a"), text("b")], json!(["c", "b"]), true),
            (vec![text("a"), text("b")], json!("a b"), false),
            (vec![numeric("7")], number("7.0"), true),
            (vec![numeric("7")], number("[8, 70e-1]"), true),
            (vec![numeric("7")], json!("7"), false),
            (vec![text("7")], json!(7), false),
            (vec![Wanted::Boolean(true)], json!(true), true),
            (vec![Wanted::Boolean(true)], json!(false), false),
            (vec![Wanted::Boolean(true)], json!("true"), false),
            (vec![Wanted::Boolean(true)], json!(1), false),
        ] {
            let rule = ClaimRule { name: "tenant".into(), wanted: wanted.into() };
            let claims = Map::from_iter([("tenant".to_owned(), claim.clone())]);
            assert_eq!(rule.is_met(&claims), expected, "{rule:?} {claim}");
            let other = Map::from_iter([("Tenant".to_owned(), claim)]);
            assert!(!rule.is_met(&other) && !rule.is_met(&Map::new()), "{rule:?}");
        }
    }

    #[test]
    fn scopes_are_words_of_text_or_items_of_a_list() {
        for (claims, expected) in [
            (json!({}), ""),
            (json!({"scope": "read write"}), "read,write"),
            (json!({"scp": "read"}), "read"),
            (json!({"scp": ["read", 7, "a b"]}), "read,a b"),
            (json!({"scope": ["read"]}), "read"),
            (json!({"scope": "read", "scp": ["write"]}), "read,write"),
            (json!({"scope": 7, "scp": {"read": true}}), ""),
            (json!({"scopes": "read"}), ""),
        ] {
            let found: Vec<&str> = scopes(claims.as_object().unwrap()).collect();
            assert_eq!(found.join(","), expected, "{claims}");
        }
    }
}
