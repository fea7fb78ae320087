//! What traces tell of TLS.

use serde_json::json;

use super::echo;
use super::services::Secure;
use crate::process::instance::{Instance, config, eventually};
use crate::support::pki::Authority;
use crate::support::tls::Tls;
use crate::traces::collector::Collector;

#[test]
fn traces_and_access_lines_tell_of_tls_on_both_sides() {
    let (authority, collector) = (Authority::new(), Collector::start());
    let secure = Secure::start(&authority.server(&["localhost"]), None);
    let url = format!("https://localhost:{}", secure.address.port());
    let (certificate, private_key) = authority.place("api", &authority.server(&["api.test"]));
    let file = config(
        echo().address(),
        json!({
            "listeners": [{"address": "127.0.0.1:0", "tls": {"certificate": certificate, "private_key": private_key}}],
            "services": {"secure": {"url": url, "tls": {"ca": authority.file()}}},
            "routes": [{"name": "asked", "method": "GET", "gateway_path": "/asked", "service": "secure", "auth": "public"}],
            "traces": {"endpoint": collector.endpoint(), "interval": "20ms"},
        }),
    );
    let gateway = Instance::start(&file);
    let answer = Tls::trusting(&authority).fetch(gateway.public, "api.test", "/asked").expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(eventually(|| collector.spans().len() == 2), "{:#?}", collector.spans());
    let spans = collector.spans();
    let told = |name: &str| spans.iter().find_map(|span| span.attributes.get(name)).cloned().unwrap_or_default();
    assert_eq!((told("url.scheme"), told("url.full")), ("https".to_owned(), format!("{url}/asked")));
    gateway.line(|line| line.contains("\"tls\":\"TLSv1.3\""));
    let mut without = file;
    without["access_log"] = json!({"exclude": ["tls"]});
    gateway.reload(&without);
    let answer = Tls::trusting(&authority).fetch(gateway.public, "api.test", "/asked").expect("an answer");
    let id = answer.value("x-request-id").expect("every answer has an id").to_owned();
    assert!(!gateway.line(|line| line.contains(&id)).contains("TLS"));
}
