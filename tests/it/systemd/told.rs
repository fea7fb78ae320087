//! What systemd is told: ready, reloading, stopping, and what `systemctl status` shows meanwhile.

use serde_json::json;

use super::{Manager, holding, open_to_all};
use crate::process::instance::{Instance, eventually};
use crate::support::DEADLINE;
use crate::support::client::{Client, request};

#[test]
fn systemd_hears_of_every_turn() {
    let (manager, (origin, release)) = (Manager::new(), holding());
    let mut file = open_to_all(&origin, json!({}));
    let mut gateway = Instance::start_with(&file, &[], &[("NOTIFY_SOCKET", &manager.path())]);
    manager.hears(&["READY=1", "STATUS=generation 1, 1 route"]);

    let one = json!({"name": "one", "method": "GET", "gateway_path": "/one", "service": "origin", "auth": "public"});
    file["routes"].as_array_mut().unwrap().push(one);
    gateway.reload(&file);
    let reloaded = manager.hears(&["READY=1", "STATUS=generation 2, 2 routes"]);
    let [begun, _] = &reloaded[..] else { panic!("{reloaded:?}") };
    let moment = begun.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|moment| moment.parse::<u64>().ok());
    assert!(moment.is_some_and(|moment| moment > 0), "{begun}");
    file["routes"][1]["service"] = "nobody".into();
    gateway.reload(&file);
    manager.hears(&["READY=1", "STATUS=generation 2, 2 routes, last reload refused"]);

    let mut clients: Vec<_> = (0..2).map(|_| Client::connect(gateway.public)).collect();
    clients.iter_mut().for_each(|client| client.send(&request("GET", "/slow", &[], b"")));
    assert!(eventually(|| gateway.metric("tollgate_requests_in_flight") == Some(2.0)));
    gateway.signal("TERM");
    let heard = manager.hears(&["STATUS=draining, 2 requests in flight"]);
    assert_eq!(heard[0], "STOPPING=1", "{heard:?}");
    release.send(()).unwrap();
    manager.hears(&["STATUS=draining, 1 request in flight"]);
    release.send(()).unwrap();
    assert!(gateway.ended(DEADLINE).is_some_and(|status| status.success()));
    drop(clients);
}
