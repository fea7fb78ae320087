//! From a place to the bytes it was written at.
//!
//! Parses a file a second time, with marks, and only when there is something to point at. A place that is not in the
//! text (a missing key, a value that came from a merge) is pointed at by its nearest ancestor that is; a mapping or a
//! list by its beginning. When the marking parser gives up on a file, everything in it is at its first line.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::super::place::{On, Place, Step};
use super::sources::{Source, Sources};
use super::{Problem, Spot};

/// Finds places in the files of a configuration.
pub(in crate::config) struct Locator<'s> {
    sources: &'s Sources,
    trees: RefCell<HashMap<usize, Option<Rc<MarkedYaml<'s>>>>>,
}

/// A node on the way, and the key it is the value of.
#[derive(Clone, Copy)]
struct Found<'t, 's> {
    key: Option<&'t MarkedYaml<'s>>,
    value: &'t MarkedYaml<'s>,
}

impl<'s> Locator<'s> {
    pub(in crate::config) fn new(sources: &'s Sources) -> Self {
        Self { sources, trees: RefCell::default() }
    }

    /// Where a problem is.
    pub(super) fn problem(&self, problem: &Problem) -> Spot {
        match &problem.spot {
            Some(spot) => spot.clone(),
            None => {
                let (file, place) = self.sources.origin(&problem.place);
                self.find(file, &place, problem.on)
            }
        }
    }

    /// Where a place of a file is.
    pub(in crate::config) fn find(&self, file: usize, place: &Place, on: On) -> Spot {
        let tree = self.tree(file);
        let bytes = match (self.sources.file(file), tree.as_deref()) {
            (Some(source), Some(tree)) => bytes(source, walk(tree, place), on),
            _ => 0..0,
        };
        Spot { file, bytes }
    }

    fn tree(&self, file: usize) -> Option<Rc<MarkedYaml<'s>>> {
        let mut trees = self.trees.borrow_mut();
        let tree = trees.entry(file).or_insert_with(|| {
            let source = self.sources.file(file)?;
            let documents = MarkedYaml::load_from_str(source.without_tabs()).ok()?;
            documents.into_iter().next().map(Rc::new)
        });
        tree.clone()
    }
}

/// The node at `place`, or as near as possible. A place that ends early counts as its value.
fn walk<'t, 's>(root: &'t MarkedYaml<'s>, place: &Place) -> (Found<'t, 's>, Whole) {
    let mut found = Found { key: None, value: root };
    for step in &place.0 {
        match child(found.value, step) {
            Some(next) => found = next,
            None => return (found, Whole::No),
        }
    }
    (found, Whole::Yes)
}

/// Whether the whole way was there.
#[derive(PartialEq, Eq)]
enum Whole {
    Yes,
    No,
}

fn child<'t, 's>(node: &'t MarkedYaml<'s>, step: &Step) -> Option<Found<'t, 's>> {
    match (&node.data, step) {
        (YamlData::Tagged(_, inner), _) => child(inner, step),
        (YamlData::Sequence(elements), Step::Index(index)) => {
            elements.get(*index).map(|value| Found { key: None, value })
        }
        (YamlData::Mapping(entries), Step::Key(key)) => {
            let entry = |key: &str| entries.iter().find(|(candidate, _)| is_key(candidate, key));
            // A header's name is written in any case, and known in lower case.
            let in_any_case = || entries.iter().find(|(candidate, _)| is_key_in_any_case(candidate, key));
            match entry(key).or_else(in_any_case) {
                Some((key, value)) => Some(Found { key: Some(key), value }),
                None => entry("<<").and_then(|(_, merged)| from_merge(merged, step)),
            }
        }
        _ => None,
    }
}

fn from_merge<'t, 's>(merged: &'t MarkedYaml<'s>, step: &Step) -> Option<Found<'t, 's>> {
    match &merged.data {
        YamlData::Sequence(list) => list.iter().find_map(|mapping| child(mapping, step)),
        _ => child(merged, step),
    }
}

fn is_key(node: &MarkedYaml<'_>, key: &str) -> bool {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => text == key,
        YamlData::Value(Scalar::Integer(number)) => number.to_string() == key,
        YamlData::Value(Scalar::FloatingPoint(number)) => number.to_string() == key,
        YamlData::Value(Scalar::Boolean(value)) => value.to_string() == key,
        _ => false,
    }
}

fn is_key_in_any_case(node: &MarkedYaml<'_>, key: &str) -> bool {
    matches!(&node.data, YamlData::Value(Scalar::String(text)) if text.eq_ignore_ascii_case(key))
}

/// What to underline: the key, the scalar, or the beginning of a mapping or a list.
fn bytes(source: &Source, (found, whole): (Found<'_, '_>, Whole), on: On) -> Range<usize> {
    let value = node_bytes(source, found.value);
    match (found.key, on) {
        (Some(key), On::Key) if whole == Whole::Yes => node_bytes(source, key),
        // `key:` with nothing behind it.
        (Some(key), _) if value.is_empty() => node_bytes(source, key),
        _ => value,
    }
}

fn node_bytes(source: &Source, node: &MarkedYaml<'_>) -> Range<usize> {
    let start = source.byte_of_char(node.span.start.index());
    let end = source.byte_of_char(node.span.end.index());
    let text = source.text.get(start..).unwrap_or_default();
    match &node.data {
        // A block mapping begins with its first key. In an alias, what it stands for is elsewhere.
        YamlData::Mapping(entries) if !text.starts_with(['{', '*']) => {
            entries.iter().next().map_or(start..end, |(first, _)| node_bytes(source, first))
        }
        YamlData::Sequence(_) if text.starts_with('-') => start..start + 1,
        // The mark of the end stands before the bracket.
        YamlData::Mapping(_) | YamlData::Sequence(_) if text.starts_with(['{', '[']) => start..end + 1,
        _ => start..end.max(start),
    }
}
