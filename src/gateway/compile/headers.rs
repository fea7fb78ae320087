//! A route's changes to headers: which it may make.
//!
//! Framing is the proxy's, identity and forwarding the gateway's own; everything else may be removed or set.

use http::HeaderName;
use http::header::HeaderValue;
use indexmap::IndexMap;

use crate::config::{FieldName, Place, Report};
use crate::policy::headers::{HeaderEdits, is_framing, is_own};

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Remove,
    Set,
}

pub(super) fn edits(
    remove: &[FieldName],
    set: &IndexMap<FieldName, String>,
    place: &Place,
    report: &mut Report,
) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    for (index, name) in remove.iter().enumerate() {
        if may_edit(&name.0, place.clone().key("remove").index(index), Change::Remove, report) {
            edits.remove.push(name.0.clone());
        }
    }
    for (name, value) in set {
        let place = place.clone().key("set").key(name.as_str());
        if !may_edit(&name.0, place.clone(), Change::Set, report) {
            continue;
        }
        match HeaderValue::from_str(value) {
            Ok(value) => edits.set.push((name.0.clone(), value)),
            Err(_) => {
                report.error(place, "the value cannot be sent as a header").by_itself().help("no control characters");
            }
        }
    }
    edits
}

fn may_edit(name: &HeaderName, place: Place, change: Change, report: &mut Report) -> bool {
    let fault = if is_framing(name) {
        "the proxy writes this header itself"
    } else if is_own(name) && change == Change::Set {
        "only the gateway writes this header"
    } else {
        return true;
    };
    let problem = report.error(place, format!("`{name}`: {fault}")).by_itself();
    if change == Change::Set {
        problem.on_key();
    }
    false
}
