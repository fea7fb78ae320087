//! Where the files of an upload are while they are checked and sent on: in memory, then in a file without a name.
//!
//! The first [`BUFFER`] bytes stay in memory. What is larger goes to a temporary file that has no name, or loses it at
//! once, so that nothing is left of it when it closes or the process dies. All files of one upload are in one, one
//! behind the other. Space is taken from a process-wide budget before it is written to.
//!
//! Reading and writing block, so they happen on threads for that, at most [`TURNS`] at a time, [`BUFFER`] bytes or
//! [`CHUNK`] bytes each: a worker never waits for a disk, and a slow disk does not make threads pile up. A write that is
//! cut off by a deadline may still be under way when its space is given back: at most `TURNS` times `BUFFER` bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pingora::{ErrorType, OrErr, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::policy::contract::Piece;

use super::{Budget, Full, Reservation};

/// Most bytes of an upload's files that stay in memory; also what is written at once.
const BUFFER: usize = 64 * 1024;

/// What is read at once.
const CHUNK: u64 = 32 * 1024;

/// What an upload with a file holds in memory: while it is received, the buffer, what has just come and a copy of a
/// part of it; while it is sent, up to seven chunks on their way through pingora.
const WINDOW: u64 = 256 * 1024;

/// Most threads that read and write at the same time.
const TURNS: usize = 8;

/// The disk that uploads take, all requests together.
pub struct UploadDisk {
    space: Arc<Budget>,
    turns: Arc<Semaphore>,
}

impl Default for UploadDisk {
    fn default() -> Self {
        Self { space: Arc::default(), turns: Arc::new(Semaphore::new(TURNS)) }
    }
}

impl UploadDisk {
    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.space.used()
    }

    /// Whether files can be made in a directory.
    ///
    /// # Errors
    /// Why not.
    pub fn probe(directory: &Path) -> io::Result<()> {
        tempfile::tempfile_in(directory).map(drop)
    }

    /// Begins a piece of work that blocks.
    async fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> JoinHandle<io::Result<T>> {
        // The semaphore is never closed; without a turn the work would only wait elsewhere.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        })
    }
}

/// Why bytes could not be kept.
#[derive(Debug)]
pub enum SpoolError {
    /// No space, by our own budget or on the disk.
    Full,
    /// The disk fails, or the directory is not there.
    Disk(io::Error),
}

impl From<Full> for SpoolError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Disk(error),
        }
    }
}

/// Takes the bytes of an upload's files, in order.
pub struct Spool {
    disk: Arc<UploadDisk>,
    directory: Option<Arc<Path>>,
    limit: u64,
    buffer: Vec<u8>,
    written: u64,
    file: Option<Arc<File>>,
    space: Reservation,
}

/// The bytes of an upload's files.
#[derive(Debug)]
pub enum Spooled {
    /// In memory.
    Memory(Bytes),
    /// In a file.
    File(Arc<SpoolFile>),
}

/// A file without a name, with the space it takes.
#[derive(Debug)]
pub struct SpoolFile {
    /// Present until drop.
    file: Option<(Arc<File>, Reservation)>,
}

impl Drop for SpoolFile {
    /// Giving up a large file blocks, too.
    fn drop(&mut self) {
        let file = self.file.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(file))),
            Err(_) => drop(file),
        }
    }
}

impl Spool {
    /// An empty one, that may take so many bytes of disk together with all others.
    pub fn new(disk: &Arc<UploadDisk>, directory: Option<&Arc<Path>>, limit: u64) -> Self {
        Self {
            disk: Arc::clone(disk),
            directory: directory.cloned(),
            limit,
            buffer: Vec::new(),
            written: 0,
            file: None,
            space: disk.space.reserve(),
        }
    }

    /// Bytes of memory it takes now, and until the upload is sent on.
    pub fn memory(&self) -> u64 {
        if self.file.is_some() { WINDOW } else { self.buffer.len() as u64 }
    }

    /// The same once it has taken so many bytes more.
    pub fn memory_with(&self, more: usize) -> u64 {
        if self.buffer.len() + more > BUFFER { WINDOW } else { self.memory().max((self.buffer.len() + more) as u64) }
    }

    /// Takes more.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), SpoolError> {
        while !bytes.is_empty() {
            let room = BUFFER.saturating_sub(self.buffer.len());
            if room == 0 {
                self.flush().await?;
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            // To the byte: it is written when it is full, and used again.
            self.buffer.reserve_exact(now.len());
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), SpoolError> {
        let (at, buffer) = (self.written, std::mem::take(&mut self.buffer));
        let end = at + buffer.len() as u64;
        self.space.grow_to(end, self.limit)?;
        let (file, directory) = (self.file.clone(), self.directory.clone());
        let write = move || {
            let file = match (file, directory) {
                (Some(file), _) => file,
                (None, Some(directory)) => Arc::new(tempfile::tempfile_in(directory)?),
                (None, None) => Arc::new(tempfile::tempfile()?),
            };
            file.write_all_at(&buffer, at)?;
            Ok((file, buffer))
        };
        let (file, mut buffer) = self.disk.begin(write).await.await.map_err(io::Error::other)??;
        buffer.clear();
        self.file = Some(file);
        self.buffer = buffer;
        self.written = end;
        Ok(())
    }

    /// All has come.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub async fn finish(mut self) -> Result<Spooled, SpoolError> {
        if self.file.is_some() && !self.buffer.is_empty() {
            self.flush().await?;
        }
        Ok(match self.file {
            Some(file) => Spooled::File(Arc::new(SpoolFile { file: Some((file, self.space)) })),
            None => Spooled::Memory(self.buffer.into()),
        })
    }
}

/// A body in pieces, of which some are in a file.
#[derive(Clone)]
pub struct SpooledBody {
    pieces: Arc<[Piece]>,
    file: Arc<SpoolFile>,
    disk: Arc<UploadDisk>,
    /// Of the whole, in bytes.
    pub length: u64,
}

impl SpooledBody {
    /// A body of these pieces.
    pub fn new(pieces: Vec<Piece>, length: u64, file: Arc<SpoolFile>, disk: Arc<UploadDisk>) -> Self {
        Self { pieces: pieces.into(), file, disk, length }
    }

    /// Reads it from its start.
    pub fn replay(&self) -> Replay {
        Replay { body: self.clone(), piece: 0, at: 0, reading: None }
    }
}

/// The pieces as one body of which all are in memory.
pub fn joined(pieces: Vec<Piece>, stored: &Bytes) -> Bytes {
    let of = |piece: &Piece| match piece {
        Piece::Bytes(bytes) => bytes.clone(),
        Piece::Stored { at, length } => {
            let at = usize::try_from(*at).unwrap_or(usize::MAX);
            let end = at.saturating_add(usize::try_from(*length).unwrap_or(usize::MAX));
            stored.slice(at.min(stored.len())..end.min(stored.len()))
        }
    };
    if let [only] = &pieces[..] {
        return of(only);
    }
    let mut whole = BytesMut::with_capacity(pieces.iter().map(|piece| of(piece).len()).sum());
    for piece in &pieces {
        whole.extend_from_slice(&of(piece));
    }
    whole.freeze()
}

/// Gives a [`SpooledBody`] out, chunk by chunk, as often as it is wanted.
pub struct Replay {
    body: SpooledBody,
    piece: usize,
    /// Position in a stored piece.
    at: u64,
    /// Survives when the one who waits for it goes away.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Replay {
    /// Whether all has been given out.
    pub fn is_done(&self) -> bool {
        self.piece >= self.body.pieces.len()
    }

    /// Begins again.
    pub fn rewind(&mut self) {
        (self.piece, self.at, self.reading) = (0, 0, None);
    }

    /// The next chunk. May be dropped at any time: nothing is lost.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let (start, length) = match self.body.pieces.get(self.piece) {
            None => return Ok(None),
            Some(Piece::Bytes(bytes)) => {
                let bytes = bytes.clone();
                self.piece += 1;
                return Ok(Some(bytes));
            }
            Some(Piece::Stored { at, length }) => (*at, *length),
        };
        let wanted = CHUNK.min(length - self.at);
        if self.reading.is_none() {
            self.reading = Some(self.body.begin_read(start + self.at, wanted).await);
        }
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let read = reading.await;
        self.reading = None;
        let chunk = read.map_err(io::Error::other).flatten().or_err(ErrorType::FileReadError, "reading an upload")?;
        self.at += wanted;
        if self.at >= length {
            (self.piece, self.at) = (self.piece + 1, 0);
        }
        Ok(Some(chunk))
    }
}

impl SpooledBody {
    async fn begin_read(&self, at: u64, length: u64) -> JoinHandle<io::Result<Bytes>> {
        let file = self.file.file.as_ref().map(|(file, _)| Arc::clone(file));
        // Taken here, where it is given back: memory that changes threads stays with the one that took it.
        let mut chunk = vec![0; usize::try_from(length).unwrap_or_default()];
        let read = move || {
            let file = file.ok_or_else(|| io::Error::other("the file was given up"))?;
            file.read_exact_at(&mut chunk, at)?;
            Ok(Bytes::from(chunk))
        };
        self.disk.begin(read).await
    }
}
