//! Replies that are compressed on their way to the client.
//!
//! What a service sends piece by piece, with no length said before, leaves piece by piece: each is flushed, so that
//! nothing waits in the encoder for what comes next. A reply whose length is known is not flushed before its end, which
//! makes it smaller.
//!
//! An encoder takes up to [`footprint`] bytes while its reply lasts, however slowly the client reads; all of them
//! together stay within `guard: compression_memory`. Where that is used up, a reply passes as it is.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap};
use http::request::Parts;
use http::{Method, StatusCode};
use pingora::{Error, ErrorType, OrErr, Result};
use zstd::zstd_safe::CParameter;

use crate::policy::coding::{Coding, Compression, Effort, weaken};
use crate::policy::headers::vary_by;
use crate::telemetry::CompressionMetrics;

use super::super::State;
use super::super::body::{Full, Lease};
use super::super::exchange::Exchange;

/// How far back repetitions are looked for, as a power of two: that is most of what an encoder takes.
const WINDOW: u32 = 18;

/// A reply that is being compressed.
pub struct Compressor {
    /// Gone when the reply is complete.
    encoder: Option<Encoder>,
    coding: Coding,
    /// Whether each piece is flushed.
    piecewise: bool,
    metrics: CompressionMetrics,
    /// Given back with the encoder.
    _memory: Lease,
}

/// Changes the header of a reply that is compressed, or could be for another client. What then compresses its body;
/// `None`: that passes as it is, or there is none.
pub fn begin(
    rules: &Compression,
    request: &Parts,
    status: StatusCode,
    headers: &mut HeaderMap,
    state: &State,
    exchange: &Exchange,
) -> Option<Box<Compressor>> {
    if !rules.concerns(request, status, headers) {
        return None;
    }
    vary_by(headers, ACCEPT_ENCODING);
    let coding = rules.choose(&request.headers)?;
    if status == StatusCode::NOT_MODIFIED {
        weaken(headers);
        return None;
    }
    let piecewise = !headers.contains_key(CONTENT_LENGTH);
    if request.method == Method::HEAD {
        coding.describe(headers);
        return None;
    }
    let metrics = &state.telemetry.compression;
    let budget = exchange.gateway.request_limits.compression_memory;
    let mut memory = Lease { memory: state.compressors.reserve(), budget };
    if memory.grow_to(footprint(coding, rules.effort)) == Err(Full) {
        metrics.skipped();
        return None;
    }
    // Only memory can be missing for it.
    let encoder = Encoder::new(coding, rules.effort).inspect_err(|_| metrics.skipped()).ok()?;
    coding.describe(headers);
    Some(Box::new(Compressor { encoder: Some(encoder), coding, piecewise, metrics: metrics.clone(), _memory: memory }))
}

impl Compressor {
    /// Puts the compressed form of a piece in its place. With the last one the reply is complete.
    ///
    /// # Errors
    /// The encoder gets no memory.
    pub fn pass(&mut self, piece: &mut Option<Bytes>, is_last: bool) -> Result<()> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let plain = piece.take().unwrap_or_default();
        let packed =
            encoder.pass(&plain, self.piecewise && !is_last).or_err(ErrorType::InternalError, "compressing")?;
        let rest = match is_last {
            true => self.end()?,
            false => Bytes::new(),
        };
        let packed = if rest.is_empty() { packed } else { Bytes::from([packed, rest].concat()) };
        self.metrics.passed(self.coding.name(), plain.len(), packed.len());
        *piece = Some(packed);
        Ok(())
    }

    /// What is left when nothing more comes.
    ///
    /// # Errors
    /// The encoder gets no memory.
    pub fn end(&mut self) -> Result<Bytes> {
        let Some(encoder) = self.encoder.take() else { return Ok(Bytes::new()) };
        encoder.end().map_err(|error| Error::because(ErrorType::InternalError, "compressing", error))
    }

    /// The compressed form of a whole body.
    ///
    /// # Errors
    /// The encoder gets no memory.
    pub fn whole(&mut self, body: Bytes) -> Result<Bytes> {
        let mut piece = Some(body);
        self.pass(&mut piece, true)?;
        Ok(piece.unwrap_or_default())
    }
}

enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding, effort: Effort) -> io::Result<Self> {
        let level = level(coding, effort);
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level))),
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 0, level, WINDOW))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level as i32)?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW))?;
                Self::Zstd(encoder)
            }
        })
    }

    /// What comes out for a piece that goes in: all of it where it is flushed.
    fn pass(&mut self, piece: &[u8], flush: bool) -> io::Result<Bytes> {
        let writer: &mut dyn Write = match self {
            Self::Gzip(encoder) => encoder,
            Self::Brotli(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        };
        writer.write_all(piece)?;
        if flush && !piece.is_empty() {
            writer.flush()?;
        }
        let packed = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        };
        Ok(Bytes::from(std::mem::take(packed)))
    }

    fn end(self) -> io::Result<Bytes> {
        let packed = match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        };
        Ok(Bytes::from(packed))
    }
}

/// What each library calls it.
fn level(coding: Coding, effort: Effort) -> u32 {
    match (coding, effort) {
        (Coding::Gzip | Coding::Brotli | Coding::Zstd, Effort::Least) => 1,
        (Coding::Gzip, Effort::Medium) => 4,
        (Coding::Gzip | Coding::Zstd, Effort::Most) => 6,
        (Coding::Brotli | Coding::Zstd, Effort::Medium) => 3,
        (Coding::Brotli, Effort::Most) => 5,
    }
}

/// What an encoder takes at most, in bytes: what it was seen to take for a mebibyte of JSON, and some.
fn footprint(coding: Coding, effort: Effort) -> u64 {
    let kib = match (coding, effort) {
        (Coding::Gzip, _) => 448,
        (Coding::Brotli, Effort::Least) => 512,
        (Coding::Zstd, Effort::Least) => 768,
        (Coding::Brotli | Coding::Zstd, Effort::Medium) => 1536,
        (Coding::Zstd, Effort::Most) => 3584,
        (Coding::Brotli, Effort::Most) => 4096,
    };
    kib << 10
}
