//! From a YAML value to a type, with every fault found at once.
//!
//! serde stops at the first error and cannot be made to go on: the seed of a failed element is consumed. So [`decode`]
//! notes the fault at its place, hides what caused it and decodes again, until a run finds nothing new. Lists and maps
//! remember how far they are and go on from there, so that a thousand faults in a list do not cost a thousand full
//! runs. In place of a field that is missing or faulty a [`blank`] is offered, so that the fields after it are still
//! looked at.
//!
//! Every run either notes a fault, hides something more or is the last. A `null` stands for nothing: it is refused
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

/// Reads `value` as a `T`. The `T` is there exactly when there is no fault; after a thousand faults it stops looking.
pub fn decode<T: DeserializeOwned>(value: &Value) -> (Option<T>, Vec<Fault>) {
    let state = State::default();
    loop {
        let before = state.progress();
        let result = T::deserialize(Reader::new(&state, value, &Trail::Root));
        match result {
            Ok(decoded) if before == 0 && state.progress() == 0 => return (Some(decoded), Vec::new()),
            Ok(_) | Err(Stop::Known) => {}
            Err(Stop::Fresh(complaint)) => {
                state.note(complaint.at(value, &Trail::Root));
                break;
            }
        }
        if state.progress() == before || state.faults() >= MOST_FAULTS {
            break;
        }
    }
    (None, state.into_faults())
}
