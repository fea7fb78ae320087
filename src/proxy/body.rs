//! Request bodies that are read whole before the service is contacted.
//!
//! pingora connects to the service before it lets a filter see the first byte of a body, and a body read earlier is
//! lost to it. So a checked body is read here, within a deadline and a process-wide memory budget, and then the
//! session is [swapped](swap_in) for a session that presents the checked bytes as a replayable body, lets a `Hold`
//! decide when a reply is written, and passes everything else to the real one. [`swap_out`] puts the real session back
//! before pingora decides
//! whether the connection is kept alive: it must run first in `logging` and in `fail_to_proxy`.
//!
//! A multipart form is read by `upload`, and may be larger than memory: `spool` keeps its files.
//!
//! The trait behind this is public in pingora, but not promised to be stable; the integration test
//! `bodies::a_checked_body_of_any_size_arrives_whole` guards the pinned version.

mod spool;
mod substitute;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap};
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use crate::policy::rejection::{Malformed, Rejection};

pub use spool::{SpooledBody, UploadDisk};
pub use substitute::{Deciding, Slot, Substitute, of_stream, swap_in, swap_out};
pub use upload::{Store, Upload, fresh_boundary, read_form};

/// The bytes that bodies under check take, all requests together: in memory, or on disk.
#[derive(Debug, Default)]
pub struct Budget {
    used: AtomicU64,
}

/// Memory that can grow within the budget of all bodies under check.
#[derive(Debug)]
pub struct Lease {
    /// What is taken.
    pub memory: Reservation,
    /// The budget, in bytes.
    pub budget: u64,
}

/// A part of a [`Budget`], given back on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

/// A budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Budget {
    /// An empty reservation.
    pub fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), bytes: 0 }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Takes more, as long as all reservations together stay within `limit` bytes.
    ///
    /// # Errors
    /// They would not; what was taken before stays.
    pub fn grow_to(&mut self, bytes: u64, limit: u64) -> Result<(), Full> {
        let more = bytes.saturating_sub(self.bytes);
        let grow = |used: u64| used.checked_add(more).filter(|&total| total <= limit);
        self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).map_err(|_| Full)?;
        self.bytes += more;
        Ok(())
    }
}

impl Lease {
    /// Takes more.
    ///
    /// # Errors
    /// There is none.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), Full> {
        self.memory.grow_to(bytes, self.budget)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bounds on reading one body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// The route's `max_body`, in bytes.
    pub max: u64,
    /// For the whole body.
    pub deadline: Duration,
    /// The budget of all bodies under check, in bytes.
    pub memory: u64,
}

/// What to do with the bytes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Hold them for checking.
    All,
    /// Read them off the connection, so that it can be kept alive.
    Nothing,
}

/// Reads a whole body.
///
/// # Errors
/// Too large, too slow, no memory, or not framed as HTTP wants it.
pub async fn read(
    session: &mut Session,
    keep: Keep,
    limits: BodyLimits,
    held: &mut Reservation,
) -> Result<Bytes, Rejection> {
    let mut arriving = Arriving::announced(session, limits)?;
    let read = read_within(session, keep, limits, &mut arriving, held);
    tokio::time::timeout(limits.deadline, read).await.unwrap_or(Err(Rejection::BodyTimeout))
}

async fn read_within(
    session: &mut Session,
    keep: Keep,
    limits: BodyLimits,
    arriving: &mut Arriving,
    held: &mut Reservation,
) -> Result<Bytes, Rejection> {
    let declared = arriving.declared.filter(|_| keep == Keep::All).unwrap_or_default();
    held.grow_to(declared, limits.memory).map_err(|Full| Rejection::BodyMemory)?;
    invite(session).await.map_err(|error| body_fault(&error))?;
    let mut whole = BytesMut::new();
    while let Some(chunk) = arriving.next(session).await? {
        if keep == Keep::Nothing {
            continue;
        }
        held.grow_to(arriving.length, limits.memory).map_err(|Full| Rejection::BodyMemory)?;
        if whole.is_empty() {
            whole.reserve(usize::try_from(declared).unwrap_or_default());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// A body on its way.
struct Arriving {
    /// Its Content-Length.
    declared: Option<u64>,
    /// What has come.
    length: u64,
    max: u64,
}

impl Arriving {
    /// A body that is not too large by its header.
    fn announced(session: &Session, limits: BodyLimits) -> Result<Self, Rejection> {
        let declared = declared_length(&session.req_header().headers);
        if declared.is_some_and(|length| length > limits.max) {
            return Err(Rejection::BodyTooLarge(limits.max));
        }
        Ok(Self { declared, length: 0, max: limits.max })
    }

    async fn next(&mut self, session: &mut Session) -> Result<Option<Bytes>, Rejection> {
        let chunk = session.read_request_body().await.map_err(|error| body_fault(&error))?;
        self.length += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.length > self.max {
            return Err(Rejection::BodyTooLarge(self.max));
        }
        Ok(chunk)
    }
}

/// Lets a client that waits for it begin with its body.
///
/// # Errors
/// When the client cannot be written to.
pub async fn invite(session: &mut Session) -> pingora::Result<()> {
    if session.req_header().headers.contains_key(EXPECT) {
        // pingora takes the 100 for an early answer and would close the connection after the request.
        let keepalive = session.get_keepalive();
        session.write_continue_response().await?;
        session.set_keepalive(keepalive);
    }
    Ok(())
}

/// The Content-Length of a request, where it has one.
pub fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn body_fault(error: &Error) -> Rejection {
    match error.etype() {
        ErrorType::ReadTimedout => Rejection::BodyTimeout,
        _ => Rejection::Malformed(Malformed::Message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_stay_within_the_budget_and_come_back() {
        let memory = Arc::new(Budget::default());
        let mut first = memory.reserve();
        let mut second = memory.reserve();
        first.grow_to(60, 100).unwrap();
        first.grow_to(60, 100).unwrap();
        assert!(second.grow_to(41, 100).is_err());
        second.grow_to(40, 100).unwrap();
        assert_eq!(memory.used(), 100);
        drop(first);
        assert_eq!(memory.used(), 40);
        second.grow_to(100, 100).unwrap();
        assert!(second.grow_to(u64::MAX, 100).is_err());
        drop(second);
        assert_eq!(memory.used(), 0);
    }
}
