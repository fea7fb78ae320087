//! The routes of one host pattern and method: a trie of segments.
//!
//! Each node keeps its literals in a hash map and its patterns in order of precedence (see the parent module). A
//! search visits a node at most once, so no request can make it cost more than the configured routes allow, and it
//! allocates nothing while a match has at most four captures. Its depth is bounded by [`Template`]'s.
//!
//! [`Template`]: crate::gateway::template::Template

use std::collections::HashMap;

use indexmap::IndexMap;
use indexmap::map::Slice;
use thiserror::Error;

use crate::gateway::template::{Captures, Pattern, Segment};

/// Patterns that are sooner tried one by one than searched.
const FEW: usize = 8;

/// How two routes would match the same request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Ambiguity {
    /// Their paths differ at most in the names of parameters.
    #[error("both have the same path, whatever its parameters are called")]
    SameShape,
    /// A segment of both fits the same text, and neither is more specific.
    #[error("both can match a path with the segment `{segment}`, and neither is more specific there")]
    Rivals {
        /// A text that fits both.
        segment: String,
    },
}

/// Invariant: node 0 is the root; every child index is of a node, and every node has one parent.
#[derive(Debug)]
pub(super) struct Trie<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    /// Of the path that ends here.
    route: Option<T>,
    literals: HashMap<Box<str>, usize, ahash::RandomState>,
    patterns: IndexMap<Pattern, usize, ahash::RandomState>,
    catch_all: Option<T>,
}

impl<T> Trie<T> {
    /// The route that must not stand beside a new one with these segments.
    pub(super) fn conflict(&self, segments: &[Segment]) -> Option<(&T, Ambiguity)> {
        let mut node = &self.nodes[0];
        for (nth, segment) in segments.iter().enumerate() {
            if let Segment::Pattern(pattern) = segment {
                for (rival, child) in &node.patterns {
                    if let Some(text) = pattern.rivalry(rival)
                        && let Some(route) = self.overlapping(*child, &segments[nth + 1..])
                    {
                        return Some((route, Ambiguity::Rivals { segment: text }));
                    }
                }
            }
            node = match segment {
                Segment::Literal(literal) => &self.nodes[*node.literals.get(literal)?],
                Segment::Pattern(pattern) => &self.nodes[*node.patterns.get(pattern)?],
                Segment::CatchAll => return Some((node.catch_all.as_ref()?, Ambiguity::SameShape)),
            };
        }
        Some((node.route.as_ref()?, Ambiguity::SameShape))
    }

    /// Adds a route that has no [`Self::conflict`].
    pub(super) fn insert(&mut self, segments: &[Segment], route: T) {
        let mut at = 0;
        for segment in segments {
            let unused = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match segment {
                Segment::Literal(literal) => *node.literals.entry(literal.clone()).or_insert(unused),
                Segment::Pattern(pattern) => *node.patterns.entry(pattern.clone()).or_insert(unused),
                Segment::CatchAll => {
                    node.catch_all = Some(route);
                    return;
                }
            };
            if at == unused {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].route = Some(route);
    }

    /// Puts patterns in order of precedence; needed once, before the first [`Self::find`].
    pub(super) fn seal(&mut self) {
        for node in &mut self.nodes {
            node.patterns.sort_by(|one, _, other, _| {
                (frame_lengths(other).cmp(&frame_lengths(one)))
                    .then_with(|| frame(one).cmp(&frame(other)))
                    .then_with(|| other.literal_len().cmp(&one.literal_len()))
            });
        }
    }

    /// The route of a normalised path; `captures` grows by its values, and only then.
    pub(super) fn find<'p>(&self, path: &'p str, captures: &mut Captures<'p>) -> Option<&T> {
        self.search(&self.nodes[0], path.strip_prefix('/')?, captures)
    }

    fn search<'t, 'p>(&'t self, node: &'t Node<T>, rest: &'p str, captures: &mut Captures<'p>) -> Option<&'t T> {
        let (segment, tail) = match rest.bytes().position(|byte| byte == b'/') {
            Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
            None => (rest, None),
        };
        if let Some(child) = node.literals.get(segment)
            && let Some(route) = self.descend(*child, tail, captures)
        {
            return Some(route);
        }
        let mark = captures.len();
        for (pattern, child) in node.candidates(segment) {
            if pattern.capture(segment, captures) {
                if let Some(route) = self.descend(*child, tail, captures) {
                    return Some(route);
                }
                captures.truncate(mark);
            }
        }
        let route = node.catch_all.as_ref()?;
        captures.push(rest);
        Some(route)
    }

    fn descend<'p>(&self, child: usize, tail: Option<&'p str>, captures: &mut Captures<'p>) -> Option<&T> {
        match tail {
            Some(rest) => self.search(&self.nodes[child], rest, captures),
            None => self.nodes[child].route.as_ref(),
        }
    }

    /// A route at or below `at` that some path with the `rest` of another template also fits.
    fn overlapping(&self, at: usize, rest: &[Segment]) -> Option<&T> {
        let node = &self.nodes[at];
        let Some((segment, further)) = rest.split_first() else { return node.route.as_ref() };
        if node.catch_all.is_some() {
            return node.catch_all.as_ref();
        }
        let literals = node.literals.iter().filter(|(literal, _)| segment.fits(literal)).map(|(_, child)| *child);
        let patterns = node.patterns.iter().filter(|(pattern, _)| segment.meets(pattern)).map(|(_, child)| *child);
        literals.chain(patterns).find_map(|child| match segment {
            Segment::CatchAll => self.nodes[child].route.as_ref().or_else(|| self.overlapping(child, rest)),
            _ => self.overlapping(child, further),
        })
    }
}

impl<T> Node<T> {
    /// The patterns that the segment may fit, in order of precedence. Where there are many, those with prefixes and
    /// suffixes of one length are sorted by them and only the ones that the segment has are looked at.
    fn candidates(&self, segment: &str) -> impl Iterator<Item = (&Pattern, &usize)> {
        let mut unseen = self.patterns.as_slice();
        std::iter::from_fn(move || {
            if unseen.len() <= FEW {
                let few = std::mem::replace(&mut unseen, Slice::new());
                return (!few.is_empty()).then_some(few);
            }
            let lengths = frame_lengths(unseen.first()?.0);
            let (alike, others) = unseen.split_at(unseen.partition_point(|known, _| frame_lengths(known) == lengths));
            unseen = others;
            let Some(wanted) = frame_of(segment, lengths) else { return Some(Slice::new()) };
            let (_, from_wanted) = alike.split_at(alike.partition_point(|known, _| frame(known) < wanted));
            Some(from_wanted.split_at(from_wanted.partition_point(|known, _| frame(known) == wanted)).0)
        })
        .flatten()
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { route: None, literals: HashMap::default(), patterns: IndexMap::default(), catch_all: None }
    }
}

fn frame(pattern: &Pattern) -> (&[u8], &[u8]) {
    (pattern.prefix.as_bytes(), pattern.suffix.as_bytes())
}

fn frame_lengths(pattern: &Pattern) -> (usize, usize) {
    (pattern.prefix.len(), pattern.suffix.len())
}

/// The ends of a segment, with something left between them.
fn frame_of(segment: &str, (prefix, suffix): (usize, usize)) -> Option<(&[u8], &[u8])> {
    let bytes = segment.as_bytes();
    let suffix_at = bytes.len().checked_sub(suffix).filter(|at| *at > prefix)?;
    Some((&bytes[..prefix], &bytes[suffix_at..]))
}
