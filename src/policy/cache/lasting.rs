//! What a stored reply may be used for, as it grows older (RFC 9111 section 4).

use std::time::Duration;

use super::{Freshness, RequestDirectives, Rules};

/// How long a stored reply lasts, from the moment that it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasting {
    /// How old it was then.
    pub age: Duration,
    /// How long it is fresh.
    pub fresh_for: Duration,
    /// How long it may be used after that, while it is fetched anew.
    pub while_revalidate: Duration,
    /// How long it may be used after that, when the service fails.
    pub if_error: Duration,
    /// Clients may not ask for it once it is stale.
    pub never_stale: bool,
}

/// What a stored reply is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is the answer.
    Fresh,
    /// It is the answer, since the client takes a stale one.
    Stale,
    /// It is the answer, and is to be fetched anew for those who come next.
    Refresh,
    /// The service has to be asked first.
    Validate {
        /// When the service fails it is the answer nevertheless.
        if_error: bool,
    },
}

impl Lasting {
    /// What it is good for, so long after it came, for a client that says this.
    pub fn serve(&self, rules: &Rules, held: Duration, client: &RequestDirectives) -> Use {
        let stale = held.checked_sub(self.fresh_for);
        let if_error = stale.unwrap_or_default() < self.if_error;
        let wants = match rules.freshness {
            Freshness::Respected => *client,
            // Clients have no say in what the configuration decides (RFC 9111 section 5.2.1 lets a cache choose).
            Freshness::Fixed(_) => RequestDirectives::default(),
        };
        let age = self.age + held;
        if wants.no_cache || wants.max_age.is_some_and(|most| age > Duration::from_secs(most)) {
            return Use::Validate { if_error };
        }
        let Some(stale) = stale else {
            let left = self.fresh_for - held;
            return match wants.min_fresh {
                Some(least) if left < Duration::from_secs(least) => Use::Validate { if_error },
                _ => Use::Fresh,
            };
        };
        if wants.min_fresh.is_some() {
            return Use::Validate { if_error };
        }
        if stale < self.while_revalidate {
            return Use::Refresh;
        }
        match wants.max_stale {
            Some(most) if !self.never_stale && stale <= Duration::from_secs(most) => Use::Stale,
            _ => Use::Validate { if_error },
        }
    }

    /// Whether it can never be the answer without asking the service.
    pub fn is_never_usable(&self) -> bool {
        self.fresh_for.is_zero() && self.while_revalidate.is_zero() && self.if_error.is_zero()
    }

    /// Its age in whole seconds, so long after it came.
    pub fn age_after(&self, held: Duration) -> u64 {
        (self.age + held).as_secs()
    }

    /// How many seconds it stays fresh; negative once it is stale.
    pub fn fresh_left(&self, held: Duration) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        match self.fresh_for.checked_sub(held) {
            Some(left) => seconds(left),
            // Not a moment too fresh.
            None => -seconds(held - self.fresh_for).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SetCookie;
    use super::*;

    const OBEY: Freshness = Freshness::Respected;
    const FIXED: Freshness = Freshness::Fixed(Duration::from_secs(60));

    fn rules(freshness: Freshness) -> Rules {
        Rules {
            freshness,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            max_object: 1,
            set_cookie: SetCookie::Refuse,
        }
    }

    #[test]
    fn a_client_may_want_more_or_less_where_it_is_heard() {
        let seconds = Duration::from_secs;
        let lasting = Lasting {
            age: seconds(10),
            fresh_for: seconds(60),
            while_revalidate: seconds(5),
            if_error: seconds(100),
            never_stale: false,
        };
        let says = RequestDirectives::default();
        let ask = |if_error| Use::Validate { if_error };
        for (freshness, held, client, expected) in [
            (OBEY, 0, says, Use::Fresh),
            (OBEY, 59, says, Use::Fresh),
            (OBEY, 60, says, Use::Refresh),
            (OBEY, 65, says, ask(true)),
            (OBEY, 160, says, ask(false)),
            (OBEY, 0, RequestDirectives { no_cache: true, ..says }, ask(true)),
            (FIXED, 0, RequestDirectives { no_cache: true, ..says }, Use::Fresh),
            (OBEY, 0, RequestDirectives { max_age: Some(10), ..says }, Use::Fresh),
            (OBEY, 1, RequestDirectives { max_age: Some(10), ..says }, ask(true)),
            (OBEY, 30, RequestDirectives { min_fresh: Some(30), ..says }, Use::Fresh),
            (OBEY, 31, RequestDirectives { min_fresh: Some(30), ..says }, ask(true)),
            (OBEY, 61, RequestDirectives { min_fresh: Some(0), ..says }, ask(true)),
            (OBEY, 70, RequestDirectives { max_stale: Some(10), ..says }, Use::Stale),
            (OBEY, 71, RequestDirectives { max_stale: Some(10), ..says }, ask(true)),
            (FIXED, 70, RequestDirectives { max_stale: Some(10), ..says }, ask(true)),
        ] {
            let decided = lasting.serve(&rules(freshness), seconds(held), &client);
            assert_eq!(decided, expected, "{freshness:?} {held} {client:?}");
        }
        let strict = Lasting { never_stale: true, while_revalidate: Duration::ZERO, ..lasting };
        let client = RequestDirectives { max_stale: Some(100), ..says };
        assert_eq!(strict.serve(&rules(OBEY), seconds(70), &client), ask(true));
    }

    #[test]
    fn age_and_rest_are_told_in_whole_seconds() {
        let lasting = Lasting {
            age: Duration::from_millis(1_500),
            fresh_for: Duration::from_secs(10),
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            never_stale: false,
        };
        assert_eq!(lasting.age_after(Duration::from_millis(600)), 2);
        assert_eq!(lasting.fresh_left(Duration::from_secs(4)), 6);
        assert_eq!(lasting.fresh_left(Duration::from_secs(14)), -4);
    }
}
