//! API keys at run time: `tollgate keys` beside a running gateway, the same over the admin listener, faulty stores.
//!
//! A store lies beside the configuration of its gateway, or in a folder that several gateways share.

mod admin;
mod faults;
mod moments;

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::instance::{Instance, config, consumer, eventually, sha256};
use crate::support::client::{ask, request};
use crate::support::gateway::{check, program};
use crate::support::origin::Origin;

/// What is promised: how long a running gateway may take to honour a change.
const SOON: Duration = Duration::from_secs(1);

/// The token of the admin listener.
const TOKEN: &str = "operators-only";

/// One route, a consumer `alice` of the file, plans `free` and `gold`, and a store at this path.
fn with_store(origin: &Origin, store: &str) -> Value {
    config(
        origin.address(),
        json!({
            "admin": {"address": "127.0.0.1:0", "token_sha256": sha256(TOKEN)},
            "authenticators": {"key": {"api_key": {"header": "x-api-key"}}},
            "store": {"path": store},
            "plans": {"free": {"total": "1000000/hour"}, "gold": {"total": "1000000/hour"}},
            "consumers": {"alice": {"plan": "gold", "groups": ["staff"], "api_keys": [{"sha256": sha256("key-alice")}]}},
            "routes": [{"name": "r", "method": "GET", "gateway_path": "/r", "service": "origin", "auth": ["key"]}],
        }),
    )
}

/// Runs `tollgate keys`.
fn command(verb: &str, file: &Path, arguments: &[&str]) -> Output {
    program().args(["keys", verb]).arg(file).args(arguments).output().expect("run the program")
}

/// The same where it must work: what it printed.
fn keys(verb: &str, file: &Path, arguments: &[&str]) -> String {
    let output = command(verb, file, arguments);
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "keys {verb} {arguments:?}: {out}{error}");
    out.trim_end().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The status that a key gets.
fn status(gateway: &Instance, key: &str) -> u16 {
    ask(gateway.public, &request("GET", "/r", &[("x-api-key", key)], b"")).status
}

/// Waits until a key gets this status, and panics when that takes longer than is promised.
fn soon(gateway: &Instance, key: &str, expected: u16) {
    let begun = Instant::now();
    while status(gateway, key) != expected {
        assert!(begun.elapsed() < SOON, "not {expected} within {SOON:?}:\n{}", gateway.log());
        std::thread::yield_now();
    }
}

#[test]
fn a_key_made_by_the_command_is_honoured_and_its_end_too() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_store(&origin, "tollgate.db"));
    let file = gateway.file();
    let alices = keys("create", &file, &["--consumer", "alice", "--note", "phone"]);
    soon(&gateway, &alices, 200);
    let bobs = keys("create", &file, &["--consumer", "bob", "--plan", "free"]);
    soon(&gateway, &bobs, 200);
    let asked = origin.take();
    for (name, plan, groups) in [("alice", "gold", Some("staff")), ("bob", "free", None)] {
        let request = asked.iter().find(|request| request.values("x-consumer-name") == [name.as_bytes()]).unwrap();
        assert_eq!(request.values("x-consumer-plan"), [plan.as_bytes()], "{name}");
        assert_eq!(request.values("x-consumer-groups").first().copied(), groups.map(str::as_bytes), "{name}");
        assert!(request.values("x-api-key").is_empty());
        let line: Value = serde_json::from_str(&gateway.line(|line| line.contains(name))).unwrap();
        assert_eq!((&line["consumer"], &line["plan"], &line["status"]), (&name.into(), &plan.into(), &200.into()));
    }
    let listed = keys("list", &file, &[]);
    assert!(listed.contains(&bobs[..11]) && listed.contains("phone"), "{listed}");
    let shown = [gateway.log(), gateway.out(), listed];
    assert!(shown.iter().all(|text| !text.contains(&alices) && !text.contains(&bobs)), "{shown:?}");
    keys("revoke", &file, &[&alices[..11]]);
    soon(&gateway, &alices, 401);
    keys("revoke", &file, &[&bobs]);
    soon(&gateway, &bobs, 401);
    let listed = keys("list", &file, &[]);
    assert_eq!(listed.matches(" revoked ").count(), 2, "{listed}");
    assert_eq!(status(&gateway, "key-alice"), 200, "keys of the file go on");
    assert_eq!(gateway.metric("tollgate_config_generation"), Some(1.0), "nothing was reloaded");
}

#[test]
fn gateways_and_commands_share_one_store() {
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared.db");
    let file = with_store(&origin, path.to_str().unwrap());
    let gateways = [Instance::start(&file), Instance::start(&file)];
    let key = keys("create", &gateways[0].file(), &["--consumer", "bob", "--plan", "gold"]);
    gateways.iter().for_each(|gateway| soon(gateway, &key, 200));
    let id = gateways[1].operator("GET", "/keys", &[("authorization", &format!("Bearer {TOKEN}"))]);
    let id = serde_json::from_slice::<Value>(&id.body).unwrap()["keys"][0]["id"].as_str().unwrap().to_owned();
    keys("revoke", &gateways[1].file(), &[&id]);
    gateways.iter().for_each(|gateway| soon(gateway, &key, 401));
}

#[test]
fn a_thousand_keys_are_known_at_once_and_at_the_next_start() {
    use tollgate::store::{Entropy, NewKey, Store};

    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollgate.db");
    let file = with_store(&origin, path.to_str().unwrap());
    let gateway = Instance::start(&file);
    let mut store = Store::open(&path).unwrap();
    let made: Vec<String> = (0..1000_u32)
        .map(|number| {
            let mut entropy = Entropy { secret: [1; 32], id: [1; 8] };
            entropy.secret[..4].copy_from_slice(&number.to_be_bytes());
            entropy.id[..4].copy_from_slice(&number.to_be_bytes());
            let consumer = format!("consumer-{number}");
            let new = NewKey { consumer: &consumer, plan: Some("free"), note: "", lifetime: None };
            store.create(&new, &entropy, 1_700_000_000).unwrap().secret
        })
        .collect();
    soon(&gateway, &made[999], 200);
    assert!(made.iter().all(|key| status(&gateway, key) == 200));
    assert_eq!(gateway.metric("tollgate_store_keys"), Some(1000.0));
    let again = Instance::start(&file);
    assert!(made.iter().all(|key| status(&again, key) == 200));
}

#[test]
fn what_the_configuration_does_not_have_gets_no_key() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_store(&origin, "tollgate.db"));
    let (file, folder) = (gateway.file(), tempfile::tempdir().unwrap());
    let write = |name: &str, config: &Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, config.to_string()).unwrap();
        path
    };
    let mut bare = with_store(&origin, "x");
    bare.as_object_mut().unwrap().remove("store");
    let bare = write("bare.yaml", &bare);
    let unused = write("unused.yaml", &with_store(&origin, "no-store-yet.db"));
    let missing = folder.path().join("missing.yaml");
    for (verb, file, arguments, code, expected) in [
        ("create", &file, &["--consumer", "bob"][..], 1, "no consumer `bob`: say a plan"),
        ("create", &file, &["--consumer", "bob", "--plan", "fre"], 1, "no plan `fre`"),
        ("create", &file, &["--consumer", "alice", "--plan", "free"], 1, "has plan `gold` there: leave the plan out"),
        ("create", &file, &["--consumer", "b\nb", "--plan", "free"], 1, "printable ASCII"),
        ("create", &file, &["--consumer", "alice", "--expires", "soon"], 2, "invalid value 'soon'"),
        ("create", &file, &["--consumer", "alice", "--expires", "0s"], 2, "invalid value '0s'"),
        ("create", &file, &[], 2, "--consumer"),
        ("revoke", &file, &["nobody"], 1, "no key has this id or prefix"),
        ("rotate", &file, &["nobody"], 1, "no key has this id or prefix"),
        ("create", &bare, &["--consumer", "alice"], 2, "has no store"),
        ("list", &bare, &[], 2, "has no store"),
        ("list", &unused, &[], 1, "no-store-yet.db: No such file"),
        ("list", &missing, &[], 2, "missing.yaml"),
    ] {
        let output = command(verb, file, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{verb} {arguments:?}: {said}");
        assert!(said.contains(expected), "{verb} {arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{verb} {arguments:?}");
    }
    assert_eq!(keys("list", &file, &[]).lines().count(), 1, "only the heading");
}

#[test]
fn a_key_whose_consumer_or_plan_has_gone_is_refused_and_told_of() {
    let origin = Origin::json("{}");
    let file = with_store(&origin, "tollgate.db");
    let gateway = Instance::start(&file);
    let alices = keys("create", &gateway.file(), &["--consumer", "alice"]);
    let bobs = keys("create", &gateway.file(), &["--consumer", "bob", "--plan", "free"]);
    soon(&gateway, &alices, 200);
    soon(&gateway, &bobs, 200);
    let mut without = file.clone();
    without["plans"].as_object_mut().unwrap().remove("free");
    without["consumers"] = json!({"carol": consumer("carol", "gold")});
    assert_eq!(gateway.reload(&without)["result"], "published");
    assert_eq!((status(&gateway, &alices), status(&gateway, &bobs)), (401, 401));
    assert_eq!(status(&gateway, "key-carol"), 200);
    gateway.logged("no such consumer or plan consumer=\"bob\" plan=\"free\" keys=1");
    gateway.logged("no such consumer or plan consumer=\"alice\" plan=\"-\" keys=1");
    assert_eq!(gateway.reload(&file)["result"], "published");
    assert_eq!((status(&gateway, &alices), status(&gateway, &bobs)), (200, 200));
}

#[test]
fn a_key_in_file_and_store_is_the_files_and_warned_of() {
    use tollgate::store::{Entropy, NewKey, Store};

    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollgate.db");
    let new = NewKey { consumer: "bob", plan: Some("free"), note: "", lifetime: None };
    let entropy = Entropy { secret: [3; 32], id: [3; 8] };
    let made = Store::open_or_create(&path).unwrap().create(&new, &entropy, 1_700_000_000).unwrap();
    let mut file = with_store(&origin, path.to_str().unwrap());
    let only_stored = file.clone();
    file["consumers"]["alice"]["api_keys"] = json!([{"sha256": sha256(&made.secret)}]);
    let warning = format!("the store has this key too, as `{}` of consumer `bob`", made.key.id);
    let gateway = Instance::start(&file);
    gateway.logged(&format!("configuration line 1: {warning}"));
    let owner = |gateway: &Instance| {
        origin.take();
        assert_eq!(status(gateway, &made.secret), 200);
        text(origin.take()[0].values("x-consumer-name")[0])
    };
    assert_eq!(owner(&gateway), "alice");
    assert_eq!(gateway.reload(&only_stored)["result"], "published");
    assert_eq!(owner(&gateway), "bob");
    let warnings = gateway.reload(&file)["warnings"].to_string();
    assert!(warnings.contains(&warning), "{warnings}");
    assert_eq!(owner(&gateway), "alice");
    keys("revoke", &gateway.file(), &[&made.key.id]);
    assert!(eventually(|| gateway.metric("tollgate_store_keys") == Some(0.0)));
    assert_eq!(owner(&gateway), "alice", "revoking in the store does not touch the file");
}

#[test]
fn with_a_store_names_that_the_file_does_not_use_are_no_mistakes() {
    let origin = Origin::json("{}");
    let mut file = with_store(&origin, "tollgate.db");
    file["consumers"]["alice"].as_object_mut().unwrap().remove("api_keys");
    let checked = check(&file.to_string());
    assert_eq!((checked.code, checked.text.contains("warning")), (Some(0), false), "{}", checked.text);
    file.as_object_mut().unwrap().remove("store");
    let checked = check(&file.to_string());
    for warning in ["consumer `alice` has no key", "no consumer has plan `free`", "without a store this token"] {
        assert!(checked.text.contains(warning), "{warning}: {}", checked.text);
    }
}
