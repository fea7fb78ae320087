//! Auth services that are asked who calls.

use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::support::client::{Client, Response, ask, request};
use crate::support::gateway::{Gateway, program};
use crate::support::origin::{Origin, Reply, Unreachable};

/// An auth service whose next answers can be changed.
struct Auth {
    origin: Origin,
    reply: Arc<Mutex<Reply>>,
}

impl Auth {
    fn start() -> Self {
        let reply = Arc::new(Mutex::new(known("alice", "")));
        let said = Arc::clone(&reply);
        Self { origin: Origin::start(move |_| said.lock().unwrap().clone()), reply }
    }

    fn says(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    fn url(&self) -> String {
        format!("http://{}/verify", self.origin.address())
    }
}

/// A good answer, with further header lines.
fn known(name: &str, lines: &str) -> Reply {
    Reply::raw(format!("HTTP/1.1 200 OK\r\nx-user: {name}\r\n{lines}content-length: 0\r\n\r\n"))
}

fn status(status: u16, lines: &str) -> Reply {
    Reply::raw(format!("HTTP/1.1 {status} -\r\n{lines}content-length: 2\r\n\r\nno"))
}

/// `9f86…` is `test`. `changes` are to the authenticator.
fn config(origin: &Origin, url: &str, changes: &Value) -> Value {
    let mut asked = json!({
        "url": url, "timeout": "1500ms", "consumer_header": "x-user", "plan_header": "x-plan", "plan": "free",
        "groups_header": "x-groups", "copy_headers": ["x-user-id", "x-tenant"],
    });
    for (name, value) in changes.as_object().unwrap() {
        asked[name] = value.clone();
    }
    json!({
        "version": 1,
        "listeners": [{ "address": "127.0.0.1:0" }],
        "admin": { "address": "127.0.0.1:0" },
        "services": { "origin": { "url": format!("http://{}", origin.address()) } },
        "authenticators": { "sso": { "forward_auth": asked }, "key": { "api_key": { "header": "x-api-key" } } },
        "plans": { "free": { "total": "100000/second" }, "gold": { "total": "100000/second" } },
        "consumers": {
            "alice": { "plan": "gold", "api_keys": [{ "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }] },
        },
        "routes": [
            { "name": "mine", "methods": ["GET", "POST"], "gateway_path": "/mine/{id}", "service": "origin", "auth": ["sso", "key"], "query_params": "any", "body": "any" },
            { "name": "asked", "method": "GET", "gateway_path": "/asked", "service": "origin", "auth": ["sso"] },
            { "name": "open", "method": "GET", "gateway_path": "/open", "service": "origin", "auth": "public" },
        ],
    })
}

fn start(origin: &Origin, auth: &Auth, changes: &Value) -> Gateway {
    Gateway::start(&config(origin, &auth.url(), changes).to_string())
}

fn get(gateway: &Gateway, path: &str, fields: &[(&str, &str)]) -> Response {
    ask(gateway.address(), &request("GET", path, fields, b""))
}

fn code(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let code = body["type"].as_str().and_then(|name| name.rsplit(':').next()).unwrap_or_default().to_owned();
    format!("{} {code}", response.status).trim_end().to_owned()
}

fn counted(gateway: &Gateway, result: &str) -> usize {
    let page = ask(gateway.admin(), b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").text();
    let line = format!("tollgate_forward_auth_total{{authenticator=\"sso\",result=\"{result}\"}} ");
    page.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn an_answer_names_the_caller_and_fills_headers_that_clients_cannot() {
    let (origin, auth) = (Origin::json("{}"), Auth::start());
    let gateway = start(&origin, &auth, &json!({}));
    let forged = [
        ("x-user", "root"),
        ("x-plan", "gold"),
        ("x-groups", "admins"),
        ("x-user-id", "0"),
        ("x_user_id", "0"),
        ("x-tenant", "evil"),
        ("X-Consumer-Name", "root"),
    ];
    for (reply, name, plan, groups, id, tenant) in [
        (known("alice", ""), "sso:alice", "free", None, None, None),
        (
            known(
                "bob b",
                "x-plan: gold\r\nx-groups: staff, a b,ops,\r\nx-user-id: 7\r\nx-tenant: a\r\nx-tenant: b\r\n",
            ),
            "sso:bob b",
            "gold",
            Some("staff,ops"),
            Some("7"),
            Some("a, b"),
        ),
    ] {
        auth.says(reply);
        for (method, path) in [("GET", "/mine/1?a=b"), ("POST", "/mine/1")] {
            assert_eq!(ask(gateway.address(), &request(method, path, &forged, b"")).status, 200, "{name}");
            let seen = origin.take().remove(0);
            let value = |name: &str| seen.values(name).first().map(|value| String::from_utf8_lossy(value).into_owned());
            let found = ["x-consumer-name", "x-consumer-plan", "x-consumer-groups", "x-user-id", "x-tenant"].map(value);
            let expected = [Some(name), Some(plan), groups, id, tenant].map(|value| value.map(str::to_owned));
            assert_eq!(found, expected);
            assert!(["x-user", "x-plan", "x-groups", "x_user_id"].iter().all(|name| seen.values(name).is_empty()));
        }
    }
    auth.origin.take();
    assert_eq!(get(&gateway, "/open", &forged).status, 200);
    let seen = origin.take().remove(0);
    assert!(forged.iter().all(|(name, _)| seen.values(&name.to_lowercase()).is_empty()), "{seen:?}");
    assert!(auth.origin.take().is_empty(), "nobody is asked about a public route");
    assert_eq!(counted(&gateway, "known"), 4);
}

#[test]
fn the_question_holds_what_was_chosen_and_where_it_comes_from() {
    let (origin, auth) = (Origin::json("{}"), Auth::start());
    let gateway = start(&origin, &auth, &json!({ "request_headers": ["cookie", "accept"] }));
    let fields = [
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("accept", "x/y"),
        ("authorization", "Bearer secret"),
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-uri", "/evil"),
        ("x-forwarded-method", "EVIL"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "evil"),
        ("x-other", "1"),
    ];
    let answer = ask(gateway.address(), &request("POST", "/mine/a%20b?c=d%26", &fields, b"a body"));
    assert_eq!(answer.status, 200);
    let asked = auth.origin.take().remove(0);
    assert_eq!((asked.method.as_str(), asked.target.as_str(), asked.body.len()), ("GET", "/verify", 0));
    let host = auth.origin.address().to_string();
    let id = answer.value("x-request-id").unwrap();
    for (name, values) in [
        ("host", vec![&*host]),
        ("cookie", vec!["a=1", "b=2"]),
        ("accept", vec!["x/y"]),
        ("x-forwarded-for", vec!["127.0.0.1"]),
        ("x-forwarded-method", vec!["POST"]),
        ("x-forwarded-uri", vec!["/mine/a%20b?c=d%26"]),
        ("x-forwarded-host", vec!["gateway.test"]),
        ("x-forwarded-proto", vec!["http"]),
        ("x-request-id", vec![id]),
        ("authorization", vec![]),
        ("x-other", vec![]),
        ("content-length", vec![]),
    ] {
        let expected: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(asked.values(name), expected, "{name}");
    }
}

#[test]
fn only_a_whole_good_answer_lets_anybody_in() {
    let (origin, auth) = (Origin::json("{}"), Auth::start());
    let gateway = start(&origin, &auth, &json!({}));
    let large = format!("x-large: {}\r\n", "x".repeat(20_000));
    let many = (0..300).map(|field| format!("x-{field}: 1\r\n")).collect::<String>();
    let copied = format!("x-user-id: {}\r\n", "x".repeat(9000));
    for (reply, expected, result) in [
        (known("alice", ""), "200", "known"),
        (known("alice", "").closing(), "200", "known"),
        (Reply::raw("HTTP/1.1 204 No Content\r\nx-user: alice\r\n\r\n"), "200", "known"),
        (Reply::raw("HTTP/1.0 200 OK\r\nx-user: alice\r\n\r\nbody").closing(), "200", "known"),
        (
            Reply::raw("HTTP/1.1 103 Early\r\nx-user: eve\r\n\r\nHTTP/1.1 204 -\r\nx-user: alice\r\n\r\n"),
            "200",
            "known",
        ),
        // The body says nothing, so one that does not come changes nothing.
        (Reply::raw("HTTP/1.1 200 OK\r\nx-user: alice\r\ncontent-length: 9\r\n\r\n"), "200", "known"),
        (Reply::raw("HTTP/1.1 200 OK\r\nx-user: alice\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), "200", "known"),
        (Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), "503 auth-unavailable", "consumer"),
        (known("", ""), "503 auth-unavailable", "consumer"),
        (known("alice", "x-user: bob\r\n"), "503 auth-unavailable", "consumer"),
        (known("\u{e9}", ""), "503 auth-unavailable", "consumer"),
        (known(&"x".repeat(300), ""), "503 auth-unavailable", "consumer"),
        (known("alice", "x-plan: platinum\r\n"), "403 plan-unknown", "plan"),
        (known("alice", "x-plan: gold\r\nx-plan: free\r\n"), "403 plan-unknown", "plan"),
        (status(401, ""), "401 caller-refused", "refused"),
        (status(403, ""), "403 forbidden", "forbidden"),
        (status(302, "location: http://login/\r\n"), "503 auth-unavailable", "status"),
        (status(404, "x-user: alice\r\n"), "503 auth-unavailable", "status"),
        (status(429, ""), "503 auth-unavailable", "status"),
        (status(500, "x-user: alice\r\n"), "503 auth-unavailable", "status"),
        (status(101, "upgrade: x\r\nx-user: alice\r\n"), "503 auth-unavailable", "reply"),
        (known("alice", &large), "503 auth-unavailable", "reply"),
        (known("alice", &many), "503 auth-unavailable", "reply"),
        (known("alice", &copied), "503 auth-unavailable", "reply"),
        (Reply::raw("garbage\r\n\r\n"), "503 auth-unavailable", "reply"),
        (Reply::raw("HTTP/1.1 200").closing(), "503 auth-unavailable", "reply"),
        (Reply::raw("").closing(), "503 auth-unavailable", "reply"),
        (Reply::raw(""), "503 auth-unavailable", "timeout"),
        (Reply::raw("HTTP/1.1 200 OK\r\nx-user: alice\r\n"), "503 auth-unavailable", "timeout"),
    ] {
        let said = String::from_utf8_lossy(&reply.bytes).chars().take(60).collect::<String>();
        auth.says(reply);
        let before = counted(&gateway, result);
        let answer = get(&gateway, "/mine/1", &[("x-user", "eve")]);
        assert_eq!(code(&answer), expected, "{said}");
        assert_eq!(counted(&gateway, result), before + 1, "{said} counts as {result}");
        let retry = (answer.status == 503).then_some("1");
        assert_eq!((answer.value("retry-after"), answer.value("location")), (retry, None), "{said}");
        assert_eq!(origin.take().len(), usize::from(expected == "200"), "{said}");
    }
    let line = gateway.printed(|line| line.contains("auth-unavailable")).expect("an access line");
    assert!(line.contains("forward_auth sso: its answer names no consumer"), "{line}");
}

#[test]
fn an_auth_service_that_is_down_lets_nobody_in_and_disturbs_no_other() {
    let (origin, down) = (Origin::json("{}"), Unreachable::reserve());
    let gateway = Gateway::start(&config(&origin, &format!("http://{}", down.address()), &json!({})).to_string());
    assert_eq!(code(&get(&gateway, "/mine/1", &[])), "503 auth-unavailable");
    assert_eq!(counted(&gateway, "unreachable"), 1);
    assert_eq!(get(&gateway, "/mine/1", &[("x-api-key", "test")]).status, 200);
    assert_eq!(get(&gateway, "/open", &[]).status, 200);
    assert_eq!(origin.take().len(), 2);
}

#[test]
fn it_is_asked_only_where_no_other_credential_is_found() {
    let (origin, auth) = (Origin::json("{}"), Auth::start());
    auth.says(status(401, "www-authenticate: Bearer realm=\"sso\"\r\nwww-authenticate: Negotiate\r\n"));
    let gateway = start(&origin, &auth, &json!({}));
    let key = "ApiKey in=\"header\", name=\"x-api-key\"";
    let all = format!("{key}, Bearer realm=\"sso\", Negotiate");
    for (path, fields, expected, challenge, asked) in [
        ("/mine/1", vec![("x-api-key", "test")], "200", None, 0),
        ("/mine/1", vec![("x-api-key", "eve")], "401 credential-unknown", Some(key), 0),
        ("/mine/1", vec![("x-api-key", "test"), ("x-api-key", "test")], "400 credential-ambiguous", None, 0),
        ("/mine/1", vec![], "401 caller-refused", Some(&*all), 1),
        ("/mine/1", vec![("authorization", "Basic YTpi")], "401 caller-refused", Some(&*all), 1),
        ("/asked", vec![], "401 caller-refused", Some("Bearer realm=\"sso\", Negotiate"), 1),
        ("/asked", vec![("x-api-key", "test")], "401 caller-refused", Some("Bearer realm=\"sso\", Negotiate"), 1),
    ] {
        let answer = get(&gateway, path, &fields);
        assert_eq!(code(&answer), expected, "{path} {fields:?}");
        assert_eq!(answer.value("www-authenticate"), challenge, "{path} {fields:?}");
        assert_eq!(auth.origin.take().len(), asked, "{path} {fields:?}");
    }
    auth.says(status(401, ""));
    assert!(get(&gateway, "/asked", &[]).values("www-authenticate").is_empty());
}

#[test]
fn the_first_of_several_that_knows_the_caller_decides() {
    let (origin, first, second) = (Origin::json("{}"), Auth::start(), Auth::start());
    let mut text = config(&origin, &first.url(), &json!({}));
    text["authenticators"]["other"] =
        json!({ "forward_auth": { "url": second.url(), "consumer_header": "x-user", "plan": "gold" } });
    text["routes"][1]["auth"] = json!(["sso", "other"]);
    let gateway = Gateway::start(&text.to_string());
    for (one, two, expected, name) in [
        (known("alice", ""), known("bob", ""), "200", Some("sso:alice")),
        (status(401, ""), known("bob", ""), "200", Some("other:bob")),
        (status(401, ""), status(401, ""), "401 caller-refused", None),
        (status(403, ""), known("bob", ""), "403 forbidden", None),
        (status(500, ""), known("bob", ""), "503 auth-unavailable", None),
    ] {
        first.says(one);
        second.says(two);
        assert_eq!(code(&get(&gateway, "/asked", &[])), expected);
        let seen =
            origin.take().first().map(|seen| String::from_utf8_lossy(seen.values("x-consumer-name")[0]).into_owned());
        assert_eq!(seen.as_deref(), name);
    }
}

#[test]
fn a_name_is_a_consumer_of_the_file_only_where_the_file_says_so() {
    let (origin, auth) = (Origin::json("{}"), Auth::start());
    for (matched, name, plan) in [(false, "sso:alice", "free"), (true, "alice", "gold")] {
        let gateway = start(&origin, &auth, &json!({ "match_consumers": matched }));
        assert_eq!(get(&gateway, "/asked", &[]).status, 200);
        let seen = origin.take().remove(0);
        assert_eq!(seen.values("x-consumer-name"), [name.as_bytes()]);
        assert_eq!(seen.values("x-consumer-plan"), [plan.as_bytes()]);
    }
}

#[test]
fn connections_are_kept_and_one_that_was_closed_costs_nobody_an_answer() {
    let (origin, auth) = (Origin::json("{}"), Auth::start());
    let gateway = start(&origin, &auth, &json!({}));
    let mut client = Client::connect(gateway.address());
    let question = request("GET", "/asked", &[], b"");
    for _ in 0..20 {
        assert_eq!(client.ask(&question).unwrap().status, 200);
    }
    assert!(auth.origin.connections() <= 2, "{} connections", auth.origin.connections());
    // Each answer says that the connection stays, and closes it.
    auth.says(known("alice", "").closing());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(gateway.address());
                for _ in 0..25 {
                    assert_eq!(client.ask(&question).unwrap().status, 200);
                }
            });
        }
    });
    assert_eq!(counted(&gateway, "known"), 220);
}

#[test]
fn explain_asks_nobody_and_says_so() {
    let (origin, auth) = (Origin::json("{}"), Auth::start());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.yaml");
    std::fs::write(&file, config(&origin, &auth.url(), &json!({})).to_string()).unwrap();
    for (arguments, status, said) in [
        (&["GET", "/mine/1"][..], 1, "then asks sso, which explain does not"),
        (&["GET", "/asked"], 1, "unknown; auth: [sso] asks sso, which explain does not"),
        (&["--consumer", "alice", "GET", "/asked"], 0, "given, instead of a credential for [sso]"),
        (&["--key", "test", "GET", "/mine/1"], 0, "consumer alice of plan gold"),
    ] {
        let output = program().arg("explain").arg(&file).args(arguments).output().expect("run the program");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(text.contains(said), "{text}");
    }
    assert!(auth.origin.take().is_empty());
}
