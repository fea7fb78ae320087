//! Where in a configuration something stands.
//!
//! A [`Place`] is a path through the merged YAML value, written `routes[3].service`. It knows nothing of files, lines
//! and columns: [`crate::config::Sources`] and the locator translate it when a report is drawn, so that building one
//! costs nothing on a good file.

use std::fmt;

/// One step from a mapping or a list to what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The value of this key.
    Key(String),
    /// The element at this position, from 0.
    Index(usize),
}

/// A path from the root of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Place(pub Vec<Step>);

/// What a problem at a place points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum On {
    /// The key of the place's last step.
    Key,
    /// The value.
    #[default]
    Value,
}

impl Place {
    /// The whole configuration.
    pub fn root() -> Self {
        Self::default()
    }

    /// The value of `key` in this mapping.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.push(Step::Key(key.into()));
        self
    }

    /// The element `index` of this list.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_it_would_be_said() {
        for (place, text) in [
            (Place::root(), ""),
            (Place::root().key("routes"), "routes"),
            (Place::root().key("routes").index(3).key("service"), "routes[3].service"),
            (Place::root().key("a").index(0).index(1), "a[0][1]"),
        ] {
            assert_eq!(place.to_string(), text);
        }
    }
}
