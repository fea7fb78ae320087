//! Signed tokens through the running gateway, with keys from a real server.

#[path = "../keys/signer.rs"]
pub mod signer;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::client::{Client, Response, ask, request};
use crate::support::gateway::{Gateway, Reload};
use crate::support::origin::{Origin, Reply, Unreachable};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(changes: &Value) -> Value {
    let mut claims = json!({ "aud": "api", "sub": "alice", "exp": now() + 600 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// A configuration with this `jwt`, beside an API key (`9f86…` is `test`).
fn config(origin: &Origin, jwt: &Value) -> String {
    json!({
        "version": 1,
        "listeners": [{ "address": "127.0.0.1:0" }],
        "admin": { "address": "127.0.0.1:0" },
        "services": { "origin": { "url": format!("http://{}", origin.address()) } },
        "authenticators": { "corp": { "jwt": jwt }, "key": { "api_key": { "header": "x-api-key" } } },
        "plans": { "free": { "total": "100000/second" }, "gold": { "total": "100000/second" } },
        "consumers": {
            "alice": { "plan": "gold", "api_keys": [{ "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }] }
        },
        "routes": [
            { "name": "mine", "method": "GET", "gateway_path": "/mine", "service": "origin", "auth": ["corp", "key"] },
            { "name": "open", "method": "GET", "gateway_path": "/open", "service": "origin", "auth": "public" },
        ],
    })
    .to_string()
}

fn bearing(token: &str) -> Vec<u8> {
    request("GET", "/mine", &[("authorization", &format!("Bearer {token}"))], b"")
}

fn sent(gateway: &Gateway, fields: &[(&str, &str)]) -> Response {
    ask(gateway.address(), &request("GET", "/mine", fields, b""))
}

fn operator(gateway: &Gateway, path: &str) -> String {
    ask(gateway.admin(), format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).text()
}

fn metric(gateway: &Gateway, line: &str) -> Option<String> {
    let text = operator(gateway, "/metrics");
    text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ').map(str::to_owned))
}

/// A server of key sets, whose set can be changed; `None` breaks it.
struct Provider {
    origin: Origin,
    set: Arc<Mutex<Option<Value>>>,
}

impl Provider {
    fn start(keys: Value) -> Self {
        let set = Arc::new(Mutex::new(Some(json!({ "keys": keys }))));
        let served = Arc::clone(&set);
        let origin = Origin::start(move |_| match &*served.lock().unwrap() {
            Some(set) => Reply::json(200, &set.to_string()),
            None => Reply::json(500, "{}"),
        });
        Self { origin, set }
    }

    fn publish(&self, keys: Option<Value>) {
        *self.set.lock().unwrap() = keys.map(|keys| json!({ "keys": keys }));
    }

    fn url(&self) -> String {
        format!("http://{}/jwks", self.origin.address())
    }

    fn fetches(&self) -> usize {
        self.origin.requests().len()
    }
}

#[test]
fn a_token_names_a_consumer_and_ends_at_the_gateway() {
    let origin = Origin::json("{}");
    let jwt = json!({
        "secret": signer::SECRET, "audience": "api", "plan_claim": "plan", "plan": "free",
        "groups_claim": "realm.roles", "forward_claims": { "x-user-email": "email" },
    });
    let gateway = Gateway::start(&config(&origin, &jwt));
    let of = |changes: &Value| signer::token("HS256", None, &claims(changes));
    let rich = of(&json!({ "plan": "gold", "realm": { "roles": ["staff", "a b", "ops"] }, "email": "a@example.com" }));
    let poor = of(&json!({ "email": "a\r\nx-evil: 1" }));
    for (token, name, plan, groups, email) in [
        (&rich, "corp:alice", "gold", Some("staff,ops"), Some("a@example.com")),
        (&poor, "corp:alice", "free", None, None),
    ] {
        for _ in 0..2 {
            let bearer = format!("bearer {token}");
            let copies = [("authorization", &*bearer), ("x-user-email", "evil"), ("x_user_email", "evil")];
            assert_eq!(sent(&gateway, &copies).status, 200);
            let seen = origin.take().remove(0);
            let value = |name: &str| seen.values(name).first().map(|value| String::from_utf8_lossy(value).into_owned());
            assert_eq!(value("x-consumer-name").as_deref(), Some(name));
            assert_eq!(value("x-consumer-plan").as_deref(), Some(plan));
            assert_eq!(value("x-consumer-groups").as_deref(), groups);
            assert_eq!(value("x-user-email").as_deref(), email);
            assert_eq!((value("authorization"), value("x_user_email")), (None, None));
        }
    }
    let open = request("GET", "/open", &[("authorization", &format!("Bearer {rich}")), ("x-user-email", "evil")], b"");
    assert_eq!(ask(gateway.address(), &open).status, 200);
    let seen = origin.take().remove(0);
    assert!(seen.values("authorization").is_empty() && seen.values("x-user-email").is_empty());
    let log = [gateway.log().join("\n"), operator(&gateway, "/config")].concat();
    assert!(log.contains("match_consumers"), "{log}");
    assert!(!log.contains(&rich) && !log.contains(signer::SECRET));
}

#[test]
fn what_is_no_good_token_is_refused_and_counted() {
    let origin = Origin::json("{}");
    let jwt = json!({ "secret": signer::SECRET, "audience": "api", "plan_claim": "plan" });
    let gateway = Gateway::start(&config(&origin, &jwt));
    let of = |changes: &Value| format!("Bearer {}", signer::token("HS256", None, &claims(changes)));
    let good = of(&json!({ "plan": "free" }));
    let none = format!("Bearer {}.{}.", signer::base64(r#"{"alg":"none"}"#), signer::base64("{}"));
    let challenge = "Bearer realm=\"tollgate\"";
    for (fields, status, code, error) in [
        (vec![], 401, "credential-missing", Some("")),
        (vec![("authorization", "Basic YTpi".to_owned())], 401, "credential-missing", Some("")),
        (vec![("authorization", none)], 401, "token-invalid", Some(", error=\"invalid_token\"")),
        (vec![("authorization", "Bearer".to_owned())], 401, "token-invalid", Some(", error=\"invalid_token\"")),
        (vec![("authorization", of(&json!({ "exp": 1 })))], 401, "token-invalid", Some(", error=\"invalid_token\"")),
        (
            vec![("authorization", of(&json!({ "sub": "a\u{e9}" })))],
            401,
            "token-invalid",
            Some(", error=\"invalid_token\""),
        ),
        (vec![("authorization", of(&json!({ "plan": "platinum" })))], 403, "plan-unknown", None),
        (vec![("authorization", of(&json!({})))], 403, "plan-unknown", None),
        (vec![("authorization", good.clone()), ("x-api-key", "test".to_owned())], 400, "credential-ambiguous", None),
        (vec![("authorization", good.clone()), ("authorization", good.clone())], 400, "credential-ambiguous", None),
    ] {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        let answer = sent(&gateway, &fields);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (answer.status, &body["type"]),
            (status, &format!("urn:tollgate:problem:{code}").into()),
            "{fields:?}"
        );
        let expected = error.map(|error| format!("ApiKey in=\"header\", name=\"x-api-key\", {challenge}{error}"));
        assert_eq!(answer.value("www-authenticate"), expected.as_deref(), "{fields:?}");
    }
    assert_eq!(sent(&gateway, &[("authorization", &good)]).status, 200);
    assert_eq!(sent(&gateway, &[("x-api-key", "test")]).status, 200);
    assert_eq!(origin.take().len(), 2);
    let counted = |reason: &str| {
        metric(&gateway, &format!("tollgate_token_refusals_total{{authenticator=\"corp\",reason=\"{reason}\"}}"))
    };
    for (reason, count) in [("algorithm", "1"), ("malformed", "1"), ("expired", "1"), ("consumer", "1")] {
        assert_eq!(counted(reason).as_deref(), Some(count), "{reason}");
    }
}

#[test]
fn a_token_is_a_consumer_of_the_file_only_where_the_file_says_so() {
    let origin = Origin::json("{}");
    let token = signer::token("HS256", None, &claims(&json!({})));
    for (matched, name) in [(false, "corp:alice"), (true, "alice")] {
        let jwt = json!({ "secret": signer::SECRET, "audience": "api", "plan": "free", "match_consumers": matched });
        let gateway = Gateway::start(&config(&origin, &jwt));
        assert_eq!(ask(gateway.address(), &bearing(&token)).status, 200);
        assert_eq!(origin.take()[0].values("x-consumer-name"), [name.as_bytes()]);
    }
}

#[test]
fn a_limit_by_claim_is_shared_by_the_tokens_that_have_the_same_value() {
    let origin = Origin::json("{}");
    let jwt = json!({ "secret": signer::SECRET, "audience": "api", "plan": "free" });
    let mut config: Value = serde_json::from_str(&config(&origin, &jwt)).unwrap();
    config["routes"][0]["limits"] = json!([{ "rate": "5/hour", "by": "claim:tenant" }]);
    let gateway = Gateway::start(&config.to_string());
    let of = |subject: &str, changes: Value| {
        let mut changes = changes;
        changes["sub"] = subject.into();
        vec![("authorization", format!("Bearer {}", signer::token("HS256", None, &claims(&changes))))]
    };
    let key = || vec![("x-api-key", "test".to_owned())];
    // Each row is callers with one allowance of five among them.
    for callers in [
        [of("ann", json!({ "tenant": "acme" })), of("ben", json!({ "tenant": "acme" }))],
        [of("ann", json!({ "tenant": "other" })), of("ann", json!({ "tenant": "other" }))],
        [of("ann", json!({ "tenant": 7 })), of("ben", json!({ "tenant": 7 }))],
        [of("ann", json!({ "tenant": "7" })), of("ben", json!({ "tenant": "7" }))],
        [of("ann", json!({})), key()],
    ] {
        let statuses: Vec<u16> = (0..8)
            .map(|turn| {
                let fields: Vec<_> = callers[turn % 2].iter().map(|(name, value)| (*name, value.as_str())).collect();
                sent(&gateway, &fields).status
            })
            .collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429], "{callers:?}");
    }
    assert_eq!(origin.take().len(), 5 * 5);
    // The limit has the claim's name; its values, which are without number, are in no label.
    let refused = sent(&gateway, &[("x-api-key", "test")]);
    let told = refused.value("ratelimit-policy").unwrap_or_default();
    assert!(told.ends_with("\"claim-tenant-hour\";q=5;w=3600"), "{told}");
    assert!(!operator(&gateway, "/metrics").contains("acme"));
}

#[test]
fn a_rotation_of_keys_under_load_refuses_no_valid_token() {
    let provider = Provider::start(json!([signer::p256_jwk("one")]));
    let origin = Origin::json("{}");
    let jwt = json!({ "jwks_url": provider.url(), "audience": "api", "plan": "free" });
    let gateway = Gateway::start(&config(&origin, &jwt));
    let (rotated, stop, served) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    let refused: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (gateway, rotated, stop, served) = (&gateway, &rotated, &stop, &served);
                scope.spawn(move || {
                    let mut client = Client::connect(gateway.address());
                    let (mut refused, mut number) = (Vec::new(), 0);
                    while !stop.load(Ordering::Relaxed) {
                        let (algorithm, kid) =
                            if rotated.load(Ordering::Acquire) { ("EdDSA", "two") } else { ("ES256", "one") };
                        let subject = format!("{worker}-{number}");
                        number += 1;
                        let token = signer::token(algorithm, Some(kid), &claims(&json!({ "sub": subject })));
                        let answer = client.ask(&bearing(&token)).unwrap();
                        if answer.status != 200 {
                            refused.push(format!("{kid}: {}", answer.status));
                        }
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                    refused
                })
            })
            .collect();
        let until = |count: usize| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while served.load(Ordering::Relaxed) < count && Instant::now() < deadline {
                thread::yield_now();
            }
        };
        until(200);
        provider.publish(Some(json!([signer::p256_jwk("one"), signer::ed25519_jwk("two")])));
        rotated.store(true, Ordering::Release);
        until(served.load(Ordering::Relaxed) + 400);
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(refused, [""; 0]);
    assert!(served.load(Ordering::Relaxed) >= 600);
    assert_eq!(provider.fetches(), 2, "one at the start, one for the unknown key");
}

#[test]
fn known_keys_stay_good_while_the_provider_is_down() {
    let provider = Provider::start(json!([signer::p256_jwk("one")]));
    let origin = Origin::json("{}");
    let cooldown = Duration::from_millis(500);
    let jwt = json!({
        "jwks_url": provider.url(), "audience": "api", "plan": "free", "refresh": "100ms", "cooldown": "500ms",
    });
    let gateway = Gateway::start(&config(&origin, &jwt));
    let of = |kid: &str, subject: usize| {
        bearing(&signer::token("ES256", Some(kid), &claims(&json!({ "sub": subject.to_string() }))))
    };
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.ask(&of("one", 0)).unwrap().status, 200);
    provider.publish(None);
    let (before, began) = (provider.fetches(), Instant::now());
    let mut asked = 0;
    while began.elapsed() < 6 * cooldown {
        asked += 1;
        assert_eq!(client.ask(&of("one", asked)).unwrap().status, 200);
        assert_eq!(client.ask(&of("two", asked)).unwrap().status, 401);
    }
    let fetches = provider.fetches() - before;
    let most = usize::try_from(began.elapsed().as_millis() / cooldown.as_millis()).unwrap() + 2;
    assert!((2..=most).contains(&fetches), "{fetches} fetches, {asked} requests of each kind");
    // A reload forgets no key, although the provider is still down.
    let other = config(&origin, &jwt).replace("/open", "/opened");
    assert_eq!(gateway.reload(&other), Reload::Published);
    assert_eq!(ask(gateway.address(), &of("one", 0)).status, 200);
    assert!(metric(&gateway, "tollgate_key_set_fetches_total{authenticator=\"corp\",result=\"failed\"}").is_some());
}

#[test]
fn without_any_keys_a_token_is_not_called_bad() {
    let (origin, nobody) = (Origin::json("{}"), Unreachable::reserve());
    let url = format!("http://{}/jwks", nobody.address());
    let gateway = Gateway::start(&config(&origin, &json!({ "jwks_url": url, "audience": "api", "plan": "free" })));
    let token = signer::token("ES256", Some("one"), &claims(&json!({})));
    let answer = ask(gateway.address(), &bearing(&token));
    assert_eq!((answer.status, answer.value("retry-after")), (503, Some("1")), "{}", answer.text());
    assert_eq!(sent(&gateway, &[("x-api-key", "test")]).status, 200);
    assert!(gateway.logged(|line| line.contains("there are no keys")).is_some());
}

#[test]
fn keys_are_found_by_the_issuer_alone_and_bad_sets_change_nothing() {
    let answers = Arc::new(Mutex::new(json!({ "keys": [signer::rsa_jwk("one")] }).to_string()));
    let served = Arc::clone(&answers);
    let provider = Origin::start(move |request| match request.path() {
        "/realm/.well-known/openid-configuration" => {
            let host = String::from_utf8_lossy(request.values("host")[0]).into_owned();
            let configuration =
                json!({ "issuer": format!("http://{host}/realm"), "jwks_uri": format!("http://{host}/keys") });
            Reply::json(200, &configuration.to_string())
        }
        "/keys" => Reply::json(200, &served.lock().unwrap()),
        _ => Reply::json(404, "{}"),
    });
    let origin = Origin::json("{}");
    let issuer = format!("http://{}/realm", provider.address());
    let jwt = json!({ "issuer": issuer, "audience": "api", "plan": "free", "refresh": "50ms", "cooldown": "50ms" });
    let gateway = Gateway::start(&config(&origin, &jwt));
    let token = signer::token("RS256", Some("one"), &claims(&json!({ "iss": issuer })));
    assert_eq!(ask(gateway.address(), &bearing(&token)).status, 200);
    for bad in ["{", "[]", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"one"}]}"#, &" ".repeat(2 << 20)]
    {
        *answers.lock().unwrap() = bad.to_owned();
        let seen = provider.requests().len();
        let deadline = Instant::now() + Duration::from_secs(10);
        while provider.requests().len() < seen + 4 && Instant::now() < deadline {
            assert_eq!(ask(gateway.address(), &bearing(&token)).status, 200, "after {bad:.40}");
        }
        assert!(provider.requests().len() >= seen + 4, "nothing was fetched");
    }
}
