//! The configuration as it may be shown: defaults filled in, secrets masked; and reports without them.
//!
//! Masked are the hashes of keys (by their type), every value that came from a placeholder (`${env:…}`, `${file:…}`,
//! `${credential:…}` are how secrets come in), the secrets and keys of `jwt`, a URL of Redis with a password, headers for
//! the collector of traces, and the values of headers that carry credentials.

use serde_json::Value;

use super::{Config, Loaded, Place, Report, Step};

/// What stands for a secret.
pub(super) const MASK: &str = "***";

/// Headers whose values are credentials.
const CREDENTIAL_HEADERS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"];

/// What tokens are verified with.
const JWT_KEYS: [&str; 2] = ["secret", "key"];

impl Loaded {
    /// The configuration for the eyes of operators.
    pub fn masked(&self) -> Value {
        // Every type in a configuration has a JSON form; were one not to, nothing is shown rather than something.
        let mut value = serde_json::to_value(&self.config).unwrap_or_default();
        for place in &self.interpolated {
            mask_place(&mut value, place);
        }
        for authenticator in value["authenticators"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
            let jwt = authenticator["jwt"].as_object_mut().into_iter().flatten();
            jwt.filter(|(name, value)| JWT_KEYS.contains(&name.as_str()) && !value.is_null())
                .for_each(|(_, value)| *value = MASK.into());
        }
        if let Some(redis) = value.pointer_mut("/store/redis").filter(|url| holds_password(url)) {
            *redis = MASK.into();
        }
        let of_traces = value.pointer_mut("/traces/headers").and_then(Value::as_object_mut);
        of_traces.into_iter().flatten().for_each(|(_, value)| *value = MASK.into());
        for route in value["routes"].as_array_mut().into_iter().flatten() {
            for changes in ["request_headers", "response_headers"] {
                let set = route[changes]["set"].as_object_mut().into_iter().flatten();
                set.filter(|(name, _)| CREDENTIAL_HEADERS.contains(&name.as_str()))
                    .for_each(|(_, value)| *value = MASK.into());
            }
        }
        value
    }
}

/// Whether this URL says who asks.
fn holds_password(url: &Value) -> bool {
    url.as_str().is_some_and(|url| url.contains('@'))
}

impl Loaded {
    /// Masks what came from placeholders in what problems say.
    pub fn mask_report(&self, report: &mut Report) {
        mask_report(&self.config, &self.interpolated, report);
    }
}

/// Masks what came from placeholders in what problems say: a report is printed, logged and sent. A value stands in
/// backticks there, or a part of it where the problem is its own. `interpolated` says where the values are in `config`.
pub(super) fn mask_report(config: &Config, interpolated: &[Place], report: &mut Report) {
    if interpolated.is_empty() || report.problems().is_empty() {
        return;
    }
    let value = serde_json::to_value(config).unwrap_or_default();
    let text_at = |place: &Place| find(&value, place).and_then(Value::as_str);
    let secrets: Vec<_> = interpolated.iter().filter_map(|place| Some((place, text_at(place)?))).collect();
    for problem in report.problems_mut() {
        let is_secret = |quoted: &str| {
            let own = |place: &Place, secret: &str| *place == problem.place && secret.contains(quoted);
            secrets.iter().any(|(place, secret)| *secret == quoted || own(place, secret))
        };
        let masked = mask_quoted(&problem.message, is_secret);
        let help = problem.help.as_deref().map(|help| mask_quoted(help, is_secret));
        (problem.message, problem.help) = (masked, help);
    }
}

/// The sentence with those words in backticks masked that are secret.
fn mask_quoted(sentence: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let pieces = sentence.split('`').enumerate();
    let pieces = pieces.map(|(index, piece)| if index % 2 == 1 && is_secret(piece) { MASK } else { piece });
    pieces.collect::<Vec<_>>().join("`")
}

fn find<'v>(value: &'v Value, place: &Place) -> Option<&'v Value> {
    place.0.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(shown_key(value, key)),
        Step::Index(index) => value.get(index),
    })
}

fn mask_place(value: &mut Value, place: &Place) {
    let found = place.0.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => {
            let key = shown_key(value, key).to_owned();
            value.get_mut(key)
        }
        Step::Index(index) => value.get_mut(index),
    });
    if let Some(found) = found {
        *found = MASK.into();
    }
}

/// A key as it is shown: the name of a header is in lower case there, however it was written.
fn shown_key<'k>(value: &'k Value, key: &'k str) -> &'k str {
    let members = value.as_object().filter(|members| !members.contains_key(key));
    let shown = members.and_then(|members| members.keys().find(|shown| shown.eq_ignore_ascii_case(key)));
    shown.map_or(key, String::as_str)
}

#[cfg(test)]
mod tests {
    use crate::config::load;

    #[test]
    fn placeholders_hashes_and_credentials_are_masked_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "
version: 1
listeners: [{ address: 127.0.0.1:8080 }]
services: { users: { url: 'http://${env:HOST}:80' } }
authenticators: { key: { api_key: { header: x-api-key } }, corp: { jwt: { secret: an-inline-secret-of-32-characters } } }
consumers: { alice: { api_keys: [{ sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 }] } }
store: { redis: 'redis://:hidden-word@127.0.0.1' }
traces: { endpoint: 'https://collector:4318', headers: { api-token: collectors-word } }
routes:
  - name: users
    method: GET
    gateway_path: /users
    service: users
    auth: [key]
    request_headers: { set: { authorization: Bearer abc, x-team: blue, X-Secret: 'a${env:HOST}' } }
";
        std::fs::write(file.path(), text).unwrap();
        let (loading, report, sources) = load(file.path(), &|_| Some("secret.internal".to_owned()));
        let masked = loading
            .whole()
            .unwrap_or_else(|| panic!("{}", report.render(&sources, crate::config::Color::Never)))
            .masked();
        let shown = masked.to_string();
        for secret in ["secret.internal", "9f86d081", "Bearer abc", "an-inline", "hidden-word", "collectors-word"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert_eq!(masked["routes"][0]["request_headers"]["set"]["x-secret"], "***");
        assert_eq!(masked["services"]["users"]["url"], "***");
        assert_eq!(masked["routes"][0]["request_headers"]["set"]["x-team"], "blue");
        assert_eq!(masked["guard"]["header_timeout"], "10s");
    }
}
