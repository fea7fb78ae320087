//! What one decoding learns from run to run.
//!
//! Nodes are known by their address: the value is borrowed for the whole decoding and does not move.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use serde_yaml::{Mapping, Value};

use super::complaint::Stop;
use super::value::key_text;
use super::{Fault, UNKNOWN};
use crate::config::damage::Damage;
use crate::config::place::Place;

/// What the runs have learned so far.
#[derive(Default)]
pub(super) struct State {
    faults: RefCell<Vec<Fault>>,
    /// How often something was learned.
    progress: Cell<usize>,
    /// What the faults cost.
    damage: RefCell<Damage>,
    /// Elements and entries that are passed over, by their value.
    hidden: RefCell<HashSet<usize>>,
    /// Whether every fault is known: what is refused now is a consequence of what is hidden.
    silent: Cell<bool>,
    /// How many elements of a list, entries of a map are done.
    done: RefCell<HashMap<usize, usize>>,
    /// What to do with a field that has failed or is missing, by its mapping.
    fields: RefCell<HashMap<(usize, &'static str), Field>>,
    /// Mappings whose unknown keys are noted.
    named: RefCell<HashSet<usize>>,
}

/// How a field is read that cannot be read as written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// A blank stands for it.
    Blank,
    /// No blank fits: it is left out.
    Left,
}

/// The way to a value, on the stack.
#[derive(Clone, Copy)]
pub(super) enum Trail<'t> {
    /// The value that is decoded.
    Root,
    /// The value of a key.
    Key(&'t Trail<'t>, &'t str),
    /// An element.
    Index(&'t Trail<'t>, usize),
}

/// What is left to do about a value that could not be read.
pub(super) enum Verdict {
    /// Leave it out from now on.
    Hide,
    /// Something in it was hidden: read it again in the next run.
    Again,
}

impl State {
    pub(super) fn progress(&self) -> usize {
        self.progress.get()
    }

    pub(super) fn advance(&self) {
        self.progress.set(self.progress.get() + 1);
    }

    pub(super) fn faults(&self) -> usize {
        self.faults.borrow().len()
    }

    pub(super) fn note(&self, fault: Fault) {
        self.advance();
        if !self.silent.get() {
            self.faults.borrow_mut().push(fault);
        }
    }

    /// Lets the next run begin every list and map again, and from now on nothing be noted.
    pub(super) fn start_over(&self) {
        self.silent.set(true);
        self.done.borrow_mut().clear();
    }

    pub(super) fn into_faults(self) -> (Vec<Fault>, Damage) {
        (self.faults.into_inner(), self.damage.into_inner())
    }

    /// Passes over an element of a list from now on.
    pub(super) fn hide_element(&self, element: &Value, list: &Trail<'_>, index: usize) {
        self.advance();
        self.hidden.borrow_mut().insert(address(element));
        self.damage.borrow_mut().leave_out(&list.place(), index);
    }

    /// Passes over an entry of a map from now on.
    pub(super) fn hide_entry(&self, value: &Value, entry: &Trail<'_>) {
        self.advance();
        self.hidden.borrow_mut().insert(address(value));
        self.damage.borrow_mut().lose(entry.place());
    }

    pub(super) fn is_hidden(&self, value: &Value) -> bool {
        let hidden = self.hidden.borrow();
        !hidden.is_empty() && hidden.contains(&address(value))
    }

    /// Says that a mapping has a key that is not known.
    pub(super) fn open(&self, mapping: &Mapping, trail: &Trail<'_>) {
        let keys = mapping.keys().filter_map(key_text).map(Cow::into_owned);
        self.damage.borrow_mut().open(trail.place(), keys);
    }

    /// Notes why `value` was refused, and says whether it may come again. `before` is the progress before it was read.
    pub(super) fn settle(&self, stop: Stop, before: usize, value: &Value, trail: &Trail<'_>) -> Verdict {
        match stop {
            Stop::Fresh(_) if matches!(value, Value::Tagged(tagged) if tagged.tag == UNKNOWN) => Verdict::Hide,
            Stop::Fresh(complaint) => {
                self.note(complaint.at(value, trail));
                Verdict::Hide
            }
            Stop::Known if self.progress() == before => Verdict::Hide,
            Stop::Known => Verdict::Again,
        }
    }

    pub(super) fn done(&self, container: &Value) -> usize {
        self.done.borrow().get(&address(container)).copied().unwrap_or(0)
    }

    pub(super) fn set_done(&self, container: &Value, count: usize) {
        self.done.borrow_mut().insert(address(container), count);
    }

    pub(super) fn field(&self, mapping: &Value, field: &'static str) -> Option<Field> {
        self.fields.borrow().get(&(address(mapping), field)).copied()
    }

    pub(super) fn set_field(&self, mapping: &Value, trail: &Trail<'_>, field: &'static str, how: Field) {
        self.advance();
        self.damage.borrow_mut().lose(trail.place().key(field));
        self.fields.borrow_mut().insert((address(mapping), field), how);
    }

    /// True the first time it is asked for this mapping.
    pub(super) fn first_look_at(&self, mapping: &Value) -> bool {
        self.named.borrow_mut().insert(address(mapping))
    }
}

impl Trail<'_> {
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Root => Place::root(),
            Self::Key(parent, key) => parent.place().key(*key),
            Self::Index(parent, index) => parent.place().index(*index),
        }
    }

    pub(super) fn last_key(&self) -> Option<&str> {
        match self {
            Self::Key(_, key) => Some(key),
            Self::Root | Self::Index(..) => None,
        }
    }
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}
