//! Decisions by the counters of this gateway: those of this process, or of the next one once it has them.

use crate::policy::limit::{Claim, Decided, Moved, Now};

use super::super::State;

/// Passes all claims or none. Waits only while the next process is asked, which ends soon in any case: what has no
/// answer is decided here after all.
pub(super) async fn decide<'a>(state: &State, claims: &[Claim<'a>], now: Now) -> Decided<'a> {
    match state.limiter.decide(claims, now) {
        Ok(decided) => decided,
        Err(Moved) => Box::pin(ask(state, claims, now)).await,
    }
}

async fn ask<'a>(state: &State, claims: &[Claim<'a>], now: Now) -> Decided<'a> {
    loop {
        if let Some(successor) = state.successor.load_full() {
            let answered = successor.ask(state.limiter.demands(claims, now)).await;
            let decided = answered.and_then(|(answer, permit)| answer.decided(claims, permit));
            if let Some(decided) = decided {
                return decided;
            }
            // It is gone or makes no sense; the counters are here again.
            successor.end();
        }
        if let Ok(decided) = state.limiter.decide(claims, now) {
            return decided;
        }
        // Yet another process has them by now.
    }
}
