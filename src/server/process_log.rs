//! What the configuration says of the process log: its shape, and how much it says.

use log::{LevelFilter, info};

use crate::config::{Log, LogFormat, LogLevel};
use crate::telemetry::{self, Format};

/// At the start; the command line goes before the file.
pub fn begin(written: &Log, spoken: Option<LevelFilter>) {
    telemetry::set_log_format(format(written.format));
    telemetry::set_log_level(spoken.unwrap_or(filter(written.level)));
}

/// At a reload. What did not change in the file keeps what operators have said since.
pub fn follow(written: &Log, before: &Log) {
    if written.format != before.format {
        telemetry::set_log_format(format(written.format));
    }
    if written.level != before.level {
        set_level(written.level);
    }
}

/// Says so much from now on.
pub fn set_level(level: LogLevel) {
    let filter = filter(level);
    telemetry::set_log_level(filter);
    info!("log level is now level={}", filter.as_str().to_ascii_lowercase());
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    }
}

fn format(written: LogFormat) -> Format {
    match written {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    }
}
