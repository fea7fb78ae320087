//! What could not be carried over, for the comment above a route.

/// Most notes of a route that are written.
const MOST: usize = 20;
/// Longest note, in characters.
const LONGEST: usize = 240;

/// The notes of one route, each once, in the order they were found.
#[derive(Debug, Default)]
pub(super) struct Notes {
    lines: Vec<String>,
    more: usize,
}

impl Notes {
    /// Adds a note.
    pub(super) fn add(&mut self, note: impl Into<String>) {
        let mut note = note.into();
        if note.chars().count() > LONGEST {
            note = note.chars().take(LONGEST - 1).chain(['…']).collect();
        }
        if self.lines.contains(&note) {
            return;
        }
        if self.lines.len() < MOST {
            self.lines.push(note);
        } else {
            self.more += 1;
        }
    }

    /// All of them.
    pub(super) fn into_lines(self) -> Vec<String> {
        let mut lines = self.lines;
        if self.more > 0 {
            lines.push(format!("and {} more of this kind", self.more));
        }
        lines
    }
}
