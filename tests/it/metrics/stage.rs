//! A gateway with a bit of everything that is counted, and the traffic that touches it.

use std::sync::LazyLock;
use std::thread;

use serde_json::{Value, json};

use super::scrape::Scrape;
use crate::process::instance::{Instance, config, consumer, eventually};
use crate::support::client::{Client, Response, ask, request};
use crate::support::origin::{Origin, Recorded, Reply, Unreachable};
use crate::tokens::signer;

/// Requests that wait for their answers together.
const PIPELINED: usize = 100;

/// The gateway with what is around it.
pub struct Stage {
    pub gateway: Instance,
    _origin: Origin,
    _down: Unreachable,
}

/// Answers by path: `/404` with that status, `/silent` never, `/broken` with something that is not HTTP.
fn answer(request: &Recorded) -> Reply {
    match request.path().trim_start_matches('/') {
        "silent" => Reply::raw(""),
        "broken" => Reply::raw("not HTTP\r\n\r\n").closing(),
        "jwks" => Reply::json(200, &json!({ "keys": [signer::p256_jwk("one")] }).to_string()),
        status => match status.parse() {
            Ok(status @ (204 | 304)) => Reply::raw(format!("HTTP/1.1 {status} -\r\n\r\n")),
            Ok(status) => Reply::json(status, "{}"),
            Err(_) => Reply::json(200, "{}"),
        },
    }
}

fn route(name: &str, changes: Value) -> Value {
    let mut route = json!({
        "name": name, "method": "GET", "gateway_path": format!("/{name}/{{what}}"), "service": "origin",
        "service_path": "/{what}", "auth": "public",
    });
    let changes = changes.as_object().expect("keys of a route").clone();
    route.as_object_mut().expect("a mapping").extend(changes);
    route
}

/// The configuration of the stage.
pub fn configuration(origin: &Origin, down: &Unreachable) -> Value {
    let url = format!("http://{}", origin.address());
    let mut all = config(
        origin.address(),
        json!({
            "access_log": { "path": "off" },
            "services": {
                "origin": { "url": url, "timeouts": { "response": "200ms" } },
                "down": { "url": format!("http://{}", down.address()) },
            },
            "authenticators": {
                "key": { "api_key": { "header": "x-api-key" } },
                "corp": { "jwt": { "secret": signer::SECRET, "audience": "api", "plan": "free" } },
                "remote": { "jwt": { "cookie": "token", "audience": "api", "plan": "free",
                                     "jwks_url": format!("{url}/jwks") } },
                "lost": { "jwt": { "cookie": "token", "audience": "api", "plan": "free",
                                   "jwks_url": format!("http://{}/jwks", down.address()) } },
            },
            "plans": {
                "free": { "each_route": "1000000/second", "total": "10000000/day", "concurrency": 1000 },
                "tiny": { "total": "10/day" },
            },
            "consumers": { "alice": consumer("alice", "free"), "bob": consumer("bob", "tiny") },
            "docs": { "listener": "127.0.0.1:0", "title": "Stage" },
            "routes": [
                route("open", json!({})),
                route("keyed", json!({ "auth": ["key", "corp", "remote", "lost"] })),
                route("typed", json!({
                    "auth": ["key", "corp"], "path_params": { "what": { "type": "integer" } },
                })),
                route("observed", json!({
                    "auth": ["key"], "path_params": { "what": { "type": "integer" } },
                    "limits": [{ "rate": "1/hour", "by": "consumer" }], "allow": { "groups": ["staff"] },
                    "mode": { "contract": "observe", "authorisation": "observe", "limits": "observe" },
                })),
                route("limited", json!({ "limits": [{ "rate": "20/hour", "by": "route" }] })),
                route("down", json!({ "service": "down" })),
                route("modelled", json!({
                    "response_model": { "schema": { "type": "object", "required": ["id"] } },
                })),
            ],
        }),
    );
    let tls = |file: &str| format!("{}/tests/config/tls/{file}", env!("CARGO_MANIFEST_DIR"));
    all["listeners"] = json!([
        { "address": "127.0.0.1:0" },
        { "address": "127.0.0.2:0", "tls": { "certificate": tls("api.pem"), "private_key": tls("api.key") } },
    ]);
    all["guard"] = json!({ "uri_bytes": "4KiB" });
    all["traces"] = json!({ "endpoint": format!("http://{}", down.address()), "sample": "10%" });
    all
}

impl Stage {
    /// Starts the gateway.
    pub fn start() -> Self {
        let (origin, down) = (Origin::start(answer), Unreachable::reserve());
        let gateway = Instance::start(&configuration(&origin, &down));
        Self { gateway, _origin: origin, _down: down }
    }

    /// What it exports now.
    pub fn scrape(&self) -> Scrape {
        Scrape::parse(&self.gateway.operator("GET", "/metrics", &[]).text())
    }

    /// Sends traffic that makes every kind of series.
    pub fn touch_everything(&self) {
        let alice = [("x-api-key", "key-alice")];
        for name in ["open", "keyed", "typed", "observed"] {
            for status in (200..=208).chain(300..=308).chain(400..=432).chain(500..=505) {
                assert_eq!(self.get(&format!("/{name}/{status}"), &alice).status, status, "{name}");
            }
        }
        for (target, fields, status) in [
            ("/nowhere", &[][..], 404),
            ("/open/a%2fb", &[], 400),
            ("/open/../x", &[], 400),
            ("/open/silent", &[], 504),
            ("/open/broken", &[], 502),
            ("/down/x", &[], 503),
            ("/modelled/200", &[], 502),
            ("/typed/x", &alice, 422),
            ("/typed/1", &[], 401),
            ("/keyed/1", &[("x-api-key", "unknown")], 401),
            ("/keyed/1", &[("x-api-key", "key-alice"), ("authorization", "Bearer x.y.z")], 400),
            ("/keyed/1", &[("authorization", "Bearer x.y.z")], 401),
            ("/observed/x", &alice, 200),
            ("/openapi.json", &[], 200),
        ] {
            assert_eq!(self.get(target, fields).status, status, "{target}");
        }
        let long = format!("/open/{}", "x".repeat(5000));
        assert_eq!(self.get(&long, &[]).status, 414);
        assert_eq!(ask(self.gateway.public, &request("PUT", "/open/1", &[], b"")).status, 405);
        for _ in 0..21 {
            self.get("/limited/200", &[]);
        }
        for _ in 0..11 {
            self.get("/keyed/200", &[("x-api-key", "key-bob")]);
        }
        let reloaded = self.gateway.reload(&json!({ "version": 2 }));
        assert_eq!(reloaded["result"], "refused");
        let ended = ["authenticator=\"lost\",result=\"failed\"", "authenticator=\"remote\",result=\"good\""];
        let ended = ended.map(|labels| format!("tollgate_key_set_fetches_total{{{labels}}}"));
        let is_there = |series: &String| self.scrape().value(series).is_some();
        assert!(eventually(|| ended.iter().all(is_there)), "both key sets were asked for");
    }

    fn get(&self, target: &str, fields: &[(&str, &str)]) -> Response {
        ask(self.gateway.public, &request("GET", target, fields, b""))
    }

    /// Sends requests of so many users, each to a path of its own, and as many of strangers.
    pub fn crowd(&self, users: usize) {
        let connections = 4;
        thread::scope(|scope| {
            for part in 0..connections {
                scope.spawn(move || self.crowd_of((users / connections * part)..(users / connections * (part + 1))));
            }
        });
    }

    fn crowd_of(&self, users: std::ops::Range<usize>) {
        let mut client = Client::connect(self.gateway.public);
        let claims = |user: usize| json!({ "aud": "api", "sub": format!("user-{user}"), "exp": 4_000_000_000_u64 });
        for first in users.clone().step_by(PIPELINED / 2) {
            let few = first..(first + PIPELINED / 2).min(users.end);
            let mut bytes = Vec::new();
            for user in few.clone() {
                let bearer = format!("Bearer {}", signer::token("HS256", None, &claims(user)));
                bytes.extend(request("GET", &format!("/typed/u{user}"), &[("authorization", &bearer)], b""));
                let (path, key) = (format!("/{user}/x{user}?y{user}=1"), format!("key-{user}"));
                bytes.extend(request("GET", &path, &[("x-api-key", &key), ("user-agent", &path)], b""));
            }
            client.send(&bytes);
            for user in few {
                assert_eq!(client.response().expect("an answer").status, 422, "user {user}");
                assert_eq!(client.response().expect("an answer").status, 404, "stranger {user}");
            }
        }
    }
}

/// What a gateway exports that was touched everywhere.
pub fn exported() -> &'static Scrape {
    static EXPORTED: LazyLock<Scrape> = LazyLock::new(|| {
        let stage = Stage::start();
        stage.touch_everything();
        stage.scrape()
    });
    &EXPORTED
}
