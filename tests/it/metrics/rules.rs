//! `conf/prometheus/rules.yml`: every name in it is exported, Prometheus takes it, and each alert is seen to fire and to
//! be quiet (`tests/prometheus/rules_test.yml`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use super::promql::{Known, uses};
use super::stage::exported;

const RULES: &str = "conf/prometheus/rules.yml";
const TESTS: &str = "tests/prometheus/rules_test.yml";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|failed| panic!("{path}: {failed}"));
    serde_yaml::from_str(&text).unwrap_or_else(|failed| panic!("{path}: {failed}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// All rules, those that record apart from those that alert.
fn rules() -> (Vec<Value>, Vec<Value>) {
    let file = yaml(RULES);
    let all = list(&file, "groups").iter().flat_map(|group| list(group, "rules")).cloned();
    let (recording, alerting): (Vec<_>, Vec<_>) = all.partition(|rule| rule.get("record").is_some());
    assert!(recording.len() > 10 && alerting.len() > 20, "{} and {}", recording.len(), alerting.len());
    (recording, alerting)
}

/// What rules record, with the labels that are left.
pub fn recorded() -> BTreeMap<String, BTreeSet<String>> {
    let of = |rule: &Value| {
        let labels = uses(text(rule, "expr")).groupings.into_iter().filter(|label| label != "le");
        (text(rule, "record").to_owned(), labels.collect())
    };
    rules().0.iter().map(of).collect()
}

#[test]
fn every_name_in_the_rules_is_exported() {
    let known = Known { exported: exported(), recorded: recorded() };
    let (recording, alerting) = rules();
    let all = recording.iter().chain(&alerting);
    let faults: Vec<String> = all.flat_map(|rule| known.faults(text(rule, "expr"))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_alert_says_how_grave_it_is_and_what_to_do_in_labels_that_it_has() {
    let known = Known { exported: exported(), recorded: recorded() };
    let label = Regex::new(r"\$labels\.(\w+)").unwrap();
    for alert in rules().1 {
        let (name, labels) = (text(&alert, "alert"), known.labels_of(text(&alert, "expr")));
        let severity = text(&alert["labels"], "severity");
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: severity {severity:?}");
        let (summary, description) =
            (text(&alert["annotations"], "summary"), text(&alert["annotations"], "description"));
        assert!(!summary.is_empty() && description.ends_with('.'), "{name}: {summary:?}, {description:?}");
        let named = label.captures_iter(summary).chain(label.captures_iter(description));
        let unknown: Vec<String> = named.map(|found| found[1].to_owned()).filter(|it| !labels.contains(it)).collect();
        assert!(unknown.is_empty(), "{name} has no label {unknown:?}, only {labels:?}");
    }
}

#[test]
fn every_alert_is_tested_to_fire_and_to_be_quiet() {
    let file = yaml(TESTS);
    let cases = || list(&file, "tests").iter().flat_map(|test| list(test, "alert_rule_test"));
    for alert in rules().1 {
        let name = text(&alert, "alert");
        for fires in [true, false] {
            let tested =
                cases().any(|case| text(case, "alertname") == name && list(case, "exp_alerts").is_empty() != fires);
            assert!(tested, "no test of {name} where it {}", if fires { "fires" } else { "is quiet" });
        }
    }
}

#[test]
fn prometheus_takes_the_rules_and_they_alert_as_tested() {
    for arguments in [["check", "rules", RULES], ["test", "rules", TESTS]] {
        let output = Command::new("promtool").current_dir(root()).args(arguments).output().unwrap_or_else(|failed| {
            panic!("promtool cannot be started ({failed}): apt-get install --no-install-recommends prometheus")
        });
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "promtool {}:\n{said}", arguments.join(" "));
        assert!(said.contains("SUCCESS"), "{said}");
    }
}
