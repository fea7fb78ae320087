//! The document against the standard, and the gateway against the document.

use std::fs;
use std::process::Command;

use tollgate::demo;

use super::python::{python, run};
use super::{Demo, printed};
use crate::support::client::fetch;

/// How many seconds schemathesis may take.
const PATIENCE: &str = "60";

const VALIDATOR: &str = "from openapi_spec_validator.__main__ import main; main()";

#[test]
fn documents_are_valid_openapi_3_1() {
    let folder = tempfile::tempdir().expect("make a directory");
    for file in ["conf/demo.yaml", "tests/config/full.yaml"] {
        let document = folder.path().join("openapi.json");
        fs::write(&document, printed(file).stdout).expect("write the document");
        let validate = || {
            let mut command = Command::new(python());
            command.args(["-c", VALIDATOR, "--schema", "3.1"]).arg(&document);
            command
        };
        run(&mut validate(), "openapi-spec-validator");
        // That the validator would say so.
        let text = fs::read_to_string(&document).expect("read the document");
        fs::write(&document, text.replacen("\"responses\"", "\"answers\"", 1)).expect("write the document");
        let refused = validate().output().expect("run the validator");
        assert!(!refused.status.success(), "{file}: the validator takes anything");
    }
}

#[test]
fn the_gateway_does_what_its_document_says() {
    let demo = Demo::start();
    let address = demo.gateway.address();
    let folder = tempfile::tempdir().expect("make a directory");
    let document = folder.path().join("openapi.json");
    fs::write(&document, fetch(address, "/openapi.json").body).expect("write the document");
    let mut command = Command::new("timeout");
    command
        .arg(PATIENCE)
        .arg(python())
        .current_dir(folder.path())
        .env("HYPOTHESIS_STORAGE_DIRECTORY", folder.path())
        .args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"])
        .arg(&document)
        .args(["--url", &format!("http://{address}"), "--header", &format!("x-api-key: {}", demo::API_KEY)])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--seed", "1"])
        .args(["--checks", "all", "--continue-on-failure", "--no-shrink", "--no-color"]);
    let text = run(&mut command, "schemathesis found a mismatch, or took too long");
    assert!(text.contains("Tested: 15"), "{text}");
}
