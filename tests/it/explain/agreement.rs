//! A thousand random requests on a configuration with something of everything: each is explained and really sent, and
//! both come to the same, byte for byte but for what belongs to one request alone. The caller is told by a credential, or
//! given to `explain` as a consumer or a plan where the gateway gets the key of such a one.

mod cases;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tollgate::explain::request::{Body, Caller, Spoken, written};
use tollgate::explain::{Explainer, Outcome, StoredKeys};
use tollgate::gateway::{Consumer, Surroundings};
use tollgate::proxy::rehearse::{Message, Part};
use tollgate::server::{Purpose, Source, check};
use tollgate::telemetry::Telemetry;

use crate::support::client::{Client, Response};
use crate::support::gateway::Gateway;
use crate::support::origin::{Origin, Recorded, Reply};

use cases::{By, CONFIG, Case, Random, case};

/// How many requests.
const CASES: u64 = 1_000;

/// What a comparison is about: a start line, fields by name, a body.
#[derive(Debug, PartialEq)]
struct Seen {
    start: String,
    fields: BTreeMap<String, Vec<String>>,
    body: String,
}

/// Without what belongs to one request alone: ids, times, boundaries, and what a connection does next.
fn seen(start: String, fields: &[(String, Vec<u8>)], body: &[u8]) -> Seen {
    let id = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-request-id"));
    let id = id.map(|(_, id)| String::from_utf8_lossy(id).into_owned()).filter(|id| id.len() == 32);
    let boundary = regex::Regex::new("tollgate-[0-9a-f]{32}").unwrap();
    let time = regex::Regex::new(";t=[0-9]+").unwrap();
    let clean = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        let text = id.as_ref().map_or(text.clone(), |id| text.replace(id, "ID"));
        time.replace_all(&boundary.replace_all(&text, "BOUNDARY"), ";t=TIME").into_owned()
    };
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        let value = match name.as_str() {
            "date" | "x-ratelimit-reset" | "retry-after" => "TIME".to_owned(),
            _ => clean(value),
        };
        by_name.entry(name).or_default().push(value);
    }
    Seen { start, fields: by_name, body: clean(body) }
}

fn of_message(message: &Message) -> Seen {
    let words: Vec<&str> = message.start.split(' ').collect();
    seen(format!("{} {}", words[0], words[1]), &message.fields, &message.body)
}

fn of_recorded(recorded: &Recorded) -> Seen {
    seen(format!("{} {}", recorded.method, recorded.target), &recorded.fields, &recorded.body)
}

fn of_response(response: &Response) -> Seen {
    seen(format!("HTTP/1.1 {}", response.status), &response.fields, &response.body)
}

fn explainer(config: &str) -> Explainer {
    let telemetry = Arc::new(Telemetry::new("test", ""));
    let lookup = |_: &str, _: u16| Ok(vec!["127.0.0.1:1".parse().unwrap()]);
    let keys = tollgate::gateway::key_source::KeySources::default();
    let surroundings = Surroundings {
        telemetry: &telemetry,
        lookup: &lookup,
        generation: 1,
        flood: None,
        keys: &keys,
        read: None,
        now: 0,
        running: &[],
        services: &[],
    };
    let source = Source::Text { name: "test.yaml".to_owned(), text: config.to_owned() };
    let gateway = check(&source, Purpose::Checking, &surroundings).gateway.expect("the configuration is right");
    Explainer::new(gateway, telemetry, &["127.0.0.1:0".parse().unwrap()], StoredKeys::default()).unwrap()
}

/// The consumer that `explain` is given.
fn given(explainer: &Explainer, by: By) -> Option<Arc<Consumer>> {
    let caller = match by {
        By::Credential => Caller::AsSent,
        By::Consumer(name) => Caller::Consumer(name.to_owned()),
        By::Plan => Caller::Plan("large".to_owned()),
    };
    let (method, url) = ("GET".to_owned(), "/".to_owned());
    let address = IpAddr::from([127, 0, 0, 1]);
    let spoken = Spoken { method, url, fields: Vec::new(), body: Body::None, address, caller };
    written(&explainer.gateway(), &[], &spoken).unwrap().consumer
}

/// The code of a rejection, unless its answer has no body that could tell it.
fn code_of(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Refused { refused: Some(refused), answer: Some(answer), .. } if !answer.body.is_empty() => {
            Some(refused.code)
        }
        _ => None,
    }
}

/// The code at the end of a problem's type.
fn code_in(response: &Response) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
    Some(body["type"].as_str()?.rsplit([':', '#']).next()?.to_owned())
}

/// How many requests ended in each way, by status; 0 counts those that the service got.
type Tally = BTreeMap<u16, u32>;

fn compare(trusted: &str, seed: u64, cases: u64) -> Tally {
    let origin = Origin::start(|_| Reply::json(200, "{}"));
    let config = CONFIG.replace("ORIGIN", &origin.address().to_string()).replace("TRUSTED", trusted);
    let gateway = Gateway::start(&config);
    let mut explainer = explainer(&config);
    let peer = IpAddr::from([127, 0, 0, 1]);
    let mut random = Random(seed);
    let mut tally = Tally::new();
    for number in 0..cases {
        let Case { explained, sent, by } = case(&mut random);
        let text = String::from_utf8_lossy(&sent).into_owned();
        let consumer = given(&explainer, by);
        let explained = explainer.explain(&Part { bytes: explained, peer, listener: None, consumer });
        let response = Client::connect(gateway.address()).ask(&sent).unwrap_or_else(|error| panic!("{error}: {text}"));
        // What arrives late of an earlier request, which was cut off, bears another id.
        let id = response.value("x-request-id").map(str::as_bytes);
        let mut arrived = origin.take();
        arrived.retain(|recorded| recorded.values("x-request-id").first().copied() == id);
        let limits: Vec<&str> = explained.limits.iter().map(|limit| limit.policy.as_str()).collect();
        match &explained.outcome {
            Outcome::Forwarded(_) => {
                let goes = explained.performance.service.as_ref().unwrap();
                assert_eq!(arrived.len(), 1, "case {number}: {} for\n{text}", response.status);
                assert_eq!(of_message(goes), of_recorded(&arrived[0]), "case {number}:\n{text}");
                *tally.entry(0).or_default() += 1;
            }
            Outcome::Answered(answer) | Outcome::Refused { answer: Some(answer), .. } => {
                let (told, got) = (of_message(answer), of_response(&response));
                assert_eq!(told, got, "case {number}:\n{text}");
                // A streamed body may turn out to be too large while the service gets it.
                assert!(arrived.is_empty() || response.status == 413, "case {number}:\n{text}");
                assert_eq!(code_of(&explained.outcome), code_in(&response).as_deref(), "case {number}:\n{text}");
                *tally.entry(answer.status()).or_default() += 1;
            }
            Outcome::Refused { answer: None, .. } => {
                panic!("case {number}: no answer, but {}\n{text}", response.status)
            }
        }
        // Every limit that the gateway asked is told, in its order.
        if let Some(policy) = response.value("ratelimit-policy") {
            assert_eq!(limits.join(", "), policy, "case {number}:\n{text}");
        }
    }
    tally
}

#[test]
fn explain_and_the_running_gateway_agree_on_a_thousand_random_requests() {
    let tally = compare("192.0.2.0/24", 4, CASES);
    assert_eq!(tally.values().sum::<u32>(), 1_000, "{tally:?}");
    for (status, least) in [
        (0, 200),
        (204, 3),
        (400, 20),
        (401, 20),
        (403, 5),
        (404, 10),
        (405, 10),
        (413, 5),
        (415, 10),
        (422, 50),
        (429, 10),
    ] {
        let count = tally.get(&status).copied().unwrap_or_default();
        assert!(count >= least, "{status} came {count} times: {tally:?}");
    }
}

#[test]
fn they_agree_behind_a_trusted_proxy() {
    let tally = compare("127.0.0.0/8", 5, 200);
    assert!(tally[&0] > 30, "{tally:?}");
}
