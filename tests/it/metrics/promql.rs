//! The names in an expression of Prometheus: metrics with their matchers, and labels that it groups or joins by.
//!
//! Not a parser: promtool says whether an expression is right. This only finds out what it talks about.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::scrape::Scrape;

/// Labels that Prometheus adds to everything it scrapes.
const ADDED: [&str; 2] = ["job", "instance"];

/// Words before a list of labels.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Words that are neither metrics nor functions.
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// What an expression talks about.
#[derive(Debug, Default, PartialEq)]
pub struct Uses {
    /// Metrics, each with its matchers as written.
    pub metrics: Vec<(String, String)>,
    /// Labels that it groups or joins by.
    pub groupings: BTreeSet<String>,
}

/// What there is to talk about.
pub struct Known<'a> {
    /// What the gateway exports.
    pub exported: &'a Scrape,
    /// What rules record, with its labels.
    pub recorded: BTreeMap<String, BTreeSet<String>>,
}

/// Reads an expression.
pub fn uses(expression: &str) -> Uses {
    // Text, ranges, variables and numbers are stepped over.
    let token = Regex::new(
        r#"(?x) "(?:[^"\\]|\\.)*" | \[[^\]]*\] | \$\{?\w+\}? | [0-9][0-9a-zA-Z_.]*
           | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*) \s* (?P<matchers>\{ (?:[^}"]|"(?:[^"\\]|\\.)*")* \})?
           | \{ "#,
    )
    .unwrap();
    let (mut found, mut at) = (Uses::default(), 0);
    while let Some(token) = token.captures_at(expression, at) {
        let whole = token.get(0).expect("a match is a match");
        at = whole.end();
        assert_ne!(whole.as_str(), "{", "a selector without a name in {expression}");
        let Some(name) = token.name("name").map(|name| name.as_str()) else { continue };
        let rest = expression[at..].trim_start();
        if GROUPINGS.contains(&name) {
            let Some((list, after)) = rest.strip_prefix('(').and_then(|list| list.split_once(')')) else { continue };
            let labels = list.split(',').map(str::trim).filter(|label| !label.is_empty());
            found.groupings.extend(labels.map(str::to_owned));
            at = expression.len() - after.len();
            continue;
        }
        let next = rest.split(|char: char| !char.is_ascii_alphanumeric()).next();
        let is_call = rest.starts_with('(') || matches!(next, Some("by" | "without"));
        if !is_call && !OPERATORS.contains(&name) {
            let matchers = token.name("matchers").map_or("", |matchers| matchers.as_str());
            found.metrics.push((name.to_owned(), matchers.to_owned()));
        }
    }
    found
}

impl Known<'_> {
    /// The labels of a metric; `None`: there is no such metric.
    fn labels(&self, metric: &str) -> Option<BTreeSet<String>> {
        let added = ADDED.map(str::to_owned);
        if metric == "up" {
            return Some(added.into());
        }
        if let Some(labels) = self.recorded.get(metric) {
            return Some(labels.clone());
        }
        self.exported.labels.get(metric).map(|labels| labels.keys().cloned().chain(added).collect())
    }

    /// Every label that an expression may name.
    pub fn labels_of(&self, expression: &str) -> BTreeSet<String> {
        uses(expression).metrics.iter().filter_map(|(metric, _)| self.labels(metric)).flatten().collect()
    }

    /// What an expression talks about and is not there.
    pub fn faults(&self, expression: &str) -> Vec<String> {
        let (said, there) = (uses(expression), self.labels_of(expression));
        let mut faults: Vec<String> = said.metrics.iter().flat_map(|(metric, it)| self.faults_of(metric, it)).collect();
        if said.metrics.is_empty() {
            faults.push("no metric".to_owned());
        }
        let unknown = said.groupings.iter().filter(|label| !there.contains(*label));
        faults.extend(unknown.map(|label| format!("no metric of it has the label {label}")));
        faults.iter().map(|fault| format!("{fault}, in {expression}")).collect()
    }

    fn faults_of(&self, metric: &str, matchers: &str) -> Vec<String> {
        let Some(labels) = self.labels(metric) else { return vec![format!("{metric} is not exported")] };
        let matcher = Regex::new(r#"(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)""#).unwrap();
        let mut faults = Vec::new();
        for parts in matcher.captures_iter(matchers) {
            let (label, operator, value) = (&parts[1], &parts[2], &parts[3]);
            if !labels.contains(label) {
                faults.push(format!("{metric} has no label {label}"));
                continue;
            }
            let values = self.exported.labels.get(metric).and_then(|labels| labels.get(label));
            let Some(values) = values.filter(|_| !value.contains('$')) else { continue };
            let wanted = if operator.ends_with('~') { value.to_owned() } else { regex::escape(value) };
            let wanted = Regex::new(&format!("^(?:{wanted})$")).expect("a regular expression");
            if !values.iter().any(|value| wanted.is_match(value)) {
                faults.push(format!("{metric} never has {label} {value}"));
            }
        }
        faults
    }
}

#[test]
fn names_are_told_from_functions_labels_and_words() {
    for (expression, metrics, groupings) in [
        ("up == 0", &["up"][..], &[][..]),
        (
            "sum by (job, le) (rate(a_bucket{x=\"b{c}\", y=~\"d|e\"}[5m]))",
            &["a_bucket{x=\"b{c}\", y=~\"d|e\"}"],
            &["job", "le"],
        ),
        ("sum(rate(a[$__rate_interval])) by (x) / ignoring (y) b offset 1h", &["a", "b"], &["x", "y"]),
        ("a * on (job) group_left (service) b_info and c > 1e3", &["a", "b_info", "c"], &["job", "service"]),
        ("time() - a < 1800 unless on () r:a:rate5m", &["a", "r:a:rate5m"], &[]),
        ("histogram_quantile(0.99, a) or 0 * (b)", &["a", "b"], &[]),
        ("abs(a{}) * group_left b", &["a{}", "b"], &[]),
    ] {
        let found = uses(expression);
        let said: Vec<String> = found.metrics.iter().map(|(name, matchers)| format!("{name}{matchers}")).collect();
        assert_eq!(said, metrics, "{expression}");
        assert_eq!(found.groupings.iter().map(String::as_str).collect::<Vec<_>>(), groupings, "{expression}");
    }
}

#[test]
fn what_is_not_exported_is_found() {
    let exported = Scrape::parse("a_total{reason=\"x\",route=\"r\"} 1\nb 2\n");
    let recorded = BTreeMap::from([("r:a:rate5m".to_owned(), BTreeSet::from(["route".to_owned()]))]);
    let known = Known { exported: &exported, recorded };
    for (expression, fault) in [
        ("sum by (route, job) (rate(a_total{reason=\"x\", instance=\"i\"}[5m]))", ""),
        ("r:a:rate5m{route=\"any\"} > b", ""),
        ("a_total{reason=~\"x|y\"}", ""),
        ("a_total{reason=\"$reason\"}", ""),
        ("a", "a is not exported"),
        ("b + a_totals", "a_totals is not exported"),
        ("a_total{status=\"x\"}", "a_total has no label status"),
        ("b{reason=\"x\"}", "b has no label reason"),
        ("a_total{reason=\"y\"}", "a_total never has reason y"),
        ("a_total{reason=~\"y|z\"}", "a_total never has reason y|z"),
        ("sum by (plan) (a_total)", "no metric of it has the label plan"),
        ("r:a:rate1h", "r:a:rate1h is not exported"),
        ("r:a:rate5m{reason=\"x\"}", "r:a:rate5m has no label reason"),
        ("vector(1)", "no metric"),
    ] {
        let faults = known.faults(expression);
        assert_eq!(faults.len(), usize::from(!fault.is_empty()), "{expression}: {faults:?}");
        assert!(faults.iter().all(|found| found.starts_with(fault)), "{expression}: {faults:?}");
    }
}
