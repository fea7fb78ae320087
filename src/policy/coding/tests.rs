//! What clients take and which replies are compressed, as tables.

use super::*;

fn fields(of: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in of {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn rules() -> Compression {
    Compression {
        codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
        effort: Effort::Medium,
        types: SHRINKING.iter().map(|pattern| TypePattern::parse(pattern).unwrap()).collect(),
        min_size: 1024,
    }
}

#[test]
fn a_client_gets_what_it_likes_best_of_what_is_offered() {
    let rules = rules();
    for (accepted, expected) in [
        (&[][..], None),
        (&[""], None),
        (&["gzip"], Some("gzip")),
        (&["x-gzip"], Some("gzip")),
        (&["GZIP"], Some("gzip")),
        (&["gzip, deflate, br, zstd"], Some("zstd")),
        (&["gzip, deflate, br"], Some("br")),
        (&["gzip", "br"], Some("br")),
        (&["gzip;q=1.0, br;q=0.9"], Some("gzip")),
        (&["gzip; q=0.5 , br;Q=0.501"], Some("br")),
        (&["gzip;q=0"], None),
        (&["gzip;q=0.000, br;q=0.001"], Some("br")),
        (&["*"], Some("zstd")),
        (&["zstd;q=0, *"], Some("br")),
        (&["*;q=0, gzip"], Some("gzip")),
        (&["*;q=0"], None),
        (&["identity"], None),
        (&["identity;q=0"], None),
        (&["identity;q=0, gzip"], Some("gzip")),
        (&["identity, gzip;q=0.5"], None),
        (&["identity;q=0.5, gzip;q=0.5"], Some("gzip")),
        (&["deflate, compress"], None),
        (&["gzip;q=2"], None),
        (&["gzip;q=-1"], None),
        (&["gzip;q=NaN"], None),
        (&["gzip;q="], None),
        (&["gzip;level=9"], None),
        (&[";;,,gzip;q=1;q=0,br"], Some("br")),
    ] {
        let mut request = HeaderMap::new();
        for value in accepted {
            request.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        assert_eq!(rules.choose(&request).map(Coding::name), expected, "{accepted:?}");
    }
    let one = Compression { codings: vec![Coding::Gzip], ..rules };
    assert_eq!(one.choose(&fields(&[("accept-encoding", "br, zstd")])), None);
}

#[test]
fn a_reply_is_compressed_where_it_gains_from_it_and_may_be() {
    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
    const LONG: (&str, &str) = ("content-length", "1024");
    const PIECES: (&str, &str) = ("transfer-encoding", "chunked");
    let rules = rules();
    let concerns = |method: Method, version: Version, asked: &[_], status: u16, reply: &[_]| {
        let mut request = http::Request::builder().method(method).version(version).body(()).unwrap();
        *request.headers_mut() = fields(asked);
        rules.concerns(&request.into_parts().0, StatusCode::from_u16(status).unwrap(), &fields(reply))
    };
    for (status, reply, expected) in [
        (200, &[JSON, LONG][..], true),
        (200, &[JSON, PIECES], true),
        (201, &[JSON, LONG], true),
        (404, &[JSON, LONG], true),
        (503, &[JSON, LONG], true),
        (200, &[JSON, ("content-length", "1023")], false),
        // Neither field: there is no body.
        (200, &[JSON], false),
        (204, &[JSON, LONG], false),
        (205, &[JSON, LONG], false),
        (206, &[JSON, LONG], false),
        (200, &[JSON, LONG, ("content-range", "bytes 0-9/10")], false),
        (304, &[], true),
        (304, &[("content-encoding", "gzip")], false),
        (200, &[LONG], false),
        (200, &[("content-type", "image/png"), LONG], false),
        (200, &[("content-type", "TEXT/HTML"), LONG], true),
        (200, &[("content-type", "application/problem+json"), LONG], true),
        (200, &[("content-type", "application/+json"), LONG], false),
        (200, &[("content-type", "text/event-stream;charset=utf-8"), PIECES], false),
        (200, &[("content-type", "application/grpc-web+proto"), PIECES], false),
        (200, &[JSON, LONG, ("content-encoding", "br")], false),
        (200, &[JSON, LONG, ("content-encoding", "identity")], true),
        (200, &[JSON, LONG, ("cache-control", "public, No-Transform")], false),
        (200, &[JSON, LONG, ("cache-control", "no-cache")], true),
    ] {
        assert_eq!(concerns(Method::GET, Version::HTTP_11, &[], status, reply), expected, "{status} {reply:?}");
    }
    assert!(concerns(Method::HEAD, Version::HTTP_11, &[], 200, &[JSON]));
    assert!(!concerns(Method::GET, Version::HTTP_10, &[], 200, &[JSON, LONG]));
    assert!(!concerns(Method::GET, Version::HTTP_11, &[("cache-control", "no-transform")], 200, &[JSON, LONG]));
}

#[test]
fn the_header_becomes_that_of_another_representation() {
    let mut headers = fields(&[
        ("content-length", "9"),
        ("etag", "\"a\""),
        ("accept-ranges", "bytes"),
        ("content-digest", "sha-256=:x:"),
        ("x-stays", "1"),
    ]);
    Coding::Brotli.describe(&mut headers);
    let expected =
        [("x-stays", "1"), ("content-encoding", "br"), ("transfer-encoding", "chunked"), ("etag", "W/\"a\"")];
    assert_eq!(headers, fields(&expected));
    weaken(&mut headers);
    assert_eq!(headers["etag"], "W/\"a\"");
}

#[test]
fn a_type_pattern_has_one_star_at_most_and_not_before_the_slash() {
    for (text, valid) in [
        ("text/html", true),
        ("text/*", true),
        ("Application/*+JSON", true),
        ("*/*", false),
        ("text", false),
        ("text/", false),
        ("/html", false),
        ("text/*/*", false),
        ("text/**", false),
        ("text/html; charset=utf-8", false),
    ] {
        assert_eq!(TypePattern::parse(text).is_some(), valid, "{text}");
    }
}
