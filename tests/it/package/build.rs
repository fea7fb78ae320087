//! The package as `debian/rules` makes it, around the program under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::machine::{SHARED, said};
use crate::support::gateway::program;

/// What the package is made of, beside the program.
const SOURCES: [&str; 7] = ["CHANGELOG.md", "Cargo.toml", "LICENSE", "README.md", "conf", "debian", "systemd"];

/// A package and its successor, which differ in their versions only.
pub struct Packages {
    folder: PathBuf,
    older: String,
    newer: String,
}

/// Made once.
pub static PACKAGES: LazyLock<Packages> = LazyLock::new(Packages::make);

impl Packages {
    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The command that installs the older one, and keeps configuration files that are there.
    pub fn install_older(&self) -> String {
        format!("dpkg --force-confold --install {SHARED}/{}", self.older)
    }

    /// The same for the newer one.
    pub fn install_newer(&self) -> String {
        format!("dpkg --force-confold --install {SHARED}/{}", self.newer)
    }

    fn make() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        // Those of an earlier run.
        let _ = fs::remove_dir_all(&folder);
        let sources = folder.join("sources");
        fs::create_dir_all(&sources).expect("make a folder");
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        let copied = Command::new("cp").arg("-a").args(SOURCES.map(|name| checkout.join(name))).arg(&sources).status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy the sources of the package");
        let older = build(&sources, &folder);
        let changelog = sources.join("debian/changelog");
        let text = fs::read_to_string(&changelog).expect("read a file");
        let (first, rest) = text.split_once(") ").expect("a version in parentheses");
        fs::write(&changelog, format!("{first}+newer) {rest}")).expect("write a file");
        let newer = build(&sources, &folder);
        assert_ne!(older, newer);
        fs::remove_dir_all(&sources).expect("remove a folder");
        Self { older: name_of(&older), newer: name_of(&newer), folder }
    }
}

/// Makes the package of these sources; its file.
fn build(sources: &Path, output: &Path) -> PathBuf {
    let before = packages(output);
    let made = Command::new("debian/rules")
        .arg("binary")
        .arg(format!("BINARY={}", Path::new(program().get_program()).display()))
        .arg(format!("OUTPUT={}", output.display()))
        .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
        // It is no part of the build around.
        .env_remove("MAKEFLAGS")
        .current_dir(sources)
        .output()
        .expect("run debian/rules");
    assert!(made.status.success(), "debian/rules: {}\n{}", made.status, said(&made));
    let new = packages(output).into_iter().find(|file| !before.contains(file));
    new.expect("debian/rules makes a package")
}

fn packages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("read a folder");
    let files = entries.map(|entry| entry.expect("read a folder").path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "deb")).collect()
}

fn name_of(file: &Path) -> String {
    file.file_name().expect("a file has a name").to_string_lossy().into_owned()
}
