//! A route's own limits, and what a request costs there.
//!
//! Limits by what tokens say are only for where tokens are taken.

use crate::config::{self, Auth, Place};
use crate::gateway::{Access, LimitBy, RouteLimit};

use super::super::callers::Limits;
use super::RouteCompiler;

impl RouteCompiler<'_> {
    pub(super) fn limits(&mut self, access: Option<&Access>) -> Vec<RouteLimit> {
        let written = self.written;
        if written.cost == 0 {
            self.report
                .error(self.at("cost"), "a request costs at least 1")
                .by_itself()
                .help("leave the key out for 1");
        }
        let place = self.at("limits");
        let owner = format!("route/{}", written.name);
        let mut limits = Vec::new();
        for (index, entry) in written.limits.iter().enumerate() {
            let place = place.clone().index(index);
            let by = match &entry.by {
                config::LimitBy::ClientIp => LimitBy::ClientIp,
                config::LimitBy::Consumer => LimitBy::Consumer,
                config::LimitBy::Route => LimitBy::Route,
                config::LimitBy::Header(name) => LimitBy::Header(name.0.clone()),
                config::LimitBy::Claim(path) => LimitBy::Claim(path.as_str().into()),
            };
            self.refuse_unsaid(&by, &place);
            if by == LimitBy::Consumer && matches!(access, Some(Access::Public)) {
                let problem = self
                    .report
                    .error(place.clone().key("by"), "a public route has no consumer")
                    .given_keys(&self.place, &["auth"]);
                if written.auth.is_none() {
                    problem.given(Place::root().key("defaults").key("auth"));
                }
                problem.help("limit `by: client_ip`, or ask for a credential with `auth`");
            }
            let word = by_word(&by);
            let same = |other: &config::RouteLimit| other.by == entry.by && other.rate.period == entry.rate.period;
            if let Some(first) = written.limits[..index].iter().position(same) {
                let message = "the route has a limit for the same callers and period already";
                let first = self.at("limits").index(first);
                self.report.error(place.clone(), message).given(place.clone()).given(first);
            }
            let mut compiler = Limits { timezone: &self.callers.timezone, report: self.report };
            let rate = place.key("rate");
            if let Some(limit) = compiler.limit(&entry.rate, rate.clone(), &format!("{owner}/{word}"), &word) {
                if limit.capacity() < u64::from(written.cost) {
                    let message = format!("a request costs {}, more than this limit ever allows", written.cost);
                    self.report.error(rate, message).given_keys(&self.place, &["cost"]);
                }
                limits.push(RouteLimit { limit, by });
            }
        }
        self.check_cost_of_plans();
        limits
    }

    /// A route dearer than a plan's bucket could never be called with that plan.
    pub(super) fn check_cost_of_plans(&mut self) {
        for plan in self.callers.plans.values() {
            let limits = plan.route_limits(&self.written.name).iter().chain(&plan.total);
            for limit in limits.filter(|limit| limit.capacity() < u64::from(self.written.cost)) {
                let message = format!(
                    "a request costs {}, more than limit `{}` of plan `{}` ever allows",
                    self.written.cost,
                    limit.name(),
                    plan.name
                );
                self.report
                    .warning(self.place.clone().key("cost"), message)
                    .given_keys(&self.place, &["name"])
                    .given(Place::root().key("plans").key(&*plan.name));
            }
        }
    }

    /// Refuses a limit by claim, whose entry is at `place`, on a route where no token could say it: everyone would share
    /// one counter.
    fn refuse_unsaid(&mut self, by: &LimitBy, place: &Place) {
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

fn by_word(by: &LimitBy) -> String {
    match by {
        LimitBy::ClientIp => "client-ip".to_owned(),
        LimitBy::Consumer => "consumer".to_owned(),
        LimitBy::Route => "route".to_owned(),
        LimitBy::Header(name) => format!("header-{name}"),
        LimitBy::Claim(path) => format!("claim-{path}"),
    }
}
