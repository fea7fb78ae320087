//! Who may call a route, and what callers without a credential are told.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderValue};

use crate::config::{Auth, Place, suggest};
use crate::gateway::Access;
use crate::gateway::forward_auth::ForwardAuthenticator;
use crate::gateway::password::PasswordAuthenticator;
use crate::gateway::token::TokenAuthenticator;
use crate::policy::authenticate::{KeyPlace, Part};

use super::super::callers::Authenticator;
use super::RouteCompiler;

impl RouteCompiler<'_> {
    /// The names that say who may call, as written.
    pub(super) fn authenticators(&self) -> Vec<Box<str>> {
        match self.written.auth.as_ref().or(self.config.defaults.auth.as_ref()) {
            Some(Auth::Any(names)) => names.iter().map(|name| name.as_str().into()).collect(),
            Some(Auth::Public(_)) | None => Vec::new(),
        }
    }

    pub(super) fn access(&mut self) -> Option<Access> {
        let (auth, place) = match (&self.written.auth, &self.config.defaults.auth) {
            (Some(auth), _) => (auth, self.at("auth")),
            (None, Some(auth)) => (auth, Place::root().key("defaults").key("auth")),
            (None, None) => {
                self.report
                    .error(self.place.clone(), "it is not said who may call this route")
                    .given_keys(&self.place, &["auth"])
                    .given(Place::root().key("defaults").key("auth"))
                    .help("`auth: [AUTHENTICATOR]` or `auth: public`, here or in `defaults`");
                return None;
            }
        };
        // What stands in the defaults matters here as long as the route has nothing of its own.
        let own = self.at("auth");
        let names = match auth {
            Auth::Public(_) => return Some(Access::Public),
            Auth::Any(names) => names,
        };
        if names.is_empty() {
            self.report
                .error(place.clone(), "nobody can call with an empty list")
                .given(place)
                .given(own)
                .help("say `public` to let everyone in");
            return None;
        }
        let mut certificates = false;
        let mut places: Vec<KeyPlace> = Vec::new();
        let mut tokens: Vec<Arc<TokenAuthenticator>> = Vec::new();
        let mut passwords: Vec<Arc<PasswordAuthenticator>> = Vec::new();
        let mut asked: Vec<Arc<ForwardAuthenticator>> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match self.callers.authenticators.get(name) {
                Some(Authenticator::Key(place)) => places.push(place.clone()),
                Some(Authenticator::Token(authenticator)) => tokens.push(Arc::clone(authenticator)),
                Some(Authenticator::Password(authenticator)) => passwords.push(Arc::clone(authenticator)),
                Some(Authenticator::Asked(authenticator)) => asked.push(Arc::clone(authenticator)),
                Some(Authenticator::Certificate) => certificates = true,
                None if self.config.authenticators.contains_key(name) => {}
                None => {
                    let defined = self.config.authenticators.keys().map(String::as_str);
                    let problem = self
                        .report
                        .error(place.clone().index(index), format!("unknown authenticator `{name}`"))
                        .given(Place::root().key("authenticators").key(name));
                    if place != own {
                        problem.given(own.clone());
                    }
                    problem.help(suggest(name, defined));
                }
            }
        }
        places.dedup_by(|one, other| one.part == other.part);
        let others =
            tokens.iter().map(|tokens| &tokens.place).chain(passwords.iter().map(|passwords| &passwords.place));
        let is_keys = |other: &KeyPlace| places.iter().any(|place| place.part == other.part);
        if others.into_iter().any(is_keys) {
            self.report
                .error(place.clone(), "a key and another credential are looked for in the same place of a request")
                .given(place)
                .given(own)
                .given(Place::root().key("authenticators"))
                .help("give one of the authenticators another `header`");
        }
        let challenge_of = |invalid| challenge(&places, &tokens, &passwords, invalid);
        let (mut challenge, invalid_token) = (challenge_of(Invalid::Nothing), challenge_of(Invalid::Token));
        if certificates && challenge.is_empty() {
            // No scheme is registered for what a connection has; this one says what is missing.
            challenge = HeaderValue::from_static("ClientCertificate");
        }
        Some(Access::Authenticated { certificates, challenge, invalid_token, places, tokens, passwords, asked })
    }
}

/// What a challenge says of the credential that was sent.
#[derive(Clone, Copy, PartialEq)]
enum Invalid {
    Nothing,
    Token,
}

/// `WWW-Authenticate`: there is no registered scheme for API keys; this one names where the key belongs. That of tokens
/// is RFC 6750's, that of passwords RFC 7617's. Auth services have none but what they answer: empty if there are no others.
fn challenge(
    places: &[KeyPlace],
    tokens: &[Arc<TokenAuthenticator>],
    passwords: &[Arc<PasswordAuthenticator>],
    invalid: Invalid,
) -> HeaderValue {
    let mut challenges: Vec<String> = places
        .iter()
        .map(|place| match &place.part {
            Part::Header(name) => format!("ApiKey in=\"header\", name=\"{name}\""),
            Part::Query(name) => format!("ApiKey in=\"query\", name=\"{}\"", name.escape_default()),
            Part::Cookie(name) => format!("ApiKey in=\"cookie\", name=\"{name}\""),
        })
        .collect();
    let error = if invalid == Invalid::Token { ", error=\"invalid_token\"" } else { "" };
    for tokens in tokens {
        let bearer = match &tokens.place.part {
            Part::Header(name) if *name == AUTHORIZATION => format!("Bearer realm=\"tollgate\"{error}"),
            Part::Header(name) => format!("Bearer realm=\"tollgate\", in=\"header\", name=\"{name}\"{error}"),
            Part::Query(name) => {
                format!("Bearer realm=\"tollgate\", in=\"query\", name=\"{}\"{error}", name.escape_default())
            }
            Part::Cookie(name) => format!("Bearer realm=\"tollgate\", in=\"cookie\", name=\"{name}\"{error}"),
        };
        if !challenges.contains(&bearer) {
            challenges.push(bearer);
        }
    }
    for PasswordAuthenticator { realm, .. } in passwords.iter().map(|passwords| &**passwords) {
        let basic = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        if !challenges.contains(&basic) {
            challenges.push(basic);
        }
    }
    HeaderValue::from_str(&challenges.join(", ")).unwrap_or(HeaderValue::from_static("ApiKey"))
}
