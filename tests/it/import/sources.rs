//! Where a document comes from, where the configuration goes, and the exit codes.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::{read, run, text};
use crate::support::gateway::program;
use crate::support::origin::{Origin, Reply, Unreachable};

const DOCUMENT: &str = "{\"openapi\": \"3.1.0\", \"paths\": {\"/a\": {\"get\": {\"operationId\": \"a\"}}}}";

fn from_url(url: &str) -> (Option<i32>, String, String) {
    let output = run(&[url, "--service", "s"]);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_running_service_is_asked() {
    let origin = Origin::json(DOCUMENT);
    let address = origin.address();
    let (code, out, error) = from_url(&format!("http://{address}/openapi.json?x=1"));
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(out.contains(&format!("s: {{ url: \"http://{address}\" }}")), "{out}");
    assert!(out.contains("gateway_path: /a\n"), "{out}");
    let asked = origin.take();
    assert_eq!((asked.len(), asked[0].target.as_str()), (1, "/openapi.json?x=1"));
}

#[test]
fn redirects_stay_on_the_host() {
    let moved = |to: &str| {
        let to = to.to_owned();
        Origin::start(move |request| match request.path() {
            "/openapi.json" => Reply::raw(format!("HTTP/1.1 307 -\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")),
            _ => Reply::json(200, DOCUMENT),
        })
    };
    let origin = moved("/docs/openapi.json");
    let (code, _, error) = from_url(&format!("http://{}/openapi.json", origin.address()));
    assert_eq!((code, error.as_str(), origin.requests().len()), (Some(0), "", 2));
    let other = Origin::json(DOCUMENT);
    for to in [format!("http://{}/x", other.address()), format!("//{}/x", other.address()), "file:///etc/passwd".into()]
    {
        let origin = moved(&to);
        let (code, out, error) = from_url(&format!("http://{}/openapi.json", origin.address()));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{to}");
        assert!(error.contains("which is not followed"), "{error}");
    }
    assert!(other.requests().is_empty());
    let origin = moved("/openapi.json");
    assert_eq!(from_url(&format!("http://{}/openapi.json", origin.address())).0, Some(2), "a redirect to itself");
}

#[test]
fn an_answer_that_is_no_document_is_told() {
    let refusing = Origin::start(|_| Reply::json(404, "{}"));
    let huge = Origin::start(|_| {
        let length = 17 << 20;
        Reply::raw(
            [format!("HTTP/1.1 200 -\r\ncontent-length: {length}\r\n\r\n").into_bytes(), vec![b' '; length]].concat(),
        )
    });
    let down = Unreachable::reserve();
    for (url, code, said) in [
        (format!("http://{}/x", refusing.address()), 2, "status 404"),
        (format!("http://{}/x", huge.address()), 2, "error: "),
        (format!("http://{}/x", down.address()), 2, "error: "),
        ("https://127.0.0.1/x".to_owned(), 2, "curl -fsS https://127.0.0.1/x | tollgate import -"),
        ("http://".to_owned(), 2, "is no URL"),
        ("no/such/file".to_owned(), 2, "no/such/file"),
        ("config/full.yaml".to_owned(), 1, "this is no OpenAPI document"),
    ] {
        let (found, out, error) = from_url(&url);
        assert_eq!((found, out.as_str()), (Some(code), ""), "{url}: {error}");
        assert!(error.contains(said), "{url}: {error}");
    }
}

#[test]
fn a_document_may_come_from_standard_input() {
    let mut child = program()
        .args(["import", "-", "--service", "s", "--url", "http://b:1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run the program");
    child.stdin.take().expect("stdin is piped").write_all(DOCUMENT.as_bytes()).expect("write the document");
    let output = child.wait_with_output().expect("wait for the program");
    let out = text(&output.stdout);
    assert!(
        output.status.success() && out.contains("imported from standard input") && out.contains("http://b:1"),
        "{out}"
    );
}

#[test]
fn a_new_file_is_written_and_an_old_one_kept() {
    let directory = tempfile::tempdir().unwrap();
    let document = directory.path().join("openapi.json");
    fs::write(&document, DOCUMENT).unwrap();
    let file = directory.path().join("s.yaml");
    let arguments = [document.to_str().unwrap(), "--service", "s", "-o", file.to_str().unwrap()];
    let first = run(&arguments);
    assert_eq!((first.status.code(), text(&first.stdout)), (Some(0), String::new()));
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains("gateway_path: /a\n"), "{written}");
    fs::write(&file, "mine").unwrap();
    let second = run(&arguments);
    assert_eq!(second.status.code(), Some(2), "{}", text(&second.stderr));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn arguments_that_no_file_could_hold_are_refused() {
    assert!(read("compat/microservice_openapi.json").contains("3.0.2"));
    for (argument, value) in [
        ("--service", "a b"),
        ("--service", ""),
        ("--url", "https://a"),
        ("--url", "a:1"),
        ("--url", "http://"),
        ("--url", "http://a?b"),
        ("--prefix", "api"),
        ("--prefix", "/a/{b}"),
        ("--prefix", "//a"),
        ("--auth", "a,,b"),
        ("--auth", "a b"),
        ("--listen", "localhost"),
    ] {
        let mut arguments = vec!["compat/microservice_openapi.json", argument, value];
        if argument != "--service" {
            arguments.extend(["--service", "s"]);
        }
        let output = run(&arguments);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{argument} {value}");
    }
}
