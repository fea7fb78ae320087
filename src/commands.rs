//! What the shorter commands do.

pub mod explain;
pub mod import;
pub mod keys;
pub mod manual;
pub mod password;
pub mod upgrade;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tollgate::demo;
use tollgate::gateway::{Access, Gateway, Route};
use tollgate::server::{Demo, Setup, Source};
use tollgate::telemetry::Telemetry;

/// How long a reload may take before `tollgate reload` gives up waiting.
const RELOAD_PATIENCE: Duration = Duration::from_secs(30);

/// What there is in a configuration that is right, and how many metrics it makes.
pub fn summary(gateway: &Gateway) -> String {
    format!(
        "ok: {} routes, {} services, {} API keys\nmetrics: at most {} series\n",
        gateway.routes.len(),
        gateway.services.len(),
        gateway.keys.len(),
        Telemetry::new("", "").at_most(&gateway.inventory)
    )
}

/// The routes as a table; their conditions and modes are shown where one has any, or only observes.
pub fn table(gateway: &Gateway) -> String {
    let observing = gateway.routes.iter().any(|route| route.modes.observed().next().is_some());
    let conditional = gateway.routes.iter().any(|route| route.authorisation.is_some());
    let modes = if observing { "MODE" } else { "" };
    let conditions = if conditional { "CONDITIONS" } else { "" };
    let mut rows = vec![
        ["NAME", "METHODS", "HOST", "PATH", "SERVICE", "SERVICE PATH", "AUTH", conditions, modes].map(str::to_owned),
    ];
    rows.extend(gateway.routes.iter().map(|route| {
        let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
        let access = match route.access {
            Access::Public => "public",
            Access::Authenticated { .. } => "required",
        };
        [
            route.name.to_string(),
            methods.join(","),
            route.host.as_deref().unwrap_or("*").to_owned(),
            route.gateway_path.to_string(),
            route.service_text(),
            route.service_path_text.to_string(),
            access.to_owned(),
            route.conditions().collect::<Vec<_>>().join(","),
            mode(route),
        ]
    }));
    columns(&rows)
}

/// Rows with their cells below each other.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: Vec<usize> =
        (0..N).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// `observe` for a contract, as in the file, else what is observed.
fn mode(route: &Route) -> String {
    let observed: Vec<&str> = route.modes.observed().collect();
    match observed.as_slice() {
        [] => String::new(),
        ["contract"] => "observe".to_owned(),
        observed => format!("observe:{}", observed.join(",")),
    }
}

/// Prints to standard output; a reader that has gone away (`| head`) is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// The JSON Schema of configuration files, as text.
pub fn schema() -> String {
    format!("{:#}\n", tollgate::config::json_schema())
}

/// Asks a running gateway to reload, and says how it went.
pub fn reload(file: &Path, admin: Option<SocketAddr>) -> ExitCode {
    let Some(admin) = admin.or_else(|| admin_address(file)) else {
        if let Err(failed) = std::fs::File::open(file) {
            eprintln!("error: cannot read {}: {failed}; say the admin listener with --admin ADDRESS", file.display());
            return ExitCode::from(2);
        }
        eprintln!("error: {} names no admin listener; say it with --admin ADDRESS", file.display());
        return ExitCode::from(2);
    };
    match ask_to_reload(admin) {
        Ok((status, body)) => report_reload(status, &body),
        Err(failed) => {
            eprintln!("error: the gateway's admin listener at {admin} does not answer: {failed}");
            ExitCode::from(2)
        }
    }
}

/// The admin address of a file that may otherwise be wrong: the reason to reload is often a broken edit.
fn admin_address(file: &Path) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(file).ok()?;
    let value: serde_yaml::Value = serde_yaml::from_str(&text).ok()?;
    value.get("admin")?.get("address")?.as_str()?.parse().ok()
}

fn ask_to_reload(admin: SocketAddr) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&admin, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(RELOAD_PATIENCE))?;
    let request = format!("POST /reload HTTP/1.0\r\nHost: {admin}\r\nX-Tollgate: reload\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, body.to_owned()))
}

fn report_reload(status: u16, body: &str) -> ExitCode {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    match text("result").as_str() {
        "published" => {
            eprint!("{}", text("warnings"));
            println!("published generation {}", value["generation"]);
            for section in value["upgrade_needed"].as_array().into_iter().flatten() {
                println!("{} changed: it needs an upgrade", section.as_str().unwrap_or_default());
            }
            ExitCode::SUCCESS
        }
        "unchanged" => {
            println!("unchanged, generation {} goes on", value["generation"]);
            ExitCode::SUCCESS
        }
        "refused" => {
            eprint!("{}", text("report"));
            eprintln!("refused: the old configuration goes on");
            ExitCode::from(1)
        }
        _ => {
            eprintln!("error: the admin listener answered {status}: {}", body.trim());
            ExitCode::from(2)
        }
    }
}

/// The usual ports of the demo: clients, operators, the demo service.
const DEMO_PORTS: [u16; 3] = [8080, 9090, 8002];

/// The demo: its configuration, on the usual ports where they are free, and what to try.
///
/// # Errors
/// A sentence when no port can be had.
pub fn demo() -> Result<Setup, String> {
    let mut text = demo::CONFIG.to_owned();
    // Held until all are found, so that they are different.
    let mut listeners = Vec::new();
    for port in DEMO_PORTS {
        let listener = listen(port)?;
        let address = listener.local_addr().map_err(|failed| failed.to_string())?;
        text = text.replace(&format!("127.0.0.1:{port}"), &address.to_string());
        listeners.push((listener, address));
    }
    let (_, public) = listeners[0];
    println!("{}", demo_text(public, listeners[1].1, listeners[2].1));
    let (service, _) = listeners.swap_remove(2);
    drop(listeners);
    Ok(Setup {
        source: Source::Text { name: "conf/demo.yaml".to_owned(), text },
        threads: 1,
        demo: Demo::On(service),
        program: None,
        takeover: None,
        log_level: Some(log::LevelFilter::Warn),
    })
}

fn demo_text(public: SocketAddr, admin: SocketAddr, service: SocketAddr) -> String {
    let mut text = format!("Tollgate is serving its demo on http://{public}, for operators on http://{admin}.\n");
    let _ = writeln!(text, "The service behind it: http://{service}");
    let _ = writeln!(text, "Its routes, to read and to try: http://{public}/docs");
    text.push_str("Try, in another terminal:\n");
    for line in demo::tour(public, admin) {
        let _ = write!(text, "\n# {}\n{}\n", line.title, line.command);
    }
    text.push_str("\nCtrl-C ends it.");
    text
}

/// The usual port, or a free one when something else has it.
fn listen(port: u16) -> Result<TcpListener, String> {
    TcpListener::bind(("127.0.0.1", port))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .map_err(|failed| format!("no port for the demo: {failed}"))
}
