//! What systemd is told of this process: that it serves, reloads, is alive, leaves.
//!
//! Outside of systemd there is nobody to tell, and one who does not listen changes nothing: no message can fail.

use std::sync::atomic::{AtomicBool, Ordering};

use sd_notify::NotifyState;
use tokio::sync::Notify;

use crate::gateway::Gateway;

/// Speaks to systemd for as long as this process is the unit's main one.
#[derive(Debug, Default)]
pub struct Herald {
    mute: AtomicBool,
    begun: Notify,
}

impl Herald {
    /// The process serves this generation.
    pub fn ready(&self, gateway: &Gateway) {
        self.serves(&status(gateway));
        self.begun.notify_one();
    }

    /// Waits until the process has said that it serves. For one who waits.
    pub async fn has_begun(&self) {
        self.begun.notified().await;
    }

    /// The process serves this generation still: its file was refused.
    pub fn refused(&self, gateway: &Gateway) {
        self.serves(&format!("{}, last reload refused", status(gateway)));
    }

    /// The configuration is read again.
    pub fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.say(&[NotifyState::Reloading, now]);
        }
    }

    /// The process serves clients at this moment, or is about to leave.
    pub fn alive(&self) {
        self.say(&[NotifyState::Watchdog]);
    }

    /// The process leaves.
    pub fn stopping(&self) {
        self.say(&[NotifyState::Stopping]);
    }

    /// The process waits for so many requests before it leaves.
    pub fn draining(&self, in_flight: usize) {
        let status = match in_flight {
            0 => "draining, no request in flight".to_owned(),
            1 => "draining, 1 request in flight".to_owned(),
            _ => format!("draining, {in_flight} requests in flight"),
        };
        self.say(&[NotifyState::Status(&status)]);
    }

    /// Says nothing any more: another process is the main one, and systemd would complain of this one.
    pub fn fall_silent(&self) {
        self.mute.store(true, Ordering::Relaxed);
    }

    fn serves(&self, status: &str) {
        self.say(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    fn say(&self, message: &[NotifyState<'_>]) {
        if !self.mute.load(Ordering::Relaxed) {
            let _ = sd_notify::notify(message);
        }
    }
}

fn status(gateway: &Gateway) -> String {
    match gateway.routes.len() {
        1 => format!("generation {}, 1 route", gateway.generation),
        routes => format!("generation {}, {routes} routes", gateway.generation),
    }
}
