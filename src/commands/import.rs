//! `tollgate import`: where the document comes from, what the arguments mean, and whether the file is right.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use tollgate::gateway::router::RouterBuilder;
use tollgate::gateway::template::Template;
use tollgate::import::{self, Auth, MAX_BYTES, Options, Paths, Replies};

/// What the command line says.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A file, `-` for standard input, or the URL of a running service: http://127.0.0.1:8002/openapi.json.
    pub source: String,
    /// What to call the service.
    #[arg(long, value_parser = name)]
    pub service: String,
    /// Where the service is; default where the document says, or where it came from.
    #[arg(long, value_parser = url)]
    pub url: Option<String>,
    /// Put this before every path of the gateway: `/api`.
    #[arg(long, default_value = "", value_parser = prefix)]
    pub prefix: String,
    /// Who may call: `public`, or the names of authenticators; default what the document says, else a key.
    #[arg(long, value_delimiter = ',', value_parser = name)]
    pub auth: Vec<String>,
    /// Where the gateway listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: std::net::SocketAddr,
    /// Also check replies, by the schemas of the document (`response_model`).
    #[arg(long)]
    pub response_models: bool,
    /// Write to this new file instead of standard output.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
}

/// Why there is no configuration.
pub enum Failure {
    /// There is no document.
    Source(String),
    /// The document is none that can be imported.
    Document(String),
}

/// The configuration that a document becomes.
///
/// # Errors
/// When there is no document, or none of OpenAPI.
pub fn configuration(arguments: &Arguments) -> Result<String, Failure> {
    let source = &arguments.source;
    let text = read(source).map_err(|why| Failure::Source(format!("{source}: {why}")))?;
    import::import(&text, &options(arguments), &mut Router::default())
        .map_err(|why| Failure::Document(format!("{source}: {why}")))
}

/// Writes a file that is not there yet: one that is may have been edited since.
///
/// # Errors
/// When it is there, or cannot be written.
pub fn write(file: &Path, yaml: &str) -> std::io::Result<()> {
    File::create_new(file)?.write_all(yaml.as_bytes())
}

/// A name as routes have them.
pub fn name(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match !text.is_empty() && text.len() <= 100 && text.bytes().all(legal) {
        true => Ok(text.to_owned()),
        false => Err("1 to 100 of letters, digits, `-`, `_` and `.`".to_owned()),
    }
}

/// The address of a service.
pub fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").unwrap_or_default();
    match rest.is_empty() || rest.starts_with('/') || text.contains(['?', '#', '{']) {
        true => Err("expected a URL like `http://127.0.0.1:8002`".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// What is put before gateway paths: nothing, or a path without a `/` at its end.
pub fn prefix(text: &str) -> Result<String, String> {
    let prefix = text.trim_end_matches('/');
    match prefix.is_empty() || (Template::parse(prefix).is_ok_and(|template| template.names().is_empty())) {
        true => Ok(prefix.to_owned()),
        false => Err("expected a path like `/api`".to_owned()),
    }
}

fn options(arguments: &Arguments) -> Options {
    let source = &arguments.source;
    let origin = source.strip_prefix("http://").and_then(|rest| rest.split(['/', '?', '#']).next());
    Options {
        source: match (source.as_str(), &origin) {
            ("-", _) => "standard input".to_owned(),
            (url, Some(_)) => url.to_owned(),
            (file, None) => Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned(),
        },
        service: arguments.service.clone(),
        url: arguments.url.clone(),
        origin: origin.map(|authority| format!("http://{authority}")),
        prefix: arguments.prefix.clone(),
        auth: match arguments.auth.as_slice() {
            [] => None,
            [word] if word == "public" => Some(Auth::Public),
            names => Some(Auth::Any(names.to_vec())),
        },
        listen: arguments.listen.to_string(),
        replies: if arguments.response_models { Replies::Checked } else { Replies::Unchecked },
    }
}

/// The document's text. One byte more than is read shows that it is too large.
fn read(source: &str) -> Result<String, String> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let found = match source {
        "-" => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            return import::fetch(url).map_err(|why| why.to_string());
        }
        file => File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    found.map_err(|failed| failed.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// The gateway's own router, which knows what is ambiguous.
#[derive(Default)]
struct Router(RouterBuilder<String>);

impl Paths for Router {
    fn take(&mut self, method: &str, path: &str) -> Result<(), String> {
        let template = Template::parse(path).map_err(|fault| fault.to_string())?;
        let methods = method.parse().map(|method| [method]).map_err(|_| "this is no method".to_owned())?;
        self.0
            .add(None, &methods, &template, path.to_owned())
            .map_err(|conflict| format!("it matches the same requests as {}: {}", conflict.other, conflict.reason))
    }
}
