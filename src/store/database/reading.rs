//! A look into the file from outside, for `tollgate explain`: nothing is made or changed, not even for a moment.
//!
//! SQLite's own way to read a file with a write-ahead log makes two files beside it. So a log that is there is read
//! with the index that is there, which takes part in the locks of whoever uses them; without one nobody has the store
//! open, and the file alone is read, without locks. A gateway that starts at this very moment can only make this look
//! fail.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::schema::{APPLICATION, VERSION, number};
use super::{PATIENCE, Store, identity};
use crate::store::{Snapshot, StoreError};

impl Store {
    /// All keys that are good, in a file that is left as it is.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn look(path: &Path, now: i64) -> Result<Snapshot, StoreError> {
        let file = identity(path)?;
        let mut log = OsString::from(path);
        log.push("-wal");
        let how = if Path::new(&log).exists() { "readonly_shm=1" } else { "immutable=1" };
        let name = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(format!("file:{name}?mode=ro&{how}"), flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        let found = number(&connection, "user_version")?;
        match number(&connection, "application_id")? {
            // Keys are the same in all versions.
            APPLICATION if (1..=VERSION).contains(&found) => Self { connection, file }.snapshot(now),
            APPLICATION if found > VERSION => Err(StoreError::Newer { found, known: VERSION }),
            _ => Err(StoreError::Foreign),
        }
    }
}
