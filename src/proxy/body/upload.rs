//! A multipart form that is received: texts to memory, files to the [spool](super::spool).
//!
//! The whole body is read, also when it is already known to be refused, as long as `max_body` and the deadline allow:
//! the client gets its answer, all faults at once, and keeps its connection.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderValue;
use pingora::proxy::Session;
use ring::rand::{SecureRandom, SystemRandom};

use crate::policy::contract::{IncomingForm, RebuiltForm, ReceivedForm};
use crate::policy::rejection::Rejection;
use crate::proxy::admit::AdmittedBody;

use super::spool::{Spool, SpoolError, Spooled, joined};
use super::{Arriving, BodyLimits, Full, Reservation, SpooledBody, UploadDisk, body_fault, invite};

/// What is looked at at once: the reader of a form copies it.
const PIECE: usize = 16 * 1024;

/// A form that has arrived, and its files.
pub struct Upload {
    /// What is to be checked.
    pub form: ReceivedForm,
    files: Spooled,
    disk: Arc<UploadDisk>,
}

/// Why a form could not be received.
pub struct UploadFailure {
    /// What the client is told.
    pub rejection: Rejection,
    /// What the operator is told.
    pub cause: Option<String>,
}

impl From<Rejection> for UploadFailure {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, cause: None }
    }
}

impl From<SpoolError> for UploadFailure {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Full => Rejection::UploadDisk.into(),
            SpoolError::Disk(error) => Self { rejection: Rejection::Internal, cause: Some(format!("upload: {error}")) },
        }
    }
}

/// Where the files of an upload go.
pub struct Store<'a> {
    /// The process's budget and threads.
    pub disk: &'a Arc<UploadDisk>,
    /// Where files are made; the system's directory when none is said.
    pub directory: Option<&'a Arc<Path>>,
    /// Most bytes of all uploads together.
    pub limit: u64,
}

/// Reads a form.
///
/// # Errors
/// Too large, too slow, no space for it, not framed as HTTP wants it, or no multipart form.
pub async fn read_form(
    session: &mut Session,
    form: IncomingForm<'_>,
    limits: BodyLimits,
    store: Store<'_>,
    held: &mut Reservation,
) -> Result<Upload, UploadFailure> {
    let arriving = Arriving::announced(session, limits)?;
    let read = read_within(session, form, limits, arriving, store, held);
    tokio::time::timeout(limits.deadline, read).await.unwrap_or(Err(Rejection::BodyTimeout.into()))
}

async fn read_within(
    session: &mut Session,
    mut form: IncomingForm<'_>,
    limits: BodyLimits,
    mut arriving: Arriving,
    store: Store<'_>,
    held: &mut Reservation,
) -> Result<Upload, UploadFailure> {
    let mut spool = Spool::new(store.disk, store.directory, store.limit);
    invite(session).await.map_err(|error| body_fault(&error))?;
    while let Some(chunk) = arriving.next(session).await? {
        for piece in chunk.chunks(PIECE) {
            form.feed(piece);
            while let Some(bytes) = form.next_to_store() {
                let memory = form.memory() + spool.memory_with(bytes.len());
                held.grow_to(memory, limits.memory).map_err(|Full| Rejection::BodyMemory)?;
                spool.write(&bytes).await?;
            }
        }
        held.grow_to(form.memory() + spool.memory(), limits.memory).map_err(|Full| Rejection::BodyMemory)?;
    }
    // A body of no bytes is a form of no fields, however it is framed.
    let form =
        if arriving.length == 0 { ReceivedForm::default() } else { form.finish().map_err(Rejection::Multipart)? };
    Ok(Upload { form, files: spool.finish().await?, disk: Arc::clone(store.disk) })
}

/// A boundary that nobody could know before: no content holds it.
///
/// # Errors
/// The system gives no random numbers.
pub fn fresh_boundary() -> Result<String, Rejection> {
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| Rejection::Internal)?;
    Ok(format!("tollgate-{:032x}", u128::from_be_bytes(random)))
}

impl Upload {
    /// Takes the form out, to be checked.
    pub fn into_parts(self) -> (ReceivedForm, Files) {
        (self.form, Files { files: self.files, disk: self.disk })
    }
}

/// The files of an upload.
pub struct Files {
    files: Spooled,
    disk: Arc<UploadDisk>,
}

impl Files {
    /// What the service gets.
    ///
    /// # Errors
    /// The content type is no header's value, which is an error of the gateway.
    pub fn admitted(self, form: Option<RebuiltForm>) -> Result<AdmittedBody, Rejection> {
        let Some(RebuiltForm { pieces, length, content_type }) = form else { return Ok(AdmittedBody::None) };
        let content_type = HeaderValue::try_from(content_type).map_err(|_| Rejection::Internal)?;
        Ok(match self.files {
            Spooled::Memory(stored) => {
                let bytes: Bytes = joined(pieces, &stored);
                AdmittedBody::Checked { bytes, content_type }
            }
            Spooled::File(file) => {
                let body = SpooledBody::new(pieces, length, file, self.disk);
                AdmittedBody::Spooled { body, content_type }
            }
        })
    }
}
