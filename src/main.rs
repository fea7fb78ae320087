//! The command line.
//!
//! Exit codes: 0 fine, 1 problems found (they are printed), 2 bad use or nothing to work on.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use log::LevelFilter;

use tollgate::config::{Color, Report, Sources};
use tollgate::explain::{self, Explainer, StoredKeys};
use tollgate::gateway::key_source::KeySources;
use tollgate::gateway::{self, Surroundings};
use tollgate::server::{self, Checked, Demo, Extent, Purpose, Setup, Source, StartError};
use tollgate::store::Place;
use tollgate::telemetry::{self, Telemetry};

mod commands;

use commands::import::Failure;
use commands::print;

/// An allocation is a fifth of a proxied request with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where the packaged configuration is.
const DEFAULT_FILE: &str = "conf/tollgate.yaml";

const AFTER_HELP: &str = "\
Try it:
  tollgate demo                        a gateway with a demo service, and curl lines to try
  tollgate check conf/tollgate.yaml    every problem of a configuration, with its line
  tollgate run conf/tollgate.yaml      serve it
  tollgate openapi conf/demo.yaml      the API's description, OpenAPI 3.1
  tollgate explain conf/demo.yaml GET /users/7    what becomes of a request, and why
  tollgate reload conf/tollgate.yaml   after a change, without losing a request
  tollgate upgrade conf/tollgate.yaml  after a new binary was installed, likewise
  tollgate keys create FILE --consumer alice    an API key, good at once
  tollgate import openapi.json --service users -o users.yaml    routes from a microservice's OpenAPI document

Exit codes: 0 fine, 1 problems found, 2 bad use.";

/// An API gateway: typed routes, keys, plans and limits from one YAML file.
#[derive(Debug, Parser)]
#[command(version = server::BUILD, about, after_help = AFTER_HELP, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a configuration until SIGTERM.
    ///
    /// Listeners are bound before anything is served; the log goes to standard error, access lines where
    /// `access_log` says (standard output by default). SIGHUP reloads the file, SIGUSR1 opens the file of access lines
    /// again, SIGTERM drains and leaves.
    Run(RunArgs),
    /// Report every problem of a configuration, with file, line and column.
    ///
    /// Keys, values, references, paths, schemas, limits: all at once. What may only follow from another fault comes
    /// when that is mended. Exits with 1 when there is an error; warnings alone exit with 0.
    Check {
        /// The configuration file.
        file: PathBuf,
        /// How to report.
        #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
        format: ReportFormat,
    },
    /// Show the routes of a configuration as a table.
    Routes {
        /// The configuration file.
        file: PathBuf,
    },
    /// Print the API's description, an OpenAPI 3.1 document made from the routes.
    Openapi {
        /// The configuration file.
        file: PathBuf,
    },
    /// Make a running gateway read its configuration again.
    ///
    /// Prints the report and exits with 1 when the file is refused; the old configuration goes on then.
    Reload {
        /// The file that the gateway runs, to find its admin listener.
        #[arg(default_value = DEFAULT_FILE)]
        file: PathBuf,
        /// Address of the admin listener, when the file does not tell.
        #[arg(long)]
        admin: Option<std::net::SocketAddr>,
    },
    /// Replace a running gateway's process by a new one, with the binary that is installed now.
    ///
    /// The new process gets the listening sockets and serves before the old one stops accepting; no connection is
    /// refused and no request is cut. Changes that a reload cannot apply (listeners, admin, store) take effect. When the
    /// new process does not start, the old one goes on, and the exit code is 1.
    Upgrade {
        /// The file that the gateway runs, to find its upgrade socket.
        #[arg(default_value = DEFAULT_FILE)]
        file: PathBuf,
        /// The upgrade socket, when the file does not tell.
        #[arg(long)]
        socket: Option<PathBuf>,
    },
    /// Say what becomes of a request, and why, without a server.
    ///
    /// Which route it is for, who calls, which limits count it, what becomes of each parameter, and the request that the
    /// service would get, or the answer that the client would. Exits with 1 when the request or the file is refused.
    Explain(Box<commands::explain::Arguments>),
    /// Write a configuration from the OpenAPI document of a microservice.
    ///
    /// The document (OpenAPI 3.0 or 3.1, JSON or YAML; what FastAPI serves at /openapi.json) becomes a whole file with a
    /// route for every operation. What could not be carried over is said in comments.
    Import(commands::import::Arguments),
    /// Make, list, revoke and rotate API keys without a reload.
    ///
    /// They are kept in the `store` of the configuration; a running gateway honours a change within a second.
    #[command(subcommand)]
    Keys(commands::keys::Command),
    /// Hash a password for the `passwords` of a consumer, and print the hash.
    ///
    /// The password is asked for twice on a terminal, without being shown; otherwise it is the first line of standard
    /// input. It is never an argument, which others on the machine could see.
    HashPassword,
    /// Print the JSON Schema of configuration files, for editors.
    ///
    /// `conf/tollgate.schema.json` is this. A file that begins with
    /// `# yaml-language-server: $schema=PATH` is completed and checked by editors that know it.
    Schema,
    /// Print a script that completes this command line in a shell.
    ///
    /// The Debian package brings those of bash, zsh and fish.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages: tollgate(1), one of each command, and tollgate.yaml(5).
    #[command(hide = true)]
    ManPages {
        /// The folder, which must be there.
        folder: PathBuf,
    },
    /// Start a gateway with a demo service, and print curl lines to try.
    Demo,
    /// Start the process that takes over at an upgrade. The gateway itself says it.
    #[command(hide = true)]
    Launch {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The configuration file.
    #[arg(default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// Worker threads; default one per core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// What the process log says, instead of `log.level` in the file.
    #[arg(long, value_enum)]
    log: Option<LogLevel>,
    /// The upgrade socket of the process to take over from. `tollgate upgrade` says it.
    #[arg(long, hide = true)]
    takeover: Option<PathBuf>,
}

/// How to report.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReportFormat {
    /// As a compiler does.
    Text,
    /// A JSON list, for editors and pipelines.
    Json,
}

/// What the process log says.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    /// Only what needs an operator.
    Error,
    /// Also what is unexpected.
    Warn,
    /// Also what an operator asked for.
    Info,
    /// Everything.
    Debug,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => run(arguments),
        Command::Check { file, format } => check(&file, format),
        Command::Routes { file } => routes(&file),
        Command::Openapi { file } => openapi(&file),
        Command::Reload { file, admin } => commands::reload(&file, admin),
        Command::Upgrade { file, socket } => commands::upgrade::run(&file, socket),
        Command::Explain(arguments) => explain(*arguments),
        Command::Import(arguments) => import(&arguments),
        Command::Keys(command) => {
            commands::keys::run(command, compile, |checked| render(&checked.report, &checked.sources))
        }
        Command::HashPassword => commands::password::run(),
        Command::Schema => {
            print(&commands::schema());
            ExitCode::SUCCESS
        }
        Command::Completions { shell } => {
            print(&commands::manual::completions(&Cli::command(), shell));
            ExitCode::SUCCESS
        }
        Command::ManPages { folder } => match commands::manual::write_pages(Cli::command(), &folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => complain(&format!("{}: {failed}", folder.display())),
        },
        Command::Demo => demo(),
        Command::Launch { command } => ExitCode::from(u8::from(server::upgrade::launch(&command).is_err())),
    }
}

fn run(arguments: RunArgs) -> ExitCode {
    let log_level = arguments.log.map(LevelFilter::from);
    if let Err(failed) = telemetry::install(log_level.unwrap_or(LevelFilter::Info)) {
        return complain(&format!("the log cannot be written: {failed}"));
    }
    serve(Setup {
        source: Source::File(arguments.file),
        threads: arguments.threads.map_or_else(cores, usize::from),
        demo: Demo::Off,
        program: commands::upgrade::own_program(),
        takeover: arguments.takeover,
        log_level,
    })
}

fn demo() -> ExitCode {
    if let Err(failed) = telemetry::install(LevelFilter::Warn) {
        return complain(&format!("the log cannot be written: {failed}"));
    }
    match commands::demo() {
        Ok(setup) => serve(setup),
        Err(message) => complain(&message),
    }
}

fn serve(setup: Setup) -> ExitCode {
    let ended = server::run(setup);
    telemetry::flush_log();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Configuration(report, sources)) => {
            let _ = std::io::stderr().write_all(render(&report, &sources).as_bytes());
            ExitCode::from(1)
        }
        Err(StartError::Machine(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(1)
        }
    }
}

fn check(file: &Path, format: ReportFormat) -> ExitCode {
    if let Err(missing) = std::fs::metadata(file) {
        return complain(&format!("{}: {missing}", file.display()));
    }
    let checked = compile(&Source::File(file.to_owned()));
    let errors = checked.report.has_errors();
    let text = match format {
        ReportFormat::Json => format!("{:#}\n", checked.report.to_json(&checked.sources)),
        ReportFormat::Text => {
            let mut text = render(&checked.report, &checked.sources);
            if checked.extent == Extent::Syntax {
                text.push_str("note: references, paths and schemas are checked once these are mended\n");
            }
            if let Some(gateway) = &checked.gateway {
                text.push_str(&commands::summary(gateway));
            }
            text
        }
    };
    print(&text);
    // The process ends here: taking a large configuration apart piece by piece would be a tenth of the run.
    std::mem::forget(checked);
    ExitCode::from(u8::from(errors))
}

/// Writes a configuration, and says what the gateway would not take of it.
fn import(arguments: &commands::import::Arguments) -> ExitCode {
    let yaml = match commands::import::configuration(arguments) {
        Ok(yaml) => yaml,
        Err(Failure::Source(message)) => return complain(&message),
        Err(Failure::Document(message)) => {
            eprintln!("error: {message}");
            return ExitCode::from(1);
        }
    };
    let name = match &arguments.output {
        Some(file) => {
            if let Err(failed) = commands::import::write(file, &yaml) {
                return complain(&format!("{}: {failed}", file.display()));
            }
            file.display().to_string()
        }
        None => {
            print(&yaml);
            "the configuration".to_owned()
        }
    };
    let checked = compile(&Source::Text { name, text: yaml });
    if !checked.report.has_errors() {
        return ExitCode::SUCCESS;
    }
    let _ = std::io::stderr().write_all(render(&checked.report, &checked.sources).as_bytes());
    ExitCode::from(1)
}

fn routes(file: &Path) -> ExitCode {
    if let Err(missing) = std::fs::metadata(file) {
        return complain(&format!("{}: {missing}", file.display()));
    }
    let checked = compile(&Source::File(file.to_owned()));
    let Some(gateway) = checked.gateway else {
        let _ = std::io::stderr().write_all(render(&checked.report, &checked.sources).as_bytes());
        return ExitCode::from(1);
    };
    print(&commands::table(&gateway));
    ExitCode::SUCCESS
}

fn openapi(file: &Path) -> ExitCode {
    if let Err(missing) = std::fs::metadata(file) {
        return complain(&format!("{}: {missing}", file.display()));
    }
    let checked = compile(&Source::File(file.to_owned()));
    let (Some(_), Some(loaded)) = (&checked.gateway, &checked.loaded) else {
        let _ = std::io::stderr().write_all(render(&checked.report, &checked.sources).as_bytes());
        return ExitCode::from(1);
    };
    print(&format!("{:#}\n", gateway::openapi::document(&loaded.config)));
    ExitCode::SUCCESS
}

fn explain(arguments: commands::explain::Arguments) -> ExitCode {
    let as_json = arguments.json;
    let (file, spoken) = match arguments.read() {
        Ok(read) => read,
        Err(message) => return complain(&message),
    };
    if let Err(missing) = std::fs::metadata(&file) {
        return complain(&format!("{}: {missing}", file.display()));
    }
    let telemetry = Arc::new(Telemetry::new(server::VERSION, ""));
    // No service is contacted, so any address will do; without one a request would end at the gateway.
    let lookup = |_: &str, _: u16| Ok(vec![SocketAddr::from(([127, 0, 0, 1], 1))]);
    let keys = KeySources::default();
    let source = Source::File(file);
    let surroundings = Surroundings {
        telemetry: &telemetry,
        lookup: &lookup,
        generation: 1,
        flood: None,
        keys: &keys,
        read: Some(&|name| server::read_beside(&source, name)),
        now: server::unix_now(),
        running: &[],
        services: &[],
    };
    let checked = server::check(&source, Purpose::Checking, &surroundings);
    let (Some(gateway), Some(loaded)) = (checked.gateway, checked.loaded) else {
        let _ = std::io::stderr().write_all(render(&checked.report, &checked.sources).as_bytes());
        return ExitCode::from(1);
    };
    let listeners: Vec<SocketAddr> = loaded.config.listeners.iter().map(|listener| listener.address).collect();
    let keys = match server::keys::place_here(&loaded.config, &source) {
        Some(Place::File(path)) => StoredKeys::look(&path, server::keys::now()),
        Some(Place::Redis(_)) => StoredKeys::unasked(),
        None => StoredKeys::default(),
    };
    let part = match explain::request::written(&gateway, &listeners, &spoken) {
        Ok(part) => part,
        Err(message) => return complain(&message),
    };
    let needed = explain::published::needed(&gateway, &part);
    let unfetched = needed.iter().filter_map(|keys| server::key_fetch::fetch_once(keys).err()).collect();
    let explanation = match Explainer::new(gateway, telemetry, &listeners, keys) {
        Ok(mut explainer) => {
            explainer.without_keys(unfetched);
            explainer.explain(&part)
        }
        Err(failed) => return complain(&failed.to_string()),
    };
    if as_json {
        print(&format!("{:#}\n", explanation.to_json()));
    } else {
        print(&explanation.to_text());
    }
    ExitCode::from(u8::from(!explanation.is_admitted()))
}

/// Names are not looked up: a file is right or wrong wherever it is checked.
fn compile(source: &Source) -> Checked {
    let telemetry = Telemetry::new(server::VERSION, "");
    let lookup = |_: &str, _: u16| Ok(Vec::new());
    let surroundings = Surroundings {
        telemetry: &telemetry,
        lookup: &lookup,
        generation: 1,
        flood: None,
        keys: &KeySources::default(),
        read: Some(&|name| server::read_beside(source, name)),
        now: server::unix_now(),
        running: &[],
        services: &[],
    };
    server::check(source, Purpose::Checking, &surroundings)
}

fn render(report: &Report, sources: &Sources) -> String {
    let color = if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        Color::Always
    } else {
        Color::Never
    };
    report.render(sources, color)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn complain(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(2)
}
