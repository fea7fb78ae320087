//! From a YAML value to a type, with every fault found at once.
//!
//! serde stops at the first error and cannot be made to go on: the seed of a failed element is consumed. So [`decode`]
//! notes the fault at its place, hides what caused it and decodes again, until a run finds nothing new. Lists and maps
//! remember how far they are and go on from there, so that a thousand faults in a list do not cost a thousand full
//! runs. In place of a field that is missing or faulty a [`blank`] is offered, so that the fields after it are still
//! looked at; faulty elements and entries are left out.
//!
//! Every run either notes a fault, hides something more or is the last. Then, when there were faults, the value is read
//! once more without what they are at: [`Decoded::Faulty`] has that rest, and the [`Damage`] that was done to it. A `null` stands for nothing: it is refused
//! wherever a value is expected, except as free JSON. A value under the tag [`WHOLE`] or [`PART`] came from a
//! placeholder: it takes the type that is asked for, and no message repeats it.

mod access;
mod blank;
mod complaint;
mod state;
#[cfg(test)]
mod tests;
mod value;

use serde::de::DeserializeOwned;
use serde_yaml::Value;

use super::damage::Damage;
use super::place::{On, Place};
use complaint::Stop;
use state::{State, Trail};
use value::Reader;

/// Tag of a string that is exactly one placeholder: it is read like a plain scalar.
pub(super) const WHOLE: &str = "whole";
/// Tag of a string with placeholders in it: it is always text.
pub(super) const PART: &str = "part";

/// Tag of a value whose placeholder stands for nothing. That is reported already, so the value may be anything.
pub(super) const UNKNOWN: &str = "unknown";

/// More faults than anyone reads.
pub(super) const MOST_FAULTS: usize = 1000;

/// One fault of a YAML value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// Whether the key there is meant, or the value.
    pub on: On,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// What a value says.
pub(super) enum Decoded<T> {
    /// Everything as written.
    Whole(T),
    /// Something is wrong with it.
    Faulty {
        /// All of it; may be empty when only the values of placeholders are missing.
        faults: Vec<Fault>,
        /// The rest, with blanks or nothing in place of what is faulty. Absent when that does not make a `T`, or when
        /// not everything was looked at.
        rest: Option<(T, Box<Damage>)>,
    },
}

/// Reads `value` as a `T`. The `T` is there exactly when there is no fault; after a thousand faults it stops looking.
pub fn decode<T: DeserializeOwned>(value: &Value) -> (Option<T>, Vec<Fault>) {
    match read(value) {
        Decoded::Whole(decoded) => (Some(decoded), Vec::new()),
        Decoded::Faulty { faults, .. } => (None, faults),
    }
}

/// Reads `value` as a `T`, or says what is wrong and what is left.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> Decoded<T> {
    let state = State::default();
    let decoded = look(&state, value);
    if let Some(decoded) = decoded
        && state.progress() == 0
    {
        return Decoded::Whole(decoded);
    }
    let rest = if state.faults() < MOST_FAULTS { rest(&state, value) } else { None };
    let (faults, damage) = state.into_faults();
    Decoded::Faulty { faults, rest: rest.map(|rest| (rest, Box::new(damage))) }
}

/// Runs until nothing new is found. Only when nothing was found at all has what comes out seen everything.
fn look<T: DeserializeOwned>(state: &State, value: &Value) -> Option<T> {
    loop {
        let before = state.progress();
        let result = T::deserialize(Reader::new(state, value, &Trail::Root));
        if let Err(Stop::Fresh(complaint)) = result {
            state.note(complaint.at(value, &Trail::Root));
            return None;
        }
        if state.progress() == before || state.faults() >= MOST_FAULTS {
            return result.ok();
        }
    }
}

/// What is left without everything that is hidden. A type may refuse that too: then more is hidden, in silence.
fn rest<T: DeserializeOwned>(state: &State, value: &Value) -> Option<T> {
    state.start_over();
    look::<T>(state, value)?;
    state.start_over();
    let before = state.progress();
    let rest = T::deserialize(Reader::new(state, value, &Trail::Root)).ok()?;
    (state.progress() == before).then_some(rest)
}
