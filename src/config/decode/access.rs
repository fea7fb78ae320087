//! Lists, maps and the fields of a struct, each going on after a fault as far as serde lets it.
//!
//! A list or map read entry by entry ends early at a fault: the visitor makes do with what it has, the siblings of the
//! container are still read, and the next run goes on behind the faulty element. A struct cannot do without a field:
//! its run ends, and in the next one a blank stands for the field.

use serde::de::value::{CowStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess};
use serde_yaml::{Mapping, Value};

use super::blank::Blank;
use super::complaint::Stop;
use super::state::{Field, Trail, Verdict};
use super::value::{Reader, key_text};

/// The elements of a list.
pub(super) struct List<'de, 't> {
    reader: Reader<'de, 't>,
    elements: &'de [Value],
    next: usize,
    partial: bool,
}

/// The entries of a map.
pub(super) struct Entries<'de, 't> {
    reader: Reader<'de, 't>,
    entries: serde_yaml::mapping::Iter<'de>,
    next: usize,
    pending: Option<(&'de Value, &'de Value)>,
    partial: bool,
}

/// The fields of a struct: those that are written, then blanks for those that should be.
pub(super) struct Fields<'de, 't> {
    reader: Reader<'de, 't>,
    mapping: &'de Mapping,
    entries: serde_yaml::mapping::Iter<'de>,
    fields: &'static [&'static str],
    absent: std::slice::Iter<'static, &'static str>,
    pending: Option<(&'static str, Option<&'de Value>)>,
    partial: bool,
}

impl<'de, 't> List<'de, 't> {
    pub(super) fn new(reader: Reader<'de, 't>, elements: &'de [Value]) -> Self {
        let next = reader.state.done(reader.value);
        Self { reader, elements, next, partial: next > 0 }
    }

    /// Whether the visitor has not seen every element.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }
}

impl<'de> SeqAccess<'de> for List<'de, '_> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Stop> {
        let Reader { state, value: list, trail: around } = self.reader;
        while self.elements.get(self.next).is_some_and(|element| state.is_hidden(element)) {
            self.next += 1;
        }
        let Some(value) = self.elements.get(self.next) else {
            state.set_done(list, self.next);
            return Ok(None);
        };
        let trail = Trail::Index(around, self.next);
        let before = state.progress();
        match seed.deserialize(Reader::new(state, value, &trail)) {
            Ok(element) if state.progress() == before => {
                self.next += 1;
                Ok(Some(element))
            }
            // A list or a map in it ended early.
            Ok(_) => {
                self.partial = true;
                state.set_done(list, self.next);
                Ok(None)
            }
            Err(stop) => {
                self.partial = true;
                if let Verdict::Hide = state.settle(stop, before, value, &trail) {
                    state.hide_element(value, around, self.next);
                    self.next += 1;
                }
                state.set_done(list, self.next);
                Ok(None)
            }
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.elements.len() - self.next.min(self.elements.len()))
    }
}

impl<'de, 't> Entries<'de, 't> {
    pub(super) fn new(reader: Reader<'de, 't>, mapping: &'de Mapping) -> Self {
        let next = reader.state.done(reader.value);
        let mut entries = mapping.iter();
        for _ in 0..next {
            entries.next();
        }
        Self { reader, entries, next, pending: None, partial: next > 0 }
    }

    /// Whether the visitor has not seen every entry.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    /// The next entry, whose value is then `pending`.
    fn advance(&mut self) -> Option<(&'de Value, &'de Value)> {
        self.pending = self.entries.next();
        while self.pending.is_some_and(|(_, value)| self.reader.state.is_hidden(value)) {
            self.next += 1;
            self.pending = self.entries.next();
        }
        if self.pending.is_none() {
            self.reader.state.set_done(self.reader.value, self.next);
        }
        self.pending
    }

    fn read_key<K: DeserializeSeed<'de>>(&mut self, seed: K, key: &'de Value) -> Result<K::Value, Stop> {
        let state = self.reader.state;
        let text = key_text(key);
        let trail = match &text {
            Some(text) => Trail::Key(self.reader.trail, text),
            None => *self.reader.trail,
        };
        let result = match &text {
            Some(text) => seed.deserialize::<CowStrDeserializer<'_, Stop>>(text.clone().into_deserializer()),
            None => Err(Stop::key_shape()),
        };
        result.map_err(|stop| {
            if let Stop::Fresh(complaint) = stop {
                let mut fault = complaint.at(key, &trail);
                fault.on = crate::config::On::Key;
                state.note(fault);
            }
            if let Value::Mapping(mapping) = self.reader.value {
                state.open(mapping, self.reader.trail);
            }
            if let Some((_, value)) = self.pending.take() {
                state.hide_entry(value, &trail);
            }
            self.finish(Verdict::Hide);
            Stop::Known
        })
    }

    fn read_value<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let state = self.reader.state;
        let Some((key, value)) = self.pending.take() else { return Err(Stop::Known) };
        let text = key_text(key).unwrap_or_default();
        let trail = Trail::Key(self.reader.trail, &text);
        let before = state.progress();
        match seed.deserialize(Reader::new(state, value, &trail)) {
            Ok(value) if state.progress() == before => {
                self.next += 1;
                Ok(value)
            }
            // A list or a map in it ended early.
            Ok(_) => {
                self.finish(Verdict::Again);
                Err(Stop::Known)
            }
            Err(stop) => {
                let verdict = state.settle(stop, before, value, &trail);
                if let Verdict::Hide = verdict {
                    state.hide_entry(value, &trail);
                }
                self.finish(verdict);
                Err(Stop::Known)
            }
        }
    }

    /// Ends this run of the map behind or before the entry that failed.
    fn finish(&mut self, verdict: Verdict) {
        self.partial = true;
        if let Verdict::Hide = verdict {
            self.next += 1;
        }
        self.reader.state.set_done(self.reader.value, self.next);
    }
}

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Stop;

    fn next_entry_seed<K, V>(&mut self, key_seed: K, value_seed: V) -> Result<Option<(K::Value, V::Value)>, Stop>
    where
        K: DeserializeSeed<'de>,
        V: DeserializeSeed<'de>,
    {
        let Some((key, _)) = self.advance() else { return Ok(None) };
        let Ok(key) = self.read_key(key_seed, key) else { return Ok(None) };
        let Ok(value) = self.read_value(value_seed) else { return Ok(None) };
        Ok(Some((key, value)))
    }

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        match self.advance() {
            Some((key, _)) => self.read_key(seed, key).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        self.read_value(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

impl<'de, 't> Fields<'de, 't> {
    pub(super) fn new(reader: Reader<'de, 't>, mapping: &'de Mapping, fields: &'static [&'static str]) -> Self {
        let entries = mapping.iter();
        Self { reader, mapping, entries, fields, absent: fields.iter(), pending: None, partial: false }
    }

    /// Whether the visitor has not seen every field as written.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    /// The next field to offer, with its value or for a blank.
    fn advance(&mut self) -> Option<(&'static str, Option<&'de Value>)> {
        let Reader { state, value: parent, .. } = self.reader;
        for (key, value) in self.entries.by_ref() {
            let key = key_text(key).unwrap_or_default();
            let Some(field) = self.fields.iter().copied().find(|field| *field == key) else {
                self.partial = true;
                continue;
            };
            match state.field(parent, field) {
                None => return Some((field, Some(value))),
                Some(Field::Blank) => return Some((field, None)),
                Some(Field::Left) => self.partial = true,
            }
        }
        for field in self.absent.by_ref() {
            if state.field(parent, field) == Some(Field::Blank) && !self.mapping.contains_key(*field) {
                return Some((field, None));
            }
        }
        None
    }
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        self.pending = self.advance();
        match self.pending {
            Some((field, _)) => seed.deserialize(StrDeserializer::new(field)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let Reader { state, value: parent, trail: around } = self.reader;
        let Some((field, value)) = self.pending.take() else { return Err(Stop::Known) };
        let Some(value) = value else {
            self.partial = true;
            return seed.deserialize(Blank).map_err(|_| {
                state.set_field(parent, around, field, Field::Left);
                Stop::Known
            });
        };
        let trail = Trail::Key(around, field);
        let before = state.progress();
        seed.deserialize(Reader::new(state, value, &trail)).map_err(|stop| {
            self.partial = true;
            if let Verdict::Hide = state.settle(stop, before, value, &trail) {
                state.set_field(parent, around, field, Field::Blank);
            }
            Stop::Known
        })
    }
}
