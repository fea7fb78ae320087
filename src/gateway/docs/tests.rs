//! The pages without a server: codings, tags, what the page may do.

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::{Answer, Docs, PATHS, Place};
use crate::telemetry::Telemetry;

fn docs(place: Place) -> Docs {
    let document = json!({ "openapi": "3.1.0", "info": { "title": "Müsli", "version": "1" } });
    Docs::new(place, "A <b> & \"c\" {send}", &document, Telemetry::new("", "").route(super::LABEL))
}

fn on_a_listener() -> Docs {
    docs(Place::Listener(([127, 0, 0, 1], 0).into()))
}

fn ask(docs: &Docs, path: &str, fields: &[(HeaderName, &str)]) -> Answer {
    let headers: HeaderMap =
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
    docs.answer(path, &headers).unwrap_or_else(|| panic!("{path} is not answered"))
}

#[test]
fn every_path_has_a_page_of_its_type() {
    let docs = on_a_listener();
    let types = ["application/json", "text/html", "text/javascript", "text/javascript", "text/css"];
    for (path, media_type) in PATHS.into_iter().zip(types) {
        let answer = ask(&docs, path, &[]);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.headers[CONTENT_TYPE].to_str().unwrap().starts_with(media_type), "{path}");
        assert!(answer.headers[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none';"), "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["cache-control"], "no-cache", "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
    for path in ["/", "/docs/", "/docs/other.js", "/openapi.json/", "/openapi.yaml"] {
        assert!(docs.answer(path, &HeaderMap::new()).is_none(), "{path}");
    }
}

#[test]
fn gzip_is_sent_to_those_who_take_it_and_inflates_to_the_same() {
    let docs = on_a_listener();
    for (accepted, gzip) in [
        ("gzip", true),
        ("br, GZIP", true),
        ("x-gzip;q=0.1", true),
        ("*", true),
        ("gzip;q=0", false),
        ("*;q=0", false),
        ("*, gzip; q=0.0", false),
        ("gzip;q=0, *", false),
        ("identity", false),
        ("br", false),
        ("", false),
    ] {
        let answer = ask(&docs, "/docs/init.js", &[(ACCEPT_ENCODING, accepted)]);
        assert_eq!(answer.headers.contains_key(CONTENT_ENCODING), gzip, "{accepted}");
    }
    for path in PATHS {
        let plain = ask(&docs, path, &[]);
        let gzip = ask(&docs, path, &[(ACCEPT_ENCODING, "gzip")]);
        assert_eq!(super::page::inflate(&gzip.body), plain.body, "{path}");
        assert_eq!(plain.headers[ETAG], gzip.headers[ETAG], "{path}");
        assert_eq!(gzip.headers["vary"], "accept-encoding", "{path}");
    }
}

#[test]
fn the_embedded_files_are_swagger_ui() {
    let docs = on_a_listener();
    let bundle = ask(&docs, "/docs/swagger-ui-bundle.js", &[]).body;
    let styles = ask(&docs, "/docs/swagger-ui.css", &[]).body;
    assert!(bundle.len() > 1_000_000 && String::from_utf8_lossy(&bundle).contains("SwaggerUIBundle"));
    assert!(styles.len() > 100_000 && String::from_utf8_lossy(&styles).contains(".swagger-ui"));
}

#[test]
fn a_content_that_the_client_has_is_not_sent_again() {
    let docs = on_a_listener();
    for path in PATHS {
        let tag = ask(&docs, path, &[]).headers[ETAG].to_str().unwrap().to_owned();
        let strong = tag.trim_start_matches("W/").to_owned();
        for (sent, status) in [
            (tag.clone(), 304),
            (strong.clone(), 304),
            (format!("\"other\", {tag}"), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
            (strong.trim_matches('"').to_owned(), 200),
            (String::new(), 200),
        ] {
            let answer = ask(&docs, path, &[(IF_NONE_MATCH, &sent)]);
            assert_eq!(answer.status, status, "{path}: {sent}");
            assert_eq!(answer.body.is_empty(), status == 304, "{path}: {sent}");
            assert_eq!(answer.headers[ETAG], tag.as_str(), "{path}: {sent}");
        }
    }
}

#[test]
fn the_page_sends_requests_only_where_the_api_is() {
    let elsewhere = vec!["https://api.example.com/<v1>".to_owned()];
    for (place, send, notice) in
        [(Place::Listener(([0, 0, 0, 0], 80).into()), "on", false), (Place::Admin { elsewhere }, "off", true)]
    {
        let page = ask(&docs(place), "/docs", &[]).body;
        let page = String::from_utf8(page.to_vec()).unwrap();
        assert!(page.contains(&format!("data-send=\"{send}\"")), "{page}");
        assert_eq!(page.contains("https://api.example.com/&lt;v1&gt;"), notice, "{page}");
        assert!(page.contains("<title>A &lt;b&gt; &amp; &quot;c&quot; {send}</title>"), "{page}");
        assert!(!page.contains("<script>") && !page.contains("http:"), "{page}");
    }
}
