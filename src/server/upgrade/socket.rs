//! The Unix socket: where it is, who may speak, and how listening sockets travel over it.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, geteuid};

use super::Word;

/// Listening sockets that one process can hand to another, which is also the most that a configuration may have.
pub const MOST_SOCKETS: usize = 64;

/// Bytes of one line.
const LONGEST_LINE: usize = 64 * 1024;

/// A socket that only this user and root can reach.
pub struct Private(UnixListener);

/// A connection over which words go.
pub struct Channel {
    stream: UnixStream,
    /// What came after the last word.
    rest: Vec<u8>,
    sockets: Vec<OwnedFd>,
}

impl Private {
    /// Binds it, in place of one that a dead process left, or that of the process which is taken over from.
    ///
    /// # Errors
    /// A folder that others can enter, or no right to write there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        make_private(folder(path))?;
        // Whoever connects meanwhile finds the old socket or the new one, never none.
        let temporary = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary)?;
        fs::set_permissions(&temporary, Permissions::from_mode(0o600))?;
        fs::rename(&temporary, path)?;
        Ok(Self(listener))
    }

    /// The next connection of somebody who may speak, and which process that is. `None`: of somebody else.
    ///
    /// # Errors
    /// When the socket no longer works.
    pub fn accept(&self) -> io::Result<Option<(Channel, Pid)>> {
        let (stream, _) = self.0.accept()?;
        let peer = socket_peercred(&stream)?;
        let trusted = peer.uid == geteuid() || peer.uid.is_root();
        Ok(trusted.then(|| (Channel::new(stream), peer.pid)))
    }
}

/// Where a socket lies.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a folder that only its owner can enter, or checks that it is one.
pub fn make_private(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(failed) if failed.kind() == io::ErrorKind::AlreadyExists => {}
        Err(failed) => return Err(failed),
    }
    let about = fs::metadata(folder)?;
    if !about.is_dir() || about.uid() != geteuid().as_raw() || about.mode() & 0o077 != 0 {
        let message = format!("{} must be a folder of this user with mode 0700", folder.display());
        return Err(io::Error::other(message));
    }
    Ok(())
}

impl Channel {
    /// Over this connection.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, rest: Vec::new(), sockets: Vec::new() }
    }

    /// The connection, for what is no word, and what came of that already.
    pub fn into_parts(self) -> (UnixStream, Vec<u8>) {
        (self.stream, self.rest)
    }

    /// The connection, for deadlines.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Says a word.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn say(&mut self, word: &Word) -> io::Result<()> {
        self.say_with(word, &[])
    }

    /// Says a word and sends sockets beside it.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn say_with(&mut self, word: &Word, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut line = serde_json::to_vec(word)?;
        line.push(b'\n');
        let mut sent = 0;
        while sent < line.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if sent == 0 && !sockets.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(sockets)) {
                return Err(io::Error::other(format!("more than {MOST_SOCKETS} listening sockets")));
            }
            sent += sendmsg(&self.stream, &[IoSlice::new(&line[sent..])], &mut beside, SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    /// The next word. Sockets that come with it wait for [`Channel::take_sockets`].
    ///
    /// # Errors
    /// When the other end is gone, is silent for too long, or says what is no word.
    pub fn hear(&mut self) -> io::Result<Word> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|wrong| io::Error::other(wrong.to_string()));
            }
            if self.rest.len() > LONGEST_LINE {
                return Err(io::Error::other("a line without end"));
            }
            self.receive()?;
        }
    }

    /// The sockets that came so far.
    pub fn take_sockets(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.sockets)
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SOCKETS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(self.stream.as_fd(), &mut parts, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = message {
                self.sockets.extend(sockets);
            }
        }
        if got.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("not all sockets came through"));
        }
        if got.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.rest.extend_from_slice(&bytes[..got.bytes]);
        Ok(())
    }
}
