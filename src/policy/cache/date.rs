//! Dates of HTTP, read as a cache should read them (RFC 9111 section 4.2).

use std::time::SystemTime;

use http::HeaderMap;
use http::header::HeaderName;

/// The one date of a field; `None` when there is none, several, or no date. Names of days and months count in any case.
pub fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    parse(value.to_str().ok()?)
}

fn parse(text: &str) -> Option<SystemTime> {
    if let Ok(date) = httpdate::parse_http_date(text) {
        return Some(date);
    }
    let mut spelled = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        let begins = !text[..at].ends_with(|before: char| before.is_ascii_alphabetic());
        spelled.push(if begins { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() });
    }
    httpdate::parse_http_date(&spelled.replace("Gmt", "GMT")).ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::fields;
    use super::*;

    #[test]
    fn three_forms_of_dates_are_read_in_any_case() {
        let expected = httpdate::parse_http_date("Thu, 18 Aug 2050 02:01:18 GMT").unwrap();
        for (lines, known) in [
            (&["Thu, 18 Aug 2050 02:01:18 GMT"][..], true),
            (&["Thursday, 18-Aug-50 02:01:18 GMT"], true),
            (&["Thu Aug 18 02:01:18 2050"], true),
            (&["THU, 18 AUG 2050 02:01:18 gmt"], true),
            (&["thu, 18 aug 2050 02:01:18 GMT"], true),
            (&["Thu, 18 Aug 2050 02:01:18 UTC"], false),
            (&["Thu, 18 Aug 2050 2:01:18 GMT"], false),
            (&["Thu, 18 Aug 50 02:01:18 GMT"], false),
            (&["Thu 18 Aug 2050 02:01:18 GMT"], false),
            (&["Thu, 18  Aug  2050 02:01:18 GMT"], false),
            (&["Thu, 18-Aug-2050 02:01:18 GMT"], false),
            (&["Thu, 18 Aug 2050 02.01.18 GMT"], false),
            (&["0"], false),
            (&["\u{e9}"], false),
            (&["Thu, 18 Aug 2050 02:01:18 GMT", "Thu, 18 Aug 2050 02:01:18 GMT"], false),
            (&[], false),
        ] {
            let lines: Vec<String> = lines.iter().map(|line| format!("expires: {line}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let read = date(&fields(&lines), &http::header::EXPIRES);
            assert_eq!(read, known.then_some(expected), "{lines:?}");
        }
    }
}
