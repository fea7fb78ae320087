//! What testssl.sh, a usual audit of TLS servers, finds.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::Stage;
use crate::support::pki::{Authority, Life};

/// The severities of what is not as it should be.
const FAULTS: [&str; 5] = ["WARN", "LOW", "MEDIUM", "HIGH", "CRITICAL"];

/// What a certificate made for a test lacks.
const OF_THE_CERTIFICATE: [&str; 1] = ["cert_revocation"];

/// How testssl.sh judges a listener: severity and text of each finding.
fn audit(authority: &Authority, port: u16) -> HashMap<String, (String, String)> {
    let findings = authority.file().with_file_name("findings.json");
    let mut program = Command::new("testssl");
    // Protocols, the order of suites, forward secrecy, what the server shows, and every known weakness.
    program.args(["--protocols", "--server-preference", "--fs", "--server-defaults", "--vulnerable"]);
    program.args(["--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1"]);
    program.arg("--add-ca").arg(authority.file()).arg("--jsonfile").arg(&findings);
    // Which it does not write over.
    let _ = fs::remove_file(&findings);
    let output = program.arg(format!("https://localhost:{port}")).output().unwrap_or_else(|failed| {
        panic!("testssl cannot be started ({failed}): apt-get install --no-install-recommends testssl.sh")
    });
    let said = String::from_utf8_lossy(&output.stdout);
    let text = fs::read_to_string(&findings).unwrap_or_else(|failed| panic!("no findings ({failed}):\n{said}"));
    let found: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|failed| panic!("{failed}:\n{text}"));
    let member = |finding: &Value, name: &str| finding[name].as_str().expect("a finding's member").to_owned();
    found.iter().map(|found| (member(found, "id"), (member(found, "severity"), member(found, "finding")))).collect()
}

#[test]
fn testssl_finds_nothing_to_complain_of() {
    let authority = Authority::new();
    let pair = authority.server_of(&["localhost"], Life::Days(90));
    let stage = Stage::start(&authority.yaml("api", &pair));
    let port = stage.gateway.address().port();
    let mut found = audit(&authority, port);
    if found.iter().any(|(id, (severity, _))| severity == "WARN" && !OF_THE_CERTIFICATE.contains(&&**id)) {
        // What it could not try, as it is impatient, and the machine may be busy.
        found = audit(&authority, port);
    }
    let good = |id: &str| found.get(id).is_some_and(|(severity, _)| severity == "OK");
    for id in ["TLS1_3", "TLS1_2", "PFS", "cipher_order", "cert_chain_of_trust", "heartbleed", "LUCKY13", "RC4"] {
        assert!(good(id), "{id}: {:?}", found.get(id));
    }
    let faults: Vec<_> = found
        .iter()
        .filter(|(id, (severity, _))| FAULTS.contains(&&**severity) && !OF_THE_CERTIFICATE.contains(&&***id))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
