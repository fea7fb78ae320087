//! The demo service: every kind of request, and what it says back.

use super::*;
use serde_json::{Value, json};

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")];

/// The answer to `METHOD target`.
fn asked(request: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (method, target) = request.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    answer(&Received { method, path, query, headers: &headers, body: body.as_bytes() })
}

fn check(request: &str, headers: &[(&str, &str)], body: &str, status: u16, json: Value) {
    let got = asked(request, headers, body);
    assert_eq!((got.status.as_u16(), got.json), (status, Some(json)), "{request}");
}

/// Refused with 422 for faults at these places.
fn refused(request: &str, headers: &[(&str, &str)], body: &str, locs: Value) {
    let got = asked(request, headers, body);
    assert_eq!(got.status.as_u16(), 422, "{request} {body}");
    let details = got.json.unwrap()["detail"].as_array().unwrap().clone();
    let seen: Vec<Value> = details.iter().map(|detail| detail["loc"].clone()).collect();
    assert_eq!(Value::from(seen), locs, "{request} {body}");
}

#[test]
fn each_route_answers_with_what_it_read() {
    let model = r#"{"example_int": 123456789012345678901234567890, "example_str": "x"}"#;
    let int: Value = "123456789012345678901234567890".parse::<serde_json::Number>().unwrap().into();
    check("GET /v1/path_param/-12", &[], "", 200, json!({"foo": "bar", "custom_int": -12}));
    check("GET /v1/list_model", &[], "", 200, json!([{"foo_key": "foo"}, {"foo_key": "bar"}]));
    check(
        "GET /v1/query?query_int=1&query_int=2&query_str=a+b",
        &[],
        "",
        200,
        json!({"query_int": 2, "query_str": "a b"}),
    );
    check(
        "POST /v1/path_and_body/1?path_int=7",
        JSON,
        model,
        200,
        json!({"foo": "bar", "path_int": 1, "example_int": int, "example_str": "x"}),
    );
    check("POST /v1/body", &[], model, 200, json!({"query_int": int, "query_str": "x"}));
    check(
        "POST /v1/query_and_body?query_int=1&query_str=s",
        JSON,
        model,
        200,
        json!({"query_int": 1, "query_str": "s", "example_int": int, "example_str": "x"}),
    );
    check(
        "POST /v1/query_and_body_path/5?query_int=1&query_str=s",
        JSON,
        model,
        200,
        json!({"query_int": 1, "query_str": "s", "path": 5, "example_int": int, "example_str": "x"}),
    );
    check(
        "POST /v1/form_data",
        FORM,
        "username=%D0%B8&password=b",
        200,
        json!({"foo": "bar", "username": "и", "password": "b"}),
    );
    check("GET /v1/check_dependency_header", &[], "", 200, json!({"header": null, "foo": "bar"}));
    check("GET /v1/check_dependency_header", &[("X-Api-Key", "k")], "", 200, json!({"header": "k", "foo": "bar"}));
    check(
        "POST /v1/check_dependency_header",
        FORM,
        "username=u&password=p&x=1",
        200,
        json!({"username": "u", "password": "p"}),
    );
}

#[test]
fn wrong_input_is_refused_with_every_fault() {
    for number in ["abc", "1.0", "+5", "007", "%31_0"] {
        refused(&format!("GET /v1/path_param/{number}"), &[], "", json!([["path", "random_int"]]));
    }
    refused("GET /v1/query", &[], "", json!([["query", "query_int"], ["query", "query_str"]]));
    refused("GET /v1/query?query_int=x&query_str=", &[], "", json!([["query", "query_int"]]));
    refused("POST /v1/path_and_body/x", &[], "", json!([["path", "path_int"], ["body"]]));
    for (headers, body) in
        [(JSON, "null"), (JSON, "[1]"), (JSON, "{"), (FORM, "{}"), (&[("content-type", "text/plain")], "{}")]
    {
        refused("POST /v1/body", headers, body, json!([["body"]]));
    }
    let members = json!([["body", "example_int"], ["body", "example_str"]]);
    for body in ["{}", r#"{"example_int": "1", "example_str": 1}"#, r#"{"example_int": 1.5, "example_str": null}"#] {
        refused("POST /v1/body", JSON, body, members.clone());
    }
    refused("POST /v1/form_data", FORM, "username=&password=p", json!([["body", "username"]]));
    refused("POST /v1/form_data", JSON, "username=u&password=p", json!([["body", "username"], ["body", "password"]]));
}

#[test]
fn unknown_paths_are_404_and_unknown_methods_405() {
    for path in [
        "/",
        "",
        "/v1",
        "/v1/path_param",
        "/v1/path_param/",
        "/v1/path_param/1/2",
        "/v1/list_model/",
        "/echoes",
        "/status/20",
        "/status/x",
    ] {
        check(&format!("GET {path}"), &[], "", 404, json!({"detail": "Not Found"}));
    }
    check("DELETE /v1/path_param/1", &[], "", 405, json!({"detail": "Method Not Allowed"}));
    check("GET /v1/body", &[], "", 405, json!({"detail": "Method Not Allowed"}));
    assert_eq!(asked("HEAD /v1/list_model", &[], "").status, 200);
}

#[test]
fn echo_shows_what_was_received() {
    let echoed = |body: Value| {
        json!({
            "method": "PUT", "path": "/echo/a%20b", "query": [["q", "x y"], ["q", ""]], "headers": [["Content-Type", "application/json"]], "body": body,
        })
    };
    check(
        "PUT /echo/a%20b?q=x+y&q",
        JSON,
        r#"{"n":1.50}"#,
        200,
        echoed(serde_json::from_str(r#"{"n":1.50}"#).unwrap()),
    );
    check("PUT /echo/a%20b?q=x+y&q", JSON, "{", 200, echoed("{".into()));
    check("PUT /echo/a%20b?q=x+y&q", JSON, "", 200, echoed(Value::Null));
}

#[test]
fn waits_and_statuses_are_bounded() {
    assert_eq!(asked("GET /slow?ms=1500", &[], "").wait, Duration::from_millis(1500));
    assert_eq!(asked("GET /slow?ms=99999999", &[], "").wait, Duration::from_secs(10));
    assert_eq!(asked("GET /slow?ms=-5", &[], "").wait, Duration::ZERO);
    refused("GET /slow?ms=long", &[], "", json!([["query", "ms"]]));
    check("DELETE /status/503", &[], "", 503, json!({"status": 503}));
    assert_eq!(asked("GET /status/204", &[], "").json, None);
    check("GET /status/199", &[], "", 404, json!({"detail": "Not Found"}));
    check("GET /status/600", &[], "", 404, json!({"detail": "Not Found"}));
}

#[test]
fn a_rendered_answer_is_framed_and_head_has_no_body() {
    let answer = Answer::detail(404, "Not Found");
    let length = answer.json.as_ref().unwrap().to_string().len();
    for (method, body) in [(Method::GET, length), (Method::HEAD, 0)] {
        let response = rendered(answer.clone(), &method);
        assert_eq!(response.headers()[header::CONTENT_LENGTH], length.to_string());
        assert_eq!(response.body().len(), body, "{method}");
    }
    assert!(rendered(asked("GET /status/304", &[], ""), &Method::GET).headers().is_empty());
}

#[test]
fn the_walk_only_uses_what_the_demo_configuration_has() {
    let config: Value = serde_yaml::from_str(CONFIG).unwrap();
    let public = config["listeners"][0]["address"].as_str().unwrap();
    let admin = config["admin"]["address"].as_str().unwrap();
    assert_eq!(config["services"]["demo"]["url"], format!("http://{SERVICE_ADDRESS}"));
    let hash = ring::digest::digest(&ring::digest::SHA256, API_KEY.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(config["consumers"]["alice"]["api_keys"][0]["sha256"], hash);

    let stems: Vec<&str> =
        config["routes"].as_array().unwrap().iter().map(|route| stem(&route["gateway_path"])).collect();
    for TourLine { title, command } in tour(public.parse().unwrap(), admin.parse().unwrap()) {
        let url = command.split_once("http://").expect(title).1;
        let (address, target) = url.split_once('/').expect(title);
        let known = match address == admin {
            true => target.starts_with("metrics"),
            false => stems.iter().any(|stem| target.starts_with(stem)),
        };
        assert!(known, "{command}");
    }
}

/// The part of a template before its first parameter, without the leading slash.
fn stem(template: &Value) -> &str {
    template.as_str().unwrap().trim_start_matches('/').split('{').next().unwrap()
}

#[test]
fn the_document_names_what_is_served() {
    let document = asked("GET /openapi.json", &[], "").json.unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 9);
    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let path = path.replace("{random_int}", "1").replace("{path_int}", "1").replace("{path}", "1");
            let status = asked(&format!("{} {path}", method.to_uppercase()), &[], "").status.as_u16();
            assert!(status == 200 || status == 422, "{method} {path}: {status}");
        }
    }
}
