//! Everything that is wrong with a configuration, each fault at its line and column.
//!
//! A [`Report`] only collects. Lines are looked up when it is drawn, so a good file pays nothing for them. An error
//! keeps the configuration from running, a warning does not.

mod locate;
mod render;
mod sources;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::decode::Fault;
use super::place::{On, Place};

pub(super) use locate::Locator;
pub use render::Color;
pub use sources::Sources;

/// Whether a problem keeps the configuration from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it keeps the configuration from running.
    pub severity: Severity,
    /// Where in the merged configuration.
    pub place: Place,
    /// Whether the key there is meant, or the value.
    pub on: On,
    /// What is wrong, in lower case and without a final dot.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The spot in the text, where it is known without the place: syntax errors, files that cannot be merged.
    pub spot: Option<Spot>,
    /// What makes it a problem, beside its own place being as it is; absent: anything in its route, service, ….
    pub(super) grounds: Option<Vec<Ground>>,
}

/// Something in the configuration that makes a problem one: were it otherwise, the problem might not be there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Ground {
    /// What is, or is not, at this place.
    At(Place),
    /// This field of every element of this list.
    Each(Place, &'static str),
}

/// Bytes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Number of the file in [`Sources`].
    pub file: usize,
    /// The bytes meant.
    pub bytes: Range<usize>,
}

/// All faults of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    problems: Vec<Problem>,
}

impl Problem {
    /// Adds what would be right.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Points at the key instead of the value.
    pub fn on_key(&mut self) -> &mut Self {
        self.on = On::Key;
        self
    }

    /// Says that it is a problem whatever else is written: nothing but its own place can mend it.
    pub fn by_itself(&mut self) -> &mut Self {
        self.grounds.get_or_insert_default();
        self
    }

    /// Says that it is a problem because of its own place and what is, or is not, at this one, and at those said in
    /// further calls. Where other parts of the configuration are faulty, a problem is only reported when its grounds
    /// are not.
    pub fn given(&mut self, place: Place) -> &mut Self {
        self.grounds.get_or_insert_default().push(Ground::At(place));
        self
    }

    /// Says that it is a problem because of what these keys of a mapping are, or because they are not there.
    pub fn given_keys(&mut self, mapping: &Place, keys: &[&str]) -> &mut Self {
        keys.iter().fold(self, |problem, key| problem.given(mapping.clone().key(*key)))
    }

    /// Says that it is a problem because of this field of all elements of a list.
    pub fn given_each(&mut self, list: Place, field: &'static str) -> &mut Self {
        self.grounds.get_or_insert_default().push(Ground::Each(list, field));
        self
    }

    /// Points at these bytes of a file, whatever the place.
    pub(super) fn at(&mut self, spot: Spot) -> &mut Self {
        self.spot = Some(spot);
        self
    }
}

impl Report {
    /// Adds a fault that keeps the configuration from running.
    pub fn error(&mut self, place: Place, message: impl Into<String>) -> &mut Problem {
        self.add(Severity::Error, place, message.into())
    }

    /// Adds a fault that does not.
    pub fn warning(&mut self, place: Place, message: impl Into<String>) -> &mut Problem {
        self.add(Severity::Warning, place, message.into())
    }

    /// Adds a fault of decoding.
    pub(super) fn fault(&mut self, fault: Fault) -> &mut Problem {
        let problem = self.error(fault.place, fault.message);
        problem.on = fault.on;
        problem.help = fault.help;
        problem
    }

    /// Adds the problems of another report behind these.
    pub fn extend(&mut self, other: Self) {
        self.problems.extend(other.problems);
    }

    /// Whether the configuration must not run.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    pub(super) fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// All problems, in the order in which they were found.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(super) fn problems_mut(&mut self) -> &mut [Problem] {
        &mut self.problems
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn add(&mut self, severity: Severity, place: Place, message: String) -> &mut Problem {
        let problem = Problem { severity, place, on: On::Value, message, help: None, spot: None, grounds: None };
        self.problems.push_mut(problem)
    }
}

impl IntoIterator for Report {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.problems.into_iter()
    }
}

/// What the writer of an undefined `word` may have meant, or what there is.
pub fn suggest<'a>(word: &str, defined: impl Iterator<Item = &'a str>) -> String {
    let defined: Vec<&str> = defined.collect();
    match nearest(word, &defined) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if defined.is_empty() => "none is defined".to_owned(),
        None => format!("defined: {}", listed(&defined)),
    }
}

/// The candidate that differs from `word` in a third of its letters at most. Most of many candidates are passed over
/// without a close look: a large file with many faults asks for each fault and each name.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    if let Some(same) = candidates.iter().find(|candidate| **candidate == word) {
        return Some(same);
    }
    let (length, letters) = (word.chars().count(), letters(word));
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = candidate.chars().count();
        let most = match best {
            Some((1, _)) => break,
            Some((distance, _)) => (distance - 1).min(length.max(other) / 3),
            None => length.max(other) / 3,
        };
        // One change adds or removes two kinds of letter at most.
        let unlike = (letters ^ self::letters(candidate)).count_ones().div_ceil(2) as usize;
        if length.abs_diff(other).max(unlike) > most {
            continue;
        }
        let (word, candidate_rest) = unlike_middles(word, candidate);
        let distance = strsim::osa_distance(word, candidate_rest);
        if distance <= most {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Which letters a text has, those that differ by a multiple of 128 taken together.
fn letters(text: &str) -> u128 {
    text.chars().fold(0, |letters, letter| letters | 1 << (u32::from(letter) & 127))
}

/// Two texts without what they have in common at the beginning and the end; the distance is the same.
fn unlike_middles<'a, 'b>(one: &'a str, other: &'b str) -> (&'a str, &'b str) {
    if !one.is_ascii() || !other.is_ascii() {
        return (one, other);
    }
    let same = |(one, other): &(u8, u8)| one == other;
    let start = one.bytes().zip(other.bytes()).take_while(same).count();
    let (one, other) = (&one[start..], &other[start..]);
    let end = one.bytes().rev().zip(other.bytes().rev()).take_while(same).count();
    (&one[..one.len() - end], &other[..other.len() - end])
}

/// The words, or the first of many.
pub(super) fn listed(words: &[&str]) -> String {
    const MOST: usize = 12;
    match words.get(..MOST) {
        Some(first) if words.len() > MOST => format!("{} and {} more", first.join(", "), words.len() - MOST),
        _ => words.join(", "),
    }
}
