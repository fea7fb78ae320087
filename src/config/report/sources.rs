//! The text that a configuration was read from.
//!
//! Knows which file each part of the merged configuration came from and where the lines of a file begin. Offsets are
//! bytes; YAML parsers count characters, so both directions are here. Lines end with `\n` or `\r\n`.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::super::place::{Place, Step};

/// The files of a configuration. File 0 is the one that was named.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    /// Where the parts of included files went: merged place → file and place in it.
    grafts: HashMap<Place, (usize, Place)>,
}

/// One file.
#[derive(Debug)]
pub(in crate::config) struct Source {
    pub(in crate::config) name: String,
    pub(in crate::config) text: String,
    /// Where lines begin.
    lines: OnceCell<Vec<usize>>,
    /// Where every `STRIDE`th character begins.
    chars: OnceCell<Vec<usize>>,
    /// The text for the marking parser.
    marked: OnceCell<String>,
}

const STRIDE: usize = 1024;

impl Sources {
    /// The names of the files, as they appear in a report.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    pub(in crate::config) fn add(&mut self, name: String, text: String) -> usize {
        self.files.push(Source { name, text, lines: OnceCell::new(), chars: OnceCell::new(), marked: OnceCell::new() });
        self.files.len() - 1
    }

    pub(in crate::config) fn file(&self, file: usize) -> Option<&Source> {
        self.files.get(file)
    }

    /// Says that `merged` stands at `place` of `file`.
    pub(in crate::config) fn graft(&mut self, merged: Place, file: usize, place: Place) {
        self.grafts.insert(merged, (file, place));
    }

    /// The file in which a merged place was written, and the place in that file.
    pub(in crate::config) fn origin(&self, merged: &Place) -> (usize, Place) {
        if self.grafts.is_empty() {
            return (0, merged.clone());
        }
        for length in (1..=merged.0.len()).rev() {
            let (prefix, rest) = merged.0.split_at(length);
            if let Some((file, place)) = self.grafts.get(&Place(prefix.to_vec())) {
                let steps: Vec<Step> = place.0.iter().chain(rest).cloned().collect();
                return (*file, Place(steps));
            }
        }
        (0, merged.clone())
    }
}

impl Source {
    /// Line and column of a byte, both from 1; the column counts characters.
    pub(in crate::config) fn line_column(&self, byte: usize) -> (usize, usize) {
        let start = self.line_start(byte);
        let before = self.text.get(start..byte).unwrap_or_default();
        (self.lines().partition_point(|line| *line <= byte).max(1), before.chars().count() + 1)
    }

    /// The text with spaces for tabs. The marking parser takes some tabs for faults that the reading one allows; every
    /// character keeps its place.
    pub(super) fn without_tabs(&self) -> &str {
        if self.text.contains('\t') {
            return self.marked.get_or_init(|| self.text.replace('\t', " "));
        }
        &self.text
    }

    /// Where the line of a byte begins.
    pub(super) fn line_start(&self, byte: usize) -> usize {
        let line = self.lines().partition_point(|line| *line <= byte);
        self.lines().get(line.saturating_sub(1)).copied().unwrap_or(0)
    }

    /// The line of a byte without its end.
    pub(super) fn line(&self, byte: usize) -> &str {
        let rest = self.text.get(self.line_start(byte)..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// Where the character with this number begins, from 0.
    pub(in crate::config) fn byte_of_char(&self, char: usize) -> usize {
        if self.text.is_ascii() {
            return char.min(self.text.len());
        }
        let marks = self.chars.get_or_init(|| self.text.char_indices().step_by(STRIDE).map(|(byte, _)| byte).collect());
        let Some(start) = marks.get(char / STRIDE) else { return self.text.len() };
        let rest = self.text.get(*start..).unwrap_or_default();
        rest.char_indices().nth(char % STRIDE).map_or(self.text.len(), |(byte, _)| start + byte)
    }

    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(ends).collect()
        })
    }
}
