//! Whether a policy of a route refuses requests, or only tells operators which ones it would refuse.

/// Whether something refuses requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// What it would refuse is told to operators only, and passes; a violated contract as the client sent it.
    Observe,
}

/// The modes of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// Of the contract.
    pub contract: Mode,
    /// Of the conditions on addresses and callers.
    pub authorisation: Mode,
    /// Of the limits of the route and of the caller's plan.
    pub limits: Mode,
}

impl Modes {
    /// What is only observed, by the keys of the configuration.
    pub fn observed(self) -> impl Iterator<Item = &'static str> {
        let parts = [("contract", self.contract), ("authorisation", self.authorisation), ("limits", self.limits)];
        parts.into_iter().filter(|(_, mode)| *mode == Mode::Observe).map(|(part, _)| part)
    }
}
