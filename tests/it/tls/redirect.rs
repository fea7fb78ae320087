//! The listener that only shows the way to TLS.

use crate::support::client::{Client, ask};
use crate::support::gateway::Gateway;
use crate::support::pki::Authority;

use super::{config, echo};

#[test]
fn requests_are_sent_to_the_same_path_of_hosts_that_have_a_certificate() {
    let authority = Authority::new();
    let yaml = authority.yaml("api", &authority.server(&["api.test", "*.shop.test"]));
    for (to, port) in [("true", ""), ("8443", ":8443")] {
        let origin = echo();
        let config = config(&origin, &yaml, "");
        let listeners = format!("listeners: [{{ address: 127.0.0.1:0, redirect_https: {to} }}, {{");
        let gateway = Gateway::start(&config.replace("listeners: [{", &listeners));
        let long = format!("/{}", "a".repeat(3000));
        for (line, host, expected) in [
            ("GET /echo?a=b%20c&d", "api.test", format!("https://api.test{port}/echo?a=b%20c&d")),
            ("POST /nothing/here", "API.test:8080", format!("https://API.test{port}/nothing/here")),
            ("GET //evil.test/x", "a.shop.test", format!("https://a.shop.test{port}//evil.test/x")),
            ("GET http://api.test/echo", "api.test", format!("https://api.test{port}/echo")),
            (&format!("GET {long}"), "api.test", format!("https://api.test{port}{long}")),
            ("GET /echo", "evil.test", "421".to_owned()),
            ("GET /echo", "api.test.evil.test", "421".to_owned()),
            ("GET /echo", "a.b.shop.test", "421".to_owned()),
            ("GET /echo", "api.test@evil.test", "400".to_owned()),
            ("GET /echo", "127.0.0.1", "421".to_owned()),
            ("OPTIONS *", "api.test", "400".to_owned()),
        ] {
            let answer = ask(gateway.address(), format!("{line} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes());
            let found = match answer.status {
                308 => answer.value("location").unwrap_or_default().to_owned(),
                status => status.to_string(),
            };
            assert_eq!(found, expected, "{line} {host}");
        }
        assert!(origin.requests().is_empty(), "something was served");
        // The connection is kept.
        let mut client = Client::connect(gateway.address());
        for _ in 0..2 {
            assert_eq!(client.ask(b"HEAD /echo HTTP/1.1\r\nhost: api.test\r\n\r\n").unwrap().status, 308);
        }
        assert!(gateway.printed(|line| line.contains("\"decision\":\"redirected\"")).is_some());
    }
}
