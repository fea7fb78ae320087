//! Lines on their way to a file, a pipe or a terminal; who has one never waits for any of these.
//!
//! A line is appended to a [`Buffer`] in memory, and one thread per outlet writes what the buffers hold. A buffer holds at
//! most [`BUFFER_BYTES`]: while the thread cannot write, further lines are lost and counted, by reason. Whatever is asked
//! of the thread (another place, a last flush) is asked without waiting for it, or for a time that the caller says.
//!
//! Invariant: only the thread in `writer` touches the sink, and nobody holds a lock while he writes.

mod sink;
mod writer;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use writer::Writer;

pub use sink::Sink;

/// Most bytes of lines that a buffer keeps, but for the last line. From a quarter of it on, the thread does not rest.
pub const BUFFER_BYTES: usize = 1 << 20;

/// A way out for lines.
#[derive(Debug, Clone)]
pub struct Outlet {
    shared: Arc<Shared>,
}

/// How an outlet behaves.
#[derive(Debug, Clone, Copy)]
pub struct Nature {
    /// The name of its thread.
    pub thread: &'static str,
    /// How long a line may wait for others, so that one write serves many.
    pub rest: Duration,
    /// Hears of trouble, from the outlet's thread.
    pub notice: fn(Notice<'_>),
}

/// What operators should hear of an outlet.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A place cannot be written; lines are lost.
    Failing(&'a str, &'a io::Error),
    /// A place takes lines too slowly, or not at all; lines are lost.
    Lagging(&'a str),
    /// A place is written again; so many lines were lost for good since it failed.
    Recovered(&'a str, u64),
}

/// Lines that never came out, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// The buffer was full: the place is too slow, or nobody reads there.
    pub slow: u64,
    /// The place refused them.
    pub failed: u64,
}

/// Lines that wait to be written.
#[derive(Debug)]
pub struct Buffer(Mutex<Vec<u8>>);

#[derive(Debug)]
struct Shared {
    nature: Nature,
    buffers: Mutex<Vec<Arc<Buffer>>>,
    requests: Mutex<Requests>,
    turned: Condvar,
    /// Lines wait, and the thread knows.
    pending: AtomicBool,
    /// The thread should not rest.
    hurried: AtomicBool,
    slow: AtomicU64,
    failed: AtomicU64,
    thread: OnceLock<Thread>,
}

/// What is asked of the thread.
#[derive(Debug, Default)]
struct Requests {
    /// Where to write from now on.
    sink: Option<Sink>,
    /// How often a flush was asked for.
    flushes: u64,
    /// How many of these are done.
    flushed: u64,
}

impl Outlet {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(nature: Nature, sink: Sink) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            nature,
            buffers: Mutex::default(),
            requests: Mutex::default(),
            turned: Condvar::new(),
            pending: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            slow: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            thread: OnceLock::new(),
        });
        let writer = Writer::new(Arc::downgrade(&shared), sink);
        let thread = std::thread::Builder::new().name(nature.thread.to_owned()).spawn(|| writer.run())?;
        // Nobody else sets it.
        let _ = shared.thread.set(thread.thread().clone());
        Ok(Self { shared })
    }

    /// A new place for lines, whose order among themselves is kept.
    pub fn buffer(&self) -> Arc<Buffer> {
        let buffer = Arc::new(Buffer(Mutex::new(Vec::with_capacity(16 * 1024))));
        self.shared.buffers.lock().push(Arc::clone(&buffer));
        buffer
    }

    /// Adds what `write` appends, which is whole lines. The buffer is one of this outlet's.
    pub fn push(&self, buffer: &Buffer, write: impl FnOnce(&mut Vec<u8>)) {
        let is_filling = {
            let mut lines = buffer.0.lock();
            let before = lines.len();
            if before >= BUFFER_BYTES {
                self.shared.slow.fetch_add(1, Ordering::Relaxed);
                return;
            }
            write(&mut lines);
            before < BUFFER_BYTES / 4 && lines.len() >= BUFFER_BYTES / 4
        };
        if is_filling {
            // Lines come so fast that they serve each other without a rest.
            return self.shared.hurry();
        }
        // Who finds it set can rely on the thread: it is reset before the buffers are emptied, under their locks. It is only
        // read here as a rule, so that threads with lines do not take its cache line from each other.
        if !self.shared.pending.load(Ordering::Relaxed) && !self.shared.pending.swap(true, Ordering::Relaxed) {
            self.shared.wake();
        }
    }

    /// Sends lines to another place: all that are not written yet.
    pub fn redirect(&self, sink: Sink) {
        self.shared.requests.lock().sink = Some(sink);
        self.shared.hurry();
    }

    /// Waits until what is buffered now has been written or lost, but no longer than this. Whether it has.
    pub fn flush(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut requests = self.shared.requests.lock();
        requests.flushes += 1;
        let mine = requests.flushes;
        self.shared.hurry();
        while requests.flushed < mine {
            if self.shared.turned.wait_until(&mut requests, until).timed_out() {
                return requests.flushed >= mine;
            }
        }
        true
    }

    /// Lines lost since the start.
    pub fn lost(&self) -> Lost {
        Lost { slow: self.shared.slow.load(Ordering::Relaxed), failed: self.shared.failed.load(Ordering::Relaxed) }
    }

    /// Whether both are the same outlet.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn hurry(&self) {
        self.hurried.store(true, Ordering::SeqCst);
        self.wake();
    }
}

#[cfg(test)]
mod tests;
