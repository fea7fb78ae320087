//! Tables of what a service gets.

use proptest::prelude::*;

use super::Value::{Captured, Decoded};
use super::*;
use crate::policy::path::decode_segment;

fn service_path(gateway_path: &str, text: &str) -> Result<ServicePath, TemplateFault> {
    ServicePath::parse(text, &Template::parse(gateway_path).unwrap())
}

/// Expands after a prefix, as the gateway does for a service whose URL has a path.
fn expand(gateway_path: &str, text: &str, values: &[Value<'_>]) -> Result<String, PathFault> {
    let mut out = String::from("/api");
    let result = service_path(gateway_path, text).unwrap().expand(|index| values[index], &mut out);
    let written = out.strip_prefix("/api").expect("what was there stays").to_owned();
    if result.is_err() {
        assert_eq!(written, "", "nothing is written of a refused value");
    }
    result.map(|()| written)
}

#[track_caller]
fn becomes(gateway_path: &str, text: &str, values: &[Value<'_>], written: &str) {
    assert_eq!(expand(gateway_path, text, values).as_deref(), Ok(written), "{text} with {values:?}");
}

#[track_caller]
fn refused(gateway_path: &str, text: &str, says: &str) {
    let fault = service_path(gateway_path, text).expect_err(text);
    assert!(fault.message.contains(says), "{text:?}: {fault}, not {says:?}");
}

#[test]
fn a_literal_is_borrowed() {
    for (text, literal) in [("/v1/users", "/v1/users"), ("/v1/%75sers?x=%61&y", "/v1/users?x=%61&y"), ("/a?", "/a?")] {
        assert_eq!(service_path("/x/{id}", text).unwrap().as_literal(), Some(literal));
        becomes("/x/{id}", text, &[], literal);
    }
    assert_eq!(service_path("/x/{id}", "/v1/{id}").unwrap().as_literal(), None);
}

#[test]
fn names_may_be_used_in_any_order_or_not_at_all() {
    let values = [Captured("1"), Captured("2")];
    becomes("/{a}/{b}", "/{b}/{a}", &values, "/2/1");
    becomes("/{a}/{b}", "/{b}/x/{b}?y={b}", &values, "/2/x/2?y=2");
    becomes("/{a}/{b}", "/v{a}.{b}-x", &values, "/v1.2-x");
}

#[test]
fn a_query_is_kept_and_known() {
    becomes("/{a}", "/x?a={a}&y=1&z={a}", &[Captured("7")], "/x?a=7&y=1&z=7");
    for (text, expected) in [("/x?a={a}", true), ("/x?", true), ("/x", false), ("/{a}?y", true), ("/{a}", false)] {
        assert_eq!(service_path("/{a}", text).unwrap().has_query(), expected, "{text}");
    }
}

#[test]
fn a_value_is_encoded_for_its_place() {
    becomes(
        "/{a}",
        "/{a}?a={a}",
        &[Decoded("a/b?c#d%2e&e=é +")],
        "/a%2Fb%3Fc%23d%252e&e=%C3%A9%20+?a=a%2Fb%3Fc%23d%252e%26e%3D%C3%A9%20%2B",
    );
    becomes("/{a}", "/{a}", &[Decoded("!$&'()*+,;=:@-._~")], "/!$&'()*+,;=:@-._~");
    becomes("/{a}", "/{a}?a={a}", &[Captured("a%2Fb%20c&d=e+")], "/a%2Fb%20c&d=e+?a=a%2Fb%20c%26d%3De%2B");
    becomes("/{a}", "/{a}", &[Captured("%252e%252e")], "/%252e%252e");
    becomes("/{a}", "/{a}", &[Decoded("{a}{b}%s")], "/%7Ba%7D%7Bb%7D%25s");
    becomes("/{a}", "/{a}", &[Decoded("tenant=evil&x\u{1F600}")], "/tenant=evil&x%F0%9F%98%80");
}

#[test]
fn a_catch_all_keeps_its_slashes() {
    let rest = "/f/{*rest}";
    becomes(rest, "/{rest}", &[Captured("a/b%2Fc/")], "/a/b%2Fc/");
    becomes(rest, "/{*rest}", &[Decoded("a b/c?")], "/a%20b/c%3F");
    becomes(rest, "/x/{rest}", &[Captured("")], "/x/");
    becomes(rest, "/x?p={rest}", &[Captured("a/b")], "/x?p=a%2Fb");
    becomes("/{a}/{*rest}", "/{a}/{rest}", &[Decoded("a/b"), Decoded("a/b")], "/a%2Fb/a/b");
}

#[test]
fn no_value_makes_a_path_that_hygiene_refuses() {
    for (text, value, fault) in [
        ("/{a}", ".", PathFault::DotSegment),
        ("/x/{a}/y", "..", PathFault::DotSegment),
        ("/{a}", "../x", PathFault::DotSegment),
        ("/{a}", "x/../../etc", PathFault::DotSegment),
        ("/{a}", "..\\x", PathFault::DotSegment),
        ("/{a}/x", "..;v", PathFault::DotSegment),
        ("/.{a}/x", ".", PathFault::DotSegment),
        ("/{a}", "", PathFault::EmptySegment),
        ("/v{a}", "", PathFault::EmptySegment),
        ("/{a}", "a\0", PathFault::Nul),
        ("/{a}", "a\r\nX: y", PathFault::ControlCharacter),
    ] {
        assert_eq!(expand("/{a}", text, &[Decoded(value)]), Err(fault), "{text} with {value:?}");
    }
    for (value, fault) in [
        (Captured("."), PathFault::DotSegment),
        (Captured("a/../b"), PathFault::DotSegment),
        (Captured("/evil"), PathFault::EmptySegment),
        (Decoded("a//b"), PathFault::EmptySegment),
        (Captured("%zz"), PathFault::BrokenEscape),
    ] {
        assert_eq!(expand("/{*a}", "/{a}", &[value]), Err(fault), "{value:?}");
    }
    becomes("/{a}", "/x?a={a}", &[Decoded("..")], "/x?a=..");
    becomes("/{a}", "/x?a={a}", &[Decoded("")], "/x?a=");
}

#[test]
fn a_service_path_that_cannot_be_expanded_is_refused() {
    let gateway_path = "/{id}/{name}";
    refused(gateway_path, "/{ident}", "unknown parameter `ident`: the gateway path has `id`, `name`");
    refused("/x", "/{id}", "the gateway path has no parameters");
    refused(gateway_path, "/?x={y}", "unknown parameter `y`");
    refused(gateway_path, "/{*id}", "no catch-all of the gateway path: write `{id}`");
    refused(gateway_path, "v1", "write `/v1`");
    refused(gateway_path, "?x={id}", "begins with `/`");
    refused(gateway_path, "/a//{id}", "write one `/`");
    refused(gateway_path, "/../{id}", "`..` segments");
    refused(gateway_path, "/a b", "write `%20`");
    refused(gateway_path, "/a?x=a b", "write `%20`");
    refused(gateway_path, "/a?x=é", "write `%C3%A9`");
    refused(gateway_path, "/a?x=%2", "%25");
    refused(gateway_path, "/a?x=%{id}", "%25");
    refused(gateway_path, "/a?x\n", "control characters");
    refused(gateway_path, "/a#b", "%23");
    refused(gateway_path, "/{id", "without `}`");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_was_put_in_can_be_read_out(value in "\\PC{1,12}|[./%;\\\\a]{1,6}") {
        let Ok(written) = expand("/{a}", "/v-{a}/x?q={a}&r=1", &[Decoded(&value)]) else { return Ok(()) };
        let (path, query) = written.split_once('?').unwrap();
        let segments = path.split('/').collect::<Vec<_>>();
        prop_assert_eq!(segments.len(), 3);
        prop_assert_eq!(decode_segment(segments[1]), format!("v-{}", value));
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>();
        prop_assert_eq!(pairs, vec![("q".to_owned(), value), ("r".to_owned(), "1".to_owned())]);
        prop_assert!(RequestPath::parse(path).is_ok());
    }

    #[test]
    fn a_capture_passes_unchanged(raw in "(/[a-z.%0-9A-F;=:@!é ]{1,6}){1,4}/?") {
        let Ok(path) = RequestPath::parse(&raw) else { return Ok(()) };
        let rest = path.as_str().strip_prefix('/').unwrap();
        prop_assert_eq!(expand("/{*a}", "/{a}", &[Captured(rest)]), Ok(path.as_str().to_owned()));
    }

    #[test]
    fn no_value_makes_it_panic(value in any::<String>(), text in "[a-z{}?/%*.]{0,10}") {
        let Ok(service_path) = service_path("/{a}/{*b}", &format!("/{text}")) else { return Ok(()) };
        let _ = service_path.expand(|_| Captured(&value), &mut String::new());
        let _ = service_path.expand(|_| Decoded(&value), &mut String::new());
    }
}
