//! Clients with certificates: who comes in, who is whom, and what holds for the host that they ask for.

use rcgen::SanType;

use super::{Stage, config, echo};
use crate::support::client::Response;
use crate::support::gateway::{Gateway, Reload};
use crate::support::pki::{Authority, Life, Pair};
use crate::support::tls::Tls;

/// The route asks for a certificate or a key.
const CALLERS: &str = "
authenticators: { cert: { client_certificate: {} }, key: { api_key: { header: x-api-key } } }
consumers:
  dora: { certificates: [{ dns: Dora.test }] }
  urs: { certificates: [{ uri: \"spiffe://test/urs\" }] }
  emma: { certificates: [{ email: emma@test }] }
  sam: { certificates: [{ subject: sam }] }
  fin: { certificates: [{ sha256: FINGERPRINT }] }
  kim: { api_keys: [{ sha256: 2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683 }] }
";

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn email(name: &str) -> SanType {
    SanType::Rfc822Name(name.try_into().unwrap())
}

fn fingerprint(pair: &Pair) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, &pair.certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The consumer that the service heard of, or the status.
fn outcome(answer: std::io::Result<Response>) -> String {
    let Ok(answer) = answer else { return "no handshake".to_owned() };
    let got: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match got["x-consumer-name"].as_str() {
        Some(name) => name.to_owned(),
        None => format!(
            "{} {}",
            answer.status,
            got["type"].as_str().unwrap_or_default().replace("urn:tollgate:problem:", "")
        ),
    }
}

#[test]
fn certificates_name_consumers_and_wrong_ones_do_not_come_in() {
    let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let by = |name: &str, names: &[SanType]| clients.client(name, names, Life::Now);
    let fin = by("dora", &[dns("dora.test")]);
    let revoked = by("x", &[dns("dora.test")]);
    let more = CALLERS.replace("FINGERPRINT", &fingerprint(&fin));
    let pairs = [
        ("dns, however it is spelt", by("x", &[dns("DORA.test")]), "dora", "dora"),
        ("uri", by("x", &[uri("spiffe://test/urs")]), "urs", "urs"),
        ("email", by("x", &[email("emma@test")]), "emma", "emma"),
        ("subject", by("sam", &[]), "sam", "sam"),
        ("the fingerprint before any name", fin, "fin", "fin"),
        ("two names of one consumer", by("x", &[dns("dora.test"), dns("other.test")]), "dora", "dora"),
        ("names of two consumers", by("sam", &[dns("dora.test")]), "401 credential-unknown", "401 credential-unknown"),
        ("nobody's", by("nobody", &[dns("nobody.test")]), "401 credential-unknown", "401 credential-unknown"),
        ("a uri that is a name's", by("x", &[uri("dora.test")]), "401 credential-unknown", "401 credential-unknown"),
        ("another authority's", strangers.client("sam", &[], Life::Now), "no handshake", "no handshake"),
        ("expired", clients.client("sam", &[], Life::Past), "no handshake", "no handshake"),
        ("not valid yet", clients.client("sam", &[], Life::Future), "no handshake", "no handshake"),
        ("a server's", clients.server(&["dora.test"]), "no handshake", "no handshake"),
    ];
    let yaml = servers.yaml("api", &servers.server(&["api.test"]));
    let crl = clients.revoking(&revoked);
    for (auth, column) in [("required", 0), ("optional", 1)] {
        let tls = format!(
            "{yaml}, client_ca: \"{}\", client_crl: \"{}\", client_auth: {auth}",
            clients.file().display(),
            crl.display()
        );
        let origin = echo();
        let config = config(&origin, &tls, &more).replace("auth: public", "auth: [cert, key]");
        let stage = Stage { gateway: Gateway::start(&config), _origin: origin };
        let address = stage.gateway.address();
        for (what, pair, required, optional) in &pairs {
            let found = outcome(Tls::with(&servers, pair).fetch(address, "api.test", "/echo"));
            assert_eq!(found, [required, optional][column].to_string(), "{what}, {auth}");
        }
        assert_eq!(outcome(Tls::with(&servers, &revoked).fetch(address, "api.test", "/echo")), "no handshake");
        let without = Tls::trusting(&servers).fetch(address, "api.test", "/echo");
        let expected = ["no handshake", "401 credential-missing"][column];
        assert_eq!(outcome(without), expected, "{auth}");
        let key = "GET /echo HTTP/1.1\r\nhost: api.test\r\nx-api-key: key\r\n\r\n";
        let both = Tls::with(&servers, &pairs[0].1).connect(address, "api.test").unwrap().ask(key);
        assert_eq!(outcome(both), "400 credential-ambiguous");
        if auth == "optional" {
            assert_eq!(outcome(Tls::trusting(&servers).connect(address, "api.test").unwrap().ask(key)), "kim");
        }
        let refused = stage.metric("tollgate_tls_handshakes_total{result=\"client-certificate\"}");
        assert_eq!(refused, [6.0, 5.0][column], "{auth}");
        let said = stage.gateway.printed(|line| line.contains("those of several consumers"));
        assert!(said.is_some(), "the access line does not say why");
    }
}

#[test]
fn a_reload_takes_an_authority_away_at_once() {
    let (servers, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let yaml = servers.yaml("api", &servers.server(&["api.test"]));
    let origin = echo();
    let trusting =
        |authority: &Authority| config(&origin, &format!("{yaml}, client_ca: \"{}\"", authority.file().display()), "");
    let gateway = Gateway::start(&trusting(&clients));
    let client = Tls::with(&servers, &clients.client("sam", &[], Life::Now));
    assert_eq!(client.fetch(gateway.address(), "api.test", "/echo").unwrap().status, 200);
    assert_eq!(gateway.reload(&trusting(&others)), Reload::Published);
    assert!(client.fetch(gateway.address(), "api.test", "/echo").is_err(), "an earlier session goes on");
}

#[test]
fn a_host_of_another_certificate_is_421_where_clients_have_certificates() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let list = ["one", "two"].map(|name| {
        let names = [format!("{name}.test"), format!("*.{name}.test")];
        format!("{{ {} }}", servers.yaml(name, &servers.server(&[&names[0], &names[1]])))
    });
    let tls = format!("certificates: [{}]", list.join(", "));
    let asking = format!("{tls}, client_ca: \"{}\", client_auth: optional", clients.file().display());
    for (tls, misdirected) in [(asking, 421), (tls, 200)] {
        let stage = Stage::start(&tls);
        let client = Tls::trusting(&servers);
        for (name, host, expected) in [
            ("one.test", "one.test", 200),
            ("one.test", "ONE.test:8443", 200),
            ("one.test", "a.one.test", 200),
            ("two.test", "two.test", 200),
            ("one.test", "two.test", misdirected),
            ("two.test", "one.test", misdirected),
            ("two.test", "a.one.test", misdirected),
            // Whoever is not known gets the first certificate.
            ("one.test", "unknown.test", 200),
            ("two.test", "unknown.test", misdirected),
        ] {
            let mut connection = client.connect(stage.gateway.address(), name).unwrap();
            let answer = connection.ask(&format!("GET /echo HTTP/1.1\r\nhost: {host}\r\n\r\n")).unwrap();
            assert_eq!(answer.status, expected, "{host} over {name}");
        }
    }
}
