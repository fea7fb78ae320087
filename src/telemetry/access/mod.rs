//! The access log: one line per request, written off the request path.
//!
//! A worker appends its line to a buffer of its own thread, so workers never wait for each other or for a disk; one
//! writer thread collects the buffers a few times a second. A line costs a few hundred nanoseconds and no
//! allocation. A buffer holds at most [`BUFFER_BYTES`]: when the sink cannot keep up, lines are dropped and counted,
//! requests are not held up. Buffered lines are written when [`AccessLog::flush`] is called at exit; a killed
//! process loses at most the last [`COLLECT_EVERY`].
//!
//! Lines carry no query string and no header but the user agent: both may hold credentials. Of a violation that a
//! contract let pass they name the place and the rule, never the value; a name in the place may be the client's.

mod line;

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::Mutex;

pub use line::{AccessLine, Format, MAX_OBSERVED, Observed, WouldRefuse};

/// Most bytes of lines that one worker keeps for the writer.
pub const BUFFER_BYTES: usize = 1 << 20;

/// How long a line may wait in a buffer.
pub const COLLECT_EVERY: Duration = Duration::from_millis(50);

/// The access log of the process.
#[derive(Debug, Clone)]
pub struct AccessLog {
    shared: Arc<Shared>,
}

/// The lines of one worker, until the writer takes them.
type Buffer = Arc<Mutex<Vec<u8>>>;

#[derive(Debug)]
struct Shared {
    buffers: Mutex<Vec<Buffer>>,
    sink: Mutex<Sink>,
    pending: AtomicBool,
    dropped: AtomicU64,
    writer: Mutex<Option<Thread>>,
}

#[derive(Debug)]
enum Sink {
    Off,
    Stdout,
    File(PathBuf, File),
}

thread_local! {
    /// This worker's buffer, with the log it belongs to (there is one log per process but for tests).
    static MINE: RefCell<Option<(Arc<Shared>, Buffer)>> = const { RefCell::new(None) };
}

impl AccessLog {
    /// Opens the log and starts its writer. `path` is `stdout`, `off` or a file, which is appended to.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not started.
    pub fn open(path: &str) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            buffers: Mutex::new(Vec::new()),
            sink: Mutex::new(Sink::open(path)?),
            pending: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            writer: Mutex::new(None),
        });
        let for_writer = Arc::downgrade(&shared);
        let writer = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            loop {
                std::thread::park();
                // Lines of the next moments are collected together: one write for many requests.
                std::thread::sleep(COLLECT_EVERY);
                let Some(shared) = for_writer.upgrade() else { return };
                shared.collect();
            }
        })?;
        *shared.writer.lock() = Some(writer.thread().clone());
        Ok(Self { shared })
    }

    /// Sends the lines from now on to another place; the same place again reopens it.
    ///
    /// # Errors
    /// When the file cannot be opened; the old place is kept.
    pub fn redirect(&self, path: &str) -> io::Result<()> {
        let sink = Sink::open(path)?;
        self.shared.collect();
        *self.shared.sink.lock() = sink;
        Ok(())
    }

    /// Appends one line.
    pub fn write(&self, format: Format, line: &AccessLine<'_>) {
        MINE.with_borrow_mut(|mine| {
            let (_, buffer) = match mine {
                Some(mine) if Arc::ptr_eq(&mine.0, &self.shared) => mine,
                _ => mine.insert((Arc::clone(&self.shared), self.shared.new_buffer())),
            };
            let mut buffer = buffer.lock();
            if buffer.len() >= BUFFER_BYTES {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            match format {
                Format::Json => line.write_json(&mut buffer),
                Format::Text => line.write_text(&mut buffer),
            }
        });
        if !self.shared.pending.swap(true, Ordering::Relaxed)
            && let Some(writer) = &*self.shared.writer.lock()
        {
            writer.unpark();
        }
    }

    /// Writes what is buffered. For the end of the process.
    pub fn flush(&self) {
        self.shared.collect();
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn new_buffer(&self) -> Buffer {
        let buffer = Arc::new(Mutex::new(Vec::with_capacity(16 * 1024)));
        self.buffers.lock().push(Arc::clone(&buffer));
        buffer
    }

    /// Takes every buffer and writes it out. The sink's lock orders concurrent calls.
    fn collect(&self) {
        let mut sink = self.sink.lock();
        self.pending.store(false, Ordering::Relaxed);
        let buffers: Vec<_> = self.buffers.lock().clone();
        for buffer in buffers {
            let lines = {
                let mut buffer = buffer.lock();
                if buffer.is_empty() {
                    continue;
                }
                let capacity = buffer.capacity().min(256 * 1024);
                std::mem::replace(&mut *buffer, Vec::with_capacity(capacity))
            };
            if let Err(error) = sink.write(&lines) {
                let lost = lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
                // Said once: a full disk must not fill the process log too.
                if self.dropped.fetch_add(lost, Ordering::Relaxed) == 0 {
                    log::error!("access log could not be written, lines are dropped: {error}");
                }
            }
        }
    }
}

impl Sink {
    fn open(path: &str) -> io::Result<Self> {
        match path {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            file => {
                let path = PathBuf::from(file);
                let file = OpenOptions::new().create(true).append(true).open(&path)?;
                Ok(Self::File(path, file))
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Off => Ok(()),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::File(path, file) => file
                .write_all(lines)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }
}

#[cfg(test)]
mod tests;
