//! `tollgate explain`: a request as curl's users say it, and what a configuration makes of it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use tollgate::explain::request::{Body, Caller, FormPart, Spoken};

/// What to explain.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("who").args(["consumer", "plan", "key"])))]
#[command(group(clap::ArgGroup::new("what").args(["data", "form"])))]
pub struct Arguments {
    /// The configuration file; may also stand first, without --config.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// As this consumer, without a credential.
    #[arg(long)]
    consumer: Option<String>,
    /// As somebody with this plan, without a credential.
    #[arg(long)]
    plan: Option<String>,
    /// With this API key, where the route looks for one first. Never shown.
    #[arg(long)]
    key: Option<String>,
    /// The client's address.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    address: IpAddr,
    /// A header field, `name: value`.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// The body, or @FILE; several are joined with `&`.
    ///
    /// Its Content-Type is application/json where the route takes JSON, otherwise
    /// application/x-www-form-urlencoded, unless -H says another.
    #[arg(short, long, value_name = "DATA")]
    data: Vec<String>,
    /// A part of a multipart form: NAME=VALUE, or NAME=@FILE[;type=TYPE].
    #[arg(short = 'F', long, value_name = "PART")]
    form: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The configuration file, unless --config says it; then the method.
    #[arg(value_name = "FILE")]
    first: String,
    /// The method; then the URL.
    #[arg(value_name = "METHOD")]
    second: String,
    /// The URL, or only its path.
    #[arg(value_name = "URL", required_unless_present = "config")]
    third: Option<String>,
}

impl Arguments {
    /// The configuration file, and the request.
    ///
    /// # Errors
    /// A sentence about what was said wrongly, or cannot be read.
    pub fn read(self) -> Result<(PathBuf, Spoken), String> {
        let (file, method, url) = match (self.config, self.third) {
            (Some(file), None) => (file, self.first, self.second),
            (None, Some(url)) => (PathBuf::from(self.first), self.second, url),
            (Some(_), Some(_)) => return Err("the configuration file is said twice".to_owned()),
            (None, None) => return Err("say FILE METHOD URL".to_owned()),
        };
        let caller = match (self.consumer, self.plan, self.key) {
            (Some(consumer), ..) => Caller::Consumer(consumer),
            (_, Some(plan), _) => Caller::Plan(plan),
            (.., Some(key)) => Caller::Key(key),
            (None, None, None) => Caller::AsSent,
        };
        let body = if !self.form.is_empty() {
            Body::Form(self.form.iter().map(|part| form_part(part)).collect::<Result<_, _>>()?)
        } else if !self.data.is_empty() {
            let pieces = self.data.iter().map(|data| bytes(data)).collect::<Result<Vec<_>, _>>()?;
            Body::Data(pieces.join(&b'&'))
        } else {
            Body::None
        };
        let fields = self.headers.iter().map(|header| field(header)).collect::<Result<_, _>>()?;
        Ok((file, Spoken { method, url, fields, body, address: self.address, caller }))
    }
}

fn field(written: &str) -> Result<(String, String), String> {
    match written.split_once(':') {
        Some((name, value)) => Ok((name.to_owned(), value.trim().to_owned())),
        None => Err(format!("`{written}` is no header: say `name: value`")),
    }
}

/// The text itself, or what is in a file.
fn bytes(written: &str) -> Result<Vec<u8>, String> {
    match written.strip_prefix('@') {
        Some(file) => read(Path::new(file)),
        None => Ok(written.as_bytes().to_vec()),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|failed| format!("{}: {failed}", file.display()))
}

/// `NAME=VALUE`, `NAME=@FILE` or either with `;type=TYPE` behind it.
fn form_part(written: &str) -> Result<FormPart, String> {
    let (name, value) = written.split_once('=').ok_or_else(|| format!("`{written}` is no part: say NAME=VALUE"))?;
    let (value, media) = match value.rsplit_once(";type=") {
        Some((value, media)) => (value, Some(media.to_owned())),
        None => (value, None),
    };
    let name = name.to_owned();
    let Some(file) = value.strip_prefix('@') else {
        return Ok(FormPart { name, file: None, media, content: value.as_bytes().to_vec() });
    };
    let file = Path::new(file);
    let content = read(file)?;
    let media = media.unwrap_or_else(|| media_of(file).to_owned());
    let file = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(FormPart { name, file: Some(file), media: Some(media), content })
}

/// The type that curl sends for a file's name.
fn media_of(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "gif" => "image/gif",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain",
        "htm" | "html" => "text/html",
        "pdf" => "application/pdf",
        "xml" => "application/xml",
        _ => "application/octet-stream",
    }
}
