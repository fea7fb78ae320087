//! A scrape: families, their labels and the values of these.

use std::collections::{BTreeMap, BTreeSet};

/// What `/metrics` said.
pub struct Scrape {
    /// Name and labels of every sample, as written.
    pub series: BTreeSet<String>,
    /// By metric name, by label, the values that there are.
    pub labels: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    values: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads the text format.
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self { series: BTreeSet::new(), labels: BTreeMap::new(), values: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
            let value = value.parse().expect("a number");
            assert!(scrape.series.insert(name.to_owned()), "twice: {name}");
            scrape.values.insert(name.to_owned(), value);
            let (metric, labels) = name.split_once('{').unwrap_or((name, ""));
            let known = scrape.labels.entry(metric.to_owned()).or_default();
            for (label, value) in pairs(labels.trim_end_matches('}')) {
                known.entry(label).or_default().insert(value);
            }
        }
        scrape
    }

    /// The value of a sample.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.values.get(series).copied()
    }
}

/// `a="x",b="y"`. No value of the stage holds a quote or a backslash.
fn pairs(labels: &str) -> impl Iterator<Item = (String, String)> {
    labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
        let (label, value) = pair.split_once("=\"").expect("a label has a value");
        (label.to_owned(), value.trim_end_matches('"').to_owned())
    })
}
