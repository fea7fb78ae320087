//! The deadlines of one request, kept where its client is waited for.
//!
//! On a connection of HTTP/1 the guard keeps them below pingora, since a connection has one request at a time. A stream of
//! HTTP/2 shares its connection with others, and pingora reads it without any deadline; so its session keeps them.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use pingora::{Error, ErrorType, Result};

use super::Watch;
use super::alarm::Alarm;

/// What is waited for while a client is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The client's body: until all of it is there, the service does not owe a reply.
    Body,
    /// The service; a client that leaves is heard.
    Service,
}

/// The deadlines of one request.
#[derive(Debug)]
pub struct Deadlines {
    watch: Arc<Watch>,
    /// The longest silence within a body; none once the service has begun to reply, which it may do before it has all of
    /// the body: then whoever speaks ends the silence of both.
    pub silence: Option<Duration>,
    alarm: Alarm,
}

impl Deadlines {
    /// Those of a request with this watch.
    pub fn of(watch: Arc<Watch>, silence: Option<Duration>) -> Self {
        Self { watch, silence, alarm: Alarm::default() }
    }

    /// Reads until a deadline.
    ///
    /// # Errors
    /// That of the read, or that it took too long.
    pub async fn keep<T>(&mut self, awaited: Awaited, read: impl Future<Output = Result<T>>) -> Result<T> {
        let mut read = pin!(read);
        let silence = self.silence.filter(|_| awaited == Awaited::Body);
        let silent_until = silence.map(|silence| Instant::now() + silence);
        poll_fn(|context| {
            if let Poll::Ready(read) = read.as_mut().poll(context) {
                return Poll::Ready(read);
            }
            let patience = &self.watch.patience;
            let patient_until = if silence.is_some() { patience.last() } else { patience.due() };
            let Some(due) = silent_until.into_iter().chain(patient_until).min() else { return Poll::Pending };
            ready!(self.alarm.poll(due.into(), context));
            if patient_until == Some(due) {
                patience.run_out();
            }
            Poll::Ready(Err(Error::explain(ErrorType::ReadTimedout, "while listening to a client").into_down()))
        })
        .await
    }
}
