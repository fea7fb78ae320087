//! `tollgate keys`: API keys that come and go without a reload.
//!
//! A new key is all that goes to standard output, so that a script can take it; everything else about it goes to
//! standard error. A running gateway sees the change in the file; it is not asked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};

use tollgate::config::Duration;
use tollgate::server::keys::{self, Refusal, Rotation, Wanted};
use tollgate::server::{Checked, Source};
use tollgate::store::{Key, Made, Store, StoreError};

/// What is to be done with keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and print it, this once.
    ///
    /// For a consumer of the file, whose plan and groups hold; or with --plan for one that the file does not name.
    Create(Create),
    /// Show all keys: good ones, and those that ended within 90 days.
    List {
        /// The configuration file, which says where the store is.
        file: PathBuf,
    },
    /// End a key at once.
    Revoke {
        /// The configuration file, which says where the store is.
        file: PathBuf,
        /// Its id, its beginning as listed (`tg_` and 8 characters), or the whole key.
        key: String,
    },
    /// Make a key in place of another one, which stays good for a while.
    Rotate {
        /// The configuration file, which says where the store is.
        file: PathBuf,
        /// Its id, its beginning as listed (`tg_` and 8 characters), or the whole key.
        key: String,
        /// How long the old key stays good.
        #[arg(long, value_parser = duration, default_value = "7d")]
        grace: Duration,
        /// How long the new key is good; default: as long as the old one was made for.
        #[arg(long, value_parser = duration)]
        expires: Option<Duration>,
    },
}

/// A new key.
#[derive(Debug, Args)]
pub struct Create {
    /// The configuration file, which says where the store is.
    file: PathBuf,
    /// Whose it is to be.
    #[arg(long)]
    consumer: String,
    /// The plan of a consumer that the file does not name.
    #[arg(long)]
    plan: Option<String>,
    /// How long it is good, at most 365d; default: until it is revoked.
    #[arg(long, value_parser = duration)]
    expires: Option<Duration>,
    /// About it, for the list.
    #[arg(long, default_value = "")]
    note: String,
}

/// Why nothing was done.
enum Failure {
    /// The command is wrong, or there is nothing to work on: exit code 2.
    Use(String),
    /// The configuration is faulty.
    Configuration(Box<Checked>),
    /// It was refused: exit code 1.
    Refused(String),
}

impl Command {
    /// The configuration file.
    fn file(&self) -> &Path {
        match self {
            Self::Create(create) => &create.file,
            Self::List { file } | Self::Revoke { file, .. } | Self::Rotate { file, .. } => file,
        }
    }
}

/// Does it. `check` compiles a configuration, `render` writes its report.
pub fn run(command: Command, check: impl Fn(&Source) -> Checked, render: impl Fn(&Checked) -> String) -> ExitCode {
    match attempt(command, check) {
        Ok(text) => {
            super::print(&text);
            ExitCode::SUCCESS
        }
        Err(Failure::Use(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
        Err(Failure::Configuration(checked)) => {
            eprint!("{}", render(&checked));
            ExitCode::from(1)
        }
        Err(Failure::Refused(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(1)
        }
    }
}

/// What goes to standard output.
fn attempt(command: Command, check: impl Fn(&Source) -> Checked) -> Result<String, Failure> {
    let file = command.file().to_owned();
    if let Err(missing) = std::fs::metadata(&file) {
        return Err(Failure::Use(format!("{}: {missing}", file.display())));
    }
    let source = Source::File(file.clone());
    let checked = check(&source);
    // To end a key, it is enough to know where the store is: the rest of the file may be at fault.
    let Some(loaded) = &checked.loaded else { return Err(Failure::Configuration(Box::new(checked))) };
    let Some(store) = keys::store_path_here(&loaded.config, &source) else {
        let hint = "add `store: { path: tollgate.db }` and `tollgate upgrade`";
        return Err(Failure::Use(format!("{} has no store: {hint}", file.display())));
    };
    let at_store = |failed: StoreError| {
        let place = if failed.is_fault() { format!("store {}: ", store.display()) } else { String::new() };
        Failure::Refused(format!("{place}{failed}"))
    };
    let refused = |refusal: Refusal| match refusal {
        Refusal::Store(failed) => at_store(failed),
        refusal @ (Refusal::Unfit(_) | Refusal::Random) => Failure::Refused(refusal.to_string()),
    };
    match command {
        Command::Create(Create { consumer, plan, expires, note, .. }) => {
            let wanted = Wanted { consumer, plan, expires, note };
            let Some(gateway) = &checked.gateway else { return Err(Failure::Configuration(Box::new(checked))) };
            let made = keys::create(|| Store::open_or_create(&store), gateway, &wanted).map_err(refused)?;
            Ok(show(&made))
        }
        Command::List { .. } => Ok(table(&keys::list(&store).map_err(at_store)?)),
        Command::Revoke { key, .. } => {
            let key = keys::revoke(&store, &key).map_err(at_store)?;
            Ok(format!("revoked {} {} of {}\n", key.id, key.prefix, key.consumer))
        }
        Command::Rotate { key, grace, expires, .. } => {
            let rotation = Rotation { grace: Some(grace), expires };
            Ok(show(&keys::rotate(&store, &key, rotation).map_err(refused)?))
        }
    }
}

fn show(made: &Made) -> String {
    let until = made.key.expires.map_or("until it is revoked".to_owned(), |time| format!("until {}", keys::time(time)));
    eprintln!("key {} of {}, good {until}; it is not shown again:", made.key.id, made.key.consumer);
    format!("{}\n", made.secret)
}

fn table(listed: &[Key]) -> String {
    let now = keys::now();
    let mut rows =
        vec![["ID", "PREFIX", "CONSUMER", "PLAN", "STATUS", "CREATED", "EXPIRES", "NOTE"].map(str::to_owned)];
    rows.extend(listed.iter().map(|key| {
        [
            key.id.clone(),
            key.prefix.clone(),
            key.consumer.clone(),
            key.plan.clone().unwrap_or_else(|| "-".to_owned()),
            key.status(now).word().to_owned(),
            keys::time(key.created),
            key.expires.map_or_else(|| "-".to_owned(), keys::time),
            key.note.clone(),
        ]
    }));
    super::columns(&rows)
}

/// As durations are written in the configuration.
fn duration(text: &str) -> Result<Duration, String> {
    Duration::deserialize(StrDeserializer::<Error>::new(text)).map_err(|wrong| wrong.to_string())
}
