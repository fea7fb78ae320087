//! HTTP/2 on both sides: with clients on plain listeners, and with services.
//!
//! What every HTTP/2 server must do is tried by h2spec, which is no part of these tests, since no distribution has it:
//! `h2spec -t -k -h ADDRESS -p PORT -P /PATH` passes over TLS, and without `-t` on plain listeners but for 3.5/2: there what does
//! not begin as HTTP/2 is answered as HTTP/1, which is spoken there too.

mod clients;
mod frames;
mod leaving;
mod services;
mod tls;

use serde_json::{Value, json};

use crate::raw::stage::Stage;

/// A gateway that takes HTTP/2, in front of a service of HTTP/1.
fn stage(routes: Value, guard: Value) -> Stage {
    Stage::plain(routes, over_http2(json!({"guard": guard})))
}

/// The same sections with a listener that takes HTTP/2.
pub fn over_http2(mut sections: Value) -> Value {
    sections["listeners"] = json!([{"address": "127.0.0.1:0", "http2": true}]);
    sections
}
