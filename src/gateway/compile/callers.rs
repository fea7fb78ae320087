//! Who may call: authenticators, plans, consumers and their keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use indexmap::{IndexMap, IndexSet};
use jiff::tz::TimeZone;

use crate::config::{self, Config, Period, Place, Rate, Report, suggest};
use crate::gateway::forward_auth::ForwardAuthenticator;
use crate::gateway::password::{Accounts, PasswordAuthenticator};
use crate::gateway::tls::Owners;
use crate::gateway::token::TokenAuthenticator;
use crate::gateway::{Access, Consumer, Plan, Service};
use crate::policy::authenticate::{Forward, KeyPlace, Keyring, Part};
use crate::policy::headers::{is_framing, is_own};
use crate::policy::limit::{Limit, Subject, Unit};

use super::tokens::Tokens;
use super::{Surroundings, certificates, passwords};

/// A compiled authenticator.
pub(super) enum Authenticator {
    /// Of API keys, which stand here.
    Key(KeyPlace),
    /// Of tokens.
    Token(Arc<TokenAuthenticator>),
    /// Of names and passwords.
    Password(Arc<PasswordAuthenticator>),
    /// An auth service.
    Asked(Arc<ForwardAuthenticator>),
    /// Of client certificates, which the connection has.
    Certificate,
}

impl Authenticator {
    /// Where its credential stands in a request; what an auth service looks at, only it knows.
    pub fn place(&self) -> Option<&KeyPlace> {
        match self {
            Self::Key(place) => Some(place),
            Self::Token(tokens) => Some(&tokens.place),
            Self::Password(passwords) => Some(&passwords.place),
            Self::Asked(_) | Self::Certificate => None,
        }
    }
}

/// The kinds of authenticators.
const KINDS: [&str; 5] = ["api_key", "jwt", "basic", "forward_auth", "client_certificate"];

/// What routes and the gateway need to know of callers.
pub(super) struct Callers {
    /// Authenticators by name.
    pub authenticators: IndexMap<String, Authenticator>,
    /// Plans by name.
    pub plans: IndexMap<String, Arc<Plan>>,
    /// Consumers by name.
    pub consumers: IndexMap<String, Arc<Consumer>>,
    /// Every API key.
    pub keys: Keyring<Arc<Consumer>>,
    /// Every consumer with passwords.
    pub accounts: Accounts,
    /// Every certificate of a consumer.
    pub certificates: Owners,
    /// Where days and months begin.
    pub timezone: TimeZone,
}

impl Callers {
    /// Where keys may stand that a service behind `access` must not see: wherever any authenticator looks, but for
    /// where the route's own forward what they find. Where one of several does not, nothing is forwarded.
    pub fn hidden_from(&self, access: &Access) -> Vec<Part> {
        let own: Vec<&KeyPlace> = access.looked_at().collect();
        let passes = |part: &Part| {
            let mut here = own.iter().filter(|place| place.part == *part).peekable();
            here.peek().is_some() && here.all(|place| place.forward == Forward::Pass)
        };
        let mut hidden: Vec<Part> = Vec::new();
        for place in self.authenticators.values().filter_map(Authenticator::place) {
            if !passes(&place.part) && !hidden.contains(&place.part) {
                hidden.push(place.part.clone());
            }
        }
        hidden
    }

    /// Services that are asked who calls.
    pub fn auth_services(&self) -> Vec<Arc<Service>> {
        let asked = self.authenticators.values().filter_map(|authenticator| match authenticator {
            Authenticator::Asked(asked) => Some(Arc::clone(&asked.service)),
            Authenticator::Key(_)
            | Authenticator::Token(_)
            | Authenticator::Password(_)
            | Authenticator::Certificate => None,
        });
        asked.collect()
    }

    /// Headers that claims and answers of auth services fill, of all authenticators.
    pub fn claim_headers(&self) -> Vec<HeaderName> {
        let mut names: Vec<HeaderName> = Vec::new();
        for authenticator in self.authenticators.values() {
            let written: Vec<&HeaderName> = match authenticator {
                Authenticator::Token(tokens) => tokens.claim_headers().collect(),
                Authenticator::Asked(asked) => asked.written_headers().collect(),
                Authenticator::Key(_) | Authenticator::Password(_) | Authenticator::Certificate => continue,
            };
            for name in written {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        names
    }
}

pub(super) fn compile(config: &Config, surroundings: &Surroundings<'_>, report: &mut Report) -> Callers {
    let timezone = TimeZone::get(&config.timezone).unwrap_or_else(|_| {
        report
            .error(Place::root().key("timezone"), format!("unknown time zone `{}`", config.timezone))
            .by_itself()
            .help("an IANA name such as `UTC` or `Europe/Berlin`");
        TimeZone::UTC
    });
    let routes: IndexSet<&str> = config.routes.iter().map(|route| route.name.as_str()).collect();
    let mut limits = Limits { timezone: &timezone, report };
    let plans: IndexMap<_, _> =
        config.plans.iter().map(|(name, plan)| (name.clone(), Arc::new(limits.plan(name, plan, &routes)))).collect();
    let (consumers, keys) = consumers(config, &plans, report);
    let Surroundings { keys: sources, lookup, .. } = *surroundings;
    let tokens = Tokens { config, plans: &plans, consumers: &consumers, sources, lookup, report };
    let authenticators = authenticators(config, tokens);
    let accounts = passwords::accounts(config, &consumers, report);
    let certificates = certificates::owners(config, &consumers, report);
    Callers { authenticators, plans, consumers, keys, accounts, certificates, timezone }
}

fn authenticators(config: &Config, mut tokens: Tokens<'_>) -> IndexMap<String, Authenticator> {
    let mut compiled = IndexMap::new();
    for (name, written) in &config.authenticators {
        let place = Place::root().key("authenticators").key(name);
        let config::Authenticator { api_key, jwt, basic, forward_auth, client_certificate } = written;
        let authenticator = match (api_key, jwt, basic, forward_auth, client_certificate) {
            (Some(key), None, None, None, None) => {
                key_place(key, &place.key("api_key"), tokens.report).map(Authenticator::Key)
            }
            (None, Some(jwt), None, None, None) => {
                let found = tokens.compile(name, jwt, &place.key("jwt"));
                found.map(|found| Authenticator::Token(Arc::new(found)))
            }
            (None, None, None, Some(asked), None) => {
                let found = tokens.forward_auth(name, asked, &place.key("forward_auth"));
                found.map(|found| Authenticator::Asked(Arc::new(found)))
            }
            (None, None, Some(basic), None, None) => {
                let found = passwords::authenticator(name, basic, &place.key("basic"), tokens.report);
                Some(Authenticator::Password(Arc::new(found)))
            }
            (None, None, None, None, Some(_)) => Some(Authenticator::Certificate),
            _ => {
                tokens
                    .report
                    .error(place.clone(), "an authenticator is of exactly one kind")
                    .on_key()
                    .given_keys(&place, &KINDS)
                    .help("`api_key: { header: x-api-key }`, `basic: {}`, `jwt: { … }`, `forward_auth: { … }` or `client_certificate: {}`");
                None
            }
        };
        compiled.extend(authenticator.map(|authenticator| (name.clone(), authenticator)));
    }
    compiled
}

fn key_place(written: &config::ApiKey, place: &Place, report: &mut Report) -> Option<KeyPlace> {
    let wanted = Wanted { header: &written.header, query: &written.query, cookie: &written.cookie };
    let part = one_part(&wanted, "key", "`header: x-api-key`, `query: NAME` or `cookie: NAME`", place, report)?;
    Some(KeyPlace { part, forward: if written.forward { Forward::Pass } else { Forward::Strip } })
}

/// Where a credential is said to stand.
pub(super) struct Wanted<'a> {
    pub(super) header: &'a Option<String>,
    pub(super) query: &'a Option<String>,
    pub(super) cookie: &'a Option<String>,
}

/// The one part of a request; `word` is what stands there.
pub(super) fn one_part(
    written: &Wanted<'_>,
    word: &str,
    forms: &'static str,
    place: &Place,
    report: &mut Report,
) -> Option<Part> {
    let header = written.header.as_deref().map(|header| match header.parse::<HeaderName>() {
        Ok(name) if !is_framing(&name) && !is_own(&name) && name != http::header::COOKIE => Ok(Part::Header(name)),
        _ => Err(("header", format!("a {word} cannot be sent as header `{header}`"), Some("usual is `x-api-key`"))),
    });
    let query = written.query.as_deref().map(|query| match query {
        "" => Err(("query", "the parameter needs a name".to_owned(), None)),
        query => Ok(Part::Query(query.into())),
    });
    let cookie = written.cookie.as_deref().map(|cookie| match cookie {
        cookie if is_token(cookie) => Ok(Part::Cookie(cookie.into())),
        cookie => Err(("cookie", format!("`{cookie}` is no cookie name"), None)),
    });
    let parts: Vec<_> = [header, query, cookie].into_iter().flatten().collect();
    if parts.len() != 1 {
        report
            .error(place.clone(), format!("the {word} stands in exactly one place"))
            .on_key()
            .given_keys(place, &["header", "query", "cookie"])
            .help(forms);
    }
    let mut good = None;
    for part in parts {
        match part {
            Ok(part) => good = Some(part),
            Err((key, message, help)) => {
                let problem = report.error(place.clone().key(key), message).by_itself();
                help.into_iter().for_each(|help| _ = problem.help(help));
            }
        }
    }
    good
}

/// An RFC 9110 token.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Text that may be a header's value, and a name in metrics and logs.
pub(super) fn name_header(name: &str, place: Place, report: &mut Report) -> HeaderValue {
    let plain = !name.is_empty() && name.len() <= 128 && name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    match HeaderValue::from_str(name) {
        Ok(value) if plain && name.trim() == name => value,
        _ => {
            report
                .error(place, format!("`{name}` cannot be sent as a header"))
                .on_key()
                .by_itself()
                .help("1 to 128 printable ASCII characters");
            HeaderValue::from_static("invalid")
        }
    }
}

/// Consumers by name and by key.
fn consumers(
    config: &Config,
    plans: &IndexMap<String, Arc<Plan>>,
    report: &mut Report,
) -> (IndexMap<String, Arc<Consumer>>, Keyring<Arc<Consumer>>) {
    let mut consumers = IndexMap::new();
    let mut keys = Keyring::default();
    let matched = config.authenticators.values().any(|authenticator| {
        authenticator.jwt.as_ref().is_some_and(|jwt| jwt.match_consumers)
            || authenticator.forward_auth.as_ref().is_some_and(|asked| asked.match_consumers)
    });
    for (name, written) in &config.consumers {
        let place = Place::root().key("consumers").key(name);
        let plan = match &written.plan {
            Some(plan) if config.plans.contains_key(plan) => plans.get(plan).cloned(),
            Some(plan) => {
                report
                    .error(place.clone().key("plan"), format!("unknown plan `{plan}`"))
                    .given(Place::root().key("plans").key(plan))
                    .help(suggest(plan, config.plans.keys().map(String::as_str)));
                None
            }
            None if config.plans.is_empty() => None,
            None => {
                report
                    .error(place.clone(), format!("consumer `{name}` has no plan"))
                    .on_key()
                    .given_keys(&place, &["plan"])
                    .help("once plans are defined, every consumer has one");
                None
            }
        };
        let consumer = Arc::new(Consumer {
            name: name.as_str().into(),
            plan,
            name_header: name_header(name, place.clone(), report),
            groups_header: groups_header(&written.groups, &place, report),
            subject: Subject::consumer(name),
            groups: written.groups.iter().map(|group| group.as_str().into()).collect(),
            claims: serde_json::Map::new(),
            claim_headers: Vec::new(),
        });
        // Keys of the store are not known here.
        let has_none = written.api_keys.is_empty() && written.passwords.is_empty() && written.certificates.is_empty();
        if has_none && config.store.is_none() && !matched {
            report
                .warning(place.clone(), format!("consumer `{name}` has no key, so nobody can call as it"))
                .on_key()
                .given_keys(&place, &["api_keys", "passwords", "certificates"])
                .given(Place::root().key("store"))
                .given(Place::root().key("authenticators"))
                .help("add `api_keys: [{ sha256: \"…\" }]`");
        }
        for (index, key) in written.api_keys.iter().enumerate() {
            if let Err(owner) = keys.add(key.sha256.0, Arc::clone(&consumer)) {
                let message = format!("this key belongs to consumer `{}` already", owner.name);
                // A key that cannot be read is left out, so both are as written.
                report.error(place.clone().key("api_keys").index(index).key("sha256"), message).by_itself();
            }
        }
        consumers.insert(name.clone(), consumer);
    }
    (consumers, keys)
}

fn groups_header(groups: &[String], place: &Place, report: &mut Report) -> Option<HeaderValue> {
    if groups.is_empty() {
        return None;
    }
    for (index, group) in groups.iter().enumerate() {
        let printable = !group.is_empty() && group.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b',');
        if !printable {
            report
                .error(place.clone().key("groups").index(index), format!("`{group}` cannot be listed in a header"))
                .by_itself()
                .help("printable ASCII without spaces and commas");
        }
    }
    HeaderValue::from_str(&groups.join(",")).ok()
}

/// Compiles limits; the place of each is where its rate is written.
pub(super) struct Limits<'a> {
    /// Where days and months begin.
    pub timezone: &'a TimeZone,
    /// Where problems go.
    pub report: &'a mut Report,
}

impl Limits<'_> {
    fn plan(&mut self, name: &str, written: &config::Plan, defined: &IndexSet<&str>) -> Plan {
        let place = Place::root().key("plans").key(name);
        let owner = format!("plan/{name}");
        let each_route =
            self.list(written.each_route.as_slice(), &place.clone().key("each_route"), &owner, "each-route");
        let total = self.list(written.total.as_slice(), &place.clone().key("total"), &owner, "total");
        let mut routes = HashMap::new();
        for (route, rates) in &written.routes {
            let place = place.clone().key("routes").key(route);
            if !defined.contains(route.as_str()) {
                let names = defined.iter().copied();
                self.report
                    .error(place.clone(), format!("unknown route `{route}`"))
                    .on_key()
                    .given_each(Place::root().key("routes"), "name")
                    .help(suggest(route, names));
            }
            let identity = format!("{owner}/route/{route}");
            routes.insert(route.as_str().into(), self.list(rates.as_slice(), &place, &identity, "route"));
        }
        let concurrency = written.concurrency.and_then(|max| {
            let limit = Limit::concurrency(&format!("{owner}/concurrency"), "concurrency", max);
            let place = place.clone().key("concurrency");
            limit.map_err(|fault| self.report.error(place, fault.to_string()).by_itself().help("at least 1")).ok()
        });
        let name_header = name_header(name, place, self.report);
        Plan { name: name.into(), name_header, each_route, routes, total, concurrency }
    }

    fn list(&mut self, rates: &[Rate], place: &Place, owner: &str, word: &str) -> Vec<Limit> {
        let mut limits = Vec::new();
        for (index, rate) in rates.iter().enumerate() {
            let place = if rates.len() == 1 { place.clone() } else { place.clone().index(index) };
            if rates[..index].iter().any(|other| other.period == rate.period) {
                let message = format!("this list limits each {} already", period_word(rate.period));
                self.report.error(place, message).by_itself().help("the stricter of the two is enough");
                continue;
            }
            limits.extend(self.limit(rate, place, &format!("{owner}/{word}"), word));
        }
        limits
    }

    /// One limit. Its identity holds the period but not the numbers, so that its counters live on when these change.
    pub fn limit(&mut self, rate: &Rate, place: Place, owner: &str, word: &str) -> Option<Limit> {
        let period = period_word(rate.period);
        let (identity, name) = (format!("{owner}/{period}"), format!("{word}-{period}"));
        let count = rate.count;
        let burst = rate.burst.unwrap_or(count);
        let rolling = |seconds| Limit::rate(&identity, &name, count, Duration::from_secs(seconds), burst);
        let calendar = |unit| Limit::quota(&identity, &name, count, unit, self.timezone.clone());
        let limit = match rate.period {
            Period::Second => rolling(1),
            Period::Minute => rolling(60),
            Period::Hour => rolling(3600),
            Period::Day => calendar(Unit::Day),
            Period::Month => calendar(Unit::Month),
        };
        limit.map_err(|fault| self.report.error(place, fault.to_string()).by_itself()).ok()
    }
}

fn period_word(period: Period) -> &'static str {
    match period {
        Period::Second => "second",
        Period::Minute => "minute",
        Period::Hour => "hour",
        Period::Day => "day",
        Period::Month => "month",
    }
}
