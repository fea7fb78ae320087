//! Programs from PyPI, in a virtual environment below `target/`.
//!
//! It is made once for each list of versions, under another name that is changed when it is complete: an interrupted
//! or simultaneous run leaves nothing half-made behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What is installed.
const PACKAGES: [&str; 3] = ["schemathesis==4.32.5", "hypothesis==6.170.15", "openapi-spec-validator==0.9.0"];

/// The Python that has them.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let named = PACKAGES.join("-").replace("==", "-");
        let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{named}"));
        if !environment.exists() {
            install(&environment);
        }
        environment.join("bin/python")
    })
}

fn install(environment: &Path) {
    let begun = environment.with_extension(format!("{}.part", std::process::id()));
    run(Command::new("python3").args(["-m", "venv"]).arg(&begun), "needs Debian's python3-venv");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(begun.join("bin/python")).args(pip).args(PACKAGES), "needs PyPI");
    if fs::rename(&begun, environment).is_err() {
        assert!(environment.exists(), "{} cannot be renamed", begun.display());
        let _ = fs::remove_dir_all(&begun);
    }
}

/// Runs a program that has to succeed.
pub fn run(command: &mut Command, needs: &str) -> String {
    let output = command.output().unwrap_or_else(|failed| panic!("{command:?} does not run ({needs}): {failed}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?} failed ({needs}):\n{text}");
    text
}
