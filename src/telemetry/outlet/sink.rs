//! The places that lines go to.
//!
//! A file takes lines as fast as its disk does. A pipe, a socket or a terminal takes them as fast as somebody reads, which
//! may be never: these are written only when they have room, in pieces that then cannot block. Pieces and batches end
//! with a line where that is possible, and everything is appended, so that lines of two processes stay whole.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

/// A pipe that has room at all has room for so much (POSIX's `PIPE_BUF` on Linux), and takes it in one piece.
const PIECE: usize = 4096;

/// How often somebody who waits for a reader looks up.
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);

/// Where lines go.
#[derive(Debug)]
pub enum Sink {
    /// Nowhere.
    Off,
    /// Here.
    Place(Place),
}

/// A file, or something with a reader at its other end.
#[derive(Debug)]
pub struct Place {
    name: Box<str>,
    file: File,
    pace: Pace,
}

/// Who decides how long a write takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Disk,
    Reader,
}

/// Lines that were not written entirely.
#[derive(Debug)]
pub struct Unwritten {
    /// How many bytes were.
    pub written: usize,
    /// What hindered the rest.
    pub hindrance: Hindrance,
}

/// Why a write ended early.
#[derive(Debug)]
pub enum Hindrance {
    /// The caller did not want to wait any longer.
    Impatience,
    /// The place refused.
    Failure(io::Error),
}

impl Sink {
    /// Standard output.
    ///
    /// # Errors
    /// When the process has none.
    pub fn stdout() -> io::Result<Self> {
        Self::of("standard output", File::from(io::stdout().as_fd().try_clone_to_owned()?))
    }

    /// Standard error.
    ///
    /// # Errors
    /// When the process has none.
    pub fn stderr() -> io::Result<Self> {
        Self::of("standard error", File::from(io::stderr().as_fd().try_clone_to_owned()?))
    }

    /// A file, which is made if need be and appended to; or a FIFO, which need not have a reader.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &str) -> io::Result<Self> {
        let is_fifo = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
        let mut options = OpenOptions::new();
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
        if is_fifo {
            // Linux lets one process have both ends: it need not wait for a reader, and does not fail when one goes.
            options.read(true).write(true);
        } else {
            options.create(true).append(true);
        }
        Self::of(path, options.open(path)?)
    }

    /// An open file under this name.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn of(name: &str, file: File) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        let is_device = kind.is_char_device() && !file.is_terminal();
        let pace = if kind.is_file() || is_device { Pace::Disk } else { Pace::Reader };
        Ok(Self::Place(Place { name: name.into(), file, pace }))
    }

    /// What reports call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Off => "off",
            Self::Place(place) => &place.name,
        }
    }

    /// Writes lines. While there is nobody who reads them, `patient` is asked again and again.
    ///
    /// # Errors
    /// When they were not all written.
    pub fn write(&mut self, lines: &[u8], mut patient: impl FnMut() -> bool) -> Result<(), Unwritten> {
        let Self::Place(place) = self else { return Ok(()) };
        let mut written = 0;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            let done = match place.pace {
                Pace::Disk => place.file.write(rest),
                Pace::Reader if !place.has_room() => match patient() {
                    true => continue,
                    false => return Err(Unwritten { written, hindrance: Hindrance::Impatience }),
                },
                Pace::Reader => place.file.write(piece(rest)),
            };
            match done {
                Ok(0) => {
                    return Err(Unwritten { written, hindrance: Hindrance::Failure(io::ErrorKind::WriteZero.into()) });
                }
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A device that makes its writers wait after all.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => place.pace = Pace::Reader,
                Err(error) => return Err(Unwritten { written, hindrance: Hindrance::Failure(error) }),
            }
        }
        Ok(())
    }
}

impl Place {
    /// Waits a moment for room. An error has room: writing will say which it is.
    fn has_room(&self) -> bool {
        let wait = Timespec { tv_sec: 0, tv_nsec: LOOK_UP_EVERY.as_nanos() as _ };
        poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&wait)).is_ok_and(|ready| ready > 0)
    }
}

/// The lines at the beginning that fit into a piece; of a longer line its beginning.
fn piece(lines: &[u8]) -> &[u8] {
    let most = &lines[..lines.len().min(PIECE)];
    memchr::memrchr(b'\n', most).map_or(most, |end| &most[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_with_a_line_where_one_does() {
        let long = [b"x".repeat(5000), b"\n".to_vec()].concat();
        let many = b"0123456789\n".repeat(1000);
        let mixed = [b"short\n".to_vec(), long.clone()].concat();
        for (lines, expected) in
            [(&b"one\ntwo\n"[..], 8), (b"no end", 6), (&long, PIECE), (&many, PIECE / 11 * 11), (&mixed, 6)]
        {
            assert_eq!(piece(lines).len(), expected, "of {} bytes", lines.len());
        }
    }
}
