//! Tollgate as a user runs it: the built program, real sockets, one test binary.
//!
//! - `support` — a scripted service, a client that sees every byte, the gateway as a child process
//! - `process` — reload, start and end, the walk of `tollgate demo`
//! - `config_reports` — what a user sees of a faulty file
//! - `compat`  — the recorded behaviour of fastapi-gateway-ultra, replayed case by case
//! - `raw`     — bytes that a stranger may send: framing, targets, sizes, forged headers
//! - `guard`   — deadlines, caps, the flood guard and the memory of bodies
//! - `bodies`  — checked and streamed request bodies
//! - `parameters` — header fields and cookies as parameters, and which fields pass
//! - `authorise` — conditions on callers and addresses, and what happens where these and limits are only observed
//! - `observe` — what violates a contract that only observes
//! - `suite`   — the published test suite of JSON Schema as request bodies
//! - `tokens`  — signed tokens: who they name, keys that rotate, providers that are down
//! - `basic` — names and passwords: who they name, how little a flood of wrong ones costs
//! - `forward_auth` — auth services that are asked who calls: what they get, what they may answer
//! - `uploads` — multipart forms: what passes, what is refused, and how little memory they take
//! - `forwarding` — what passes between client and service, and how its failures are answered
//! - `compression` — compressed replies: who gets which, and that nothing waits in an encoder
//! - `split` — several services by weight, and a second one that gets copies
//! - `cors` — pages of other origins: what a browser is told, and what Chromium makes of it
//! - `http2`   — HTTP/2 with clients and services: what passes, what a connection may cost, how it ends
//! - `grpc`    — calls of gRPC by a real client to a real service, and how the gateway's own errors look to it
//! - `services` — several targets, health, timeouts, retries, and services that misbehave
//! - `limits` — plans and route limits under many connections, reloads and aborts
//! - `shared` — three gateways on one Redis: exact together, and what holds while it is away
//! - `tls` — certificates by name, handshakes that are slow or broken, renewal under load, client certificates
//! - `reload` — generations change under load, bad files, SIGTERM
//! - `admin` — the operators' listener, the access log, what must stay secret
//! - `logs` — access lines and the process log: what is in them, and that nobody waits for them
//! - `cache` — replies that are stored: what, for how long, whose they are, and many who want one at once
//! - `traces` — distributed traces: what is recorded, what services are told, collectors that are away
//! - `metrics` — how many series there are, and whether dashboard and rules know their names
//! - `keys` — API keys at run time: the command, the admin listener, faulty stores
//! - `quotas` — quotas over restarts, kills and two gateways on one store
//! - `streams` — event streams and WebSockets: through timeouts, reloads, upgrades and the end
//! - `upgrade` — a new process takes over from a running one
//! - `systemd` — sockets it passes, what it hears of the process, the units
//! - `package` — the Debian package in a machine of its own: installed, upgraded, restarted, removed
//! - `import` — OpenAPI documents become configurations
//! - `explain` — what is said of a request is what becomes of it
//! - `architecture` — which part of the crate may know which
//! - `openapi` — the API's description: printed, served, read by a validator, a browser and a fuzzer
//! - `examples` — every configuration that is shown to users compiles
//! - `schema` — the JSON Schema of the configuration, for editors

mod support;

mod admin;
mod architecture;
mod authorise;
mod basic;
mod bodies;
mod cache;
mod compat;
mod compression;
mod config_reports;
mod cors;
mod examples;
mod explain;
mod forward_auth;
mod forwarding;
mod grpc;
mod guard;
mod http2;
mod import;
mod keys;
mod limits;
mod logs;
mod metrics;
mod observe;
mod openapi;
mod package;
mod parameters;
mod process;
mod quotas;
mod raw;
mod reload;
mod schema;
mod services;
mod shared;
mod split;
mod streams;
mod suite;
mod systemd;
mod tls;
mod tokens;
mod traces;
mod upgrade;
mod uploads;
