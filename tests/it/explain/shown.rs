//! What a user sees: the README's example as the program prints it, exit codes, and what is never shown.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::gateway::program;

/// Exit code and standard output, and standard error.
fn explain(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = program()
        .arg("explain")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("run the program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_example_of_the_readme_is_what_the_program_prints() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, example) = readme.split_once("```console\n$ tollgate explain").expect("an example");
    let (arguments, rest) = example.split_once('\n').unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("exec \"$0\" explain {arguments}")])
        .arg(program().get_program())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("run a shell");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()), (Some(0), shown));
}

#[test]
fn the_exit_code_says_how_it_went() {
    let faulty = "tests/config/bad/unknown_service.yaml";
    for (arguments, code, said) in [
        (&["conf/demo.yaml", "GET", "/users/7"][..], 0, "Forwarded."),
        (&["--config", "conf/demo.yaml", "GET", "/users/7"], 0, "Forwarded."),
        (&["conf/demo.yaml", "OPTIONS", "/users/7"], 0, "Answered by the gateway"),
        (&["conf/demo.yaml", "GET", "/docs"], 0, "Answered by the gateway"),
        (&["conf/demo.yaml", "GET", "/users/x"], 1, "contract-violated"),
        (&["conf/demo.yaml", "GET", "/userz/7"], 1, "it has `users` where the path has `userz`"),
        (&["conf/demo.yaml", "POST", "/users/7"], 1, "it answers GET, not POST"),
        (&["conf/demo.yaml", "GET", "/reports"], 1, "credential-missing"),
        (&["conf/demo.yaml", "--plan", "trial", "GET", "/reports"], 0, "x-consumer-plan: trial"),
        (&["conf/demo.yaml", "--consumer", "alice", "GET", "/reports"], 0, "5 in a minute"),
        (&["conf/demo.yaml", "--consumer", "eve", "GET", "/reports"], 2, "unknown consumer `eve`, defined: alice"),
        (&["conf/demo.yaml", "--plan", "gold", "GET", "/reports"], 2, "unknown plan `gold`, defined: trial"),
        (&["conf/demo.yaml", "GET", "/a b"], 2, "spaces are written %20"),
        (&["conf/demo.yaml", "GET", "ftp://a/b"], 2, "neither a path nor an http URL"),
        (&["conf/demo.yaml", "-H", "x", "GET", "/users/7"], 2, "is no header"),
        (&["conf/demo.yaml", "-H", "x: 1\r\ny: 2", "GET", "/users/7"], 2, "line break"),
        (&["conf/demo.yaml", "-H", "content-length: 9", "GET", "/users/7"], 2, "Content-Length"),
        (&["conf/demo.yaml", "GET"], 2, "Usage"),
        (&["conf/nothing.yaml", "GET", "/"], 2, "No such file"),
        (&[faulty, "GET", "/"], 1, "unknown service"),
    ] {
        let (exit, printed, complained) = explain(arguments);
        assert_eq!(exit, Some(code), "{arguments:?}: {printed}{complained}");
        assert!(format!("{printed}{complained}").contains(said), "{arguments:?}: {printed}{complained}");
    }
}

#[test]
fn near_routes_are_told_with_what_keeps_them_apart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tollgate.yaml");
    let route = |name: &str, more: &str| format!("- {{ name: {name}, service: a, auth: public, {more} }}\n");
    let routes = [
        route("me", "method: GET, gateway_path: /users/me"),
        route("user", "methods: [GET, PUT], gateway_path: '/users/{id}'"),
        route("rest", "method: GET, gateway_path: '/users/{*rest}'"),
        route("inner", "method: GET, host: inner.test, gateway_path: '/users/{id}'"),
        route("orders", "method: GET, gateway_path: /orders"),
    ];
    let head =
        "version: 1\nlisteners: [{ address: 127.0.0.1:0 }]\nservices: { a: { url: 'http://127.0.0.1:1' } }\nroutes:\n";
    fs::write(&file, format!("{head}{}", routes.concat())).unwrap();
    for (request, route, others) in [
        (
            "GET /users/me",
            Some("me"),
            &[("user", "less specific"), ("rest", "less specific"), ("inner", "host inner.test")][..],
        ),
        ("PUT /users/me", Some("user"), &[("me", "answers GET, not PUT"), ("rest", "answers GET"), ("inner", "host")]),
        (
            "GET http://inner.test/users/me",
            Some("inner"),
            &[("me", "less specific"), ("user", "less"), ("rest", "less")],
        ),
        ("DELETE /users/x/y", None, &[("rest", "answers GET, not DELETE"), ("user", "2 segments, the request's 3")]),
        ("GET /order", None, &[("orders", "`orders` where the path has `order`")]),
        ("GET /elsewhere", None, &[]),
    ] {
        let (method, url) = request.split_once(' ').unwrap();
        let (_, printed, _) = explain(&["--json", file.to_str().unwrap(), method, url]);
        let value: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(value["route"]["name"].as_str(), route, "{request}: {printed}");
        for (name, reason) in others {
            let told = value["not"].as_array().unwrap().iter().find(|other| other["name"] == *name);
            let told = told.and_then(|other| other["reason"].as_str()).unwrap_or_default();
            assert!(told.contains(reason), "{request}: {name}: {told}");
        }
        assert!(!others.is_empty() || value["not"].as_array().unwrap().is_empty(), "{request}: {printed}");
    }
}

#[test]
fn bodies_are_taken_apart() {
    let json = r#"{"product":"tea","quantity":2,"colour":"green"}"#;
    let file = "note=@conf/demo.yaml;type=text/plain";
    for (arguments, rows) in [
        (
            &["-d", json, "POST", "/orders"][..],
            &["body product kept", "body quantity kept", "body colour dropped not declared", "body express filled in"]
                [..],
        ),
        (
            &["-d", r#"{"product":"","quantity":0}"#, "POST", "/orders"],
            &["body product refused", "body quantity refused"],
        ),
        (
            &["-d", "username=a", "-d", "password=b&c=d", "POST", "/gateway_endpoint/form_data"],
            &["body username kept", "body password kept", "body c dropped not declared"],
        ),
        (
            &["-F", "title=a", "-F", file, "-F", "x=1", "POST", "/notes"],
            &["body title kept", "body note kept", "body x dropped"],
        ),
        (&["GET", "/search?q=a&limit=07"], &["query limit refused must be an integer"]),
        (&["GET", "/search?q=a&x=1"], &["query q kept", "query x dropped not declared", "query limit filled in"]),
    ] {
        let (_, printed, complained) = explain(&[&["conf/demo.yaml"], arguments].concat());
        let lines: Vec<String> = printed.lines().map(words).collect();
        for row in rows {
            let (place, fate) = row.split_at(row.match_indices(' ').nth(1).unwrap().0);
            let found = lines.iter().any(|line| line.starts_with(place) && line.contains(fate));
            assert!(found, "{arguments:?} has no `{row}`: {printed}{complained}");
        }
    }
}

#[test]
fn parameters_of_every_place_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tollgate.yaml");
    fs::write(&file, PLACES).unwrap();
    let headers =
        ["cookie: theme=light; other=1; session=k", "x-page: 4", "x-noise: 1", "x-forwarded-for: 1.2.3.4", "te: a"];
    let headers: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
    let request = ["--key", "unknown", "GET", "/1/left/x?n=5&n=6&more=1"];
    let (_, printed, complained) = explain(&[&[file.to_str().unwrap()], headers.as_slice(), &request].concat());
    let lines: Vec<String> = printed.lines().map(words).collect();
    for row in [
        "path on 1 true changed",
        "path unused left - dropped the service path does not name it",
        "path rest x x kept",
        "query n 5, 6 6 changed",
        "query more 1 - dropped not declared",
        "query limit - 20 filled in",
        "query from - gateway added written in the service path",
        "header x-page 4 4 kept",
        "header x-noise 1 - dropped request_headers.remove",
        "header x-forwarded-for 1.2.3.4 127.0.0.1 changed the gateway's own",
        "header te a - dropped concerns one connection only",
        "header x-team - a added request_headers.set",
        "cookie theme light light kept",
        "cookie other 1 - dropped not declared",
        "cookie session (hidden) - dropped API keys end at the gateway",
    ] {
        assert!(lines.iter().any(|line| line == row), "no `{row}`: {printed}{complained}");
    }
}

/// A route with parameters in every place but the body. Another one looks for a key in a cookie.
const PLACES: &str = r#"
version: 1
listeners: [{ address: "127.0.0.1:0" }]
services: { a: { url: "http://127.0.0.1:1" } }
authenticators: { k: { api_key: { cookie: session } } }
routes:
  - name: a
    method: GET
    gateway_path: /{on}/{unused}/{*rest}
    service: a
    service_path: /{on}/{rest}?from=gateway
    path_params: { on: { type: boolean } }
    query_params: { n: { type: integer }, limit: { type: integer, default: 20 } }
    header_params: { x-page: { type: integer } }
    cookie_params: { theme: { enum: [light, dark] } }
    request_headers: { remove: [x-noise], set: { x-team: a } }
    auth: public
  - { name: b, method: GET, gateway_path: /b, service: a, auth: [k] }
"#;

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_machine_reads_the_same() {
    let (code, printed, _) = explain(&["conf/demo.yaml", "--json", "GET", "/search?q=a&x=1"]);
    let value: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &value["outcome"]), (Some(0), &"forwarded".into()));
    assert_eq!(value["route"]["name"], "search");
    assert_eq!(value["service_request"]["start"], "GET /echo/search?q=a&limit=20 HTTP/1.1");
    let (_, printed, _) = explain(&["conf/demo.yaml", "--json", "GET", "/search"]);
    let value: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (&value["refused"]["step"], &value["refused"]["code"]),
        (&"contract".into(), &"contract-violated".into())
    );
    assert_eq!(value["answer"]["start"], "HTTP/1.1 422 Unprocessable Entity");
}

/// Wherever a key stands, and also where its service sees it.
#[test]
fn a_key_is_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tollgate.yaml");
    let hash = sha256("secret-4711");
    for place in ["header: x-key", "query: key", "cookie: session"] {
        for forward in [true, false] {
            let config = format!(
                "version: 1\nlisteners: [{{ address: 127.0.0.1:0 }}]\nservices: {{ a: {{ url: 'http://127.0.0.1:1' }} }}\n\
                 authenticators: {{ k: {{ api_key: {{ {place}, forward: {forward} }} }} }}\n\
                 consumers: {{ alice: {{ api_keys: [{{ sha256: {hash} }}] }} }}\n\
                 routes: [{{ name: a, method: GET, gateway_path: /a, service: a, auth: [k], query_params: any }}]\n"
            );
            fs::write(&file, config).unwrap();
            for json in [&[][..], &["--json"]] {
                for key in ["secret-4711", "secret-0815"] {
                    let name = file.to_str().unwrap();
                    let (code, printed, complained) = explain(&[json, &[name, "--key", key, "GET", "/a?b=c"]].concat());
                    assert_eq!(code, Some(i32::from(key != "secret-4711")), "{place}: {printed}{complained}");
                    assert!(!format!("{printed}{complained}").contains("secret"), "{place}: {printed}{complained}");
                }
            }
        }
    }
}

fn sha256(text: &str) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

#[test]
fn a_route_that_takes_websockets_says_so_and_shows_the_handshake() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tollgate.yaml");
    fs::write(
        &file,
        "version: 1\nlisteners: [{ address: \"127.0.0.1:8080\" }]\nservices: { a: { url: \"http://127.0.0.1:9\" } }\n\
         routes:\n- { name: live, method: GET, gateway_path: /live, service: a, auth: public, websocket: true }\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let handshake = [
        "-H",
        "connection: Upgrade",
        "-H",
        "upgrade: websocket",
        "-H",
        "sec-websocket-version: 13",
        "-H",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let strange = [&handshake[..], &["-H", "origin: https://evil.test"]].concat();
    for (fields, code, said) in
        [(&[][..], 1, "upgrade-required"), (&handshake, 0, "  upgrade: websocket\n"), (&strange, 1, "origin-forbidden")]
    {
        let (exit, printed, complained) = explain(&[&[file, "GET", "/live"], fields].concat());
        assert_eq!(exit, Some(code), "{fields:?}: {printed}{complained}");
        for part in [said, "takes WebSockets only"] {
            assert!(printed.contains(part), "{fields:?}: {part} is missing in {printed}{complained}");
        }
    }
}
