//! Takes the two files of Swagger UI that `/docs` needs out of the package that carries it, into `OUT_DIR`, and finds out
//! which commit is built.
//!
//! A zip entry and a gzip file hold the same deflate stream, so the bytes are moved, not recompressed: what a browser
//! gets is what Swagger UI's package was built with.
//!
//! The commit is the checkout's, or what packagers say in `TOLLGATE_REVISION` and `TOLLGATE_DATE`; sources without either
//! have none. It is looked up again when git's own notes of what is checked out change, and only then.

use std::error::Error;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::{CompressionMethod, ZipArchive};

/// What `src/gateway/docs` embeds, each with `.gz` after its name.
const FILES: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

/// RFC 1952: deflate, no name, no time, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for file in FILES {
        extract(&mut archive, file, &out)?;
    }
    name_build(&env::var("CARGO_PKG_VERSION")?);
    Ok(())
}

/// Sets what `server::REVISION` and `server::BUILD` are.
fn name_build(version: &str) {
    let said = |name: &str| {
        println!("cargo::rerun-if-env-changed={name}");
        env::var(name).ok().filter(|value| !value.is_empty())
    };
    let (revision, date) = match (said("TOLLGATE_REVISION"), said("TOLLGATE_DATE")) {
        (Some(revision), date) => (Some(revision), date),
        (None, _) => checked_out().unzip(),
    };
    let build = match (&revision, date) {
        (Some(revision), Some(date)) => format!("{version} ({revision}, {date})"),
        (Some(revision), None) => format!("{version} ({revision})"),
        (None, _) => version.to_owned(),
    };
    println!("cargo::rustc-env=TOLLGATE_REVISION={}", revision.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=TOLLGATE_BUILD={build}");
}

/// Commit and date of the checkout that this is. `None` for other sources, such as those below another project's
/// checkout.
fn checked_out() -> Option<(String, String)> {
    let root = fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
    if root != env::current_dir().and_then(fs::canonicalize).ok()? {
        return None;
    }
    // Every commit, checkout and reset is a line of the first. The others are for those who keep no such log.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["logs/HEAD", "HEAD", branch.as_deref().unwrap_or("HEAD")] {
        let path = git(&["rev-parse", "--git-path", name])?;
        // What is not there would make cargo run this every time.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(&["log", "--max-count=1", "--format=%H %cs"])?;
    let (hash, date) = commit.split_once(' ')?;
    Some((hash.get(..12)?.to_owned(), date.to_owned()))
}

/// What git says here, which is where `Cargo.toml` is.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim_end().to_owned())
}

fn extract(archive: &mut ZipArchive<Cursor<&[u8]>>, file: &str, out: &Path) -> Result<(), Box<dyn Error>> {
    let suffix = format!("/dist/{file}");
    let mut names = archive.file_names_raw();
    let index = names.position(|name| name.ends_with(suffix.as_bytes()));
    drop(names);
    let mut entry = archive.by_index_raw(index.ok_or_else(|| format!("the package of Swagger UI has no {file}"))?)?;
    if entry.compression() != CompressionMethod::DEFLATE {
        return Err(format!("{file} is not deflated in the package of Swagger UI").into());
    }
    let mut gzip = GZIP_HEADER.to_vec();
    entry.read_to_end(&mut gzip)?;
    gzip.extend(entry.crc32().to_le_bytes());
    // The length modulo 2^32, as the format has it.
    gzip.extend(u32::try_from(entry.size())?.to_le_bytes());
    fs::write(out.join(format!("{file}.gz")), gzip)?;
    Ok(())
}
