//! The access log: one line per request, written off the request path.
//!
//! A worker appends its line to a buffer of its own thread, so workers never wait for each other or for a disk; one
//! writer thread collects the buffers a few times a second (`outlet`). A line costs a few hundred nanoseconds and no
//! allocation. When the place cannot keep up, lines are lost and counted, requests are not held up. Buffered lines are
//! written when [`AccessLog::flush`] is called at exit; a killed process loses at most those of the last
//! [`COLLECT_EVERY`].
//!
//! Lines carry no query string and, unless the configuration names more, no header but the user agent: both may hold
//! credentials. Of a violation that a contract let pass they name the place and the rule, never the value; a name in
//! the place may be the client's.

mod line;
mod shape;

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use log::{error, info, warn};
use parking_lot::Mutex;

use super::outlet::{Buffer, Lost, Nature, Notice, Outlet, Sink};

pub use line::{ADMITTED, AccessLine, MAX_OBSERVED, Observed, WouldRefuse};
pub use shape::{Field, Fields, Format, Lines, Shape};

/// How long a line may wait in a buffer.
pub const COLLECT_EVERY: Duration = Duration::from_millis(50);

const NATURE: Nature = Nature { thread: "access-log", rest: COLLECT_EVERY, notice: tell };

/// How long the end of the process waits for lines to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the old place has to take lines when there is another.
const LAST_CHANCE: Duration = Duration::from_millis(250);

/// The access log of the process.
#[derive(Debug, Clone)]
pub struct AccessLog {
    outlet: Outlet,
    /// As the configuration says it.
    path: Arc<Mutex<String>>,
}

thread_local! {
    /// This worker's buffer, with the log it belongs to (there is one log per process but for tests).
    static MINE: RefCell<Option<(Outlet, Arc<Buffer>)>> = const { RefCell::new(None) };
}

impl AccessLog {
    /// Opens the log and starts its writer. `path` is `stdout`, `off` or a file, which is appended to.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not started.
    pub fn open(path: &str) -> io::Result<Self> {
        let outlet = Outlet::start(NATURE, sink(path)?)?;
        Ok(Self { outlet, path: Arc::new(Mutex::new(path.to_owned())) })
    }

    /// Sends the lines from now on to another place.
    ///
    /// # Errors
    /// When the file cannot be opened; the old place is kept.
    pub fn redirect(&self, path: &str) -> io::Result<()> {
        let mut current = self.path.lock();
        self.turn_to(sink(path)?);
        path.clone_into(&mut current);
        Ok(())
    }

    /// Opens the file again, which may have been renamed or removed, and returns its path; `None`: there is no file.
    ///
    /// # Errors
    /// When the file cannot be opened: its path, and why. The old file is kept.
    pub fn reopen(&self) -> Result<Option<String>, (String, io::Error)> {
        let path = self.path.lock();
        if matches!(path.as_str(), "off" | "stdout") {
            return Ok(None);
        }
        let sink = sink(&path).map_err(|failed| (path.clone(), failed))?;
        self.turn_to(sink);
        Ok(Some(path.clone()))
    }

    /// Sends lines to another place from now on. Those before go to the old one, unless it does not take them.
    fn turn_to(&self, sink: Sink) {
        self.outlet.flush(LAST_CHANCE);
        self.outlet.redirect(sink);
    }

    /// Appends one line.
    pub fn write(&self, shape: &Shape, line: &AccessLine<'_>) {
        MINE.with_borrow_mut(|mine| {
            let (_, buffer) = match mine {
                Some(mine) if mine.0.is(&self.outlet) => mine,
                _ => mine.insert((self.outlet.clone(), self.outlet.buffer())),
            };
            self.outlet.push(buffer, |out| line.write(out, shape));
        });
    }

    /// Writes what is buffered, unless that takes too long. For the end of the process.
    pub fn flush(&self) {
        if !self.outlet.flush(PATIENCE) {
            warn!("access log {}: lines are lost at the end, since nobody reads them", self.path.lock());
        }
    }

    /// Lines lost since the start.
    pub fn lost(&self) -> Lost {
        self.outlet.lost()
    }
}

fn sink(path: &str) -> io::Result<Sink> {
    match path {
        "off" => Ok(Sink::Off),
        "stdout" => Sink::stdout(),
        file => Sink::open(file),
    }
}

fn tell(notice: Notice<'_>) {
    match notice {
        Notice::Failing(place, failed) => error!("access log {place} cannot be written, lines are lost: {failed}"),
        Notice::Lagging(place) => error!("access log {place} is written or read too slowly, lines are lost"),
        Notice::Recovered(place, lost) => info!("access log {place} is written again lost={lost}"),
    }
}

#[cfg(test)]
mod tests;
