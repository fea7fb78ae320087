//! The Debian package in a machine that systemd runs: installed, reloaded, upgraded, restarted, killed and removed, most of
//! it while clients ask.
//!
//! Only a boot of the real thing shows whether unit, sockets and maintainer scripts mean what they say. It needs root.

mod build;
mod load;
mod machine;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use build::PACKAGES;
use load::Service;
use machine::{Machine, Network, said};

use crate::process::instance::{config, eventually};
use crate::support::client::fetch;

/// Where the package has its configuration.
const FILE: &str = "/etc/tollgate/tollgate.yaml";

/// All files of a machine, but for those that live in memory and those that keep books of packages, users and logs.
const ALL_FILES: &str = "find / -xdev -not -path '/var/lib/dpkg/*' -not -path '/var/log/dpkg.log' -not -path '/etc/*-' \
                         -not -path '/var/log/journal*' -not -path '/var/tmp/*' -not -path '/tmp/*' | sort";

/// How often the gateway is killed.
const KILLS: usize = 3;

/// How soon it has to be back.
const BACK: Duration = Duration::from_secs(1);

/// A machine with the older package, which serves what a service answers.
struct Installed {
    service: Service,
    machine: Machine,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Installed {
    fn install() -> Self {
        let service = Service::start();
        let machine = Machine::boot(Network::Host);
        let (public, admin) = (free_address(), free_address());
        let installed = Self { service, machine, public, admin };
        installed.configure(json!({}));
        installed.machine.must(&PACKAGES.install_older());
        assert!(installed.is_active());
        installed
    }

    /// Writes the configuration with these sections.
    fn configure(&self, sections: Value) {
        let mut all = json!({
            "listeners": [{"address": self.public}],
            "admin": {"address": self.admin},
            "access_log": {"path": "off"},
            "routes": [{"name": "all", "method": "GET", "gateway_path": "/{*rest}", "service": "origin", "auth": "public"}],
        });
        if let (Some(all), Value::Object(sections)) = (all.as_object_mut(), sections) {
            all.extend(sections);
        }
        self.machine.write(FILE, &config(self.service.address(), all).to_string());
    }

    fn is_active(&self) -> bool {
        self.machine.text("systemctl is-active tollgate.service").trim() == "active"
    }

    /// The process that systemd takes for the gateway.
    fn main_process(&self) -> u32 {
        let shown = self.machine.text("systemctl show --property=MainPID --value tollgate.service");
        shown.trim().parse().expect("systemd tells a number")
    }

    /// Whether the gateway runs the file that is installed now.
    fn runs_what_is_installed(&self) -> bool {
        self.machine.text(&format!("readlink /proc/{}/exe", self.main_process())).trim() == "/usr/bin/tollgate"
    }
}

/// One that nothing else on this machine is likely to use: the machine's network is that of all tests.
fn free_address() -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 80, high, low);
    TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr()).expect("a free port")
}

#[test]
fn a_package_is_installed_confined_and_gone_without_a_trace() {
    let machine = Machine::boot(Network::Own);
    let before = machine.text(ALL_FILES);
    machine.must(&PACKAGES.install_older());
    machine.must("systemctl is-active tollgate.service && systemctl is-enabled tollgate.service");
    assert_eq!(machine.must("tollgate --version").trim(), format!("tollgate {}", tollgate::server::BUILD));
    // The packaged configuration serves: its admin listener answers.
    machine.must("systemctl reload tollgate.service");
    for (path, mode) in [
        ("/etc/default/tollgate", "600 root"),
        (FILE, "644 root"),
        ("/run/tollgate", "700 tollgate"),
        ("/var/lib/tollgate", "700 tollgate"),
        ("/usr/share/man/man1/tollgate-keys-create.1.gz", "644 root"),
        ("/usr/share/man/man5/tollgate.yaml.5.gz", "644 root"),
        ("/usr/share/bash-completion/completions/tollgate", "644 root"),
        ("/usr/share/zsh/vendor-completions/_tollgate", "644 root"),
        ("/usr/share/fish/vendor_completions.d/tollgate.fish", "644 root"),
    ] {
        assert_eq!(machine.text(&format!("stat --format='%a %U' {path}")).trim(), mode, "{path}");
    }
    machine.must("systemd-analyze verify tollgate.service");
    let confined = machine.run("systemd-analyze security --threshold=15 tollgate.service");
    assert!(confined.status.success(), "more exposed than 1.5:\n{}", said(&confined));
    machine.must("dpkg --remove tollgate");
    let state = machine.text("systemctl is-active tollgate.service; ls /usr/bin/tollgate /etc/tollgate/tollgate.yaml");
    assert_eq!(state, "inactive\n/etc/tollgate/tollgate.yaml\n");
    machine.must("dpkg --purge tollgate");
    let after = machine.text(ALL_FILES);
    let left: Vec<_> = after.lines().filter(|file| !before.lines().any(|known| known == *file)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn reloads_and_upgrades_of_the_unit_lose_no_request() {
    let installed = Installed::install();
    let machine = &installed.machine;
    let load = installed.service.load(installed.public);
    installed.configure(json!({"timezone": "Europe/Berlin"}));
    machine.must("systemctl reload tollgate.service");
    assert!(machine.text("systemctl status tollgate.service").contains("generation 2"));
    installed.configure(json!({"timezone": "Nowhere"}));
    let refused = machine.run("systemctl reload tollgate.service");
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let report = machine.text("journalctl --no-pager --unit=tollgate.service");
    assert!(report.contains("Nowhere") && report.contains("the old configuration goes on"), "{report}");
    // A package whose program would not start with this file leaves the process alone.
    let first = installed.main_process();
    let said = machine.must(&PACKAGES.install_newer());
    assert!(said.contains("the process of the version before goes on"), "{said}");
    assert!(installed.is_active() && installed.main_process() == first);
    installed.configure(json!({}));
    let mut processes = vec![first];
    for upgrade in [format!("tollgate upgrade {FILE}"), PACKAGES.install_older(), PACKAGES.install_newer()] {
        load.go_on();
        machine.must(&upgrade);
        let now = installed.main_process();
        assert!(!processes.contains(&now), "{upgrade}: {now} after {processes:?}");
        assert!(installed.is_active() && installed.runs_what_is_installed(), "{upgrade}");
        processes.push(now);
    }
    load.go_on();
    load.end().assert_nothing_lost("reloads and upgrades");
    let processes = || machine.text("grep --files-with-matches --line-regexp tollgate /proc/[0-9]*/comm");
    assert!(eventually(|| processes().lines().count() == 1), "{}", processes());
}

#[test]
fn with_the_socket_unit_restarts_and_kills_refuse_nobody() {
    let installed = Installed::install();
    let (machine, public) = (&installed.machine, installed.public);
    let address = format!("[Socket]\nListenStream=\nListenStream={public}\n");
    machine.write("/etc/systemd/system/tollgate.socket.d/address.conf", &address);
    machine.must("systemctl daemon-reload && systemctl stop tollgate.service");
    machine.must("systemctl enable --now tollgate.socket && systemctl start tollgate.service");
    let load = installed.service.load(public);
    let mut processes = vec![installed.main_process()];
    let restart = "systemctl restart tollgate.service".to_owned();
    for way in [restart.clone(), format!("tollgate upgrade {FILE}"), restart.clone(), PACKAGES.install_newer(), restart]
    {
        machine.must(&way);
        let now = installed.main_process();
        assert!(installed.is_active() && !processes.contains(&now), "{way}: {now} after {processes:?}");
        processes.push(now);
        load.go_on();
    }
    load.end().assert_nothing_lost("restarts and upgrades");
    let load = installed.service.load(public);
    for _ in 0..KILLS {
        machine.must(&format!("kill -KILL {}", installed.main_process()));
        let killed = Instant::now();
        assert_eq!(fetch(public, "/quick/after").status, 200);
        let away = killed.elapsed();
        assert!(away < BACK, "it was away for {away:?}");
        load.go_on();
    }
    let tally = load.end();
    // What was in flight may be lost, and nothing else.
    assert!(tally.refused.is_empty() && tally.failed.len() <= KILLS * load::AT_A_TIME, "{tally:?}");
    machine.must("dpkg --purge tollgate");
    assert!(TcpStream::connect(public).is_err(), "the socket goes with the package");
    let links = machine.text("find /etc/systemd/system -name 'tollgate*' -not -name '*.d'");
    assert_eq!(links, "");
}
