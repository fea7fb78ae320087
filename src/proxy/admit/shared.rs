//! Limits that many gateways count together, and what holds while the store of their counters does not answer.
//!
//! The store decides; what it passes is charged to the counters of this process too, so that these know what this node
//! has seen when they have to do alone. A fault decides one request by [`OnFailure`], and takes the store for down: until
//! it is up again no request waits for it. A fault of the store is never told as one of the credential or of the
//! caller's use.

use std::sync::Arc;
use std::time::Instant;

use log::{error, info};

use crate::gateway::LimitCounters;
use crate::policy::limit::{Claim, Limiter, Now, Refused};
use crate::policy::rejection::Rejection;
use crate::store::shared::{Change, Decision, Fault, Shared};
use crate::telemetry::{DecidedBy, Telemetry};

use super::super::State;
use super::super::exchange::Held;
use super::{counted, here};

/// What holds while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The counters of this process decide.
    Local,
    /// Everything passes.
    Allow,
    /// Nothing passes.
    Deny,
}

/// The shared counters, and how to do without.
pub struct SharedLimits {
    /// Where they are.
    pub store: Arc<Shared>,
    /// What holds without them.
    pub on_failure: OnFailure,
}

impl SharedLimits {
    /// Notes a fault, and says so the first time.
    pub fn failed(&self, fault: &Fault, telemetry: &Telemetry) {
        if *fault != Fault::Down {
            telemetry.shared_store_failures.inc();
        }
        if self.store.failed(fault) == Change::WentDown {
            telemetry.shared_store_up(false);
            error!("shared store failed, limits are {}: {fault}", self.on_failure.consequence());
        }
    }

    /// Tries a store that is down; `true` when it is up again.
    pub async fn probe(&self, telemetry: &Telemetry) -> Result<(), Fault> {
        self.store.probe().await?;
        telemetry.shared_store_up(true);
        info!("shared store answers");
        Ok(())
    }
}

impl OnFailure {
    /// What becomes of limits.
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Local => "counted by this gateway alone",
            Self::Allow => "not enforced",
            Self::Deny => "answered 503",
        }
    }
}

/// Passes all claims or none.
pub(super) async fn decide<'a>(
    state: &State,
    limits: &SharedLimits,
    counters: &LimitCounters,
    claims: &[Claim<'a>],
    now: Now,
) -> Result<Result<Held, Refused<'a>>, Rejection> {
    let begun = Instant::now();
    let fault = match limits.store.decide(claims, now.unix).await {
        Ok(Decision { decided, asked }) => {
            state.telemetry.limits_decided(if asked { DecidedBy::Store } else { DecidedBy::Lease });
            if asked {
                state.telemetry.shared_store_seconds.observe(begun.elapsed().as_secs_f64());
            }
            return Ok(decided.map(|(granted, places)| Held {
                places,
                permit: charge(&state.limiter, claims, now),
                ..counted(counters, granted)
            }));
        }
        Err(fault) => fault,
    };
    limits.failed(&fault, &state.telemetry);
    match limits.on_failure {
        OnFailure::Local => {
            state.telemetry.limits_decided(DecidedBy::Local);
            Ok(here::decide(state, claims, now).await.map(|granted| counted(counters, granted)))
        }
        OnFailure::Allow => {
            state.telemetry.limits_decided(DecidedBy::Nobody);
            Ok(Ok(Held::default()))
        }
        OnFailure::Deny => Err(Rejection::LimitsUnavailable),
    }
}

/// Charges what the store has passed to this process. Where its own counters would refuse, because they remember what
/// the store has lost, they stay as they are; so they do once the next process has them.
fn charge(limiter: &Arc<Limiter>, claims: &[Claim<'_>], now: Now) -> crate::policy::limit::Permit {
    let charged = limiter.decide(claims, now).ok().and_then(Result::ok);
    charged.map(|granted| granted.permit).unwrap_or_default()
}
