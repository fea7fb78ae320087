//! Tables of what passes, in which spelling, and of what is refused.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn passes(raw: &str, as_text: &str) {
    let path = RequestPath::parse(raw).unwrap_or_else(|fault| panic!("{raw:?} refused: {fault}"));
    assert_eq!(path.as_str(), as_text, "spelling of {raw:?}");
}

#[track_caller]
fn refused(fault: PathFault, paths: &[&str]) {
    for raw in paths {
        assert_eq!(RequestPath::parse(raw), Err(fault), "{raw:?}");
    }
}

#[test]
fn a_clean_path_is_borrowed_as_it_is() {
    for raw in ["/", "/users", "/users/", "/a.b/..c/c../...", "/a;v=1/b", "/!$&'()*+,;=:@", "/a%20b", "/caf%C3%A9"] {
        passes(raw, raw);
        assert!(matches!(RequestPath::parse(raw).unwrap().normalised, Cow::Borrowed(_)), "{raw}");
    }
}

#[test]
fn every_spelling_of_a_path_becomes_one() {
    passes("/us%65rs", "/users");
    passes("/%7Euser%2d%5F", "/~user-_");
    passes("/a%c3%a9", "/a%C3%A9");
    passes("/a%2fb%5c", "/a%2Fb%5C");
    passes("/é", "/%C3%A9");
    passes("/xé%41é/", "/x%C3%A9A%C3%A9/");
    passes("/\"<>^`{|}[] ", "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D%20");
    passes("/a%3Ab%21", "/a%3Ab%21"); // reserved characters do not mean the same when they are escaped
}

#[test]
fn escapes_are_decoded_exactly_once() {
    passes("/%252e%252e/x", "/%252e%252e/x");
    passes("/%25%32f", "/%252f");
    assert!(!RequestPath::parse("/%252F%255C").unwrap().has_encoded_slash());
}

#[test]
fn a_dot_segment_is_refused_in_every_spelling() {
    refused(
        PathFault::DotSegment,
        &[
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/%2e",
            "/%2E%2e/x",
            "/.%2e/x",
            "/a/%2e./b",
            "/..;/x",
            "/..;a=b/x",
            "/.;",
            "/%2e%2e;x",
            "/..%3b/x",
            "/..%2Fetc",
            "/..%5cetc",
            "/a%2F..%2Fb",
            "/a%2f..",
            "/a%5c%2e%2e/b",
            "/a%2F.;b",
        ],
    );
}

#[test]
fn what_servers_read_differently_is_refused() {
    refused(PathFault::NotAbsolute, &["", "*", "users", "http://host/x", "%2Fusers", "é"]);
    refused(PathFault::EmptySegment, &["//", "//host/x", "/a//b", "/a//", "/%41//b"]);
    refused(PathFault::Backslash, &["/a\\b", "/\\..\\", "/%41\\"]);
    refused(PathFault::Delimiter, &["/a?x=1", "/a#b", "/%41?"]);
    refused(PathFault::Nul, &["/a\0", "/%00", "/a%00.png"]);
    refused(PathFault::ControlCharacter, &["/a\r\n", "/\t", "/\x7f", "/%0d%0A", "/%1f", "/%7f", "/%7F"]);
    refused(PathFault::BrokenEscape, &["/%", "/%2", "/%zz", "/%2g", "/%g2", "/a%/b", "/%u002e", "/%2\u{e9}", "/%+1"]);
    refused(PathFault::NotUtf8, &["/%FF", "/%C0%AE", "/%c3", "/%C3/%A9", "/%ED%A0%80", "/%C3\u{e9}"]);
}

#[test]
fn an_encoded_slash_is_remembered() {
    for (raw, expected) in
        [("/a/b", false), ("/a%2Fb", true), ("/a%2fb", true), ("/a%5C", true), ("/%2F", true), ("/a%2E", false)]
    {
        assert_eq!(RequestPath::parse(raw).unwrap().has_encoded_slash(), expected, "{raw}");
    }
}

#[test]
fn a_segment_is_decoded_once() {
    for (encoded, text) in
        [("a", "a"), ("a%20b", "a b"), ("%252e", "%2e"), ("%C3%A9", "é"), ("a%2Fb", "a/b"), ("+", "+")]
    {
        assert_eq!(decode_segment(encoded), text);
    }
}

/// Paths with far more trouble in them than random text has.
fn troubled_path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-z0-9._;~%/]",
        3 => prop::sample::select(vec!["/", "..", ".", "%2e", "%2E", "%2f", "%5c", "%3b", "%25", "\\", "é", "//"])
            .prop_map(str::to_owned),
        1 => any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_dangerous_passes_however_it_is_written(raw in troubled_path()) {
        let Ok(path) = RequestPath::parse(&raw) else { return Ok(()) };
        let decoded = percent_encoding::percent_decode_str(path.as_str()).decode_utf8().expect("UTF-8 was checked");
        prop_assert!(!decoded.bytes().any(|byte| byte < 0x20 || byte == 0x7f));
        for segment in decoded.split(['/', '\\']) {
            let name = segment.split(';').next().unwrap();
            prop_assert!(name != "." && name != "..", "{raw:?} holds {segment:?}");
        }
        let segments = path.as_str().strip_prefix('/').expect("absolute").split('/').collect::<Vec<_>>();
        prop_assert!(segments[..segments.len() - 1].iter().all(|segment| !segment.is_empty()));
    }

    #[test]
    fn a_normalised_path_is_its_own_normal_form_and_means_the_same(raw in troubled_path()) {
        let Ok(path) = RequestPath::parse(&raw) else { return Ok(()) };
        prop_assert_eq!(RequestPath::parse(path.as_str()), Ok(path.clone()));
        let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        prop_assert_eq!(decode(path.as_str()), decode(&raw));
    }

    #[test]
    fn no_text_makes_it_panic(raw in any::<String>()) {
        let _ = RequestPath::parse(&raw);
        let _ = RequestPath::parse(&format!("/{raw}"));
        let _ = decode_segment(&raw);
    }
}
