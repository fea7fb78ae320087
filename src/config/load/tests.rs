//! Files, includes, merges and placeholders, in a directory of their own.

use std::fs;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::{Color, Step};

const BASE: &str = "version: 1\nlisteners: [{address: '127.0.0.1:0'}]\n";

fn text(path: std::path::PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

/// A configuration of several files; the first is loaded. `PORT` is 8080, `NAME` is `anna`, `ON` is `true`.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        Self::of_bytes(&files)
    }

    fn of_bytes(files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        Self(directory)
    }

    fn load(&self, name: &str) -> (Loading, Report, Sources) {
        load(&self.0.path().join(name), &|name| match name {
            "CREDENTIALS_DIRECTORY" => Some(self.0.path().join("credentials")).filter(|given| given.exists()).map(text),
            "PORT" => Some("8080".to_owned()),
            "NAME" => Some("anna".to_owned()),
            "ON" => Some("true".to_owned()),
            "TRICK" => Some("${env:NAME}".to_owned()),
            _ => None,
        })
    }

    fn good(&self, name: &str) -> Loaded {
        let (loading, report, sources) = self.load(name);
        assert_eq!(report.render(&sources, Color::Never), "");
        loading.whole().unwrap()
    }

    /// `file:line: message` of every problem.
    fn problems(&self, name: &str) -> Vec<String> {
        let (_, report, sources) = self.load(name);
        let json = report.to_json(&sources);
        let directory = format!("{}/", self.0.path().display());
        let line = |problem: &serde_json::Value| {
            let file = problem["file"].as_str().unwrap_or_default();
            let text = format!("{file}:{}: {}", problem["line"], problem["message"].as_str().unwrap());
            text.replace(&directory, "")
        };
        json.as_array().unwrap().iter().map(line).collect()
    }
}

/// The one file `BASE` + `text`.
fn main(text: &str) -> Files {
    Files::new(&[("main.yaml", &format!("{BASE}{text}"))])
}

#[test]
fn placeholders_stand_for_the_world() {
    for (written, expected) in [
        ("${env:NAME}", "anna"),
        ("x-${env:NAME}-${env:PORT}", "x-anna-8080"),
        ("${env:NONE:-some default}", "some default"),
        ("${env:NONE:-}", ""),
        ("${env:NAME:-no}", "anna"),
        ("${env:PORT}", "8080"),
        ("$${env:NAME}", "${env:NAME}"),
        ("$${", "${"),
        ("a$$${env:NAME}", "a$${env:NAME}"),
        ("$ {} $}", "$ {} $}"),
        ("${env:TRICK}", "${env:NAME}"),
        ("${file:secret.txt}", "two\nlines"),
    ] {
        let text = format!("{BASE}timezone: '{written}'\n");
        let files = Files::new(&[("main.yaml", text.as_str()), ("secret.txt", "two\nlines\r\n")]);
        assert_eq!(files.good("main.yaml").config.timezone, expected, "{written}");
    }
}

#[test]
fn credentials_are_those_of_the_unit() {
    let load = |written: &str, unit: &[(&str, &[u8])]| {
        let main = format!("{BASE}timezone: '{written}'\n");
        Files::of_bytes(&[&[("main.yaml", main.as_bytes())], unit].concat())
    };
    let unit: &[(&str, &[u8])] =
        &[("credentials/zone", b"Asia/Tokyo\n"), ("credentials/binary", &[0xff]), ("outside", b"secret")];
    assert_eq!(load("${credential:zone}", unit).good("main.yaml").config.timezone, "Asia/Tokyo");
    for (written, unit, message) in [
        ("${credential:zone}", &[][..], "there is no credential `zone` outside of a systemd unit that has credentials"),
        ("${credential:none}", unit, "the unit has no credential `none`"),
        ("${credential:../outside}", unit, "`../outside` is no name of a credential"),
        ("${credential:..}", unit, "`..` is no name of a credential"),
        ("${credential:}", unit, "`` is no name of a credential"),
        ("${credential:binary}", unit, "credential `binary` is not UTF-8 text"),
    ] {
        assert_eq!(load(written, unit).problems("main.yaml"), [format!("main.yaml:3: {message}")], "{written}");
    }
}

#[test]
fn a_placeholder_takes_the_type_of_its_place() {
    let loaded = main("guard: {header_count: '${env:PORT}'}\nreload: {watch: '${env:ON}'}\n").good("main.yaml");
    assert_eq!(loaded.config.guard.header_count, 8080);
    assert!(loaded.config.reload.watch);
    let places: Vec<_> = loaded.interpolated.iter().map(Place::to_string).collect();
    assert_eq!(places, ["guard.header_count", "reload.watch"]);
}

#[test]
fn a_literal_brace_is_not_secret() {
    assert_eq!(main("timezone: '$${x}'\n").good("main.yaml").interpolated, []);
}

#[test]
fn placeholders_that_stand_for_nothing_are_problems() {
    for (written, message) in [
        ("${env:NONE}", "the environment variable `NONE` is not set"),
        ("${env:A B}", "`A B` is no name of a variable"),
        ("${NAME}", "this placeholder has no known form"),
        ("${file:}", "this placeholder has no known form"),
        ("${env:NAME", "the placeholder has no end"),
        ("${file:/dev/zero}", "cannot read /dev/zero: it is no regular file"),
    ] {
        // `auth` is no text: the place of an unresolved placeholder is not complained of a second time.
        let files = main(&format!("defaults:\n  auth: '{written}'\n"));
        assert_eq!(files.problems("main.yaml"), [format!("main.yaml:4: {message}")]);
    }
}

#[test]
fn merges_give_what_is_not_written() {
    let text = "\
services:
  one: &one {url: 'http://127.0.0.1:1', preserve_host: true}
  two: &two {<<: *one, url: 'http://127.0.0.1:2'}
  three: {<<: [*two, *one], preserve_host: false}
";
    let services = main(text).good("main.yaml").config.services;
    let found: Vec<_> =
        services.values().map(|service| (service.url.clone().unwrap(), service.preserve_host)).collect();
    let url = |number| format!("http://127.0.0.1:{number}");
    assert_eq!(found, [(url(1), true), (url(2), true), (url(2), false)]);
}

#[test]
fn included_files_are_put_together_in_order() {
    let route = |name: &str| format!("routes: [{{name: {name}, gateway_path: /{name}, service: s}}]\n");
    let files = Files::new(&[
        ("main.yaml", &format!("{BASE}include: ['routes/*.yaml', plans.yaml]\n{}", route("main"))),
        ("routes/b.yaml", &route("b")),
        ("routes/a.yaml", &format!("version: 1\n{}services: {{s: {{url: 'http://127.0.0.1:1'}}}}\n", route("a"))),
        ("routes/.hidden.yaml", "junk"),
        ("routes/a.yaml.bak", "junk"),
        ("plans.yaml", "plans: {free: {}}\nservices: {t: {url: '${file:here.txt}'}}\ndrain: {timeout: 9s}\n"),
        ("here.txt", "http://127.0.0.1:2"),
    ]);
    let loaded = files.good("main.yaml");
    let names: Vec<_> = loaded.config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["main", "a", "b"]);
    assert_eq!(loaded.config.services.keys().collect::<Vec<_>>(), ["s", "t"]);
    assert_eq!(loaded.config.drain.timeout.get().as_secs(), 9);
    assert_eq!(loaded.interpolated, [Place(vec!["services", "t", "url"].into_iter().map(step).collect())]);
    let read: Vec<_> = loaded.files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(read, ["main.yaml", "a.yaml", "b.yaml", "plans.yaml", "here.txt"]);
}

fn step(key: &str) -> Step {
    Step::Key(key.to_owned())
}

#[test]
fn a_problem_shows_the_file_it_is_in() {
    let route = "\nroutes:\n  - {name: a, gateway_path: /a, service: s, cost: x}\n";
    let files = Files::new(&[
        ("main.yaml", &format!("{BASE}include: [one.yaml, two.yaml, three.yaml]\nroutes: [{{}}]\n")),
        ("one.yaml", &format!("services: {{a: {{uri: x}}}}{route}")),
        ("two.yaml", &format!("services: {{b: 5, a: {{}}}}\nguard: {{flood: x}}{route}")),
        ("three.yaml", "include: []\nguard: {}\nversion: 3\nbrew: 1\n"),
    ]);
    let number = "expected a whole number from 0 to 4294967295, got `x`";
    assert_eq!(
        files.problems("main.yaml"),
        [
            "main.yaml:4: missing key `name`",
            "main.yaml:4: missing key `gateway_path`",
            "main.yaml:4: missing key `service`",
            "one.yaml:1: unknown key `uri`",
            &format!("one.yaml:3: {number}"),
            "two.yaml:1: expected a mapping, got `5`",
            "two.yaml:1: `services.a` is defined in two files",
            "two.yaml:2: expected a rate like `100/minute` or `5/second burst 10`, got `x`",
            &format!("two.yaml:4: {number}"),
            "three.yaml:1: an included file cannot include others",
            "three.yaml:2: `guard` is defined in two files",
            "three.yaml:3: `version` is defined in two files",
            "three.yaml:4: unknown key `brew`",
        ]
    );
}

#[test]
fn a_file_is_included_once_and_not_by_itself() {
    let files = Files::new(&[("main.yaml", &format!("{BASE}include: ['*.yaml', a.yaml]\n")), ("a.yaml", "plans: {}")]);
    let problems = files.problems("main.yaml").join("\n");
    assert!(problems.contains("main.yaml is included already") && problems.contains("a.yaml is included already"));
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let files = Files::new(&[("main.yaml", BASE)]);
    let problems = files.problems("none.yaml");
    assert_eq!(problems, ["none.yaml:null: cannot read none.yaml: No such file or directory (os error 2)"]);
}

#[test]
fn stars_stand_for_any_characters() {
    for (pattern, name, expected) in [
        ("*.yaml", "a.yaml", true),
        ("*.yaml", ".yaml", true),
        ("*.yaml", "a.yml", false),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "abc", true),
        ("a*b*c", "ac", false),
        ("a*a", "a", false),
        ("*", "", true),
        ("a", "a", true),
        ("a", "ab", false),
        ("é*", "éa", true),
    ] {
        assert_eq!(compose::glob(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn the_hash_is_of_what_is_meant_not_of_how_it_is_written() {
    let hash = |text: &str| main(text).good("main.yaml").text_hash;
    let first = hash("timezone: UTC # comment\ndrain: {timeout: 1s}\n");
    assert_eq!(first.len(), 64);
    assert_eq!(first, hash("timezone: \"UTC\"\n\ndrain:\n  timeout: 1s\n"));
    assert_eq!(first, hash("timezone: ${env:NONE:-UTC}\ndrain: {timeout: 1s}\n"));
    assert_ne!(first, hash("timezone: UTC\ndrain: {timeout: 2s}\n"));
}

#[test]
fn a_text_has_neither_files_nor_environment() {
    for text in ["include: ['*.yaml']", "timezone: ${env:PATH}", "timezone: ${file:/etc/hostname}"] {
        let (loading, report, _) = load_text("text", format!("{BASE}{text}\n"));
        assert!(loading.whole().is_none() && report.has_errors(), "{text}");
    }
    assert!(load_text("text", BASE).0.whole().is_some());
}

#[test]
fn what_would_grow_without_bound_is_refused() {
    let laughs: String = (1..30).map(|n| format!("a{n}: &a{n} [*a{p}, *a{p}]\n", p = n - 1)).collect();
    let flood = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(100_000), "*a,".repeat(100_000));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(10_000));
    for (what, text, message) in [
        ("nesting in flow", "[".repeat(100_000), "nesting is too deep"),
        ("nesting of mappings", "{a: ".repeat(1_000), "nesting is too deep"),
        ("nesting over lines", "{a:\n".repeat(100_000), "nesting is too deep"),
        ("nesting in block", "- ".repeat(1_000), "nesting is too deep"),
        ("billion laughs", format!("a0: &a0 [x]\n{laughs}"), "unfold to too much"),
        ("many aliases of much", flood, "unfold to too much"),
        ("many aliases of a long text", long, "unfold to too much"),
        ("a large file", " ".repeat(17 << 20), "larger than"),
    ] {
        let before = Instant::now();
        let (loading, report, sources) = load_text("text", text);
        let found = report.lines(&sources);
        assert!(loading.whole().is_none());
        assert!(found.len() == 1 && found[0].1.contains(message), "{what}: {found:?}");
        assert!(before.elapsed() < Duration::from_secs(20), "{what} took {:?}", before.elapsed());
    }
}

#[test]
fn unpaired_brackets_in_text_are_no_nesting() {
    let routes = "  - {name: a, gateway_path: /a, service: s, summary: '[[{', description: \"{\"} # {[\n".repeat(2000);
    assert!(load_text("text", format!("{BASE}routes:\n{routes}")).0.whole().is_some());
}

#[test]
fn a_flood_of_faults_ends() {
    let keys: String = (0..20_000).map(|n| format!("key{n}: ${{env:N}}\n")).collect();
    let (_, report, sources) = load_text("text", format!("{BASE}{keys}"));
    let found = report.lines(&sources);
    assert_eq!(found.len(), 2 * MOST_FAULTS + 1);
    assert_eq!(found[0].1, "there may be more problems than are shown here");
}

#[test]
fn a_file_of_ten_thousand_routes_is_read_in_a_moment() {
    let routes: String = (0..10_000)
        .map(|n| {
            format!(
                "  - {{name: r{n}, method: GET, gateway_path: '/r{n}/{{id}}', service: s, tags: [a], \
                 query_params: {{limit: {{type: integer, maximum: 100, default: 20}}}}, auth: [key]}}\n"
            )
        })
        .collect();
    let text = format!("{BASE}routes:\n{routes}");
    let before = Instant::now();
    assert_eq!(load_text("text", &text).0.whole().unwrap().config.routes.len(), 10_000);
    // A debug build on a busy machine takes some twenty times as long as a release build.
    assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
}

/// Pieces that lead far into the grammar.
fn yaml_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("version: 1\n"),
        Just("listeners:\n"),
        Just("  - address: 1.2.3.4:5\n"),
        Just("routes:\n"),
        Just("  - "),
        Just("name: "),
        Just("<<: "),
        Just("&a "),
        Just("*a"),
        Just("\n"),
        Just("  "),
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(", "),
        Just(": "),
        Just("'"),
        Just("\""),
        Just("|\n"),
        Just("\t"),
        Just("\r\n"),
        Just("é"),
        Just("include: "),
        Just("${env:A}"),
        Just("${"),
        Just("~"),
        Just("plans: "),
        Just("!!str "),
        Just("? "),
        Just("---\n"),
        Just("\u{feff}"),
        Just("\u{85}"),
        Just("#"),
        Just("1e999"),
        Just("-1"),
        Just("guard: "),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_loading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (loading, report, sources) = load_text("text", &bytes);
        prop_assert_eq!(loading.whole().is_none(), report.has_errors());
        report.render(&sources, Color::Always);
    }

    #[test]
    fn no_text_makes_loading_panic(text in yaml_like()) {
        for text in [text.clone(), format!("{BASE}{text}")] {
            let (loading, report, sources) = load_text("text", &text);
            prop_assert_eq!(loading.whole().is_none(), report.has_errors());
            report.render(&sources, Color::Never);
            report.to_json(&sources);
        }
    }
}

#[test]
fn schema_files_start_where_they_are_named_and_count_for_the_hash() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    std::fs::create_dir(path("routes")).unwrap();
    write(
        "main.yaml",
        "version: 1\nlisteners: []\ninclude: [routes/*.yaml]\nroutes:\n- {name: a, method: POST, gateway_path: /a, \
         service: s, body: {schema_file: routes/order.json}}\n",
    );
    write(
        "routes/b.yaml",
        "routes:\n- {name: b, method: POST, gateway_path: /b, service: s, body: {schema_file: order.json}, \
         response_model: {schema_file: reply.yml}}\n",
    );
    write("routes/order.json", r#"{"items": {"$ref": "item.json#/$defs/i"}, "not": {"$ref": "../far.json"}}"#);
    write("routes/item.json", r#"{"$defs": {"i": {"maximum": 1.50}}}"#);
    write("routes/reply.yml", "x: &x {type: integer}\nproperties: {a: *x}\n");
    write("far.json", "true");
    let load = || load(&path("main.yaml"), &|_| None);
    let loaded = load().0.whole().unwrap();
    let files: Vec<_> = loaded.files.iter().map(|file| file.strip_prefix(folder.path()).unwrap().to_owned()).collect();
    let names = ["main.yaml", "routes/b.yaml", "routes/order.json", "routes/item.json", "far.json"];
    assert_eq!(files[..5], names.map(std::path::PathBuf::from));
    let schemas = &loaded.config.schema_files;
    assert_eq!((files.len(), schemas.files.len()), (6, 4), "each file is read once");
    let place = |route, key| Place::root().key("routes").index(route).key(key);
    assert_eq!(schemas.of(&place(1, "body")).unwrap().path, path("routes/order.json"));
    assert_eq!(schemas.of(&place(1, "response_model")).unwrap().schema["properties"]["a"]["type"], "integer");
    assert_eq!(schemas.documents[&place(0, "body")].len(), 3);

    let before = loaded.text_hash;
    write("routes/item.json", r#"{ "$defs": {"i": {"maximum": 1.50}} }"#);
    assert_eq!(load().0.whole().unwrap().text_hash, before, "layout changes nothing");
    write("routes/item.json", r#"{"$defs": {"i": {"maximum": 1.5}}}"#);
    assert_ne!(load().0.whole().unwrap().text_hash, before);
    write("routes/order.json", r#"{"$ref": "../../x.json"}"#);
    assert!(load().0.whole().is_none());
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), "true").unwrap();
    std::os::unix::fs::symlink(outside.path(), path("routes/link.json")).unwrap();
    write("routes/order.json", r#"{"$ref": "link.json"}"#);
    let (none, report, _) = load();
    assert!(none.whole().is_none() && report.problems()[0].message.contains("outside"), "{report:?}");
}
