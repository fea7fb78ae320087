//! `conf/grafana/tollgate.json`: what it asks for is exported, and it is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use super::promql::{Known, uses};
use super::stage::exported;

/// Columns of a dashboard.
const COLUMNS: u64 = 24;

fn dashboard() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/grafana/tollgate.json");
    serde_json::from_str(&fs::read_to_string(file).expect("read the dashboard")).expect("JSON")
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {value:#}"))
}

/// Panels that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "/panels").iter().filter(|panel| text(panel, "/type") != "row")
}

/// Expressions with the text that names their series.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let targets = panels(dashboard).flat_map(|panel| list(panel, "/targets"));
    let targets = targets.map(|target| (text(target, "/expr"), text(target, "/legendFormat")));
    let annotations = list(dashboard, "/annotations/list").iter();
    let annotations = annotations.map(|of| (text(of, "/expr"), text(of, "/textFormat")));
    targets.chain(annotations).map(|(expression, legend)| (expression.to_owned(), legend.to_owned())).collect()
}

#[test]
fn every_name_in_the_dashboard_is_exported() {
    let known = Known { exported: exported(), recorded: BTreeMap::new() };
    let dashboard = dashboard();
    let legend = Regex::new(r"\{\{(\w+)\}\}").unwrap();
    let mut faults = Vec::new();
    for (expression, shown) in expressions(&dashboard) {
        faults.extend(known.faults(&expression));
        let labels = known.labels_of(&expression);
        let grouped = uses(&expression).groupings;
        for label in legend.captures_iter(&shown).map(|found| found[1].to_owned()) {
            if !labels.contains(&label) || !(grouped.is_empty() || grouped.contains(&label)) {
                faults.push(format!("the legend {shown} names {label}, which is not in {expression}"));
            }
        }
    }
    let question = Regex::new(r"^label_values\((.+), (\w+)\)$").unwrap();
    let variables = list(&dashboard, "/templating/list").iter().filter(|variable| text(variable, "/type") == "query");
    for variable in variables {
        let query = text(variable, "/query/query");
        let parts = question.captures(query).unwrap_or_else(|| panic!("what does {query} ask for?"));
        faults.extend(known.faults(&format!("count by ({}) ({})", &parts[2], &parts[1])));
        assert_eq!(text(variable, "/definition"), query);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_variable_in_the_dashboard_is_defined_or_grafanas_own() {
    let dashboard = dashboard();
    let defined: BTreeSet<&str> = list(&dashboard, "/templating/list").iter().map(|it| text(it, "/name")).collect();
    let variable = Regex::new(r"\$\{?(\w+)").unwrap();
    for found in variable.captures_iter(&dashboard.to_string()) {
        let name = &found[1];
        assert!(defined.contains(name) || ["__rate_interval", "__all"].contains(&name), "${name}");
    }
}

#[test]
fn every_panel_has_an_id_a_place_a_unit_and_something_to_show() {
    let dashboard = dashboard();
    assert!(panels(&dashboard).count() > 30, "{} panels", panels(&dashboard).count());
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in list(&dashboard, "/panels") {
        let title = text(panel, "/title");
        assert!(!title.is_empty(), "a panel has no title");
        assert!(ids.insert(number(panel, "/id")), "{title}: its id is taken");
        let [x, y, width, height] = ["x", "y", "w", "h"].map(|key| number(panel, &format!("/gridPos/{key}")));
        assert!(x + width <= COLUMNS && width > 0, "{title} is too wide");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} covers another panel");
        }
    }
    for panel in panels(&dashboard) {
        let (title, targets) = (text(panel, "/title"), list(panel, "/targets"));
        assert!(!text(panel, "/fieldConfig/defaults/unit").is_empty(), "{title} has no unit");
        assert!(!targets.is_empty(), "{title} shows nothing");
        let names: BTreeSet<&str> = targets.iter().map(|target| text(target, "/refId")).collect();
        assert_eq!(names.len(), targets.len(), "{title}: refIds are not unique");
    }
}

#[test]
fn the_data_source_is_chosen_by_whoever_looks() {
    let dashboard = dashboard();
    let variable = &list(&dashboard, "/templating/list")[0];
    assert_eq!(["/name", "/type", "/query"].map(|key| text(variable, key)), ["datasource", "datasource", "prometheus"]);
    let uids = sources(&dashboard);
    assert!(uids.len() > 30 && uids.iter().all(|uid| *uid == "${datasource}"), "{uids:?}");
    assert_eq!(dashboard.get("uid"), None, "Grafana gives the dashboard its own");
    assert!(number(&dashboard, "/schemaVersion") >= 36, "older than Grafana 9");
}

/// The data source of everything that has one.
fn sources(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(members) => {
            let own = members.get("datasource").filter(|it| !it.is_string()).map(|source| text(source, "/uid"));
            own.into_iter().chain(members.values().flat_map(sources)).collect()
        }
        Value::Array(elements) => elements.iter().flat_map(sources).collect(),
        _ => Vec::new(),
    }
}
