//! What a watched configuration consists of, and whether it has changed.
//!
//! Folders are watched, because editors and config maps replace a file instead of writing into it. Others write there
//! as well, a log perhaps: an event counts when it may concern the configuration, and a reload follows only when one of
//! its files is another one than before.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files of a configuration, and where they lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Watched {
    folders: Vec<PathBuf>,
    names: HashSet<OsString>,
}

/// What a file's content is known by: name, inode, length and time of the last change.
pub(super) type Mark = (PathBuf, u64, u64, i64, i64);

impl Watched {
    pub(super) fn of(files: &[PathBuf]) -> Self {
        let mut folders: Vec<PathBuf> = files.iter().map(|file| folder(file).to_owned()).collect();
        folders.sort();
        folders.dedup();
        Self { folders, names: files.iter().filter_map(|file| Some(file.file_name()?.to_owned())).collect() }
    }

    /// The folders to watch.
    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Whether a change here may be one of the configuration. A folder or a link may lead to any file of it.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        self.may_be_part(path) || fs::symlink_metadata(path).is_ok_and(|found| !found.is_file())
    }

    /// How the files are now.
    pub(super) fn state(&self) -> Vec<Mark> {
        let entries = self.folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
        let parts = entries.map(|entry| entry.path()).filter(|path| self.may_be_part(path));
        let mut marks: Vec<Mark> = parts.filter_map(mark).collect();
        marks.sort();
        marks
    }

    /// Files that `include` may find are known by their ending.
    fn may_be_part(&self, path: &Path) -> bool {
        let ending = path.extension().and_then(OsStr::to_str);
        ending.is_some_and(|ending| ["yaml", "yml", "json"].contains(&ending))
            || path.file_name().is_some_and(|name| self.names.contains(name))
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn mark(path: PathBuf) -> Option<Mark> {
    let found = fs::metadata(&path).ok()?;
    Some((path, found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}
