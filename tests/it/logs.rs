//! Access lines and the process log: where they go, what is in them, and that nobody waits for them.

mod blocked;
mod choice;

use std::fs;

use serde_json::{Value, json};

use crate::process::instance::{Instance, config, eventually, sha256};
use crate::support::client::{Response, ask, fetch};
use crate::support::origin::Origin;

/// A configuration with one open route, and these sections.
fn open(origin: &Origin, sections: Value) -> Value {
    let mut all = json!({
        "defaults": {"auth": "public"},
        "routes": [{"name": "all", "method": "GET", "gateway_path": "/{*rest}", "service": "origin"}],
    });
    all.as_object_mut().unwrap().extend(sections.as_object().unwrap().clone());
    config(origin.address(), all)
}

fn lines(text: &str) -> Vec<Value> {
    let object = |line: &str| serde_json::from_str::<Value>(line).ok().filter(Value::is_object);
    text.lines().map(|line| object(line).unwrap_or_else(|| panic!("not one object: {line}"))).collect()
}

#[test]
fn a_file_that_was_moved_is_written_until_sigusr1_and_anew_afterwards() {
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let log = path("logs/access.log");
    fs::create_dir(path("logs")).unwrap();
    let gateway = Instance::start(&open(&origin, json!({"access_log": {"path": log}})));
    let count = |path: &std::path::Path| fs::read_to_string(path).map_or(0, |text| lines(&text).len());
    let call = || assert_eq!(fetch(gateway.public, "/a").status, 200);
    call();
    assert!(eventually(|| count(&log) == 1));
    fs::rename(&log, path("moved")).unwrap();
    call();
    assert!(eventually(|| count(&path("moved")) == 2), "nobody asked for another file");
    gateway.signal("USR1");
    gateway.logged("opened again");
    call();
    assert!(eventually(|| count(&log) == 1));

    fs::rename(path("logs"), path("gone")).unwrap();
    gateway.signal("USR1");
    gateway.logged("cannot be opened again, the old file goes on");
    call();
    assert!(eventually(|| count(&path("gone/access.log")) == 2));
    assert_eq!(gateway.metric(r#"tollgate_access_lines_dropped_total{reason="failed"}"#), Some(0.0));
}

#[test]
fn two_processes_append_whole_lines_to_one_file() {
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let gateways = [1, 2].map(|_| Instance::start(&open(&origin, json!({"access_log": {"path": log}}))));
    std::thread::scope(|scope| {
        for gateway in &gateways {
            scope.spawn(|| (0..150).for_each(|_| assert_eq!(fetch(gateway.public, "/a").status, 200)));
        }
    });
    let whole = || lines(&fs::read_to_string(&log).unwrap()).len();
    assert!(eventually(|| whole() == 300), "{}", whole());
}

#[test]
fn the_process_log_is_as_the_file_says_and_changes_with_it() {
    let origin = Origin::json("{}");
    let with = |log: Value| open(&origin, json!({"log": log, "access_log": {"path": "off"}}));
    let gateway = Instance::start(&with(json!({"format": "json"})));
    let all = lines(&gateway.log());
    let ready = all.iter().find(|entry| entry["message"].as_str().is_some_and(|text| text.starts_with("ready ")));
    let ready = ready.expect("an entry");
    assert_eq!((&ready["level"], &ready["module"]), (&"info".into(), &"tollgate::server::supervisor".into()));
    assert!(ready["time"].as_str().is_some_and(|time| time.ends_with('Z')));

    assert_eq!(gateway.reload(&with(json!({"format": "text", "level": "error"})))["result"], "published");
    let quiet = gateway.log().len();
    assert_eq!(gateway.reload(&with(json!({"format": "text", "level": "error", })))["result"], "unchanged");
    assert_eq!(&gateway.log()[quiet..], "", "only errors are said");
    assert_eq!(gateway.reload(&with(json!({"level": "info"})))["result"], "published");
    gateway.logged("INFO  configuration published generation=3");
}

#[test]
fn the_command_line_goes_before_the_file_at_the_start() {
    let origin = Origin::json("{}");
    let with = |level: &str| open(&origin, json!({"log": {"level": level}}));
    let gateway = Instance::start_with(&with("error"), &["--log", "info"], &[]);
    let level = || gateway.operator("GET", "/log/level", &[]).text();
    assert_eq!(level(), "{\n  \"level\": \"info\"\n}\n");
    assert_eq!(gateway.reload(&with("warn"))["result"], "published");
    assert!(level().contains("warn"));
}

#[test]
fn whoever_has_the_token_sets_the_level() {
    let origin = Origin::json("{}");
    let with = |admin: Value| Instance::start(&open(&origin, json!({"admin": admin})));
    let gateway = with(json!({"address": "127.0.0.1:0", "token_sha256": sha256("s3cret")}));
    let ask_with = |gateway: &Instance, token: &str, body: &str| -> Response {
        let head = format!("PUT /log/level HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n", gateway.admin);
        ask(gateway.admin, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())
    };
    for (token, body, status, says) in [
        ("wrong", r#"{"level": "debug"}"#, 401, "token"),
        ("s3cret", r#"{"level": "loud"}"#, 422, "unknown variant `loud`"),
        ("s3cret", r#"{"level": "debug", "for": 1}"#, 422, "unknown field `for`"),
        ("s3cret", r#"{"level": "debug"}"#, 200, "debug"),
        ("s3cret", r#"{"level": "error"}"#, 200, "error"),
    ] {
        let answer = ask_with(&gateway, token, body);
        assert_eq!(answer.status, status, "{token} {body}: {}", answer.text());
        assert!(answer.text().contains(says), "{}", answer.text());
    }
    assert!(gateway.operator("GET", "/log/level", &[]).text().contains("error"));
    gateway.logged("log level is now level=debug");
    let denied = gateway.operator("POST", "/log/level", &[("content-length", "0")]);
    assert_eq!((denied.status, denied.value("allow")), (405, Some("GET, PUT")));
    let without = with(json!({"address": "127.0.0.1:0"}));
    assert_eq!(ask_with(&without, "s3cret", r#"{"level": "debug"}"#).status, 403);
}
