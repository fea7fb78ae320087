//! The page in Chromium, driven with ChromeDriver's WebDriver protocol: a reader finds the routes, shows a key, sends
//! a request and sees the answer; nothing is asked of another host, and the console stays clean.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::demo;

use super::Demo;
use crate::support::client::Client;
use crate::support::gateway::Lines;

/// How WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Headless, as root too, and without what Chromium asks of the network by itself.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,2000",
];

/// How long the browser may take for one command; it starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Chromium with one window.
pub struct Browser {
    driver: Child,
    address: std::net::SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts it.
    pub fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|failed| panic!("needs Debian's chromium and chromium-driver: {failed}"));
        let said = Lines::of(driver.stdout.take().expect("stdout is piped"));
        let port = port(&said);
        let profile = tempfile::tempdir().expect("make a directory");
        let mut browser =
            Self { driver, address: ([127, 0, 0, 1], port).into(), session: String::new(), _profile: profile };
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([&*folder]).collect();
        let options = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "timeouts": { "script": 30_000, "pageLoad": 30_000, "implicit": 20_000 },
        });
        let begun = browser.command("POST", "/session", &json!({ "capabilities": { "alwaysMatch": options } }));
        browser.session = begun["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    /// One command; its value.
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let answer = Client::connect(self.address).patient(PATIENCE).ask(request.as_bytes());
        let answer = answer.unwrap_or_else(|failed| panic!("{method} {path}: {failed}"));
        let mut value: Value = serde_json::from_slice(&answer.body).expect("WebDriver answers JSON");
        assert_eq!(answer.status, 200, "{method} {path} {body}: {value:#}");
        value["value"].take()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.command("POST", &format!("/session/{}{path}", self.session), body)
    }

    /// Goes to a page.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The element that a selector finds, as soon as there is one.
    fn find(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector }));
        format!("/element/{}", found[ELEMENT].as_str().expect("an element"))
    }

    fn click(&self, selector: &str) {
        self.post(&format!("{}/click", self.find(selector)), &json!({}));
    }

    fn write(&self, selector: &str, text: &str) {
        self.post(&format!("{}/value", self.find(selector)), &json!({ "text": text }));
    }

    fn text(&self, selector: &str) -> String {
        let path = format!("/session/{}{}/text", self.session, self.find(selector));
        self.command("GET", &path, &Value::Null).as_str().expect("a text").to_owned()
    }

    /// What a script in the page returns; a promise is waited for.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    fn log(&self, of: &str) -> Vec<Value> {
        self.post("/se/log", &json!({ "type": of })).as_array().expect("a log").clone()
    }

    /// Every address that was asked for since the last call.
    fn requested(&self) -> Vec<String> {
        let events = self.log("performance").into_iter().filter_map(|entry| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &event["message"];
            let sent = message["method"] == "Network.requestWillBeSent";
            sent.then(|| message["params"]["request"]["url"].as_str().map(str::to_owned)).flatten()
        });
        events.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Killing the driver would leave the browser behind.
        let end = format!("DELETE /session/{} HTTP/1.1\r\nhost: {}\r\n\r\n", self.session, self.address);
        if let Ok(stream) = TcpStream::connect(self.address) {
            let _ = Client::over(stream).patient(PATIENCE).ask(end.as_bytes());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn port(said: &Arc<Lines>) -> u16 {
    let (_, line) = said
        .wait(0, PATIENCE, |line| line.contains("started successfully"))
        .unwrap_or_else(|| panic!("chromedriver did not start: {:?}", said.all()));
    let digits = line.rsplit(' ').next().unwrap_or_default().trim_end_matches('.');
    digits.parse().unwrap_or_else(|_| panic!("no port in {line}"))
}

#[test]
fn a_reader_finds_the_routes_and_sends_a_request_with_a_key() {
    let demo = Demo::start();
    let gateway = format!("http://{}", demo.gateway.address());
    let browser = Browser::start();
    browser.open(&format!("{gateway}/docs"));
    browser.find(".opblock");
    let paths = browser.run("return [...document.querySelectorAll('.opblock')].map(block => block.querySelector('.opblock-summary-method').textContent + ' ' + block.querySelector('[data-path]').dataset.path)");
    let shown: Vec<&str> = paths.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for expected in
        ["GET /users/{id}", "GET /search", "POST /orders", "GET /reports", "POST /gateway_endpoint/form_data"]
    {
        assert!(shown.contains(&expected), "{expected} in {shown:?}");
    }

    browser.click(".auth-wrapper .btn.authorize");
    browser.write(".auth-container input", demo::API_KEY);
    browser.click(".auth-btn-wrapper .btn.authorize");
    browser.click(".auth-btn-wrapper .btn-done");
    let route = "#operations-Try-list-reports";
    browser.click(&format!("{route} .opblock-summary-control"));
    browser.click(&format!("{route} .try-out__btn"));
    browser.click(&format!("{route} .btn.execute"));
    let answer = format!("{route} .live-responses-table");
    assert_eq!(browser.text(&format!("{answer} tbody .response-col_status")), "200");
    let body = browser.text(&format!("{answer} tbody .highlight-code"));
    assert!(body.contains("\"path\": \"/echo/reports\""), "{body}");

    let requested = browser.requested();
    assert!(requested.contains(&format!("{gateway}/reports")), "{requested:?}");
    // The empty tab it begins with is Chromium's own.
    let within = ["data:", "chrome://", &format!("{gateway}/")];
    let allowed = |url: &&String| within.iter().any(|prefix| url.starts_with(prefix));
    let elsewhere: Vec<&String> = requested.iter().filter(|url| !allowed(url)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let complaints: Vec<Value> = browser.log("browser").into_iter().filter(|entry| entry["level"] != "INFO").collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn on_the_operators_listener_a_reader_reads_only() {
    let demo = Demo::described_on("admin");
    let browser = Browser::start();
    browser.open(&format!("http://{}/docs", demo.gateway.admin()));
    let route = "#operations-Try-list-reports";
    browser.click(&format!("{route} .opblock-summary-control"));
    assert!(browser.text(&format!("{route} .responses-wrapper")).contains("401"));
    assert_eq!(browser.run("return document.querySelectorAll('.try-out__btn').length"), 0);
    assert!(browser.text("p.notice").contains("http://127.0.0.1:"));
}
