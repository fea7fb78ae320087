//! Names and passwords through the running gateway.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::client::{Client, Response, ask, request};
use crate::support::gateway::{Gateway, Reload, program};
use crate::support::origin::Origin;

/// bcrypt of `U*U`, from the authors of crypt_blowfish.
const BCRYPT: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// What `tollgate hash-password` prints, after it has read this.
fn hashed(input: &[u8]) -> (Option<i32>, String, String) {
    let mut command = program();
    command.arg("hash-password").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("run the program");
    child.stdin.take().expect("stdin is piped").write_all(input).expect("write a password");
    let output = child.wait_with_output().expect("wait for the program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn hash(password: &str) -> String {
    hashed(password.as_bytes()).1.trim().to_owned()
}

/// `alice` has an API key (`9f86…` is `test`) and these hashes, `bob` the one above.
fn config(origin: &Origin, basic: &Value, hashes: &[String]) -> String {
    let passwords: Vec<Value> = hashes.iter().map(|hash| json!({ "hash": hash })).collect();
    json!({
        "version": 1,
        "listeners": [{ "address": "127.0.0.1:0" }],
        "admin": { "address": "127.0.0.1:0" },
        "services": { "origin": { "url": format!("http://{}", origin.address()) } },
        "authenticators": {
            "people": { "basic": basic },
            "key": { "api_key": { "header": "x-api-key" } },
            "corp": { "jwt": { "secret": "a-secret-of-at-least-32-characters", "audience": "api" } },
        },
        "consumers": {
            "alice": {
                "api_keys": [{ "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }],
                "passwords": passwords,
            },
            "bob": { "passwords": [{ "hash": BCRYPT }] },
        },
        "routes": [
            { "name": "mine", "method": "GET", "gateway_path": "/mine", "service": "origin", "auth": ["key", "people", "corp"] },
            { "name": "keyed", "method": "GET", "gateway_path": "/keyed", "service": "origin", "auth": ["key"] },
            { "name": "open", "method": "GET", "gateway_path": "/open", "service": "origin", "auth": "public" },
        ],
    })
    .to_string()
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn get(path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    request("GET", path, fields, b"")
}

fn sent(gateway: &Gateway, authorization: &str) -> Response {
    ask(gateway.address(), &get("/mine", &[("authorization", authorization)]))
}

fn operator(gateway: &Gateway, path: &str) -> String {
    ask(gateway.admin(), format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).text()
}

fn attempts(gateway: &Gateway, result: &str) -> usize {
    let line = format!("tollgate_password_attempts_total{{authenticator=\"people\",result=\"{result}\"}} ");
    let text = operator(gateway, "/metrics");
    text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

fn code(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let code = body["type"].as_str().and_then(|name| name.rsplit(':').next()).unwrap_or_default().to_owned();
    format!("{} {code}", response.status).trim_end().to_owned()
}

#[test]
fn a_password_names_a_consumer_and_ends_at_the_gateway() {
    let origin = Origin::json("{}");
    let hashes = [hash("first"), hash("p\u{e4}:ss w\u{f6}rd")];
    for (forward, expected) in [(false, 0), (true, 1)] {
        let settings = json!({ "realm": "api", "forward": forward });
        // The token's authenticator does not forward what stands in the same place.
        let text = config(&origin, &settings, &hashes).replace(",\"corp\"]", "]");
        let gateway = Gateway::start(&text);
        for (name, password) in [("alice", "first"), ("alice", "p\u{e4}:ss w\u{f6}rd"), ("bob", "U*U")] {
            let forged = [("authorization", &*basic(name, password)), ("x-consumer-name", "root")];
            assert_eq!(ask(gateway.address(), &get("/mine", &forged)).status, 200, "{name} {password}");
            let seen = origin.take().remove(0);
            assert_eq!(seen.values("x-consumer-name"), [name.as_bytes()]);
            assert_eq!(seen.values("authorization").len(), expected, "{name}");
        }
        for path in ["/keyed", "/open"] {
            let fields = [("authorization", &*basic("bob", "U*U")), ("x-api-key", "test")];
            assert_eq!(ask(gateway.address(), &get(path, &fields)).status, 200);
            assert!(origin.take()[0].values("authorization").is_empty(), "{path}");
        }
        let said = [gateway.log().join("\n"), operator(&gateway, "/config")].concat();
        for secret in ["argon2id", "$2y$", "U*U", &basic("bob", "U*U")[6..]] {
            assert!(!said.contains(secret), "{secret} is shown");
        }
    }
    let gateway = Gateway::start(&config(&origin, &json!({ "forward": true }), &hashes));
    assert_eq!(sent(&gateway, &basic("bob", "U*U")).status, 200);
    assert!(origin.take()[0].values("authorization").is_empty(), "one of the two keeps it");
}

#[test]
fn what_is_no_good_password_is_refused_and_counted() {
    let origin = Origin::json("{}");
    let gateway = Gateway::start(&config(&origin, &json!({ "realm": "api" }), &[hash("right")]));
    let challenge =
        "ApiKey in=\"header\", name=\"x-api-key\", Bearer realm=\"tollgate\", Basic realm=\"api\", charset=\"UTF-8\"";
    let long = "x".repeat(2000);
    for (authorization, expected) in [
        (basic("alice", "wrong"), "401 credential-unknown"),
        (basic("alice", ""), "401 credential-unknown"),
        (basic("ALICE", "right"), "401 credential-unknown"),
        (basic("alice ", "right"), "401 credential-unknown"),
        (basic("nobody", "right"), "401 credential-unknown"),
        (basic("", "right"), "401 credential-unknown"),
        (basic("alice", &long), "401 credential-unknown"),
        (basic("alice", "right\u{0}"), "401 credential-unknown"),
        ("Basic".to_owned(), "401 credential-unknown"),
        ("basic alice:right".to_owned(), "401 credential-unknown"),
        ("Basic YWxpY2U=".to_owned(), "401 credential-unknown"),
        ("Digest username=\"alice\"".to_owned(), "401 credential-missing"),
        ("Basically YWxpY2U6cmlnaHQ=".to_owned(), "401 credential-missing"),
        ("Bearer x".to_owned(), "401 token-invalid"),
    ] {
        let answer = sent(&gateway, &authorization);
        assert_eq!(code(&answer), expected, "{authorization}");
        let named = answer.value("www-authenticate").unwrap_or_default().replace(", error=\"invalid_token\"", "");
        assert_eq!(named, challenge, "{authorization}");
    }
    let right = basic("alice", "right");
    for fields in [
        vec![("authorization", &*right), ("x-api-key", "test")],
        vec![("authorization", &*right), ("authorization", &*right)],
        vec![("authorization", &*right), ("authorization", "Bearer x")],
    ] {
        assert_eq!(code(&ask(gateway.address(), &get("/mine", &fields))), "400 credential-ambiguous", "{fields:?}");
    }
    assert!(origin.take().is_empty());
    let counted = ["wrong", "unknown", "malformed", "right", "busy"].map(|result| attempts(&gateway, result));
    assert_eq!(counted, [2, 4, 5, 0, 0]);
    for spelling in [right.clone(), right.replace("Basic", "bASIC")] {
        assert_eq!(sent(&gateway, &spelling).status, 200);
    }
    assert_eq!(attempts(&gateway, "right"), 1, "the second is remembered");
}

#[test]
fn a_reload_changes_passwords_and_keeps_what_is_known_of_others() {
    let origin = Origin::json("{}");
    let (old, new) = (hash("old"), hash("new"));
    let gateway = Gateway::start(&config(&origin, &json!({}), std::slice::from_ref(&old)));
    let status = |name, password| sent(&gateway, &basic(name, password)).status;
    assert_eq!([status("alice", "old"), status("alice", "new"), status("bob", "U*U")], [200, 401, 200]);
    assert_eq!(gateway.reload(&config(&origin, &json!({}), &[old, new.clone()])), Reload::Published);
    assert_eq!([status("alice", "old"), status("alice", "new"), status("bob", "U*U")], [200, 200, 200]);
    assert_eq!(gateway.reload(&config(&origin, &json!({}), &[new])), Reload::Published);
    assert_eq!([status("alice", "old"), status("alice", "new"), status("bob", "U*U")], [401, 200, 200]);
    // Of alice each time, since her account is another one; of bob once.
    assert_eq!(attempts(&gateway, "right"), 5);
}

#[test]
fn a_flood_of_wrong_passwords_delays_no_other_request_and_holds_little_memory() {
    let origin = Origin::json("{}");
    let gateway = Gateway::start(&config(&origin, &json!({}), &[hash("right")]));
    let good = get("/mine", &[("authorization", &basic("alice", "right"))]);
    let mut known = Client::connect(gateway.address());
    assert_eq!(known.ask(&good).unwrap().status, 200);
    let mut open = Client::connect(gateway.address());
    let latency = |client: &mut Client, bytes: &[u8]| {
        let began = Instant::now();
        assert_eq!(client.ask(bytes).unwrap().status, 200);
        began.elapsed()
    };
    let (stop, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    let slowest = thread::scope(|scope| {
        let attackers: Vec<_> = (0..100)
            .map(|attacker| {
                let (gateway, stop, refused) = (&gateway, &stop, &refused);
                scope.spawn(move || {
                    let mut client = Client::connect(gateway.address());
                    let mut seen = [0_usize; 2];
                    for guess in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let name = if guess % 2 == 0 { "alice" } else { "nobody" };
                        let guess = basic(name, &format!("{attacker}-{guess}"));
                        let answer = client.ask(&get("/mine", &[("authorization", &guess)])).unwrap();
                        match (answer.status, answer.value("retry-after")) {
                            (401, None) => seen[0] += 1,
                            (503, Some("1")) => seen[1] += 1,
                            (status, retry) => panic!("{status} {retry:?}"),
                        }
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    seen
                })
            })
            .collect();
        let until = Instant::now() + Duration::from_secs(20);
        while refused.load(Ordering::Relaxed) < 300 && Instant::now() < until {
            thread::yield_now();
        }
        let plain = get("/open", &[]);
        let mut times: Vec<Duration> =
            (0..50).flat_map(|_| [latency(&mut open, &plain), latency(&mut known, &good)]).collect();
        stop.store(true, Ordering::Relaxed);
        let seen = attackers.into_iter().map(|attacker| attacker.join().unwrap());
        let [wrong, busy] = seen.fold([0, 0], |all, seen| [all[0] + seen[0], all[1] + seen[1]]);
        assert!(wrong > 0 && busy > 0, "{wrong} wrong, {busy} busy");
        assert_eq!(attempts(&gateway, "wrong") + attempts(&gateway, "unknown"), wrong);
        assert_eq!(attempts(&gateway, "busy"), busy);
        times.sort();
        times[times.len() * 9 / 10]
    });
    assert!(slowest < Duration::from_millis(500), "nine of ten requests took less than {slowest:?}");
    let peak = peak_kib(gateway.id());
    assert!(peak < 200 * 1024, "{peak} KiB at the most");
}

/// The most memory that a process has held.
fn peak_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn requests_with_the_same_password_share_an_attempt() {
    let origin = Origin::json("{}");
    let gateway = Gateway::start(&config(&origin, &json!({}), &[hash("right")]));
    // More than may wait with different ones.
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| assert_eq!(sent(&gateway, &basic("alice", "right")).status, 200));
        }
    });
    assert_eq!(origin.take().len(), 100);
}

#[test]
fn a_password_is_hashed_without_being_an_argument() {
    let text = |lines: &[u8]| hashed(lines);
    for (input, said) in [(&b""[..], "empty"), (b"\n", "empty"), (b"a\0b\n", "control"), (&[b'x'; 1025], "longer")] {
        let (code, out, error) = text(input);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{input:?}");
        assert!(error.contains(said), "{error}");
    }
    let hashes: Vec<String> = [&b"right"[..], b"right\n", b"right\r\n", b"right\nother\n"]
        .iter()
        .map(|input| {
            let (code, out, error) = text(input);
            assert_eq!((code, error.as_str()), (Some(0), ""));
            assert!(out.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && out.ends_with('\n'), "{out}");
            out.trim().to_owned()
        })
        .collect();
    assert!(hashes.iter().all(|hash| hashes.iter().filter(|other| *other == hash).count() == 1), "salted");
    let origin = Origin::json("{}");
    let gateway = Gateway::start(&config(&origin, &json!({}), &hashes));
    assert_eq!(sent(&gateway, &basic("alice", "right")).status, 200);
    let output = program().args(["hash-password", "right"]).output().expect("run the program");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn explain_verifies_a_password_and_does_not_show_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.yaml");
    let origin = Origin::json("{}");
    std::fs::write(&file, config(&origin, &json!({}), &[hash("right")])).unwrap();
    for (password, status, said) in [
        ("right", 0, "consumer alice, found by authenticator people: name and password in header authorization"),
        ("wrong", 1, "a name and a password in header authorization"),
    ] {
        let field = format!("authorization: {}", basic("alice", password));
        let mut command: Command = program();
        let output = command.arg("explain").arg(&file).args(["-H", &field, "GET", "/mine"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(text.contains(said), "{text}");
        assert!(!text.contains(&basic("alice", password)[6..]), "{text}");
    }
}
