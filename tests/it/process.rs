//! The process: what a reload does, how it leaves, and that the commands of `tollgate demo` work as printed.

mod demo_service;
pub mod instance;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tollgate::demo;

use crate::support::client::fetch;
use crate::support::gateway::{Gateway, Reload, program};
use crate::support::origin::{Origin, Reply};

/// One public route to the origin, at this path.
fn config(origin: &Origin, path: &str) -> String {
    json!({
        "version": 1,
        "listeners": [{"address": "127.0.0.1:0"}],
        "admin": {"address": "127.0.0.1:0"},
        "services": {"origin": {"url": format!("http://{}", origin.address())}},
        "routes": [{"name": "only", "method": "GET", "gateway_path": path, "service": "origin", "auth": "public"}],
    })
    .to_string()
}

#[test]
fn a_good_file_replaces_the_configuration_and_a_bad_one_changes_nothing() {
    let origin = Origin::json("{}");
    let gateway = Gateway::start(&config(&origin, "/one"));
    assert_eq!((fetch(gateway.address(), "/one").status, fetch(gateway.address(), "/two").status), (200, 404));
    assert_eq!(gateway.reload(&config(&origin, "/two")), Reload::Published);
    assert_eq!((fetch(gateway.address(), "/one").status, fetch(gateway.address(), "/two").status), (404, 200));
    assert_eq!(gateway.reload("version: 1\nroutes: nonsense\n"), Reload::Refused);
    assert_eq!((fetch(gateway.address(), "/one").status, fetch(gateway.address(), "/two").status), (404, 200));
}

#[test]
fn a_file_with_problems_does_not_start() {
    let said = Gateway::try_start("version: 1\nlisteners: nonsense\n").err().expect("it is refused");
    assert!(said.contains("listeners"), "{said}");
}

#[test]
fn each_request_has_a_line_and_sigterm_ends_with_success() {
    let origin = Origin::json("{}");
    let gateway = Gateway::start(&config(&origin, "/one"));
    assert_eq!(fetch(gateway.address(), "/one").status, 200);
    let line = gateway.printed(|line| line.contains("/one")).expect("an access line");
    assert!(serde_json::from_str::<Value>(&line).is_ok_and(|line| line.is_object()), "{line}");
    assert!(gateway.logged(|line| line.contains("ready generation=1 ")).is_some(), "{:?}", gateway.log());
    assert!(gateway.terminate().success());
}

#[test]
fn the_version_names_the_commit_that_is_checked_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = program().arg("--version").output().expect("run the program");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = format!("tollgate {}", env!("CARGO_PKG_VERSION"));
    assert!(output.status.success() && said.starts_with(&version), "{said}");
    // Sources that are no checkout have no commit, and packagers may say another.
    if !root.join(".git").exists() || std::env::var_os("TOLLGATE_REVISION").is_some() {
        return;
    }
    let commit = Command::new("git").current_dir(root).args(["log", "--max-count=1", "--format=%H %cs"]).output();
    let commit = String::from_utf8(commit.expect("run git").stdout).expect("ASCII");
    let (hash, date) = commit.trim_end().split_once(' ').expect("a commit with a date");
    assert_eq!(said, format!("{version} ({}, {date})\n", &hash[..12]));
}

/// What the answer to each command of the walk has to show, in order.
const SHOWN: &[&[&str]] = &[
    &[r#""path":"/echo/users/42""#],
    &["422", r#"["path","id"]"#],
    &[r#""query":[["q","tea"],["limit","20"]]"#],
    &["422", r#"["body","product"]"#, r#"["body","quantity"]"#, r#"["body","express"]"#],
    &[r#""path":"/echo/notes""#, r#"name=\"title\"\r\n\r\ntea"#, r#"filename=\"note.txt\""#, "hello"],
    &["401", "www-authenticate"],
    &[r#""path":"/echo/reports""#],
    &["200\n200\n200\n200\n429\n"], // the command before it was the first of the minute's five
    &["tollgate_"],
];

#[test]
fn the_demos_commands_work_as_printed() {
    let origin = Origin::start(Reply::of_demo);
    let config = demo::CONFIG
        .replace(demo::SERVICE_ADDRESS, &origin.address().to_string())
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9090", "127.0.0.1:0");
    let gateway = Gateway::start(&config);
    let tour = demo::tour(gateway.address(), gateway.admin());
    assert_eq!(tour.len(), SHOWN.len());
    for (line, shown) in tour.iter().zip(SHOWN) {
        let output = Command::new("sh").arg("-c").arg(&line.command).output().expect("run a shell");
        let text = String::from_utf8_lossy(&output.stdout);
        for part in *shown {
            assert!(text.contains(part), "{}\n{}\nshows no {part}:\n{text}", line.title, line.command);
        }
    }
}
