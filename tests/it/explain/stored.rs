//! Keys of the store, explained as a running gateway treats them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::process::instance::{Instance, config, consumer};
use crate::support::client::{ask, request};
use crate::support::gateway::program;
use crate::support::origin::Origin;

/// Two routes, a consumer of the file, a plan, and a store beside the file.
fn with_store(origin: &Origin) -> Value {
    let route = |name: &str, auth: Value| json!({ "name": name, "method": "GET", "gateway_path": format!("/{name}"), "service": "origin", "auth": auth });
    config(
        origin.address(),
        json!({
            "authenticators": { "key": { "api_key": { "header": "x-api-key" } } },
            "store": { "path": "keys.db" },
            "plans": { "free": { "total": "1000/hour" }, "gold": { "total": "1000/hour" } },
            "consumers": { "alice": consumer("alice", "gold") },
            "routes": [route("mine", json!(["key"])), route("open", json!("public"))],
        }),
    )
}

/// What `tollgate VERB FILE …` prints, and its exit code.
fn run(words: &[&str], file: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = program().args(words).arg(file).args(arguments).output().expect("run the program");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn explained(file: &Path, key: &str, path: &str) -> Value {
    let (code, text) = run(&["explain"], file, &["--json", "--key", key, "GET", path]);
    let explanation: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(code, Some(i32::from(explanation["outcome"] == "refused")), "{text}");
    assert!(!text.contains(key), "{text}");
    explanation
}

#[test]
fn a_key_of_the_store_is_explained_as_the_running_gateway_treats_it() {
    let origin = Origin::json("{}");
    let gateway = Instance::start(&with_store(&origin));
    let file = gateway.file();
    let key = |arguments: &[&str]| run(&["keys", "create"], &file, arguments).1;
    let (alice, carol) = (key(&["--consumer", "alice"]), key(&["--consumer", "carol", "--plan", "free"]));
    let ended = key(&["--consumer", "alice"]);
    run(&["keys", "revoke"], &file, &[&ended]);
    let typo = format!("{}x", &carol[..carol.len() - 1]);
    // A running gateway knows them all once it knows the last one.
    let served = |key: &str| ask(gateway.public, &request("GET", "/mine", &[("x-api-key", key)], b""));
    let last = key(&["--consumer", "alice"]);
    assert!(crate::process::instance::eventually(|| served(&last).status == 200));
    origin.take();
    for (key, caller, plan) in [
        (&*alice, Some("consumer alice of plan gold, found by authenticator key: API key in header x-api-key"), "gold"),
        (&carol, Some("consumer carol of plan free, found by authenticator key: API key in header x-api-key"), "free"),
        (
            "key-alice",
            Some("consumer alice of plan gold, found by authenticator key: API key in header x-api-key"),
            "gold",
        ),
        (&ended, None, ""),
        (&typo, None, ""),
    ] {
        let explanation = explained(&file, key, "/mine");
        let status = served(key).status;
        match caller {
            Some(caller) => {
                assert_eq!((&explanation["caller"], status), (&caller.into(), 200));
                let seen = origin.take().remove(0);
                assert_eq!(seen.values("x-consumer-plan"), [plan.as_bytes()]);
                assert_eq!(explanation["outcome"], "forwarded");
            }
            None => assert_eq!((&explanation["refused"]["code"], status), (&"credential-unknown".into(), 401)),
        }
        assert_eq!(explanation["note"], Value::Null, "the store was read");
    }
}

#[test]
fn a_store_that_cannot_be_read_is_a_note_and_is_left_alone() {
    let origin = Origin::json("{}");
    let folder = tempfile::tempdir().unwrap();
    let (file, store) = (folder.path().join("tollgate.yaml"), folder.path().join("keys.db"));
    fs::write(&file, with_store(&origin).to_string()).unwrap();
    for (content, why) in [(None, "No such file"), (Some("no store"), "it is no store of tollgate")] {
        content.into_iter().for_each(|content| fs::write(&store, content).unwrap());
        let explanation = explained(&file, "tg_unknown", "/mine");
        let note = explanation["note"].as_str().unwrap_or_default();
        assert!(note.contains("keys.db cannot be read") && note.contains(why), "{note}");
        let (_, text) = run(&["explain"], &file, &["--key", "tg_unknown", "GET", "/mine"]);
        assert!(text.contains(&format!("note      {note}")), "{text}");
        // Where no key of the store could have changed anything, nothing is said.
        for (key, path) in [("key-alice", "/mine"), ("tg_unknown", "/open")] {
            assert_eq!(explained(&file, key, path)["note"], Value::Null, "{key} {path}");
        }
        let (_, given) = run(&["explain"], &file, &["--json", "--consumer", "alice", "GET", "/mine"]);
        assert_eq!(serde_json::from_str::<Value>(&given).unwrap()["note"], Value::Null);
        assert_eq!(fs::read(&store).ok().as_deref(), content.map(str::as_bytes));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1 + usize::from(content.is_some()));
    }
}
