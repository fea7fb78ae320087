//! The API's description as its readers meet it.
//!
//! - `served` — who gets it, where, and how
//! - `conformity` — a validator of OpenAPI 3.1 takes it, and schemathesis finds that the gateway does what it says
//! - `browser` — the page in Chromium
//! - `python` — the programs of `conformity`, installed for the run

pub mod browser;
mod conformity;
mod python;
mod served;

use std::process::Output;

use serde_json::Value;
use tollgate::demo;

use crate::support::gateway::{Gateway, program};
use crate::support::origin::{Origin, Reply};

/// The packaged demo in front of its microservice.
struct Demo {
    gateway: Gateway,
    _origin: Origin,
}

impl Demo {
    /// With its description where the demo has it.
    fn start() -> Self {
        Self::described_on("127.0.0.1:8080")
    }

    fn described_on(listener: &str) -> Self {
        let origin = Origin::start(Reply::of_demo);
        let config = demo::CONFIG
            .replace("docs: { listener: \"127.0.0.1:8080\"", &format!("docs: {{ listener: \"{listener}\""))
            .replace(demo::SERVICE_ADDRESS, &origin.address().to_string())
            .replace("127.0.0.1:8080", "127.0.0.1:0")
            .replace("127.0.0.1:9090", "127.0.0.1:0");
        Self { gateway: Gateway::start(&config), _origin: origin }
    }
}

/// Runs `tollgate openapi` on a file of the repository.
fn printed(file: &str) -> Output {
    program().current_dir(env!("CARGO_MANIFEST_DIR")).arg("openapi").arg(file).output().expect("run the program")
}

#[test]
fn the_command_prints_a_document_or_the_problems() {
    for (file, code, out, error) in [
        ("conf/demo.yaml", 0, "\"openapi\": \"3.1.0\"", ""),
        ("tests/config/full.yaml", 0, "\"operationId\": \"getUser\"", ""),
        ("tests/config/bad/unknown_service.yaml", 1, "", "unknown service `usres`"),
        ("tests/config/bad/syntax_error.yaml", 1, "", "error: "),
        ("no/such/file.yaml", 2, "", "no/such/file.yaml"),
    ] {
        let output = printed(file);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, complained) = (said(&output.stdout), said(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{file}: {complained}");
        assert!(printed.contains(out) && complained.contains(error), "{file}: {printed}\n{complained}");
        assert_eq!(serde_json::from_str::<Value>(&printed).is_ok(), code == 0, "{file}: {printed}");
    }
}

#[test]
fn the_same_file_gives_the_same_document() {
    assert_eq!(printed("tests/config/full.yaml").stdout, printed("tests/config/full.yaml").stdout);
}
