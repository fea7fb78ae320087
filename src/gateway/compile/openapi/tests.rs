//! What the document says of each kind of route, as tables.

use serde_json::{Value, json};

use super::document;
use crate::config;

/// The document of these routes, as YAML list items, with a service, two authenticators and a plan behind them.
fn of(routes: &str) -> Value {
    with("", routes)
}

/// The same with further sections.
fn with(sections: &str, routes: &str) -> Value {
    let text = format!(
        "version: 1\nlisteners: [{{ address: \"127.0.0.1:0\" }}]\nservices: {{ up: {{ url: \"http://127.0.0.1:1\" }} }}\n\
         authenticators:\n  key: {{ api_key: {{ header: x-api-key }} }}\n  same: {{ api_key: {{ header: x-api-key, \
         forward: true }} }}\n  my link: {{ api_key: {{ query: key }} }}\n  browser: {{ api_key: {{ cookie: sid }} }}\n\
         {sections}\nroutes:\n{routes}\n"
    );
    let (loaded, report, sources) = config::load_text("tollgate.yaml", &text);
    let loaded = loaded.whole().unwrap_or_else(|| panic!("{}", report.render(&sources, config::Color::Never)));
    document(&loaded.config)
}

/// A public GET route with these keys.
fn route(keys: &str) -> String {
    format!("  - {{ name: r, method: GET, gateway_path: /r, service: up, auth: public, {keys} }}")
}

/// A public POST route with these keys.
fn post(keys: &str) -> String {
    format!("  - {{ name: r, method: POST, gateway_path: /r, service: up, auth: public, {keys} }}")
}

fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

#[test]
fn the_head_says_what_docs_say_or_defaults() {
    let plain = of(&route(""));
    assert_eq!(plain["openapi"], "3.1.0");
    assert_eq!(plain["info"], json!({ "title": "API", "version": "1" }));
    assert!(plain.get("servers").is_none() && plain.get("tags").is_none());
    let docs = "docs: { listener: \"127.0.0.1:0\", title: Shop, version: 2.1.0, description: \"**all**\", servers: \
                [\"https://api.example.com/v1\", /v1] }";
    let said = with(docs, &route("tags: [b, a]"));
    assert_eq!(said["info"], json!({ "title": "Shop", "description": "**all**", "version": "2.1.0" }));
    assert_eq!(said["servers"], json!([{ "url": "https://api.example.com/v1" }, { "url": "/v1" }]));
    assert_eq!(said["tags"], json!([{ "name": "b" }, { "name": "a" }]));
}

#[test]
fn every_parameter_stands_where_it_is_sent() {
    let integer = json!({ "type": "integer", "minimum": 1 });
    let text = json!({ "type": "string" });
    let segment = json!({ "type": "string", "pattern": r"^[^\x00-\x1F\x7F/\\]+$" });
    for (keys, expected) in [
        ("gateway_path: \"/r/{id}\"", json!([{ "name": "id", "in": "path", "required": true, "schema": segment }])),
        (
            "gateway_path: \"/r/{id}\", path_params: { id: { type: integer, minimum: 1 } }",
            json!([{ "name": "id", "in": "path", "required": true, "schema": integer }]),
        ),
        (
            "gateway_path: \"/r/{*rest}\"",
            json!([{
                "name": "rest", "in": "path", "required": true, "schema": segment,
                "description": "The rest of the path. It may be empty, and it may hold slashes as they are; clients made from this \
                                document escape them.",
            }]),
        ),
        (
            "gateway_path: \"/r/{id}\", encoded_slash: forward, path_params: { id: { type: string, pattern: a, default: a } }",
            json!([{
                "name": "id", "in": "path", "required": true,
                "schema": { "allOf": [
                    { "type": "string", "pattern": "a" }, { "pattern": r"^[^\x00-\x1F\x7F]+$" },
                ] },
            }]),
        ),
        (
            "query_params: { n: { type: integer, minimum: 1 } }",
            json!([
                { "name": "n", "in": "query", "required": true, "schema": integer },
            ]),
        ),
        (
            "query_params: { n: { type: string, optional: true, description: D, deprecated: true } }",
            json!([
                { "name": "n", "in": "query", "description": "D", "deprecated": true,
                  "schema": { "type": "string", "deprecated": true } },
            ]),
        ),
        (
            "query_params: { n: { type: string, default: x } }",
            json!([
                { "name": "n", "in": "query", "schema": { "type": "string", "default": "x" } },
            ]),
        ),
        (
            "header_params: { x-tenant: { type: string } }, cookie_params: { sid: { type: string, optional: true } }",
            json!([
                { "name": "x-tenant", "in": "header", "required": true, "schema": text },
                { "name": "sid", "in": "cookie", "schema": text },
            ]),
        ),
    ] {
        let keys = if keys.contains("gateway_path") { keys.to_owned() } else { format!("gateway_path: /r, {keys}") };
        let found = of(&format!("  - {{ name: r, method: GET, service: up, auth: public, {keys} }}"));
        let (_, item) = found["paths"].as_object().unwrap().iter().next().unwrap();
        assert_eq!(item["get"]["parameters"], expected, "{keys}");
    }
}

#[test]
fn schemas_that_refer_to_themselves_are_components() {
    let tree = |reference: &str| json!({ "type": "object", "properties": { "child": { "$ref": reference } } });
    let found = of(&post(
        "body_params: { tree: { $ref: \"#/$defs/a\", $defs: { a: { type: object, properties: { child: \
         { $ref: \"#/$defs/a\" } } } } }, \"t/ee\": { type: object, properties: { child: { $ref: \"#\" } }, \
         optional: true } }",
    ));
    let body = at(&found, "/paths/~1r/post/requestBody/content/application~1json/schema/properties");
    assert_eq!(body["tree"], json!({ "$ref": "#/components/schemas/r.body.tree" }));
    assert_eq!(body["t/ee"], json!({ "$ref": "#/components/schemas/r.body.t_ee" }));
    let components = at(&found, "/components/schemas");
    let first = "#/components/schemas/r.body.tree/$defs/a";
    assert_eq!(components["r.body.tree"], json!({ "$ref": first, "$defs": { "a": tree(first) } }));
    assert_eq!(components["r.body.t_ee"], tree("#/components/schemas/r.body.t_ee"));
    let found = of(&post(
        "body: { schema: { $id: \"https://a.test/s\", properties: { a: { $ref: \"#/$defs/a\" }, b: \
         { $ref: \"https://a.test/s#/$defs/a\" }, c: { $ref: \"https://a.test/s\" } }, $defs: { a: { type: string } } } }",
    ));
    let second = json!({ "$ref": "#/components/schemas/r.body/$defs/a" });
    let whole = json!({ "$ref": "#/components/schemas/r.body" });
    assert_eq!(at(&found, "/components/schemas/r.body/properties"), &json!({ "a": second, "b": second, "c": whole }));
    assert_eq!(at(&found, "/components/schemas/r.body/$id"), &Value::Null);
}

#[test]
fn queries_that_pass_unchecked_are_one_free_parameter() {
    for (keys, names) in [
        ("query_params: any", vec!["query"]),
        ("undeclared: forward", vec!["query"]),
        ("query_params: { query: { type: string } }, undeclared: forward", vec!["query", "query_"]),
        ("query_params: { a: { type: string } }", vec!["a"]),
        ("query_params: { a: { type: string } }, undeclared: reject", vec!["a"]),
        ("", vec![]),
    ] {
        let found = of(&route(keys));
        let parameters = at(&found, "/paths/~1r/get/parameters").as_array().cloned().unwrap_or_default();
        let found: Vec<&str> = parameters.iter().filter_map(|parameter| parameter["name"].as_str()).collect();
        assert_eq!(found, names, "{keys}");
    }
}

#[test]
fn a_body_is_described_in_its_encoding() {
    let json_object =
        |schema: Value| json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    for (keys, expected) in [
        (
            "body_params: { name: { type: string }, age: { type: integer, optional: true }, n: { default: 1 } }",
            json_object(json!({
                "type": "object",
                "properties": { "name": { "type": "string" }, "age": { "type": "integer" }, "n": { "default": 1 } },
                "required": ["name"],
            })),
        ),
        (
            "body_params: { a: { type: string } }, undeclared: reject",
            json_object(json!({
                "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"],
                "additionalProperties": false,
            })),
        ),
        (
            "body_params: { a: { type: string, optional: true } }",
            json!({ "content": { "application/json": { "schema": {
                "type": "object", "properties": { "a": { "type": "string" } },
            } } } }),
        ),
        ("body: any", json!({ "content": { "*/*": {} } })),
        ("body: { schema: { type: array } }", json_object(json!({ "$ref": "#/components/schemas/r.body" }))),
        ("", Value::Null),
    ] {
        assert_eq!(at(&of(&post(keys)), "/paths/~1r/post/requestBody"), &expected, "{keys}");
    }
}

#[test]
fn an_empty_field_of_a_form_is_an_absent_one() {
    for (field, expected) in [
        ("{ type: string }", json!({ "type": "string", "minLength": 1 })),
        ("{ type: string, minLength: 3 }", json!({ "type": "string", "minLength": 3 })),
        ("{ type: integer }", json!({ "type": "integer" })),
        ("{ type: string, optional: true, description: D }", json!({ "type": "string", "description": "D" })),
        ("{ type: integer, default: 5 }", json!({ "anyOf": [{ "type": "integer" }, { "const": "" }], "default": 5 })),
        (
            "{ type: array, items: { type: integer } }",
            json!({ "type": "array", "items": { "anyOf": [{ "type": "integer" }, { "const": "" }] } }),
        ),
    ] {
        let found = of(&post(&format!("form_params: {{ f: {field} }}")));
        let content = at(&found, "/paths/~1r/post/requestBody/content/application~1x-www-form-urlencoded");
        assert_eq!(at(content, "/schema/properties/f"), &expected, "{field}");
    }
}

#[test]
fn files_are_parts_of_a_multipart_form() {
    let found = of(&post(
        "form_params: { title: { type: string }, one: { type: file, max_size: 5MiB, content_types: [image/png, \
         image/jpeg], description: A picture. }, many: { type: array, items: { type: file } } }",
    ));
    let content = at(&found, "/paths/~1r/post/requestBody/content");
    assert_eq!(content.as_object().unwrap().len(), 1);
    let form = &content["multipart/form-data"];
    let file = json!({ "type": "string", "contentMediaType": "application/octet-stream" });
    assert_eq!(form["schema"]["properties"]["many"], json!({ "type": "array", "items": file }));
    let mut one = file;
    one["description"] = "A picture. At most 5MiB.".into();
    assert_eq!(form["schema"]["properties"]["one"], one);
    assert_eq!(
        form["encoding"],
        json!({
            "one": { "contentType": "image/png, image/jpeg" }, "many": { "contentType": "application/octet-stream" },
        })
    );
}

#[test]
fn references_of_a_whole_document_move_with_it() {
    let schema = json!({
        "$ref": "#/$defs/item",
        "$defs": { "item": { "properties": { "$ref": { "$ref": "#" }, "default": { "$ref": "#/$defs/item" } } } },
        "default": { "$ref": "#/data" },
        "enum": [{ "$ref": "#/data" }],
        "allOf": [{ "$ref": "#named" }, { "$ref": "other.json#/x" }, true],
        "not": { "$id": "urn:x", "$ref": "#/own" },
    });
    let found = of(&post(&format!("body: {{ schema: {schema} }}, response_model: {{ schema: {schema} }}")));
    for name in ["r.body", "r.response"] {
        let head = format!("#/components/schemas/{name}");
        let item = format!("{head}/$defs/item");
        let expected = json!({
            "$ref": item,
            "$defs": { "item": { "properties": { "$ref": { "$ref": head }, "default": { "$ref": item } } } },
            "default": { "$ref": "#/data" },
            "enum": [{ "$ref": "#/data" }],
            "allOf": [{ "$ref": "#named" }, { "$ref": "other.json#/x" }, true],
            "not": { "$id": "urn:x", "$ref": "#/own" },
        });
        assert_eq!(found["components"]["schemas"][name], expected);
    }
    assert_eq!(
        at(&found, "/paths/~1r/post/responses/200/content/application~1json/schema/$ref"),
        "#/components/schemas/r.response"
    );
}

#[test]
fn each_schema_file_is_one_component() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("parts")).unwrap();
    let keys = "body: { schema_file: order.json }, response_model: { schema_file: parts/order.json }";
    write(
        "main.yaml",
        &format!(
            "version: 1\nlisteners: [{{ address: \"127.0.0.1:0\" }}]\nservices: {{ up: {{ url: \"http://127.0.0.1:1\" }} }}\n\
             routes:\n{}\n",
            post(keys)
        ),
    );
    write(
        "order.json",
        r##"{"$id": "https://x.test/s/o.json", "items": {"$ref": "parts/order.json#/$defs/a"}, "not": {"$ref": "#/items"}}"##,
    );
    write(
        "parts/order.json",
        r##"{"$defs": {"a": {"$ref": "../order.json"}, "b": {"$ref": "#n"}, "c": {"$anchor": "n"}}}"##,
    );
    let (loaded, report, sources) = config::load(&folder.path().join("main.yaml"), &|_| None);
    let loaded = loaded.whole().unwrap_or_else(|| panic!("{}", report.render(&sources, config::Color::Never)));
    let found = document(&loaded.config);
    let schemas = &found["components"]["schemas"];
    assert_eq!(
        schemas["file.order"],
        json!({
            "items": { "$ref": "#/components/schemas/file.order.2/$defs/a" },
            "not": { "$ref": "#/components/schemas/file.order/items" },
        })
    );
    assert_eq!(schemas["file.order.2"]["$defs"]["a"], json!({ "$ref": "#/components/schemas/file.order" }));
    assert_eq!(schemas["file.order.2"]["$defs"]["b"], json!({ "$ref": "#n" }));
    let reply = "/paths/~1r/post/responses/200/content/application~1json/schema/$ref";
    assert_eq!(at(&found, reply), "#/components/schemas/file.order.2");
    assert!(!found.to_string().contains("file:"), "no path of this machine is told");
}

#[test]
fn the_gateways_own_answers_are_listed_where_they_happen() {
    const ALWAYS: &str = "200 400 414 431 502 503 504 default";
    let flood = "guard: { flood: 9/second }";
    let plan = "plans: { p: { total: 9/minute } }";
    let keyed = "auth: [key]";
    let document = "body: { schema: { type: array } }";
    for (sections, method, keys, more) in [
        ("", "GET", "auth: public", ""),
        ("", "GET", keyed, "401"),
        (plan, "GET", keyed, "401 429"),
        (plan, "GET", "auth: public", ""),
        (flood, "GET", "auth: public", "429"),
        ("", "GET", "auth: public, limits: [{ rate: 1/minute, by: route }]", "429"),
        ("", "GET", "auth: public, host: a.example.com", "404"),
        ("", "GET", "auth: public, query_params: { a: { type: string } }", "422"),
        ("", "GET", "auth: public, query_params: { a: { type: string } }, mode: observe", ""),
        ("defaults: { mode: observe }", "GET", "auth: public, query_params: { a: { type: string } }", ""),
        ("", "GET", "auth: public, undeclared: reject", "422"),
        ("", "GET", "auth: public, query_params: any, undeclared: reject", ""),
        ("", "GET", "auth: public, header_params: { x-a: { type: string } }", "422"),
        ("", "GET", "auth: public, cookie_params: { a: { type: string } }", "422"),
        ("", "POST", "auth: public, body: any", "408 413"),
        ("", "POST", "auth: public, body_params: { a: { type: string } }", "408 413 415 422"),
        ("", "POST", "auth: public, form_params: { a: { type: string } }", "408 413 415 422"),
        ("", "POST", &format!("auth: public, {document}"), "408 413 415 422"),
        ("", "POST", &format!("auth: public, {document}, mode: observe"), "408 413"),
        ("", "GET", "auth: [key], allow: { addresses: [10.0.0.0/8] }", "401 403"),
        ("", "GET", "auth: public, deny_addresses: [10.0.0.0/8]", "403"),
        ("defaults: { deny_addresses: [10.0.0.0/8] }", "GET", "auth: public", "403"),
        ("defaults: { allow: { addresses: [10.0.0.0/8] } }", "GET", "auth: public", "403"),
        ("defaults: { allow: { addresses: [10.0.0.0/8] } }", "GET", "auth: public, allow: any", ""),
        ("", "GET", "auth: public, deny_addresses: [10.0.0.0/8], mode: observe", "403"),
        ("", "GET", "auth: public, deny_addresses: [10.0.0.0/8], mode: { authorisation: observe }", ""),
        (plan, "GET", "auth: [key], mode: { limits: observe }", "401"),
        (plan, "GET", "auth: [key], mode: observe", "401 429"),
        ("error_format: fastapi", "POST", &format!("auth: public, {document}"), "408 413 422"),
    ] {
        let text = format!("  - {{ name: r, method: {method}, gateway_path: /r, service: up, {keys} }}");
        let found = with(sections, &text);
        let responses = at(&found, &format!("/paths/~1r/{}/responses", method.to_ascii_lowercase()));
        let found: Vec<&str> = responses.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected: Vec<&str> = ALWAYS.split(' ').chain(more.split_whitespace()).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{sections} {keys}");
    }
}

#[test]
fn what_a_route_documents_comes_first() {
    let found =
        of(&route("status_code: 404, responses: { 422: { description: Odd. }, 5XX: { description: Broken. } }"));
    let responses = at(&found, "/paths/~1r/get/responses");
    let statuses: Vec<&str> = responses.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(statuses, ["404", "400", "414", "422", "431", "502", "503", "504", "5XX", "default"]);
    assert_eq!(responses["404"]["description"], "The answer of the service.");
    assert_eq!(responses["422"]["description"], "Odd.");
    assert!(responses["422"].get("content").is_none());
    let found = of(&route("responses: { 200: { description: Fine. }, default: { description: Else. } }"));
    assert_eq!(at(&found, "/paths/~1r/get/responses/200/description"), "Fine.");
    assert_eq!(at(&found, "/paths/~1r/get/responses/default/description"), "Else.");
}

#[test]
fn errors_are_described_in_the_format_they_have() {
    let keys = post("body_params: { a: { type: string } }");
    for (sections, response, media_type, schema) in [
        ("", "UnprocessableContent", "application/problem+json", "Problem"),
        ("", "BadGateway", "application/problem+json", "Problem"),
        ("error_format: fastapi", "UnprocessableContent", "application/json", "HTTPValidationError"),
        ("error_format: fastapi", "BadGateway", "application/json", "HTTPError"),
    ] {
        let found = with(sections, &keys);
        let content = &found["components"]["responses"][response]["content"];
        let schema = format!("#/components/schemas/{schema}");
        assert_eq!(content, &json!({ media_type: { "schema": { "$ref": schema } } }), "{sections} {response}");
        assert!(found.pointer(schema.trim_start_matches('#')).is_some(), "{schema}");
    }
}

#[test]
fn authenticators_that_look_in_one_place_are_one_scheme() {
    let found = of("  - { name: a, method: GET, gateway_path: /a, service: up, auth: [same, key, my link] }\n  \
                    - { name: b, method: GET, gateway_path: /b, service: up, auth: [browser] }\n  \
                    - { name: c, method: GET, gateway_path: /c, service: up, auth: public }");
    assert_eq!(
        found["components"]["securitySchemes"],
        json!({
            "key": { "type": "apiKey", "in": "header", "name": "x-api-key" },
            "my-link": { "type": "apiKey", "in": "query", "name": "key" },
            "browser": { "type": "apiKey", "in": "cookie", "name": "sid" },
        })
    );
    assert_eq!(at(&found, "/paths/~1a/get/security"), &json!([{ "key": [] }, { "my-link": [] }]));
    assert_eq!(at(&found, "/paths/~1b/get/security"), &json!([{ "browser": [] }]));
    assert_eq!(at(&found, "/paths/~1c/get/security"), &json!([]));
}

#[test]
fn a_host_becomes_servers_of_its_operation() {
    let docs = "docs: { listener: \"127.0.0.1:0\", servers: [\"https://api.example.com:8443/v1\", /v1] }";
    let server = |url: &str| json!({ "url": url });
    let wild = |url: &str| json!({ "url": url, "variables": { "subdomain": { "default": "www" } } });
    for (sections, host, expected) in [
        ("", "b.example.com", json!([server("//b.example.com")])),
        ("", "\"*.example.com\"", json!([wild("//{subdomain}.example.com")])),
        (docs, "b.example.com", json!([server("https://b.example.com:8443/v1")])),
        (docs, "\"*.b.org\"", json!([wild("https://{subdomain}.b.org:8443/v1")])),
    ] {
        let found = with(sections, &route(&format!("host: {host}")));
        assert_eq!(at(&found, "/paths/~1r/get/servers"), &expected, "{sections} {host}");
    }
    assert!(at(&of(&route("")), "/paths/~1r/get/servers").is_null());
}

#[test]
fn a_route_with_the_path_and_method_of_another_stands_beside_it() {
    let found = of(
        "  - { name: one, method: GET, gateway_path: \"/r/{id}\", service: up, auth: public, description: First. }\n  \
                    - { name: two, method: GET, host: b.org, gateway_path: \"/r/{key}\", service: up, auth: public, summary: S }\n  \
                    - { name: three, method: GET, gateway_path: \"/r/{*rest}\", service: up, auth: public }\n  \
                    - { name: four, method: PUT, gateway_path: \"/r/{name}\", service: up, auth: public, path_params: { name: { type: integer } } }",
    );
    let paths: Vec<&String> = found["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/r/{id}"]);
    let first = at(&found, "/paths/~1r~1{id}/get");
    assert_eq!(first["operationId"], "one");
    assert_eq!(
        first["description"],
        "First.\n\nRoute `two` has the same path and method (`/r/{key}`, host `b.org`).\n\n\
         Route `three` has the same path and method (`/r/{*rest}`, any host)."
    );
    let others = first[super::ALTERNATIVES].as_array().unwrap();
    assert_eq!(others.len(), 2);
    assert_eq!((&others[0]["route"], &others[0]["host"]), (&json!("two"), &json!("b.org")));
    assert_eq!((&others[1]["route"], &others[1]["host"]), (&json!("three"), &Value::Null));
    assert_eq!(others[0]["operation"]["summary"], "S");
    assert_eq!(at(&found, "/paths/~1r~1{id}/put/parameters/0/name"), "id");
    assert_eq!(at(&found, "/paths/~1r~1{id}/put/parameters/0/schema/type"), "integer");
}

#[test]
fn operation_ids_are_unique() {
    let found = of("  - { name: a, methods: [GET, HEAD, PUT], gateway_path: /a, service: up, auth: public }\n  \
                    - { name: a_get, method: GET, gateway_path: /b, service: up, auth: public }\n  \
                    - { name: c, operation_id: readC, methods: [GET, HEAD], gateway_path: /c, service: up, auth: public }\n  \
                    - { name: d, method: HEAD, gateway_path: /d, service: up, auth: public }");
    let mut ids: Vec<(String, String)> = Vec::new();
    for (path, item) in found["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            ids.push((format!("{method} {path}"), operation["operationId"].as_str().unwrap().to_owned()));
        }
    }
    let ids: Vec<(&str, &str)> = ids.iter().map(|(of, id)| (of.as_str(), id.as_str())).collect();
    assert_eq!(
        ids,
        [("get /a", "a_get_"), ("put /a", "a_put"), ("get /b", "a_get"), ("get /c", "readC"), ("head /d", "d")]
    );
}

#[test]
fn documentation_passes_and_hidden_routes_do_not() {
    let found = of("  - { name: a, method: GET, gateway_path: /a, service: up, auth: public, tags: [x], summary: S, \
                    description: D, deprecated: true, operation_id: readA }\n  \
                    - { name: b, method: GET, gateway_path: /b, service: up, auth: public, tags: [y], include_in_schema: false }");
    let operation = at(&found, "/paths/~1a/get");
    for (key, value) in [
        ("tags", json!(["x"])),
        ("summary", "S".into()),
        ("description", "D".into()),
        ("deprecated", true.into()),
        ("operationId", "readA".into()),
    ] {
        assert_eq!(operation[key], value, "{key}");
    }
    assert_eq!(found["paths"].as_object().unwrap().len(), 1);
    assert_eq!(found["tags"], json!([{ "name": "x" }]));
}

#[test]
fn nothing_of_services_plans_and_keys_is_told() {
    let found = with(
        "plans: { hidden-plan: { total: 9/minute } }\nconsumers: { hidden-alice: { plan: hidden-plan, api_keys: [{ sha256: \
         9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 }] } }",
        "  - { name: a, method: GET, gateway_path: /a, service: up, service_path: /hidden-path, auth: [key], \
         request_headers: { set: { x-secret: hidden-value } } }",
    );
    let text = found.to_string();
    for secret in ["hidden-", "9f86d081", "127.0.0.1", "x-secret"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn a_route_that_takes_websockets_answers_with_101_or_asks_for_a_handshake() {
    for (keys, expected) in [
        ("websocket: true", &["101", "400", "403", "414", "426", "431", "502", "503", "504", "default"][..]),
        ("websocket: false", &["200", "400", "414", "431", "502", "503", "504", "default"]),
    ] {
        let document = of(&route(keys));
        let responses = at(&document, "/paths/~1r/get/responses").as_object().expect("responses");
        assert_eq!(responses.keys().collect::<Vec<_>>(), expected, "{keys}");
    }
    let document = of(&route("websocket: { origins: any }"));
    assert_eq!(at(&document, "/paths/~1r/get/responses/101/description"), "A WebSocket.");
    assert!(at(&document, "/components/headers/Sec-WebSocket-Version").is_object());
}
