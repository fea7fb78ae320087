//! A body that is read by many while it comes.
//!
//! Its pieces are kept until it is whole; then they become one piece of exactly its size, since pieces as they come hold
//! on to the buffers they were read into. A body that turns out too large for the store is not kept: it goes on for those
//! who read it already, and what all of them have is forgotten ([`Body::let_go`]). Then the slowest of them sets the pace.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many bytes of a body that is not kept wait for its slowest reader.
const WINDOW: u64 = 1 << 20;

/// A body, whole or on its way.
#[derive(Debug)]
pub struct Body {
    whole: OnceLock<Bytes>,
    /// As its header said.
    declared: Option<u64>,
    coming: Mutex<Coming>,
    /// More has come, or it is over.
    came: Notify,
    /// A reader has gone on.
    taken: Notify,
}

#[derive(Debug, Default)]
struct Coming {
    pieces: VecDeque<Bytes>,
    /// Bytes before the first piece.
    gone: u64,
    /// Bytes that have come.
    length: u64,
    broken: bool,
    over: bool,
    passing: bool,
    /// Where each reader is, by its number.
    readers: Vec<(u64, u64)>,
    next_reader: u64,
}

/// A body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// Reads a body from somewhere on.
#[derive(Debug)]
pub struct Reader {
    body: Arc<Body>,
    at: u64,
    number: Option<u64>,
}

impl Body {
    /// One that begins to come.
    pub fn coming(declared: Option<u64>) -> Self {
        let (came, taken) = (Notify::new(), Notify::new());
        Self { whole: OnceLock::new(), declared, coming: Mutex::default(), came, taken }
    }

    /// The whole of it, once it is there.
    pub fn whole(&self) -> Option<&Bytes> {
        self.whole.get()
    }

    /// How long it is, as far as that is known.
    pub fn length(&self) -> Option<u64> {
        self.whole.get().map(|whole| whole.len() as u64).or(self.declared)
    }

    /// A piece has come. How long all is so far.
    pub fn append(&self, piece: Bytes) -> u64 {
        let mut coming = self.coming.lock();
        coming.length += piece.len() as u64;
        if !piece.is_empty() {
            coming.pieces.push_back(piece);
        }
        let length = coming.length;
        drop(coming);
        self.came.notify_waiters();
        length
    }

    /// All of it has come. Whether it is kept.
    pub fn finish(&self) -> bool {
        let mut coming = self.coming.lock();
        coming.over = true;
        let kept = !coming.passing && self.declared.is_none_or(|declared| declared == coming.length);
        if kept {
            let mut whole = BytesMut::with_capacity(usize::try_from(coming.length).unwrap_or_default());
            for piece in coming.pieces.drain(..) {
                whole.extend_from_slice(&piece);
            }
            let _ = self.whole.set(whole.freeze());
        } else if !coming.passing {
            coming.broken = true;
        }
        drop(coming);
        self.came.notify_waiters();
        kept
    }

    /// It will not be whole.
    pub fn break_off(&self) {
        let mut coming = self.coming.lock();
        if !coming.over {
            coming.over = true;
            coming.broken = true;
        }
        drop(coming);
        self.came.notify_waiters();
    }

    /// It is not kept: from now on only those who read it already can.
    pub fn let_go(&self) {
        self.coming.lock().passing = true;
    }

    /// Waits until there is room for more of a body that is not kept.
    pub async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            {
                let mut coming = self.coming.lock();
                if !coming.passing {
                    return;
                }
                coming.forget();
                if coming.length - coming.gone <= WINDOW {
                    return;
                }
            }
            taken.await;
        }
    }

    /// Reads it from a byte on. `None` when that has gone.
    pub fn read(self: &Arc<Self>, from: u64) -> Option<Reader> {
        if self.whole.get().is_some() {
            return Some(Reader { body: Arc::clone(self), at: from, number: None });
        }
        let mut coming = self.coming.lock();
        if coming.passing {
            return None;
        }
        let number = coming.next_reader;
        coming.next_reader += 1;
        coming.readers.push((number, from));
        Some(Reader { body: Arc::clone(self), at: from, number: Some(number) })
    }
}

impl Coming {
    /// Forgets what every reader has.
    fn forget(&mut self) {
        let slowest = self.readers.iter().map(|(_, at)| *at).min().unwrap_or(self.length);
        while let Some(first) = self.pieces.front()
            && self.gone + first.len() as u64 <= slowest
        {
            self.gone += first.len() as u64;
            self.pieces.pop_front();
        }
    }

    /// What comes at this byte, up to the end of its piece.
    fn piece(&self, at: u64) -> Option<Bytes> {
        let mut start = self.gone;
        for piece in &self.pieces {
            let end = start + piece.len() as u64;
            if at < end {
                return Some(piece.slice(usize::try_from(at - start).ok()?..));
            }
            start = end;
        }
        None
    }
}

impl Reader {
    /// How long the whole body is, once it is there.
    pub fn whole(&self) -> Option<u64> {
        self.body.whole.get().map(|whole| whole.len() as u64)
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The body broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let came = self.body.came.notified();
            tokio::pin!(came);
            // From here on nothing is missed.
            came.as_mut().enable();
            if let Some(whole) = self.body.whole.get() {
                let at = usize::try_from(self.at).unwrap_or(usize::MAX).min(whole.len());
                let rest = whole.slice(at..);
                self.at = whole.len() as u64;
                return Ok((!rest.is_empty()).then_some(rest));
            }
            {
                let mut coming = self.body.coming.lock();
                if let Some(piece) = coming.piece(self.at) {
                    self.at += piece.len() as u64;
                    let (number, at) = (self.number, self.at);
                    let own = coming.readers.iter_mut().find(|(other, _)| Some(*other) == number);
                    own.into_iter().for_each(|own| own.1 = at);
                    let passing = coming.passing;
                    drop(coming);
                    if passing {
                        self.body.taken.notify_waiters();
                    }
                    return Ok(Some(piece));
                }
                if coming.broken {
                    return Err(Broken);
                }
                if coming.over && self.body.whole.get().is_none() {
                    return Ok(None);
                }
                if coming.over {
                    continue;
                }
            }
            came.await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        self.body.coming.lock().readers.retain(|(other, _)| *other != number);
        self.body.taken.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut reader: Reader) -> Result<Vec<u8>, Broken> {
        let mut read = Vec::new();
        while let Some(piece) = reader.next().await? {
            read.extend_from_slice(&piece);
        }
        Ok(read)
    }

    #[tokio::test]
    async fn many_read_what_comes_and_those_who_come_later_read_all() {
        let body = Arc::new(Body::coming(None));
        let early = tokio::spawn(all(body.read(0).unwrap()));
        body.append(Bytes::from_static(b"one"));
        let late = tokio::spawn(all(body.read(1).unwrap()));
        tokio::task::yield_now().await;
        body.append(Bytes::from_static(b"two"));
        assert!(body.finish());
        assert_eq!(early.await.unwrap().unwrap(), b"onetwo");
        assert_eq!(late.await.unwrap().unwrap(), b"netwo");
        assert_eq!(all(body.read(4).unwrap()).await.unwrap(), b"wo");
        assert_eq!(all(body.read(40).unwrap()).await.unwrap(), b"");
        assert_eq!(body.length(), Some(6));
    }

    #[tokio::test]
    async fn readers_hear_that_a_body_broke_off() {
        for (declared, end) in [(None, false), (Some(9), true)] {
            let body = Arc::new(Body::coming(declared));
            let reader = tokio::spawn(all(body.read(0).unwrap()));
            tokio::task::yield_now().await;
            body.append(Bytes::from_static(b"one"));
            if end {
                assert!(!body.finish(), "shorter than it said");
            } else {
                body.break_off();
            }
            assert_eq!(reader.await.unwrap(), Err(Broken));
        }
    }

    #[tokio::test]
    async fn what_is_not_kept_waits_for_its_slowest_reader_and_is_forgotten() {
        let body = Arc::new(Body::coming(None));
        let mut slow = body.read(0).unwrap();
        let piece = Bytes::from(vec![7; 1 << 19]);
        for _ in 0..4 {
            body.append(piece.clone());
        }
        body.let_go();
        assert!(body.read(0).is_none(), "it cannot be read from its beginning for long");
        let writer = {
            let body = Arc::clone(&body);
            tokio::spawn(async move { body.room().await })
        };
        tokio::task::yield_now().await;
        assert!(!writer.is_finished());
        slow.next().await.unwrap();
        slow.next().await.unwrap();
        writer.await.unwrap();
        assert_eq!(body.coming.lock().gone, 1 << 20);
        assert!(!body.finish());
        assert_eq!(all(slow).await.unwrap().len(), 1 << 20);
        assert!(body.coming.lock().readers.is_empty());
    }
}
