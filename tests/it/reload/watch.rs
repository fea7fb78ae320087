//! `reload: { watch: true }`, and SIGHUP: the ways of a file to a gateway that nobody asks to reload.

use std::fs;

use serde_json::{Value, json};

use super::{number, numbered};
use crate::process::instance::{Instance, eventually};
use crate::support::client::{ask, fetch, request};
use crate::support::origin::Origin;

fn watched(origin: &Origin, turn: usize) -> Value {
    let mut file = numbered(origin.address(), turn);
    file["reload"] = json!({"watch": true});
    file
}

fn serves(gateway: &Instance, turn: usize) -> bool {
    eventually(|| number(&fetch(gateway.public, "/echo")) == turn)
}

#[test]
fn a_watched_file_is_read_again_however_it_is_replaced() {
    let origin = Origin::start(super::echo);
    let gateway = Instance::start(&watched(&origin, 1));
    gateway.write(&watched(&origin, 2));
    assert!(serves(&gateway, 2), "written anew");

    let beside = gateway.folder().join("tollgate.yaml.new");
    fs::write(&beside, watched(&origin, 3).to_string()).unwrap();
    fs::rename(&beside, gateway.file()).unwrap();
    assert!(serves(&gateway, 3), "another file took its name");

    fs::write(&beside, watched(&origin, 4).to_string()).unwrap();
    fs::rename(&beside, gateway.file()).unwrap();
    assert!(serves(&gateway, 4), "and once more");

    fs::write(gateway.file(), "nonsense").unwrap();
    gateway.logged("configuration refused, generation 4 goes on");
    gateway.write(&watched(&origin, 5));
    assert!(serves(&gateway, 5), "after a bad file too");
}

#[test]
fn a_watched_file_that_goes_away_changes_nothing_until_it_is_back() {
    let origin = Origin::start(super::echo);
    let gateway = Instance::start(&watched(&origin, 1));
    fs::remove_file(gateway.file()).unwrap();
    gateway.logged("configuration refused, generation 1 goes on");
    assert_eq!(number(&fetch(gateway.public, "/echo")), 1);
    let output = gateway.reload_command();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tollgate.yaml"), "it says which file: {output:?}");
    gateway.write(&watched(&origin, 2));
    assert!(serves(&gateway, 2));
}

#[test]
fn an_included_file_is_watched_too() {
    let origin = Origin::start(super::echo);
    let gateway = Instance::start(&watched(&origin, 1));
    let part = |turn| {
        let route = &numbered(origin.address(), turn)["routes"];
        fs::write(gateway.folder().join("parts/echo.yaml"), json!({"routes": route}).to_string()).unwrap();
    };
    fs::create_dir(gateway.folder().join("parts")).unwrap();
    part(2);
    let mut file = watched(&origin, 2);
    file.as_object_mut().unwrap().remove("routes");
    file["include"] = json!(["parts/*.yaml"]);
    gateway.write(&file);
    assert!(serves(&gateway, 2));
    part(3);
    assert!(serves(&gateway, 3));
}

#[test]
fn an_unwatched_file_is_read_at_sighup_only() {
    let origin = Origin::start(super::echo);
    let gateway = Instance::start(&numbered(origin.address(), 1));
    gateway.write(&numbered(origin.address(), 2));
    assert_eq!(number(&fetch(gateway.public, "/echo")), 1);
    gateway.signal("HUP");
    assert!(serves(&gateway, 2));
    fs::remove_file(gateway.file()).unwrap();
    gateway.signal("HUP");
    gateway.logged("configuration refused, generation 2 goes on");
    assert_eq!(number(&fetch(gateway.public, "/echo")), 2);
}

#[test]
fn a_schema_file_is_watched_too() {
    let origin = Origin::start(super::echo);
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("order.json");
    fs::write(&schema, r#"{"type": "integer"}"#).unwrap();
    let mut file = watched(&origin, 1);
    let route = json!({
        "name": "order", "method": "POST", "gateway_path": "/order", "body": {"schema_file": schema},
        "service": file["routes"][0]["service"], "auth": "public",
    });
    file["routes"].as_array_mut().unwrap().push(route);
    let gateway = Instance::start(&file);
    let status = || ask(gateway.public, &request("POST", "/order", &[], b"\"a\"")).status;
    assert_eq!(status(), 422);
    fs::write(&schema, r#"{"type": "string"}"#).unwrap();
    assert!(eventually(|| status() == 200), "a changed schema is in force");
    fs::write(&schema, r#"{"type": "strin"}"#).unwrap();
    gateway.logged("configuration refused, generation 2 goes on");
    assert_eq!(status(), 200);
}

#[test]
fn what_lies_beside_a_watched_file_is_no_reason_to_reload() {
    let origin = Origin::start(super::echo);
    let gateway = Instance::start(&watched(&origin, 1));
    // The gateway's own log lies there, too.
    let beside = gateway.folder().join("access.log");
    for turn in 2..5 {
        fs::write(&beside, format!("line {turn}")).unwrap();
        gateway.write(&watched(&origin, turn));
        assert!(serves(&gateway, turn));
    }
    assert_eq!(gateway.log().matches("configuration unchanged").count(), 0, "{}", gateway.log());
    fs::write(gateway.file(), "nonsense").unwrap();
    gateway.logged("configuration refused, generation 4 goes on");
    gateway.write(&watched(&origin, 5));
    assert!(serves(&gateway, 5));
    assert_eq!(gateway.log().matches("configuration refused").count(), 1, "{}", gateway.log());
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_nothing_waits_for_it() {
    let origin = Origin::start(super::echo);
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("order.json");
    fs::write(&schema, "{}").unwrap();
    let mut file = numbered(origin.address(), 1);
    file["routes"][0]["response_model"] = json!({"schema_file": schema});
    let gateway = Instance::start(&file);
    fs::remove_file(&schema).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&schema).status().unwrap().success());
    let output = gateway.reload_command();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is no regular file"), "{output:?}");
    fs::remove_file(&schema).unwrap();
    fs::write(&schema, r#"{"type": "object"}"#).unwrap();
    assert_eq!(gateway.reload_command().status.code(), Some(0));
}
