//! The process log: one entry per event on standard error, for operators.
//!
//! It implements the `log` facade, which pingora writes to as well. What pingora says of single requests and
//! connections is left out: a stranger can provoke it at will, it may quote the request, and the access line carries
//! the cause. Its words about listeners and runtimes stay.
//!
//! Entries are written by a thread of their own, so that nobody waits for whoever reads standard error; [`flush_log`]
//! is for the end of the process. Level and format can change at any time.

mod entry;

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use log::{LevelFilter, Log, Metadata, Record};

use super::access::Format;
use super::outlet::{Buffer, Lost, Nature, Notice, Outlet, Sink};

use entry::{Entry, Frame};

const NATURE: Nature = Nature { thread: "log", rest: Duration::ZERO, notice: hear_nothing };

/// How long the end of the process waits for a reader.
const PATIENCE: Duration = Duration::from_secs(1);

static LOGGER: OnceLock<ProcessLog> = OnceLock::new();

struct ProcessLog {
    outlet: Outlet,
    buffer: Arc<Buffer>,
    frame: Frame,
    format: AtomicU8,
}

/// Starts the process log, readable until something else is said. The second call in a process changes only the level.
///
/// # Errors
/// When standard error is closed, or the thread cannot be started.
pub fn install(level: LevelFilter) -> io::Result<()> {
    if LOGGER.get().is_none() {
        let outlet = Outlet::start(NATURE, Sink::stderr()?)?;
        let buffer = outlet.buffer();
        let format = AtomicU8::new(Format::Text as u8);
        let logger = LOGGER.get_or_init(|| ProcessLog { outlet, buffer, frame: Frame::detect(), format });
        // An error means that it is installed already.
        let _ = log::set_logger(logger);
    }
    set_log_level(level);
    Ok(())
}

/// What is said from now on.
pub fn set_log_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// What is said now.
pub fn log_level() -> LevelFilter {
    log::max_level()
}

/// The shape of entries from now on.
pub fn set_log_format(format: Format) {
    if let Some(logger) = LOGGER.get() {
        logger.format.store(format as u8, Ordering::Relaxed);
    }
}

/// Waits a moment for the last entries to be written. For the end of the process.
pub fn flush_log() {
    if let Some(logger) = LOGGER.get() {
        logger.flush();
    }
}

/// Entries lost since the start.
pub fn lost_log_entries() -> Lost {
    LOGGER.get().map(|logger| logger.outlet.lost()).unwrap_or_default()
}

/// There is nowhere left to report a failure of standard error.
fn hear_nothing(_: Notice<'_>) {}

impl Log for ProcessLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        if !target.starts_with("pingora") {
            return true;
        }
        // Below the services there are only connections and requests.
        target.starts_with("pingora_core::services") && metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Before the buffer is locked: the message may be made by code that logs.
        let message = record.args().to_string();
        let entry = Entry {
            at: SystemTime::now(),
            level: record.level(),
            module: record.target(),
            message: message.trim_end_matches('\n'),
        };
        let is_json = self.format.load(Ordering::Relaxed) == Format::Json as u8;
        let format = if is_json { Format::Json } else { Format::Text };
        self.outlet.push(&self.buffer, |out| entry.write(out, format, self.frame));
    }

    fn flush(&self) {
        self.outlet.flush(PATIENCE);
    }
}
