//! What the schema says of files that no example shows.

use serde_json::{Value, json};

use super::*;

const BASE: &str = "{version: 1, listeners: [{address: '127.0.0.1:0'}]";

/// Whether the schema takes a configuration with these further keys.
fn takes(keys: &str) -> bool {
    let file: Value = serde_yaml::from_str(&format!("{BASE}, {keys}}}")).unwrap();
    jsonschema::draft7::new(&json_schema()).unwrap().is_valid(&file)
}

#[test]
fn what_the_decoder_takes_and_refuses() {
    for (keys, right) in [
        ("admin: {address: '[::1]:9090'}", true),
        ("admin: {address: localhost}", false),
        ("admin: {address: '${env:ADMIN}'}", true),
        ("admin: ~", false),
        ("timezone: ~", false),
        ("guard: {flood: ~}", false),
        ("guard: {max_connections: '${env:N}'}", true),
        ("guard: {max_connections: '${credential:N}'}", true),
        ("guard: {max_connections: '${secret:N}'}", false),
        ("guard: {max_connections: '${env:N:-10}'}", true),
        ("guard: {max_connections: '1${env:N}'}", false),
        ("guard: {max_connections: '10'}", false),
        ("guard: {max_connections: -1}", false),
        ("guard: {header_bytes: 1024}", true),
        ("guard: {header_bytes: '${env:N}KiB'}", true),
        ("error_format: fastapi", true),
        ("error_format: '${env:FORMAT}'", true),
        ("error_format: xml", false),
        ("reload: {watch: '${file:/watch}'}", true),
        ("include: a.yaml", true),
        ("include: [a.yaml, 'b*.yaml']", true),
        ("include: [7]", false),
        ("plans: {free: {total: 1/day, routes: {a: [1/second, 5/minute]}}}", true),
        ("plans: {free: {total: 1/fortnight}}", false),
        ("services: {a: {url: 'http://a', targets: [{address: 'a:1'}]}}", false),
        ("services: {a: {}}", false),
        ("authenticators: {a: {api_key: {header: a, cookie: b}}}", false),
        ("defaults: {auth: public, mode: observe}", true),
        ("defaults: {auth: private}", false),
        ("defaults: {mode: {limits: observe}}", true),
        ("defaults: {mode: {}}", false),
        ("defaults: {mode: {limit: observe}}", false),
        ("defaults: {mode: {limits: warn}}", false),
        ("defaults: {allow: any, deny_addresses: [10.0.0.0/8]}", true),
        ("defaults: {allow: everyone}", false),
        ("defaults: {allow: {}}", false),
        ("defaults: {allow: {claims: {a: b, c: [1, true], d: 1.5}}}", true),
        ("defaults: {allow: {claims: {a: {}}}}", false),
        ("defaults: {allow: {groups: staff}}", false),
        ("extra: 1", false),
    ] {
        assert_eq!(takes(keys), right, "{keys}");
    }
}

#[test]
fn what_a_route_takes_and_refuses() {
    for (keys, right) in [
        ("method: GET", true),
        ("methods: [GET, HEAD]", true),
        ("methods: [FETCH]", false),
        ("method: FETCH", false),
        ("method: GET, methods: [HEAD]", false),
        ("host: a", false),
        ("method: GET, query_params: any", true),
        ("method: GET, query_params: all", false),
        ("method: GET, query_params: {a: {}}", true),
        ("method: GET, query_params: {a: {type: integer, optional: true}}", true),
        ("method: GET, query_params: {a: {type: text}}", false),
        ("method: GET, query_params: {a: {type: [string, 'null'], default: ~}}", true),
        ("method: GET, query_params: {a: {required: true}}", false),
        ("method: GET, header_params: {X-Tenant: {maxLength: 5}}", true),
        ("method: GET, cookie_params: {a: {maxLenght: 5}}", false),
        ("method: POST, body: any", true),
        ("method: POST, body: {schema: {type: object}}", true),
        ("method: POST, body: {schema: true}", true),
        ("method: POST, body: {schema_file: a.json}", true),
        ("method: POST, body: {schema: {}, schema_file: a.json}", false),
        ("method: POST, body: {}", false),
        ("method: POST, form_params: {a: {type: file, max_size: 5MiB, content_types: [image/png]}}", true),
        ("method: GET, responses: {'404': {description: none}, 5XX: {description: broken}}", true),
        ("method: GET, responses: {'9': {description: none}}", false),
        ("method: GET, limits: [{rate: 1/second, by: header:x-a}]", true),
        ("method: GET, limits: [{rate: 1/second, by: nobody}]", false),
    ] {
        let route = format!("routes: [{{name: a, gateway_path: /a, service: s, {keys}}}]");
        assert_eq!(takes(&route), right, "{keys}");
    }
}

#[test]
fn methods_are_those_of_the_gateway() {
    assert_eq!(METHODS, crate::gateway::METHODS.each_ref().map(http::Method::as_str));
}

#[test]
fn every_key_is_described() {
    fn visit(schema: &Value, path: &str, seen: &mut usize) {
        let members = schema.as_object().into_iter().flatten();
        let items = schema.as_array().into_iter().flatten();
        items.for_each(|item| visit(item, path, seen));
        for (key, value) in members {
            let named = value.as_object().filter(|_| key == "properties");
            if named.is_none() {
                visit(value, &format!("{path}.{key}"), seen);
            }
            for (name, property) in named.into_iter().flatten() {
                let description = property.get("description").and_then(Value::as_str).unwrap_or_default();
                assert!(!description.is_empty(), "{path}.{name} has no description");
                assert!(!description.contains("[`"), "{path}.{name} links to code: {description}");
                *seen += 1;
                visit(property, &format!("{path}.{name}"), seen);
            }
        }
    }
    let mut seen = 0;
    visit(&json_schema(), "", &mut seen);
    assert!(seen > 200, "only {seen} keys");
}

#[test]
fn defaults_are_shown() {
    let schema = json_schema();
    let guard = &schema["definitions"]["Guard"]["properties"];
    for (key, default) in [
        ("header_timeout", json!("10s")),
        ("max_connections", json!(20_000)),
        ("body_memory", json!("256MiB")),
        ("flood", Value::Null),
    ] {
        assert_eq!(guard[key].get("default").unwrap_or(&Value::Null), &default, "{key}");
    }
    assert_eq!(schema["properties"]["timezone"]["default"], "UTC");
}
