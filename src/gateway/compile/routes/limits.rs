//! Limits by what tokens say: only where tokens are taken.

use crate::config::{Auth, Place};
use crate::gateway::LimitBy;

use super::RouteCompiler;

impl RouteCompiler<'_> {
    /// Refuses a limit by claim, whose entry is at `place`, on a route where no token could say it: everyone would share
    /// one counter.
    pub(super) fn refuse_unsaid(&mut self, by: &LimitBy, place: &Place) {
        let LimitBy::Claim(path) = by else { return };
        if self.may_take_tokens() {
            return;
        }
        let public = matches!(self.auth(), Some(Auth::Public(_)));
        let problem = self
            .report
            .error(place.clone().key("by"), format!("nobody has a claim `{path}` here: this route takes no tokens"))
            .given_keys(&self.place, &["auth"]);
        if self.written.auth.is_none() {
            problem.given(Place::root().key("defaults").key("auth"));
        }
        // Whatever they are, a public route asks none of them.
        if !public {
            problem.given(Place::root().key("authenticators"));
        }
        problem.help("ask for a token: `auth: [NAME]` of an authenticator with `jwt`");
    }

    /// Whether an authenticator of the route is one of tokens, or is not known, which is another problem.
    fn may_take_tokens(&self) -> bool {
        let known = &self.config.authenticators;
        match self.auth() {
            Some(Auth::Public(_)) => false,
            Some(Auth::Any(names)) => {
                names.iter().any(|name| known.get(name).is_none_or(|authenticator| authenticator.jwt.is_some()))
            }
            None => true,
        }
    }

    fn auth(&self) -> Option<&Auth> {
        self.written.auth.as_ref().or(self.config.defaults.auth.as_ref())
    }
}
