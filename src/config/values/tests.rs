//! What each grammar takes and refuses, as one table per type.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use proptest::prelude::*;
use regex::Regex;

use super::*;
use crate::config::{Auth, decode};

/// The value that `yaml` reads as.
fn read<T: DeserializeOwned>(yaml: &str) -> T {
    let (value, faults) = decode(&serde_yaml::from_str(yaml).unwrap());
    assert!(faults.is_empty(), "{yaml}: {faults:?}");
    value.unwrap()
}

/// The message that `yaml` is refused with.
fn refused<T: DeserializeOwned + Debug>(yaml: &str) -> String {
    let (value, faults) = decode::<T>(&serde_yaml::from_str(yaml).unwrap());
    assert!(value.is_none(), "{yaml} was read as {value:?}");
    assert_eq!(faults.len(), 1, "{yaml}: {faults:?}");
    faults[0].message.clone()
}

fn written<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn durations_have_a_unit() {
    for (text, millis, again) in [
        ("500ms", 500, "500ms"),
        ("30s", 30_000, "30s"),
        ("5m", 300_000, "5m"),
        ("60s", 60_000, "1m"),
        ("90s", 90_000, "90s"),
        ("1h", 3_600_000, "1h"),
        ("365d", 31_536_000_000, "365d"),
    ] {
        let duration: Duration = read(text);
        assert_eq!(duration.get(), std::time::Duration::from_millis(millis), "{text}");
        assert_eq!(written(&duration), again);
    }
    for text in ["fast", "30", "30 s", "1.5s", "-1s", "s", "''", "1h30m", "30S", "99999999999999999999s"] {
        assert!(refused::<Duration>(text).starts_with("expected a duration like `30s`, got `"), "{text}");
    }
    assert_eq!(refused::<Duration>("0s"), "expected a duration above zero like `30s`, got `0s`");
    for text in ["366d", "18446744073709551615d"] {
        assert!(refused::<Duration>(text).starts_with("expected a duration of at most `365d`"), "{text}");
    }
}

#[test]
fn sizes_are_binary_decimal_or_plain() {
    for (text, bytes, again) in [
        ("512B", 512, "512B"),
        ("64KiB", 65_536, "64KiB"),
        ("1MiB", 1 << 20, "1MiB"),
        ("2GiB", 2 << 30, "2GiB"),
        ("10KB", 10_000, "10000B"),
        ("1MB", 1_000_000, "1000000B"),
        ("1024", 1024, "1KiB"),
        ("'1024'", 1024, "1KiB"),
        ("0", 0, "0B"),
    ] {
        let size: Size = read(text);
        assert_eq!(size.bytes(), bytes, "{text}");
        assert_eq!(written(&size), again);
    }
    for text in ["big", "-1", "1.5", "1kib", "64 KiB", "[]", "true"] {
        assert!(refused::<Size>(text).starts_with("expected a size like `64KiB`, got "), "{text}");
    }
    assert!(refused::<Size>("18446744073709551615GiB").contains("below"));
}

#[test]
fn rates_have_a_period_and_maybe_a_burst() {
    for (text, count, period, burst) in [
        ("100/minute", 100, Period::Minute, None),
        ("5/second burst 10", 5, Period::Second, Some(10)),
        ("7/hour burst 1", 7, Period::Hour, Some(1)),
        ("1000/day", 1000, Period::Day, None),
        ("1/month", 1, Period::Month, None),
    ] {
        let rate: Rate = read(text);
        assert_eq!(rate, Rate { count, period, burst });
        assert_eq!(written(&rate), text);
    }
    for (text, expected) in [
        ("100", "a rate like `100/minute` or `5/second burst 10`"),
        ("x/minute", "a rate like `100/minute` or `5/second burst 10`"),
        ("-1/minute", "a rate like `100/minute` or `5/second burst 10`"),
        ("5/second burst", "a rate per `second`, `minute`, `hour`, `day` or `month`"),
        ("5/second burst x", "a rate like `100/minute` or `5/second burst 10`"),
        ("5/fortnight", "a rate per `second`, `minute`, `hour`, `day` or `month`"),
        ("0/minute", "a rate with numbers above zero like `100/minute`"),
        ("5/minute burst 0", "a rate with numbers above zero like `100/minute`"),
        ("5/day burst 10", "a rate per day or month without a burst"),
        ("5/month burst 10", "a rate per day or month without a burst"),
    ] {
        assert_eq!(refused::<Rate>(text), format!("expected {expected}, got `{text}`"));
    }
}

#[test]
fn shares_are_percentages_with_up_to_four_digits_after_the_point() {
    for (text, millionths, again) in [
        ("0%", 0, "0%"),
        ("10%", 100_000, "10%"),
        ("100%", 1_000_000, "100%"),
        ("0.5%", 5_000, "0.5%"),
        ("0.0001%", 1, "0.0001%"),
        ("12.3400%", 123_400, "12.34%"),
        ("007%", 70_000, "7%"),
    ] {
        let share: Share = read(text);
        assert_eq!((share.millionths(), written(&share)), (millionths, again.to_owned()), "{text}");
    }
    for text in ["'10'", "'0.1'", "'%'", "-1%", "1.%", "'.5%'", "1,5%", "10 %", "1e1%", "1.5.1%"] {
        assert!(refused::<Share>(text).starts_with("expected a share like `10%`, got "), "{text}");
    }
    for text in ["100.0001%", "101%", "18446744073709551615%"] {
        assert_eq!(refused::<Share>(text), format!("expected a share of at most `100%`, got `{text}`"));
    }
    assert!(refused::<Share>("0.00001%").contains("up to four digits after the point"));
}

#[test]
fn a_hash_has_64_digits_and_is_never_shown() {
    let hash: Sha256 = read(&format!("'{}fF'", "0".repeat(62)));
    assert_eq!(hash.0[31], 0xff);
    assert_eq!(written(&hash), "***");
    assert_eq!(format!("{hash:?}"), "Sha256(***)");
    for text in ["abc", &"0".repeat(63), &format!("{}g", "0".repeat(63)), &format!("{}é", "0".repeat(62))] {
        assert_eq!(refused::<Sha256>(&format!("'{text}'")), "expected 64 hexadecimal digits, got other text");
    }
}

#[test]
fn header_names_are_lower_case() {
    assert_eq!(read::<FieldName>("X-Api-Key").as_str(), "x-api-key");
    assert_eq!(written(&read::<FieldName>("ETag")), "etag");
    for text in ["'a b'", "'a:'", "''", "é"] {
        assert!(refused::<FieldName>(text).starts_with("expected a header name like `x-api-key`, got"), "{text}");
    }
}

#[test]
fn limits_count_by_a_known_subject() {
    for (text, by) in [("client_ip", LimitBy::ClientIp), ("consumer", LimitBy::Consumer), ("route", LimitBy::Route)] {
        assert_eq!(read::<LimitBy>(text), by);
        assert_eq!(written(&by), text);
    }
    assert_eq!(written(&read::<LimitBy>("'header:X-Tenant'")), "header:x-tenant");
    for name in ["claim:tenant", "claim:realm.tenant", "claim:https://example.com/tenant"] {
        assert_eq!(read::<LimitBy>(&format!("'{name}'")), LimitBy::Claim(name["claim:".len()..].to_owned()));
        assert_eq!(written(&read::<LimitBy>(&format!("'{name}'"))), name);
    }
    let expected = "expected `client_ip`, `consumer`, `route`, `header:NAME` or `claim:NAME`, got `ip`";
    assert_eq!(refused::<LimitBy>("ip"), expected);
    for text in ["claim:", "claim:a b", "claim:a\\b", "claim:\"a", "claim:é"] {
        let said = refused::<LimitBy>(&format!("'{text}'"));
        assert!(said.starts_with("expected the name of a claim like `tenant`"), "{text}: {said}");
    }
    assert_eq!(refused::<LimitBy>("'header:a b'"), "expected a header name like `x-api-key`, got `header:a b`");
}

#[test]
fn one_stands_for_a_list_of_one() {
    let rate = |count| Rate { count, period: Period::Second, burst: None };
    assert_eq!(read::<OneOrMany<Rate>>("1/second").as_slice(), [rate(1)]);
    assert_eq!(read::<OneOrMany<Rate>>("[1/second, 2/second]").as_slice(), [rate(1), rate(2)]);
    assert_eq!(read::<OneOrMany<u32>>("7").as_slice(), [7]);
    assert!(OneOrMany::<Rate>::default().as_slice().is_empty());
    for (text, got) in [("5", "`5`"), ("{}", "a mapping"), ("true", "`true`"), ("[[]]", "a list"), ("~", "nothing")] {
        assert_eq!(
            refused::<OneOrMany<Rate>>(text),
            format!("expected a rate like `100/minute` or `5/second burst 10`, got {got}")
        );
    }
}

#[test]
fn parameters_are_any_or_named() {
    assert_eq!(read::<Parameters>("any"), Parameters::Any);
    let named = read::<Parameters>("{limit: {type: integer, maximum: 100, default: 20}, q: {optional: true}}");
    let Parameters::Named(named) = named else { panic!("not named") };
    assert_eq!(named["limit"].default, Some(serde_json::json!(20)));
    assert_eq!(serde_json::to_string(&named["limit"].schema).unwrap(), r#"{"type":"integer","maximum":100}"#);
    assert!(named["q"].optional);
    assert_eq!(refused::<Parameters>("all"), "expected `any` or a mapping of parameters, got `all`");
    assert_eq!(refused::<Parameters>("[any]"), "expected `any` or a mapping of parameters, got a list");
}

#[test]
fn a_null_default_is_a_default() {
    let Parameters::Named(named) = read("{a: {default: ~}, b: {}}") else { panic!("not named") };
    assert_eq!(named["a"].default, Some(serde_json::Value::Null));
    assert_eq!(named["b"].default, None);
}

#[test]
fn auth_is_public_or_a_list() {
    assert_eq!(read::<Auth>("public"), Auth::Public(crate::config::Public::Public));
    assert_eq!(read::<Auth>("[a, b]"), Auth::Any(vec!["a".to_owned(), "b".to_owned()]));
    for (text, got) in [("open", "`open`"), ("{}", "a mapping"), ("1", "`1`")] {
        assert_eq!(refused::<Auth>(text), format!("expected `public` or a list of authenticators, got {got}"));
    }
}

/// Whether the pattern of a type's schema takes a text.
fn fits<T: Written>(text: &str) -> bool {
    Regex::new(&format!("^({})$", T::PATTERN)).unwrap().is_match(text)
}

/// That pattern and parser say the same of a text, unless it is one whose form is right and whose number is not.
fn agree<T: Written>(text: &str, beyond: &[&str]) {
    match T::parse(text) {
        Ok(_) => assert!(fits::<T>(text), "{}: the parser takes `{text}`, the pattern does not", T::PATTERN),
        Err(expected) if fits::<T>(text) => {
            assert!(beyond.iter().any(|bound| expected.contains(bound)), "`{text}` is refused: {expected}");
        }
        Err(_) => {}
    }
}

/// The same for every type.
fn all_agree(text: &str) {
    agree::<Duration>(text, &["at most", "a duration like"]);
    agree::<Size>(text, &["below", "a size like"]);
    agree::<Rate>(text, &["a rate like"]);
    agree::<Sha256>(text, &[]);
    agree::<FieldName>(text, &[]);
    agree::<LimitBy>(text, &[]);
    agree::<Share>(text, &["at most", "a share like"]);
}

#[test]
fn examples_are_right_and_patterns_take_what_the_parser_takes() {
    fn examples<T: Written>() {
        for text in T::EXAMPLES {
            assert!(T::parse(text).is_ok() && fits::<T>(text), "{text}");
        }
    }
    examples::<Duration>();
    examples::<Size>();
    examples::<Rate>();
    examples::<FieldName>();
    examples::<LimitBy>();
    examples::<Share>();
    for (text, takers) in [
        ("500ms", "duration name"),
        ("0s", "name"),
        ("007s", "duration name"),
        ("1.5s", "name"),
        ("1h30m", "name"),
        ("30", "size name"),
        ("64KiB", "size name"),
        ("64 KiB", ""),
        ("1kib", "name"),
        ("100/minute", "rate"),
        ("0/minute", ""),
        ("5/second burst 10", "rate"),
        ("5/second burst 0", ""),
        ("5/day burst 10", ""),
        ("5/fortnight", ""),
        ("consumer", "name by"),
        ("header:X-Tenant", "by"),
        ("header:", ""),
        ("header:a b", ""),
        ("claim:realm.tenant", "by"),
        ("claim:urn:x/[1]", "by"),
        ("claim:", ""),
        ("claim:a b", ""),
        ("claim:a\"b", ""),
        ("x_api~key", "name"),
        ("10%", "name share"),
        ("0.0001%", "name share"),
        ("0.00001%", "name"),
        (".5%", "name"),
        ("5.%", "name"),
        ("", ""),
        ("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00A08", "sha256 name"),
    ] {
        all_agree(text);
        let known = [
            (fits::<Duration>(text), "duration"),
            (fits::<Size>(text), "size"),
            (fits::<Rate>(text), "rate"),
            (fits::<Sha256>(text), "sha256"),
            (fits::<FieldName>(text), "name"),
            (fits::<LimitBy>(text), "by"),
            (fits::<Share>(text), "share"),
        ];
        let found: Vec<&str> = known.iter().filter(|(fits, _)| *fits).map(|(_, name)| *name).collect();
        assert_eq!(found.join(" "), takers, "{text}");
    }
}

/// Pieces of every grammar.
fn value_like() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "0",
        "1",
        "30",
        "007",
        "18446744073709551616",
        "ms",
        "s",
        "m",
        "h",
        "d",
        "B",
        "KiB",
        "GiB",
        "MB",
        "/",
        "second",
        "minute",
        "day",
        "month",
        " burst ",
        " ",
        "header:",
        "claim:",
        "client_ip",
        "route",
        "consumer",
        "x-y",
        "-",
        "é",
        "a",
        "F",
        "\"",
        "\n",
        "$",
        "{",
        "+",
        ".",
        "%",
    ];
    let piece = prop_oneof![4 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn pattern_and_parser_agree(text in value_like()) {
        all_agree(&text);
    }

    #[test]
    fn pattern_and_parser_agree_on_hashes(text in "[0-9a-gA-G]{62,66}") {
        all_agree(&text);
    }
}
