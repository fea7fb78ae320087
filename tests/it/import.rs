//! `tollgate import`: a document goes in, a configuration that the gateway takes comes out.
//!
//! `described` tells what a document and a configuration say of operations and their parameters, so that both can be
//! compared, whichever way one was made from the other.

mod described;
mod hostile;
mod sources;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::examples::checked;
use crate::support::gateway::program;
use tollgate::config::{Color, Config, Severity, load_text};
use tollgate::gateway::router::RouterBuilder;
use tollgate::gateway::template::Template;
use tollgate::import::{Auth, ImportError, Options, Paths, import};
use tollgate::server::Source;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)).expect(path)
}

/// `tollgate import` in `tests`.
fn run(arguments: &[&str]) -> Output {
    let mut command = program();
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).arg("import").args(arguments);
    command.output().expect("run the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The gateway's router, as the program asks it.
#[derive(Default)]
struct Router(RouterBuilder<String>);

impl Paths for Router {
    fn take(&mut self, method: &str, path: &str) -> Result<(), String> {
        let template = Template::parse(path).map_err(|fault| fault.to_string())?;
        let method = method.parse().expect("a method");
        self.0.add(None, &[method], &template, path.to_owned()).map_err(|conflict| conflict.to_string())
    }
}

fn imported(document: &str, options: &Options) -> Result<String, ImportError> {
    let defaults = Options { service: "s".to_owned(), listen: "127.0.0.1:0".to_owned(), ..options.clone() };
    import(document, &defaults, &mut Router::default())
}

/// The errors that the gateway finds in a configuration.
fn errors(yaml: &str) -> Option<String> {
    let checked = checked(&Source::Text { name: "imported".to_owned(), text: yaml.to_owned() });
    let wrong = checked.report.problems().iter().any(|problem| problem.severity == Severity::Error);
    wrong.then(|| checked.report.render(&checked.sources, Color::Never))
}

fn config(yaml: &str) -> Config {
    let (loaded, report, sources) = load_text("imported", yaml);
    loaded.whole().unwrap_or_else(|| panic!("{}\n{yaml}", report.render(&sources, Color::Never))).config
}

/// Compares with the file of this name; `UPDATE_EXPECT=1` writes it.
fn expect(path: &str, found: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, found).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} is not what is imported (UPDATE_EXPECT=1 rewrites it):\n{found}");
}

#[test]
fn the_document_of_the_python_demo_becomes_its_routes() {
    let arguments = ["--service", "demo", "--url", "http://127.0.0.1:8002", "--auth", "public"];
    let output = run(&[&["compat/microservice_openapi.json"][..], &arguments].concat());
    let yaml = text(&output.stdout);
    expect("import/microservice.expected.yaml", &yaml);
    assert_eq!(errors(&yaml), None);
    let document: Value = serde_json::from_str(&read("compat/microservice_openapi.json")).unwrap();
    let (wanted, found) = (described::document(&document), described::configuration(&config(&yaml)));
    assert_eq!(wanted.len(), 12);
    assert_eq!(described::lost(&wanted, &found), [""; 0]);
}

/// What `tollgate openapi` says of an imported configuration.
fn exported(yaml: &str) -> Value {
    let folder = tempfile::tempdir().expect("make a directory");
    let file = folder.path().join("imported.yaml");
    fs::write(&file, yaml).expect("write the configuration");
    let output = program().arg("openapi").arg(&file).output().expect("run the program");
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_was_imported_is_exported() {
    let document = "compat/microservice_openapi.json";
    let output = run(&[document, "--service", "demo", "--url", "http://127.0.0.1:8002", "--auth", "public"]);
    let written: Value = serde_json::from_str(&read(document)).unwrap();
    let exported = exported(&text(&output.stdout));
    assert_eq!(described::lost(&described::document(&written), &described::document(&exported)), [""; 0]);
    for (path, item) in written["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for key in ["operationId", "summary", "tags"] {
                assert_eq!(exported["paths"][path][method][key], operation[key], "{method} {path}: {key}");
            }
        }
    }
}

#[test]
fn a_document_with_much_in_it_becomes_what_a_person_would_write() {
    let output = run(&["import/features.yaml", "--service", "orders"]);
    let yaml = text(&output.stdout);
    expect("import/features.expected.yaml", &yaml);
    assert_eq!(errors(&yaml), None);
}

#[test]
fn replies_are_checked_when_asked_for() {
    let document = read("import/features.yaml");
    let replies = tollgate::import::Replies::Checked;
    let yaml = imported(&document, &Options { replies, ..Options::default() }).unwrap();
    assert_eq!(errors(&yaml), None);
    let config = config(&yaml);
    let model = config.routes[0].response_model.as_ref().expect("a model of the reply");
    let items = serde_json::json!({ "type": "object", "properties": { "id": { "type": "integer" } } });
    assert_eq!(model.schema, Some(serde_json::json!({ "type": "array", "items": items })));
    assert!(config.routes[1].response_model.is_none());
}

#[test]
fn the_arguments_decide_on_paths_addresses_and_callers() {
    let document = read("compat/microservice_openapi.json");
    let options = |prefix: &str, auth| Options { prefix: prefix.to_owned(), auth, ..Options::default() };
    let yaml = imported(&document, &options("/api", Some(Auth::Any(vec!["a".to_owned(), "b".to_owned()])))).unwrap();
    let found = config(&yaml);
    assert_eq!(errors(&yaml), None);
    assert_eq!(found.routes[2].gateway_path, "/api/v1/list_model");
    assert_eq!(found.routes[2].service_path.as_deref(), Some("/v1/list_model"));
    assert_eq!(found.services["s"].url.as_deref(), Some("http://127.0.0.1:8000"));
    assert_eq!(found.authenticators.keys().collect::<Vec<_>>(), ["a", "b"]);
    let yaml = imported(&document, &options("", None)).unwrap();
    assert_eq!(errors(&yaml), None);
    assert_eq!(config(&yaml).authenticators.keys().collect::<Vec<_>>(), ["key"], "nothing said is not open");
    assert!(yaml.contains("does not say who may call"), "{yaml}");
}

/// A document with one server, one scheme for each way of security, and one operation.
fn secured(server: &str, operation: &str) -> String {
    let schemes = "{a: {type: apiKey, in: query, name: k}, b: {type: http, scheme: bearer}}";
    format!(
        "openapi: 3.1.0\nservers: [{{url: '{server}'}}]\ncomponents: {{securitySchemes: {schemes}}}\n\
         paths:\n  /x: {{get: {{{operation}}}}}\n  /y: {{get: {{security: [{{a: []}}]}}}}\n"
    )
}

#[test]
fn callers_are_those_of_the_document() {
    for (operation, auth) in [
        ("", "public"),
        ("security: []", "public"),
        ("security: [{}]", "public"),
        ("security: [{a: []}]", ""),
        ("security: [{b: []}]", "[\"key\"]"),
        ("security: [{b: []}, {a: []}]", ""),
        ("security: [{a: [], b: []}]", "[\"key\"]"),
        ("security: [{none: []}]", "[\"key\"]"),
    ] {
        let yaml = imported(&secured("http://a:1", operation), &Options::default()).unwrap();
        assert_eq!(errors(&yaml), None, "{operation}");
        let config = config(&yaml);
        let said = config.routes[0].auth.as_ref().map(|auth| serde_json::to_value(auth).unwrap());
        let said = said.map_or(String::new(), |said| said.as_str().map_or(said.to_string(), str::to_owned));
        // The first operation that asks for anything sets the default.
        let default = serde_json::to_value(&config.defaults.auth).unwrap().to_string();
        let said = if said.is_empty() && default == auth { default } else { said };
        assert_eq!(said, auth, "{operation}: {yaml}");
    }
}

#[test]
fn the_address_is_the_document_s_first_server() {
    for (server, url, said) in [
        ("http://a:1/v1/", "http://a:1/v1", false),
        ("/v2", "http://127.0.0.1:8000/v2", true),
        ("/", "http://127.0.0.1:8000", true),
        ("https://a", "http://127.0.0.1:8000", true),
        ("http://{host}/", "http://127.0.0.1:8000", true),
    ] {
        let yaml = imported(&secured(server, ""), &Options::default()).unwrap();
        assert_eq!(config(&yaml).services["s"].url.as_deref(), Some(url), "{server}");
        assert_eq!(yaml.contains("put its address here"), said, "{server}");
        assert_eq!(errors(&yaml), None, "{server}");
    }
    let origin = Some("http://b:2".to_owned());
    let yaml = imported(&secured("/v1", ""), &Options { origin, ..Options::default() }).unwrap();
    assert_eq!(config(&yaml).services["s"].url.as_deref(), Some("http://b:2/v1"));
}
