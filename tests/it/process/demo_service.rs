//! The microservice of `tollgate demo`, asked directly.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::support::DEADLINE;
use crate::support::gateway::program;

/// A running demo. Dropping it kills it.
struct Demo {
    child: Child,
    /// Where the microservice is.
    service: SocketAddr,
}

impl Demo {
    fn start() -> Self {
        let mut command = program();
        let mut child =
            command.arg("demo").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start the demo");
        let mut said = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("read what the demo says");
        // Whatever it says later, it never waits for this test.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut demo = Self { child, service: nowhere };
        let admin = line.rsplit("http://").next().and_then(|rest| rest.trim().trim_end_matches('.').parse().ok());
        demo.service = service(admin.unwrap_or_else(|| panic!("no address in {line}")));
        demo
    }

    fn asked(&self, request: &str) -> String {
        until_closed(self.service, request).unwrap_or_else(|error| panic!("{request:?} is not closed: {error}"))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of the microservice, as the gateway's operators see it.
fn service(admin: SocketAddr) -> SocketAddr {
    let answer = once_served(admin, "GET /config HTTP/1.0\r\n\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let config: Value = serde_json::from_str(body).expect("the configuration in force");
    fn url(value: &Value) -> Option<&str> {
        match value {
            Value::Object(members) => {
                members.get("url").and_then(Value::as_str).or_else(|| members.values().find_map(url))
            }
            _ => None,
        }
    }
    let address = url(&config).and_then(|url| url.strip_prefix("http://")?.parse().ok());
    address.unwrap_or_else(|| panic!("no address in {config:#}"))
}

/// Everything that comes back until the other side closes the connection.
fn until_closed(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The same as soon as somebody listens: the demo says where before it does.
fn once_served(address: SocketAddr, request: &str) -> String {
    let until = Instant::now() + DEADLINE;
    loop {
        match until_closed(address, request) {
            Ok(answer) if !answer.is_empty() => return answer,
            other => assert!(Instant::now() < until, "{address}: {other:?}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_client_that_asks_for_it_is_hung_up_on_and_the_document_is_imported() {
    let demo = Demo::start();
    once_served(demo.service, "GET /openapi.json HTTP/1.0\r\n\r\n");
    for request in [
        "GET /openapi.json HTTP/1.0\r\n\r\n",
        "GET /openapi.json HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /openapi.json HTTP/1.1\r\nhost: a\r\nconnection: x, Close\r\n\r\n",
        "GET /v1/list_model HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    ] {
        let answer = demo.asked(request);
        assert!(answer.contains(" 200 ") && answer.ends_with(['}', ']']), "{request}: {answer}");
    }
    let url = format!("http://{}/openapi.json", demo.service);
    let mut import = Command::new(program().get_program());
    let output =
        import.args(["import", &url, "--service", "users", "--auth", "public"]).output().expect("run the program");
    let yaml = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(yaml.contains(&format!("users: {{ url: \"http://{}\" }}", demo.service)), "{yaml}");
    assert_eq!(yaml.matches("  - name: ").count(), 10, "{yaml}");
}
