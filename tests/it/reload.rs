//! Generations: a changed file is in force as a whole or not at all, without a lost or wrong answer.
//!
//! A generation is told by a number that stands in everything a file decides: the service path, a header for the
//! service, two headers for the client. The service echoes what it got, so an answer shows which generation made
//! each of its parts.

mod leaving;
mod watch;

use std::net::SocketAddr;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::process::instance::{Instance, config, eventually};
use crate::support::client::{Client, Response, ask, fetch, request};
use crate::support::gateway::program;
use crate::support::origin::{Origin, Recorded, Reply};

/// A file that says this number wherever it can.
pub fn numbered(origin: SocketAddr, number: usize) -> Value {
    let text = number.to_string();
    config(
        origin,
        json!({
            "access_log": {"path": "off"},
            "routes": [{
                "name": "echo", "method": "GET", "gateway_path": "/echo", "service": "origin", "auth": "public",
                "service_path": format!("/{number}/echo"),
                "request_headers": {"set": {"x-number": text}},
                "response_headers": {"set": {"x-first": text, "x-second": text}},
            }],
        }),
    )
}

/// The number in the path and the number in the header, as the service got them.
fn echo(request: &Recorded) -> Reply {
    let header = request.values("x-number").concat();
    Reply::json(200, &format!("{} {}", request.path(), String::from_utf8_lossy(&header)))
}

/// The number of the generation that an answer belongs to, wholly.
pub fn number(answer: &Response) -> usize {
    assert_eq!((answer.status, answer.cut), (200, false), "{answer:?}");
    let number = answer.value("x-first").expect("a number").to_owned();
    assert_eq!(answer.value("x-second"), Some(number.as_str()), "two generations in {answer:?}");
    assert_eq!(answer.text(), format!("/{number}/echo {number}"), "two generations in {answer:?}");
    number.parse().expect("a number")
}

fn published(answer: &Value) -> bool {
    answer["result"] == "published"
}

#[test]
fn under_load_every_answer_belongs_to_one_generation_and_none_is_lost() {
    const RELOADS: usize = 200;
    let origin = Origin::start(echo);
    let gateway = Instance::start(&numbered(origin.address(), 1));
    let (done, newest) = (AtomicBool::new(false), AtomicUsize::new(1));
    // A generation that was published before a request was sent must not be older in its answer.
    let ask_until_done = |keep: bool| {
        let (mut answers, mut seen) = (0_usize, 0);
        let fields: &[(&str, &str)] = if keep { &[] } else { &[("connection", "close")] };
        let bytes = request("GET", "/echo", fields, b"");
        let mut client = Client::connect(gateway.public);
        while !done.load(Ordering::Relaxed) {
            let least = newest.load(Ordering::SeqCst).max(seen);
            let answer = client.ask(&bytes).expect("an answer");
            seen = number(&answer);
            assert!(seen >= least, "generation {seen} after {least}");
            answers += 1;
            if !keep {
                client = Client::connect(gateway.public);
            }
        }
        answers
    };
    thread::scope(|scope| {
        let ask_until_done = &ask_until_done;
        let clients: Vec<_> = (0..8).map(|client| scope.spawn(move || ask_until_done(client % 2 == 0))).collect();
        for turn in 2..=RELOADS {
            if turn % 20 == 0 {
                let refused = gateway.reload(&json!({"version": 1, "routes": "nonsense"}));
                assert_eq!(refused["result"], "refused", "{refused}");
            }
            let answer = gateway.reload(&numbered(origin.address(), turn));
            assert!(published(&answer), "{answer}");
            newest.store(turn, Ordering::SeqCst);
        }
        done.store(true, Ordering::Relaxed);
        let answers: Vec<usize> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert!(answers.iter().all(|count| *count > RELOADS / 4), "hardly any load: {answers:?}");
    });
    assert_eq!(number(&fetch(gateway.public, "/echo")), RELOADS);
    assert_eq!(gateway.metric("tollgate_config_generation"), Some(RELOADS as f64));
}

#[test]
fn a_request_in_flight_keeps_its_generation() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let origin = Origin::start(move |request| {
        if request.path() == "/1/echo" {
            let _ = held.lock().unwrap().recv();
        }
        echo(request)
    });
    let gateway = Instance::start(&numbered(origin.address(), 1));
    let mut client = Client::connect(gateway.public);
    client.send(&request("GET", "/echo", &[], b""));
    assert!(eventually(|| origin.requests().len() == 1));
    assert!(published(&gateway.reload(&numbered(origin.address(), 2))));
    assert_eq!(number(&fetch(gateway.public, "/echo")), 2);
    release.send(()).unwrap();
    assert_eq!(number(&client.response().unwrap()), 1);
    assert_eq!(number(&client.ask(&request("GET", "/echo", &[], b"")).unwrap()), 2, "on the same connection");
}

/// Exit code, standard output and standard error.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What operators see of reloads in the metrics: generation, last result, and how many of each.
fn counted(gateway: &Instance) -> [Option<f64>; 5] {
    [
        "tollgate_config_generation",
        "tollgate_config_last_reload_successful",
        "tollgate_config_reloads_total{result=\"published\"}",
        "tollgate_config_reloads_total{result=\"unchanged\"}",
        "tollgate_config_reloads_total{result=\"refused\"}",
    ]
    .map(|name| gateway.metric(name))
}

#[test]
fn the_command_says_what_became_of_the_file() {
    let origin = Origin::start(echo);
    let gateway = Instance::start(&numbered(origin.address(), 1));

    let (code, out, _) = said(&gateway.reload_command());
    assert_eq!((code, out.as_str()), (Some(0), "unchanged, generation 1 goes on\n"));

    gateway.write(&numbered(origin.address(), 2));
    let (code, out, _) = said(&gateway.reload_command());
    assert_eq!((code, out.as_str()), (Some(0), "published generation 2\n"));
    assert_eq!(counted(&gateway), [2.0, 1.0, 1.0, 1.0, 0.0].map(Some));

    let good = std::fs::read_to_string(gateway.file()).unwrap();
    let bad = "version: 1\nlisteners:\n  - address: 127.0.0.1:0\nroutes:\n  - name: a\n    method: GET\n    \
               gateway_path: /a\n    service: nobody\n    auth: public\n";
    std::fs::write(gateway.file(), bad).unwrap();
    let (code, _, error) = said(&gateway.reload_command());
    let place = format!("{}:8:14", gateway.file().display());
    assert_eq!(code, Some(1), "{error}");
    for part in ["error: unknown service `nobody`", &place, "refused: the old configuration goes on"] {
        assert!(error.contains(part), "{part} is missing in\n{error}");
    }
    for part in ["configuration refused", "unknown service `nobody`", &place] {
        gateway.logged(part);
    }
    assert_eq!(counted(&gateway), [2.0, 0.0, 1.0, 1.0, 1.0].map(Some));
    assert_eq!(number(&fetch(gateway.public, "/echo")), 2);

    std::fs::write(gateway.file(), good).unwrap();
    let (code, out, _) = said(&gateway.reload_command());
    assert_eq!((code, out.as_str()), (Some(0), "unchanged, generation 2 goes on\n"));
    assert_eq!(counted(&gateway), [2.0, 1.0, 1.0, 2.0, 1.0].map(Some), "all is well again");
}

#[test]
fn the_command_finds_the_admin_listener_in_the_file_or_says_that_it_is_not_there() {
    let origin = Origin::start(echo);
    let gateway = Instance::start(&numbered(origin.address(), 1));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("named.yaml");
    let run = || said(&program().arg("reload").arg(&file).output().unwrap());

    // What else is wrong in the file does not matter: it is the gateway that reads it.
    std::fs::write(&file, format!("admin: {{ address: {} }}\nroutes: 7\n", gateway.admin)).unwrap();
    assert_eq!(run().0, Some(0));
    std::fs::write(&file, "version: 1\n").unwrap();
    let (code, _, error) = run();
    assert!(code == Some(2) && error.contains("names no admin listener"), "{error}");
    let nobody = crate::support::origin::Unreachable::reserve();
    std::fs::write(&file, format!("admin: {{ address: {} }}\n", nobody.address())).unwrap();
    let (code, _, error) = run();
    assert!(code == Some(2) && error.contains("does not answer"), "{error}");
}

#[test]
fn what_needs_an_upgrade_is_named_and_the_rest_is_applied() {
    let origin = Origin::start(echo);
    let gateway = Instance::start(&numbered(origin.address(), 1));
    for (turn, (section, value)) in [
        ("listeners", json!([{"address": "127.0.0.1:0"}, {"address": "127.0.0.2:0"}])),
        ("admin", json!({"address": "127.0.0.2:0"})),
        ("store", json!({"path": "other.db"})),
        ("upgrade", json!({"socket": "run/upgrade.sock"})),
    ]
    .into_iter()
    .enumerate()
    {
        let mut file = numbered(origin.address(), turn + 2);
        file[section] = value;
        gateway.write(&file);
        let (code, out, _) = said(&gateway.reload_command());
        assert_eq!(code, Some(0));
        assert!(out.contains(&format!("published generation {}", turn + 2)), "{out}");
        assert!(out.contains(&format!("{section} changed: it needs an upgrade")), "{out}");
        gateway.logged(&format!("configuration section {section} changed: it needs an upgrade"));
        assert_eq!(number(&fetch(gateway.public, "/echo")), turn + 2);
    }
    let answer = gateway.reload(&numbered(origin.address(), 6));
    assert_eq!(answer["upgrade_needed"], json!([]), "it is as at the start again");
}

#[test]
fn a_refused_file_leaves_no_trace_in_routes_configuration_and_metrics() {
    let origin = Origin::start(echo);
    let gateway = Instance::start(&numbered(origin.address(), 1));
    fetch(gateway.public, "/echo");
    let requests = r#"tollgate_requests_total{route="echo",status="200"}"#;
    assert!(eventually(|| gateway.metric(requests) == Some(1.0)), "a request is counted after its answer");
    let seen = || {
        let metrics = gateway.operator("GET", "/metrics", &[]).text();
        let mut series: Vec<String> =
            metrics.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect();
        series.sort();
        let page = |path| gateway.operator("GET", path, &[]).text();
        (series, page("/routes"), page("/config"))
    };
    let before = seen();
    let mut file = numbered(origin.address(), 2);
    let mut stranger = file["routes"][0].clone();
    stranger["name"] = json!("stranger");
    stranger["gateway_path"] = json!("/stranger");
    let mut faulty = stranger.clone();
    faulty["name"] = json!("faulty");
    faulty["gateway_path"] = json!("/faulty");
    faulty["service"] = json!("nobody");
    file["routes"] = json!([file["routes"][0], stranger, faulty]);
    assert_eq!(gateway.reload(&file)["result"], "refused");
    assert_eq!(seen(), before);
    // What is left of a file with a faulty shape is judged, and never published.
    file["routes"][1]["summary"] = json!([]);
    let answer = gateway.reload(&file);
    let report = answer["report"].as_str().unwrap_or_default();
    assert_eq!(answer["result"], "refused");
    for part in ["expected text, got a list", "unknown service `nobody`"] {
        assert!(report.contains(part), "{part} is missing in {report}");
    }
    assert_eq!(seen(), before);
}

#[test]
fn a_route_that_is_gone_is_gone_from_the_metrics_of_durations() {
    let origin = Origin::start(echo);
    let mut two = numbered(origin.address(), 1);
    let mut other = two["routes"][0].clone();
    other["name"] = json!("passing");
    other["gateway_path"] = json!("/passing");
    two["routes"].as_array_mut().unwrap().push(other);
    let gateway = Instance::start(&two);
    assert_eq!(ask(gateway.public, &request("GET", "/passing", &[], b"")).status, 200);
    let durations = || {
        let text = gateway.operator("GET", "/metrics", &[]).text();
        text.lines().filter(|line| line.contains("_seconds_bucket{route=\"passing\"")).count()
    };
    assert!(durations() > 0);
    assert!(published(&gateway.reload(&numbered(origin.address(), 2))));
    assert_eq!(durations(), 0);
    assert!(published(&gateway.reload(&two)));
    assert_eq!(ask(gateway.public, &request("GET", "/passing", &[], b"")).status, 200);
    assert!(durations() > 0, "it is back");
}
