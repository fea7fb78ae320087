//! Two faults at once: one of shape and one of meaning, both at random lines of the full file.
//!
//! Each is reported as it is alone and nothing else is, unless the fault of shape may be what causes the other.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use tollgate::config::{Loading, load_text};
use tollgate::gateway::Surroundings;
use tollgate::gateway::key_source::KeySources;
use tollgate::server::{self, Source};
use tollgate::telemetry::Telemetry;

use super::mutations::{FULL, Kind, Line, lines, problems};

/// A fault of meaning: a line of the full file and what stands there instead.
struct Meaning {
    line: &'static str,
    instead: &'static str,
    /// Where a fault of shape may be what causes it: keys with all that is in them, or a mapping (`routes.?`) in which
    /// a key that is not known may be one that is missed.
    causes: &'static [&'static str],
}

const fn meaning(line: &'static str, instead: &'static str, causes: &'static [&'static str]) -> Meaning {
    Meaning { line, instead, causes }
}

/// What decides whether routes match the same requests.
const REQUESTS: &[&str] =
    &["routes.name", "routes.host", "routes.method", "routes.methods", "routes.gateway_path", "routes.?"];

/// Every kind of problem that the compiler finds, where one line of the full file can make it.
const MEANINGS: [Meaning; 70] = [
    meaning("  address: 127.0.0.1:9090", "  address: 0.0.0.0:9090", &[]),
    meaning("  address: 127.0.0.1:9090", "  address: 0.0.0.0:8080", &["listeners"]),
    meaning("  - 10.0.0.0/8", "  - 0.0.0.0/0", &[]),
    meaning("timezone: Europe/Berlin", "timezone: Mars/Olympus", &[]),
    meaning("  flood: 500/second", "  flood: 500/minute", &[]),
    meaning("    url: http://127.0.0.1:8002", "    url: ftp://127.0.0.1:8002", &[]),
    meaning("      - address: 10.0.0.1:8002", "      - address: 10.0.0.1", &[]),
    meaning("      - address: search.internal:8002", "      - address: search.internal", &[]),
    meaning("      header: x-api-key", "      header: host", &[]),
    meaning("      query: key", "      query: ''", &[]),
    meaning("      cookie: session", "      cookie: a b", &[]),
    meaning("      - 1000/day", "      - 1000/second", &[]),
    meaning("      get-user: 3/second", "      get-usr: 3/second", &["routes.name"]),
    meaning("    concurrency: 4", "    concurrency: 0", &[]),
    meaning("    plan: free", "    plan: fre", &["plans", "consumers.alice.?"]),
    meaning("      - clerks", "      - the clerks", &[]),
    meaning("    - link", "    - lnk", &["authenticators", "routes.auth", "routes.?"]),
    meaning("  - name: sign-up", "  - name: raw", &["routes.name"]),
    meaning("  - name: sign-up", "  - name: sign up", &[]),
    meaning("  - name: sign-up", "  - name: getUser", &["routes.name", "routes.operation_id", "routes.?"]),
    meaning("    method: GET", "    method: GTE", &[]),
    meaning("    host: api.example.com", "    host: api..example.com", &[]),
    meaning("    gateway_path: /users/{id}", "    gateway_path: users/{id}", &[]),
    meaning("    gateway_path: /sign-up", "    gateway_path: /legacy/{*all}", REQUESTS),
    meaning("    service: search", "    service: serch", &["services", "routes.service"]),
    meaning("    service_path: /v1/users/{id}", "    service_path: /v1/users/{other}", &["routes.gateway_path"]),
    meaning("        minimum: 1", "        minimun: 1", &[]),
    meaning("        maximum: 100", "        maximum: x", &[]),
    meaning("        default: 20", "        default: 101", &["routes.query_params.limit"]),
    meaning("        by: client_ip", "        by: consumer", &["routes.auth"]),
    meaning("      - rate: 50/second burst 100", "      - rate: 50/second burst 1", &["routes.cost"]),
    meaning("    cost: 2", "    cost: 0", &[]),
    meaning("        - cookie", "        - content-length", &[]),
    meaning("        x-from: gateway", "        x-consumer-name: gateway", &[]),
    meaning("        x-api: v1", "        x-api: \"\\x01\"", &[]),
    meaning("    status_code: 200", "    status_code: 99", &[]),
    meaning("      404:", "      4044:", &[]),
    meaning("    operation_id: getUser", "    operation_id: raw", &["routes.name", "routes.operation_id", "routes.?"]),
    meaning("      - POST", "      - PSOT", &[]),
    meaning("        pattern: ^[A-Z]", "        pattern: '[A-Z'", &[]),
    meaning("        format: email", "        format: mail", &[]),
    meaning("        minContains: 1", "        minContains: x", &[]),
    meaning("            type: integer", "            type: intger", &[]),
    meaning("        type: string", "        type: strng", &[]),
    meaning(
        "    method: POST",
        "    method: GET",
        &["routes.methods", "routes.body", "routes.form_params", "routes.?"],
    ),
    meaning("  listener: 0.0.0.0:8080", "  listener: 0.0.0.0:8081", &["listeners"]),
    meaning("  listener: 0.0.0.0:8080", "  listener: 0.0.0.0:8088", &["listeners"]),
    meaning("    - https://api.example.com", "    - api.example.com", &[]),
    meaning(
        "    gateway_path: /sign-up",
        "    gateway_path: /docs",
        &["docs.listener", "listeners", "routes.method", "routes.methods", "routes.?"],
    ),
    meaning("      x-tenant:", "      Via:", &[]),
    meaning("      x-tenant:", "      Content-Type:", &["routes.body", "routes.?"]),
    meaning("      x-tenant:", "      X-Api-Key:", &["authenticators", "routes.auth", "routes.?"]),
    meaning("      theme:", "      session:", &["authenticators", "routes.auth", "routes.?"]),
    meaning("      theme:", "      a b:", &[]),
    meaning("        - accept", "        - te", &[]),
    meaning("        - accept", "        - X-Api-Key", &["authenticators", "routes.auth", "routes.?"]),
    meaning("        - accept", "        - x_tenant", &["routes.header_params", "routes.?"]),
    meaning("        max_size: 5MiB", "        max_size: 16MiB", &["routes.max_body", "routes.?"]),
    meaning("        content_types: [image/png, image/*]", "        content_types: [png]", &[]),
    meaning("          max_size: 1MiB", "          max_size: much", &[]),
    meaning("        $ref: \"#/$defs/tree\"", "        $ref: \"#/$defs/three\"", &[]),
    meaning("            $anchor: tree", "            $anchr: tree", &[]),
    meaning("          - id", "          - 7", &[]),
    meaning("        - alice", "        - alcie", &["consumers", "store", "authenticators"]),
    meaning("        - free", "        - fre", &["plans"]),
    meaning("        - users:write", "        - users write", &[]),
    meaning("        level: [3, 4]", "        level: []", &[]),
    meaning(
        "    - 192.0.2.0/24",
        "    - 10.0.0.0/8",
        &["defaults.allow", "routes.allow", "routes.deny_addresses", "routes.?"],
    ),
    meaning("      - 10.9.0.0/16", "      - 10.1.0.0/16", &["routes.allow", "routes.?"]),
    meaning("    max_body: 64KiB", "    auth: public", &["routes.allow", "routes.?"]),
];

/// A fault of shape at a line of the full file.
struct Shape {
    line: Line,
    new: String,
    /// Whether what belongs to the line's value goes with it.
    whole: bool,
}

fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for line in lines() {
        let (indent, key, value) = (line.indent, line.key, line.value);
        let wrong = line.wrong_values().iter().map(|wrong| (format!("{indent}{key}: {wrong}"), true));
        let misspelt = (line.kind() == Kind::Format).then(|| (format!("{indent}{key}x: {value}"), false));
        for (new, whole) in wrong.chain(misspelt) {
            let shape = Shape { line: line.clone(), new, whole };
            if matches!(load_text("full.yaml", shape.applied(FULL)).0, Loading::Damaged(_)) {
                shapes.push(shape);
            }
        }
    }
    shapes
}

impl Shape {
    fn applied(&self, text: &str) -> String {
        self.line.replaced_in(text, &self.new, self.whole)
    }
}

impl Shape {
    /// Whether this may be what causes `meaning`: then that may be missing, or all of it.
    fn may_cause(&self, meaning: &Meaning) -> bool {
        let path = [self.line.parents.as_slice(), &[self.line.key]].concat().join(".");
        meaning.causes.iter().any(|cause| match cause.strip_suffix(".?") {
            // Under a key that is not known there may be one that is missed.
            Some(mapping) => !self.whole && self.line.parents.join(".") == mapping,
            None => path == *cause || cause.starts_with(&format!("{path}.")) || path.starts_with(&format!("{cause}.")),
        })
    }
}

static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(shapes);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn both_faults_are_reported_and_nothing_else(
        shape in any::<Index>(), meaning in any::<Index>(), line in any::<Index>()
    ) {
        let (shape, meaning) = (shape.get(&SHAPES), meaning.get(&MEANINGS));
        let mut lines: Vec<&str> = FULL.lines().collect();
        let alike: Vec<usize> = (0..lines.len()).filter(|at| lines[*at] == meaning.line).collect();
        prop_assert!(!alike.is_empty(), "{} is not in the full file", meaning.line);
        let at = *line.get(&alike);
        lines[at] = meaning.instead;
        let text = lines.join("\n");
        // What is replaced along with a faulty value is not there to be wrong.
        prop_assume!(!shape.whole || !shape.line.covers(at + 1));
        prop_assume!(shape.line.number != at + 1);
        let (alone, other) = (problems(&shape.applied(FULL)), problems(&text));
        prop_assert!(!other.is_empty(), "{} is no fault", meaning.instead);
        let found = problems(&shape.applied(&text));
        // Nobody knows what stands under a key that is not known.
        let caused = shape.may_cause(meaning) || shape.line.covers(at + 1);
        let missing: Vec<_> = other.iter().filter(|problem| !found.contains(problem)).collect();
        let extra: Vec<_> =
            found.iter().filter(|problem| !alone.contains(problem) && !other.contains(problem)).collect();
        let what = format!("line {}: {}, line {}: {}", shape.line.number, shape.new, at + 1, meaning.instead);
        prop_assert!(alone.iter().all(|problem| found.contains(problem)), "{what}: {found:?}, alone {alone:?}");
        prop_assert!(extra.is_empty(), "{what}: {extra:?} is false");
        prop_assert!(missing.is_empty() || caused, "{what}: {missing:?} is missing");
    }
}

#[test]
fn a_fault_of_shape_alone_causes_no_other() {
    for shape in SHAPES.iter() {
        let found = problems(&shape.applied(FULL));
        let (line, new) = (shape.line.number, &shape.new);
        // A mapping that is replaced as a whole may miss several keys.
        assert!(found.iter().all(|(number, _)| *number == line), "line {line}: {new}: {found:?}");
    }
}

#[test]
fn no_generation_comes_of_a_faulty_shape() {
    let telemetry = Telemetry::new("", "");
    let lookup = |_: &str, _: u16| panic!("a name of a damaged configuration is looked up");
    for shape in SHAPES.iter() {
        let surroundings = Surroundings {
            telemetry: &telemetry,
            lookup: &lookup,
            generation: 1,
            flood: None,
            keys: &KeySources::default(),
            read: None,
            now: 0,
            running: &[],
            services: &[],
        };
        let source = Source::Text { name: "full.yaml".to_owned(), text: shape.applied(FULL) };
        let checked = server::check(&source, server::Purpose::Serving, &surroundings);
        assert!(checked.gateway.is_none() && checked.loaded.is_none(), "line {}: {}", shape.line.number, shape.new);
    }
    assert!(SHAPES.len() > 350, "only {} shapes were tried", SHAPES.len());
}
