//! What schemas said of the members of a body.
//!
//! JSON Schema calls a member evaluated when a schema that applied to its object named it. While a body is checked,
//! the evaluated members and the objects that any schema spoke of are noted by their address in the tree; a branch
//! that did not apply (of `anyOf`, `if`, …) takes its notes back. An object that nobody spoke of is open: all that is
//! in it passes.

use super::super::tree::Json;

/// Notes on one tree, which must not move meanwhile.
#[derive(Debug, Default)]
pub(in crate::policy::contract) struct Marks {
    /// Objects of whose members a schema spoke.
    pub(super) spoken: Vec<usize>,
    /// Members that are evaluated, and items where a schema asks for it.
    pub(super) named: Vec<usize>,
}

/// A moment to go back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    spoken: usize,
    pub(super) named: usize,
}

impl Marks {
    pub(super) fn now(&self) -> Moment {
        Moment { spoken: self.spoken.len(), named: self.named.len() }
    }

    pub(super) fn back_to(&mut self, moment: Moment) {
        self.spoken.truncate(moment.spoken);
        self.named.truncate(moment.named);
    }

    /// Notes that the contract itself speaks of an object.
    pub(in crate::policy::contract) fn speak(&mut self, object: &Json<'_>) {
        self.spoken.push(object.address());
    }

    /// Notes that the contract itself names a member.
    pub(in crate::policy::contract) fn name(&mut self, member: &Json<'_>) {
        self.named.push(member.address());
    }

    /// Makes the notes ready to be asked.
    pub(in crate::policy::contract) fn settle(&mut self) {
        self.spoken.sort_unstable();
        self.named.sort_unstable();
    }

    /// Whether members of this object can be undeclared. Only for settled notes.
    pub(in crate::policy::contract) fn is_closed(&self, object: &Json<'_>) -> bool {
        self.spoken.binary_search(&object.address()).is_ok()
    }

    /// Whether a schema named this member of a closed object. Only for settled notes.
    pub(in crate::policy::contract) fn is_named(&self, member: &Json<'_>) -> bool {
        self.named.binary_search(&member.address()).is_ok()
    }
}
