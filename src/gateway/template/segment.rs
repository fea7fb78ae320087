//! One segment of a gateway path: what it matches, what it captures, and which of two segments is more specific.
//!
//! Everything here is about normalised text ([`crate::policy::path`]), in which a `%` always begins an escape of
//! three characters. No literal matches a part of an escape, so every capture is whole escapes and whole characters.
//!
//! Where one segment has several parameters, those on the left take as much as they can, as a greedy regular
//! expression does: `{name}.{ext}` reads `a.tar.gz` as `a.tar` and `gz`. There is one such reading and it is found
//! without back-tracking.

use smallvec::SmallVec;

/// Captured texts, normalised and still encoded, in the order of the template's names.
pub type Captures<'p> = SmallVec<[&'p str; 4]>;

/// Stands in for a parameter where two patterns are compared; no normalised text holds it.
const ANYTHING: char = '\0';

/// One segment of a gateway path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Exactly this text; empty for what follows a trailing slash.
    Literal(Box<str>),
    /// Text with parameters.
    Pattern(Pattern),
    /// Everything from here to the end, also nothing.
    CatchAll,
}

/// `prefix{}inner{}…suffix`: one parameter more than there are inner literals. No inner literal is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    pub(crate) prefix: Box<str>,
    pub(crate) inner: Box<[Box<str>]>,
    pub(crate) suffix: Box<str>,
}

impl Segment {
    /// Whether some path has this literal here.
    pub(crate) fn fits(&self, literal: &str) -> bool {
        match self {
            Self::Literal(own) => &**own == literal,
            Self::Pattern(pattern) => pattern.capture(literal, &mut Captures::new()),
            Self::CatchAll => true,
        }
    }

    /// Whether some path fits both here.
    pub(crate) fn meets(&self, pattern: &Pattern) -> bool {
        match self {
            Self::Literal(literal) => pattern.capture(literal, &mut Captures::new()),
            Self::Pattern(own) => own.overlaps(pattern),
            Self::CatchAll => true,
        }
    }
}

impl Pattern {
    /// Whether the whole segment fits; only then are captures appended.
    pub(crate) fn capture<'p>(&self, segment: &'p str, captures: &mut Captures<'p>) -> bool {
        if self.is_whole_segment() {
            if !segment.is_empty() {
                captures.push(segment);
            }
            return !segment.is_empty();
        }
        let Some(framed) = segment.strip_prefix(&*self.prefix) else { return false };
        let Some(mut rest) = framed.strip_suffix(&*self.suffix) else { return false };
        if !is_between_escapes(framed, rest.len()) {
            return false;
        }
        let mark = captures.len();
        for literal in self.inner.iter().rev() {
            let Some(at) = last_inside(rest, literal) else {
                captures.truncate(mark);
                return false;
            };
            captures.push(&rest[at + literal.len()..]);
            rest = &rest[..at];
        }
        if rest.is_empty() {
            captures.truncate(mark);
            return false;
        }
        captures.push(rest);
        captures[mark..].reverse();
        true
    }

    /// `{name}` alone, which nearly every pattern is.
    fn is_whole_segment(&self) -> bool {
        self.prefix.is_empty() && self.suffix.is_empty() && self.inner.is_empty()
    }

    /// A text that fits both, when neither is more specific than the other.
    pub(crate) fn rivalry(&self, other: &Self) -> Option<String> {
        if !self.overlaps(other) || self.is_within(other) || other.is_within(self) {
            return None;
        }
        let (prefix, _) = by_length(&self.prefix, &other.prefix);
        let (suffix, _) = by_length(&self.suffix, &other.suffix);
        let inner = self.inner.iter().chain(&other.inner).map(|literal| format!("x{literal}")).collect::<String>();
        Some(format!("{prefix}{inner}x{suffix}"))
    }

    /// Whether some text fits both. One that has the longer prefix, the inner literals of both and the longer suffix
    /// does, unless prefixes or suffixes contradict each other.
    fn overlaps(&self, other: &Self) -> bool {
        let (prefix, shorter_prefix) = by_length(&self.prefix, &other.prefix);
        let (suffix, shorter_suffix) = by_length(&self.suffix, &other.suffix);
        prefix.starts_with(shorter_prefix)
            && suffix.ends_with(shorter_suffix)
            && is_between_escapes(suffix, suffix.len() - shorter_suffix.len())
    }

    /// Whether everything that fits `self` fits `other`. A parameter of `self` may be any text, so a parameter of
    /// `other` must be able to hold it.
    fn is_within(&self, other: &Self) -> bool {
        let mut sample = String::from(&*self.prefix);
        for literal in &self.inner {
            sample.push(ANYTHING);
            sample.push_str(literal);
        }
        sample.push(ANYTHING);
        sample.push_str(&self.suffix);
        other.capture(&sample, &mut Captures::new())
    }

    /// A pattern that is within another has more literal text, and no shorter prefix or suffix.
    pub(crate) fn literal_len(&self) -> usize {
        self.prefix.len() + self.suffix.len() + self.inner.iter().map(|literal| literal.len()).sum::<usize>()
    }
}

fn by_length<'a>(one: &'a str, other: &'a str) -> (&'a str, &'a str) {
    if one.len() >= other.len() { (one, other) } else { (other, one) }
}

/// Where `literal` begins last, with something left on both sides.
fn last_inside(text: &str, literal: &str) -> Option<usize> {
    let mut end = text.len().checked_sub(1)?;
    loop {
        let at = text.get(..end)?.rfind(literal)?;
        if at == 0 {
            return None;
        }
        if is_between_escapes(text, at) {
            return Some(at);
        }
        end = at + literal.len() - 1;
    }
}

fn is_between_escapes(text: &str, at: usize) -> bool {
    !text.as_bytes()[at.saturating_sub(2)..at].contains(&b'%')
}
