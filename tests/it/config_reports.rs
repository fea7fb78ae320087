//! What a user sees of a faulty configuration.
//!
//! Each `tests/config/bad/NAME.yaml` has what `tollgate check` says of it beside it in `NAME.expected`;
//! `UPDATE_EXPECT=1` rewrites those. `mutations` shows that no key of the format is ignored and that every fault is
//! found at its line, `pairs` that two faults do not hide each other.

mod mutations;
mod pairs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::gateway::program;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// `tollgate check` in `tests/config`, with a secret in the environment.
fn check(arguments: &[&str]) -> Output {
    let mut command = program();
    command.current_dir(root()).env("SECRET", "hunter2").arg("check").args(arguments);
    command.output().expect("run the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn bad_files() -> Vec<String> {
    let entries = fs::read_dir(root().join("bad")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    files.retain(|name| name.ends_with(".yaml"));
    files.sort();
    files
}

/// Without the number of series, which grows with every metric of the gateway; `metrics` looks after it.
fn without_metrics(said: &str) -> String {
    said.split_inclusive('\n').filter(|line| !line.starts_with("metrics: ")).collect()
}

#[test]
fn every_bad_file_is_reported_as_expected() {
    let files = bad_files();
    assert!(files.len() >= 95, "only {} bad files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let output = check(&[&format!("bad/{file}")]);
        let found = without_metrics(&text(&output.stdout));
        assert_eq!(text(&output.stderr), "", "{file}");
        let code = i32::from(found.lines().any(|line| line.starts_with("error: ")));
        assert_eq!(output.status.code(), Some(code), "{file}: {found}");
        assert!(found.contains("error: ") || found.contains("warning: "), "{file} is not bad");
        assert!(!found.contains("hunter2"), "{file} shows a secret:\n{found}");
        let beside = root().join("bad").join(&file).with_extension("expected");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&beside, &found).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{file}\nexpected:\n{expected}\nfound:\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_expected_report_belongs_to_a_file() {
    let files = bad_files();
    for entry in fs::read_dir(root().join("bad")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".expected") {
            assert!(files.contains(&format!("{stem}.yaml")), "{name} is left over");
        }
    }
}

#[test]
fn the_exit_code_tells_good_faulty_and_missing_files_apart() {
    for (arguments, code, out, error) in [
        (&["full.yaml"][..], 0, "ok: 7 routes, 3 services, 1 API keys\n", ""),
        (&["bad/unused.yaml"], 0, "ok: 1 routes, 1 services", ""),
        (&["bad/unknown_service.yaml"], 1, "unknown service", ""),
        (&["bad/syntax_error.yaml"], 1, "error: ", ""),
        (&["no/such/file.yaml"], 2, "", "no/such/file.yaml"),
        (&[], 2, "", "Usage: tollgate check"),
        (&["full.yaml", "--format", "xml"], 2, "", "possible values: text, json"),
        (&["full.yaml", "bad/unused.yaml"], 2, "", "unexpected argument"),
    ] {
        let output = check(arguments);
        let said = (text(&output.stdout), text(&output.stderr));
        let out = if code == 0 && said.0.contains("warning: ") { "ok: 1 routes" } else { out };
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said:?}");
        assert!(said.0.contains(out) && said.1.contains(error), "{arguments:?}: {said:?}");
    }
}

#[test]
fn json_reports_say_the_same_in_fields() {
    let output = check(&["bad/unknown_service.yaml", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    let problems = report.as_array().expect("a list");
    assert_eq!(problems.len(), 2, "{report:#}");
    for (name, value) in [
        ("severity", Value::from("error")),
        ("message", "unknown service `usres`".into()),
        ("help", "did you mean `users`?".into()),
        ("file", "bad/unknown_service.yaml".into()),
        ("line", 10.into()),
        ("column", 14.into()),
    ] {
        assert_eq!(problems[0][name], value, "{name} in {report:#}");
    }
    let fine = check(&["full.yaml", "--format", "json"]);
    assert_eq!((fine.status.code(), text(&fine.stdout).trim()), (Some(0), "[]"));
    let warned = check(&["bad/unused.yaml", "--format", "json"]);
    assert_eq!(warned.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&warned.stdout).unwrap();
    assert!(report.as_array().unwrap().iter().all(|problem| problem["severity"] == "warning"), "{report:#}");
}
