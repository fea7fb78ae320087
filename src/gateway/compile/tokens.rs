//! Authenticators of tokens: keys that fit their algorithms, plans that exist, headers that only they write.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use indexmap::IndexMap;

use crate::config::{self, Config, Jwt, Place, Report, suggest};
use crate::gateway::key_source::{Address, KeySources, Source};
use crate::gateway::token::{Mapping, TokenAuthenticator, TokenKeys};
use crate::gateway::{Consumer, Plan};
use crate::policy::authenticate::{Forward, KeyPlace, Part};
use crate::policy::headers::{is_framing, is_hop_by_hop, is_own};
use crate::policy::token::{Algorithm, KeySet, Rules};

use super::callers::{Wanted, is_token, one_part};

/// Looks a name up.
pub(super) type Lookup<'a> = &'a dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// What tokens, and answers of auth services, refer to.
pub(super) struct Tokens<'a> {
    pub(super) config: &'a Config,
    pub(super) plans: &'a IndexMap<String, Arc<Plan>>,
    pub(super) consumers: &'a IndexMap<String, Arc<Consumer>>,
    pub(super) sources: &'a KeySources,
    pub(super) lookup: Lookup<'a>,
    pub(super) report: &'a mut Report,
}

/// How the callers of an authenticator come by a plan.
pub(super) struct PlanOfCallers<'a> {
    /// The plan of those that name none.
    pub plan: Option<&'a str>,
    /// Whether they may have one of another source: they name it, or are consumers of the configuration.
    pub named: bool,
    /// What they are called in problems.
    pub who: &'static str,
    /// What names a plan.
    pub by: &'static str,
    /// The key for it.
    pub key: &'static str,
}

/// The keys of which at most one says how tokens are verified.
const KEYS: [&str; 4] = ["secret", "key", "jwks", "jwks_url"];

impl Tokens<'_> {
    pub(super) fn compile(&mut self, name: &str, written: &Jwt, place: &Place) -> Option<TokenAuthenticator> {
        self.check_name(name, place);
        let part = self.part(written, place);
        let keys = self.keys(name, written, place);
        let rules = self.rules(written, place);
        self.check_algorithms(written, keys.as_ref(), place);
        let mapping = self.mapping(written, place);
        let forward = if written.forward { Forward::Pass } else { Forward::Strip };
        let key_place = KeyPlace { part: part?, forward };
        Some(TokenAuthenticator::new(name, key_place, rules, keys?, mapping))
    }

    /// Consumers are called after it, with a colon behind it.
    pub(super) fn check_name(&mut self, name: &str, place: &Place) {
        let own = Place::root().key("authenticators").key(name);
        if !is_token(name) {
            self.report
                .error(own, format!("`{name}` cannot begin the name of a consumer"))
                .on_key()
                .by_itself()
                .help("letters, digits, `-`, `_` and `.`");
        }
        let prefix = format!("{name}:");
        for consumer in self.config.consumers.keys().filter(|consumer| consumer.starts_with(&prefix)) {
            let message = format!("`{consumer}` is what a consumer found by `{name}` is called");
            let consumer = Place::root().key("consumers").key(consumer);
            self.report.error(consumer, message).on_key().given(place.clone());
        }
    }

    fn part(&mut self, written: &Jwt, place: &Place) -> Option<Part> {
        let wanted = Wanted { header: &written.header, query: &written.query, cookie: &written.cookie };
        if [wanted.header, wanted.query, wanted.cookie].iter().all(|name| name.is_none()) {
            return Some(Part::Header(AUTHORIZATION));
        }
        one_part(&wanted, "token", "`header: NAME`, `query: NAME` or `cookie: NAME`", place, self.report)
    }

    fn rules(&mut self, written: &Jwt, place: &Place) -> Rules {
        if written.audience.as_slice().is_empty() {
            self.report
                .warning(place.clone(), "tokens that are meant for others are accepted")
                .on_key()
                .given_keys(place, &["audience"])
                .help("say what the issuer puts into `aud` for this API: `audience: NAME`");
        }
        let texts = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
        Rules {
            algorithms: written.algorithms.iter().copied().map(algorithm).collect(),
            issuer: written.issuer.as_deref().map(Into::into),
            audience: texts(written.audience.as_slice()),
            leeway: written.leeway.get().as_secs(),
            required: texts(&written.required_claims),
            max_bytes: usize::try_from(written.max_token.bytes()).unwrap_or(usize::MAX),
        }
    }

    fn keys(&mut self, name: &str, written: &Jwt, place: &Place) -> Option<TokenKeys> {
        let said =
            [written.secret.is_some(), written.key.is_some(), written.jwks.is_some(), written.jwks_url.is_some()];
        if said.iter().filter(|said| **said).count() > 1 {
            self.report
                .error(place.clone(), "tokens are verified with exactly one of these keys")
                .on_key()
                .given_keys(place, &KEYS)
                .help("keep one of `secret`, `key`, `jwks`, `jwks_url`");
            return None;
        }
        let (key, fixed) = match (&written.secret, &written.key, &written.jwks) {
            (Some(secret), ..) => ("secret", KeySet::of_secret(secret.as_bytes())),
            (_, Some(pem), _) => ("key", KeySet::of_pem(pem)),
            (.., Some(set)) => ("jwks", KeySet::of_jwks(&parsed(set))),
            _ => return self.remote(name, written, place),
        };
        match fixed {
            Ok(keys) => Some(TokenKeys::Fixed(keys)),
            Err(fault) => {
                self.report.error(place.clone().key(key), fault.to_string()).by_itself();
                None
            }
        }
    }

    fn remote(&mut self, name: &str, written: &Jwt, place: &Place) -> Option<TokenKeys> {
        let (key, url) = match (&written.jwks_url, &written.issuer) {
            (Some(url), _) => ("jwks_url", url),
            (None, Some(issuer)) => ("issuer", issuer),
            (None, None) => {
                self.report
                    .error(place.clone(), "it is not said what tokens are verified with")
                    .on_key()
                    .given_keys(place, &[&KEYS[..], &["issuer"]].concat())
                    .help("one of `secret`, `key`, `jwks`, `jwks_url`, or `issuer` for what it publishes");
                return None;
            }
        };
        let at = place.clone().key(key);
        let Some(scheme) = scheme_of(url) else {
            self.report
                .error(at, format!("`{url}` is no URL to fetch keys from"))
                .given_keys(place, &KEYS)
                .help("for example `https://id.example.com/jwks.json`, without user, query of an issuer or fragment");
            return None;
        };
        if scheme == Scheme::Plain {
            self.report
                .warning(at, "keys come over http: whoever is on the way can replace them")
                .given_keys(place, &KEYS)
                .help("use https");
        }
        let address = match key {
            "jwks_url" => Address::Url(url.as_str().into()),
            _ => Address::Discovery(url.as_str().into()),
        };
        let source = Source { address, refresh: written.refresh.get(), cooldown: written.cooldown.get() };
        Some(TokenKeys::Remote(self.sources.of(name, source)))
    }

    /// Every algorithm must be one of some key's, or tokens of it could never be valid.
    fn check_algorithms(&mut self, written: &Jwt, keys: Option<&TokenKeys>, place: &Place) {
        for (index, name) in written.algorithms.iter().enumerate() {
            let fits = match keys {
                Some(TokenKeys::Fixed(keys)) => keys.can(algorithm(*name)),
                // A published key is never a secret.
                Some(TokenKeys::Remote(_)) => algorithm(*name).family() != jsonwebtoken::AlgorithmFamily::Hmac,
                None => true,
            };
            if !fits {
                let at = place.clone().key("algorithms").index(index);
                self.report
                    .error(at, format!("no key here can verify `{name:?}`"))
                    .given_keys(place, &KEYS)
                    .help("HS… needs a `secret` as long as its digest, RS… and PS… an RSA key, ES256 P-256, ES384 P-384, EdDSA Ed25519");
            }
        }
    }

    fn mapping(&mut self, written: &Jwt, place: &Place) -> Mapping {
        let consumers = if written.match_consumers { self.consumers.clone() } else { IndexMap::new() };
        Mapping {
            consumer_claim: written.consumer_claim.as_str().into(),
            consumers,
            plan_claim: self.plan_claim(written, place),
            plan: self.plan(
                &PlanOfCallers {
                    plan: written.plan.as_deref(),
                    named: written.plan_claim.is_some() || written.match_consumers,
                    who: "callers with a token",
                    by: "claim",
                    key: "plan_claim",
                },
                place,
            ),
            plans: self.plans.clone(),
            groups_claim: written.groups_claim.as_deref().map(Into::into),
            forward: self.forward_claims(written, place),
        }
    }

    fn plan_claim(&mut self, written: &Jwt, place: &Place) -> Option<Box<str>> {
        let claim = written.plan_claim.as_deref()?;
        if self.config.plans.is_empty() {
            self.report
                .error(place.clone().key("plan_claim"), "there are no plans that a claim could name")
                .given(Place::root().key("plans"));
        }
        Some(claim.into())
    }

    /// The plan of callers that name none.
    pub(super) fn plan(&mut self, of: &PlanOfCallers<'_>, place: &Place) -> Option<Arc<Plan>> {
        let PlanOfCallers { plan, named, who, by, key } = *of;
        match plan {
            Some(plan) if !self.config.plans.contains_key(plan) => {
                self.report
                    .error(place.clone().key("plan"), format!("unknown plan `{plan}`"))
                    .given(Place::root().key("plans").key(plan))
                    .help(suggest(plan, self.config.plans.keys().map(String::as_str)));
                None
            }
            Some(plan) => self.plans.get(plan).cloned(),
            None if !named && !self.config.plans.is_empty() => {
                self.report
                    .error(place.clone(), format!("{who} have no plan"))
                    .on_key()
                    .given_keys(place, &["plan", key, "match_consumers"])
                    .given(Place::root().key("plans"))
                    .help(format!("once plans are defined, say `plan: NAME`, or the {by} that names it with `{key}`"));
                None
            }
            None => None,
        }
    }

    fn forward_claims(&mut self, written: &Jwt, place: &Place) -> Vec<(HeaderName, Box<str>)> {
        let mut headers = Vec::new();
        for (header, claim) in &written.forward_claims {
            let name = &header.0;
            let taken = is_framing(name) || is_own(name) || is_hop_by_hop(name);
            if taken || [COOKIE, AUTHORIZATION].contains(name) {
                let at = place.clone().key("forward_claims").key(name.as_str());
                self.report
                    .error(at, format!("no claim can be sent as `{header}`"))
                    .on_key()
                    .by_itself()
                    .help("take a name of your own, such as `x-user-email`");
                continue;
            }
            headers.push((name.clone(), claim.as_str().into()));
        }
        headers
    }
}

/// A set that is written as text is JSON; what is none has no keys.
fn parsed(set: &serde_json::Value) -> serde_json::Value {
    match set {
        serde_json::Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        set => set.clone(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Tls,
    /// Also plain text, but it does not leave the machine.
    Local,
    Plain,
}

/// `None`: no URL whose host can be asked.
pub(super) fn scheme_of(url: &str) -> Option<Scheme> {
    let parsed: http::Uri = url.parse().ok()?;
    let host = parsed.host().filter(|host| !host.is_empty())?;
    let authority = parsed.authority()?.as_str();
    if authority.contains('@') || url.contains('#') {
        return None;
    }
    let local =
        host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    match parsed.scheme_str()? {
        "https" => Some(Scheme::Tls),
        "http" if local => Some(Scheme::Local),
        "http" => Some(Scheme::Plain),
        _ => None,
    }
}

fn algorithm(written: config::Algorithm) -> Algorithm {
    match written {
        config::Algorithm::HS256 => Algorithm::HS256,
        config::Algorithm::HS384 => Algorithm::HS384,
        config::Algorithm::HS512 => Algorithm::HS512,
        config::Algorithm::RS256 => Algorithm::RS256,
        config::Algorithm::RS384 => Algorithm::RS384,
        config::Algorithm::RS512 => Algorithm::RS512,
        config::Algorithm::PS256 => Algorithm::PS256,
        config::Algorithm::PS384 => Algorithm::PS384,
        config::Algorithm::PS512 => Algorithm::PS512,
        config::Algorithm::ES256 => Algorithm::ES256,
        config::Algorithm::ES384 => Algorithm::ES384,
        config::Algorithm::EdDSA => Algorithm::EdDSA,
    }
}
