//! A listener with TLS is handed over like any other: connections from before end when their client knows, and nobody
//! fails to shake hands.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use super::{Line, reply, said, write};
use crate::process::instance::eventually;
use crate::support::origin::Origin;
use crate::support::pki::Authority;
use crate::support::tls::Tls;

const ASKED: &str = "GET /quick HTTP/1.1\r\nhost: api.test\r\n\r\n";

#[test]
fn no_handshake_fails_and_no_connection_is_cut() {
    let (origin, authority) = (Origin::start(reply), Authority::new());
    let sections = |pair: &str| {
        let (certificate, private_key) = authority.place(pair, &authority.server(&["api.test"]));
        let tls = json!({"certificate": certificate, "private_key": private_key});
        json!({"listeners": [{"address": "127.0.0.1:0", "tls": tls}]})
    };
    let mut line = Line::start(&origin, sections("first"));
    let (public, first) = (line.public, line.pid);
    let shake = || Tls::trusting(&authority).connect(public, "api.test").expect("a handshake");
    let shown = || shake().certificate().expect("a certificate").to_vec();
    let before = shown();
    let mut kept = shake();
    let mut ask_kept = || kept.ask(ASKED).expect("a connection from before is cut");
    assert_eq!(ask_kept().value("connection"), Some("keep-alive"));

    let (over, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
    // Sessions are resumed where that works: the next process cannot, and shakes hands anew.
    let session = Tls::trusting(&authority);
    let ask_until_over = |path: &str| -> io::Result<()> {
        while !over.load(Ordering::Relaxed) {
            let answer = session.fetch(public, "api.test", path)?;
            assert_eq!((answer.status, answer.cut), (200, false), "{path}");
            begun.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let ask = &ask_until_over;
        let clients = ["/quick", "/quick", "/slow"].map(|path| scope.spawn(move || ask(path)));
        let some = |more: usize| {
            let asked = begun.load(Ordering::Relaxed);
            eventually(|| begun.load(Ordering::Relaxed) > asked + more)
        };
        let busy = some(10);
        write(&line.folder, &origin, sections("second"));
        let (code, text) = said(&line.upgrade());
        // The process before answers what it has begun, and says that it is the last answer.
        let last = ask_kept();
        let goes_on = some(10);
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("a client without a failure").expect("a handshake or an answer fails");
        }
        assert!(busy && goes_on && code == Some(0), "{text}\n{}", line.log());
        assert_eq!((last.status, last.value("connection")), (200, Some("close")));
    });
    assert_ne!(line.pid, first);
    assert!(eventually(|| !Line::is_alive(first)), "{}", line.log());
    assert_ne!(shown(), before, "the certificate of the next process");
    assert_eq!(shake().ask(ASKED).expect("an answer").status, 200);
}
