//! The units that are shipped: systemd understands them, and grants little.

use std::fs;
use std::process::Command;

use super::units;
use crate::support::gateway::program;

/// The worst that `systemd-analyze security` may say, in tenths.
const EXPOSURE: u32 = 15;

fn analyze() -> Command {
    let mut command = Command::new("systemd-analyze");
    command.env("SYSTEMD_COLORS", "0");
    command
}

#[test]
fn systemd_understands_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["tollgate.service", "tollgate.socket"];
    for name in names {
        // The program is not installed where the tests run.
        let text = fs::read_to_string(units().join(name)).unwrap();
        let here = text.replace("/usr/bin/tollgate", &program().get_program().to_string_lossy());
        fs::write(folder.path().join(name), here).unwrap();
    }
    let output = analyze().args(["verify", "--man=no"]).args(names.map(|name| folder.path().join(name))).output();
    let output = output.expect("run systemd-analyze: install the package `systemd`");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("tollgate")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_service_may_do_little() {
    let output = analyze()
        .args(["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE}")])
        .arg(units().join("tollgate.service"))
        .output()
        .expect("run systemd-analyze: install the package `systemd`");
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    assert!(output.status.success() && last.contains("Overall exposure level"), "{said}");
}
