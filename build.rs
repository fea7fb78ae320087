//! Takes the two files of Swagger UI that `/docs` needs out of the package that carries it, into `OUT_DIR`.
//!
//! A zip entry and a gzip file hold the same deflate stream, so the bytes are moved, not recompressed: what a browser
//! gets is what Swagger UI's package was built with.

use std::error::Error;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
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
    Ok(())
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
