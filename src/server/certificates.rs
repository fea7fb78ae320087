//! Certificates of listeners and services that change on disk while the configuration does not.
//!
//! A renewed certificate lands in the files that the configuration names. They are looked at twice a second, which works
//! on every file system and for links that are turned to another folder, as Kubernetes does. A pair is two files, so a
//! change is acted on when it has settled. What cannot be used is said in the log, counted, and changes nothing.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log::{error, info};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::{MissedTickBehavior, interval};

use crate::gateway::tls::{Entrance, Fault, Read, Refreshed};
use crate::proxy::State;
use crate::telemetry::{ReloadResult, Telemetry};

use super::{Source, unix_now};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Largest file that is read, in bytes: hundreds of authorities.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Reads a file that a configuration names; a relative path begins at the configuration's folder.
///
/// # Errors
/// When it cannot be read, or is larger than anything that belongs there.
pub fn read_beside(source: &Source, name: &str) -> io::Result<Vec<u8>> {
    let file = fs::File::open(source.folder().join(name))?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"));
    }
    Ok(bytes)
}

/// Shows in the metrics when the certificates that are served expire.
pub(super) fn show(telemetry: &Telemetry, entrances: &[(SocketAddr, Entrance)]) {
    for tls in entrances.iter().filter_map(|(_, entrance)| entrance.tls()) {
        for certificate in tls.current().certificates.iter() {
            telemetry.serves_certificate(&tls.address.to_string(), &certificate.file, certificate.expires);
        }
    }
}

/// Looks at the files.
pub(super) struct Watch {
    state: Arc<State>,
    source: Source,
}

/// What the content of files is known by: inode, length and time of the last change; nothing of a file that is not there.
type Marks = Vec<Option<(u64, u64, i64, i64)>>;

/// The files of one listener or service.
#[derive(Default)]
struct Followed {
    /// As they were when they were read.
    read: Marks,
    /// As they were at the last look.
    seen: Marks,
}

impl Watch {
    pub fn new(state: Arc<State>, source: Source) -> Self {
        Self { state, source }
    }

    fn marks(&self, files: &[&str]) -> Marks {
        let mark = |file: &&str| {
            let found = fs::metadata(self.source.folder().join(file)).ok()?;
            Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        };
        files.iter().map(mark).collect()
    }

    /// Reads what has changed and settled.
    fn look(&self, followed: &mut HashMap<String, Followed>) {
        let mut known = std::mem::take(followed);
        let mut follow = |owner: String, files: &[&str], refresh: &dyn Fn() -> Result<Refreshed, Vec<Fault>>| {
            let mut of_owner = known.remove(&owner).unwrap_or_default();
            let now = self.marks(files);
            let settled = now == of_owner.seen;
            of_owner.seen.clone_from(&now);
            if settled && now != of_owner.read {
                of_owner.read = now;
                self.say(&owner, refresh());
            }
            followed.insert(owner, of_owner);
        };
        let read: Read<'_> = &|name| read_beside(&self.source, name);
        for listening in &self.state.listeners {
            let entrance = listening.entrance();
            let Some(tls) = entrance.tls() else { continue };
            follow(format!("listener={}", listening.bound), &tls.terms.files(), &|| tls.refresh(read, unix_now()));
        }
        for service in &self.state.gateway.load().services {
            let Some(tls) = &service.tls else { continue };
            let refresh = || tls.refresh(read).map_err(|fault| vec![fault]);
            follow(format!("service={}", service.name), &tls.files(), &refresh);
        }
    }

    fn say(&self, owner: &str, result: Result<Refreshed, Vec<Fault>>) {
        let result = match result {
            Ok(Refreshed::Same) => return,
            Ok(Refreshed::Changed) => {
                info!("certificates published {owner}");
                ReloadResult::Published
            }
            Err(faults) => {
                for fault in faults {
                    error!("certificates refused, the old ones go on {owner}: {}", fault.message);
                }
                ReloadResult::Refused
            }
        };
        self.state.telemetry.certificates_changed(result);
        show(&self.state.telemetry, &self.state.gateway.load().entrances);
    }
}

#[async_trait]
impl BackgroundService for Watch {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut followed = HashMap::new();
        loop {
            tokio::select! {
                _ = look.tick() => self.look(&mut followed),
                _ = shutdown.changed() => return,
            }
        }
    }
}
