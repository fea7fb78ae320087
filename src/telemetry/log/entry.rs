//! One entry of the process log, as a terminal, a pipeline or systemd's journal wants it.
//!
//! A message may have lines, as the report on a faulty configuration does. All but the first are indented, and control
//! characters are escaped, so that no text in a message can pass for an entry or speak to a terminal.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use log::Level;

use super::super::access::Format;
use super::super::text::{escape_json, escape_line, write_timestamp};

/// Begins every line of a message but the first.
const INDENT: &[u8] = b"    ";

/// Who reads standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Anybody.
    Plain,
    /// systemd's journal: it takes the priority from the beginning of a line (`<4>`) and knows the time.
    Journal,
}

/// What is said.
pub struct Entry<'a> {
    pub at: SystemTime,
    pub level: Level,
    pub module: &'a str,
    pub message: &'a str,
}

impl Frame {
    /// systemd names the device and inode of the journal's socket; standard error may be something else nevertheless.
    pub fn detect() -> Self {
        let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        match std::io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from).and_then(|file| file.metadata()) {
            Ok(stderr) => Self::of(&named, stderr.dev(), stderr.ino()),
            Err(_) => Self::Plain,
        }
    }

    fn of(named: &str, device: u64, inode: u64) -> Self {
        if named == format!("{device}:{inode}") { Self::Journal } else { Self::Plain }
    }
}

impl Entry<'_> {
    /// Appends the entry, with the end of its last line.
    pub fn write(&self, out: &mut Vec<u8>, format: Format, frame: Frame) {
        match format {
            Format::Json => self.write_json(out, frame),
            Format::Text => self.write_text(out, frame),
        }
    }

    fn write_json(&self, out: &mut Vec<u8>, frame: Frame) {
        self.write_priority(out, frame);
        out.extend_from_slice(b"{\"time\":\"");
        write_timestamp(out, self.at);
        let _ = write!(out, "\",\"level\":\"{}\",\"module\":\"", name(self.level));
        escape_json(out, self.module.as_bytes());
        out.extend_from_slice(b"\",\"message\":\"");
        escape_json(out, self.message.as_bytes());
        out.extend_from_slice(b"\"}\n");
    }

    fn write_text(&self, out: &mut Vec<u8>, frame: Frame) {
        for (index, line) in self.message.split('\n').enumerate() {
            self.write_priority(out, frame);
            if index > 0 {
                out.extend_from_slice(INDENT);
            } else {
                if frame == Frame::Plain {
                    write_timestamp(out, self.at);
                    out.push(b' ');
                }
                let _ = write!(out, "{:<5} ", self.level);
            }
            escape_line(out, line);
            out.push(b'\n');
        }
    }

    fn write_priority(&self, out: &mut Vec<u8>, frame: Frame) {
        if frame == Frame::Journal {
            out.extend_from_slice(match self.level {
                Level::Error => b"<3>",
                Level::Warn => b"<4>",
                Level::Info => b"<6>",
                Level::Debug | Level::Trace => b"<7>",
            });
        }
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(level: Level, message: &str, format: Format, frame: Frame) -> String {
        let mut out = Vec::new();
        let entry = Entry { at: SystemTime::UNIX_EPOCH, level, module: "tollgate::server", message };
        entry.write(&mut out, format, frame);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_reader_gets_entries_as_it_wants_them() {
        for (level, message, format, frame, expected) in [
            (Level::Info, "ready a=1", Format::Text, Frame::Plain, "1970-01-01T00:00:00.000Z INFO  ready a=1\n"),
            (Level::Error, "ready", Format::Text, Frame::Journal, "<3>ERROR ready\n"),
            (Level::Warn, "a\nb", Format::Text, Frame::Journal, "<4>WARN  a\n<4>    b\n"),
            (Level::Warn, "a\nb", Format::Text, Frame::Plain, "1970-01-01T00:00:00.000Z WARN  a\n    b\n"),
            (
                Level::Debug,
                "a\n\"b\"",
                Format::Json,
                Frame::Journal,
                "<7>{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"debug\",\"module\":\"tollgate::server\",\
                 \"message\":\"a\\u000a\\\"b\\\"\"}\n",
            ),
        ] {
            assert_eq!(written(level, message, format, frame), expected);
        }
    }

    #[test]
    fn no_text_in_a_message_passes_for_an_entry_or_reaches_a_terminal() {
        let message = "host \u{1b}[2J\u{9b}31m\u{202e}\r\n<0>1970-01-01T00:00:00.000Z ERROR forged\ttab";
        for frame in [Frame::Plain, Frame::Journal] {
            let text = written(Level::Info, message, Format::Text, frame);
            let second = text.lines().nth(1).unwrap();
            assert!(second.trim_start_matches("<6>").starts_with("    <0>1970"), "{text:?}");
            let json = written(Level::Info, message, Format::Json, frame);
            assert_eq!(json.lines().count(), 1);
            for written in [&text, &json] {
                let spoken: Vec<char> = written.trim_end().chars().filter(|&c| c.is_control() && c != '\n').collect();
                assert!(spoken.is_empty() && !written.contains('\u{202e}'), "{written:?}");
            }
        }
    }

    #[test]
    fn the_journal_is_known_by_its_device_and_inode() {
        for (named, expected) in
            [("8:77", Frame::Journal), ("8:78", Frame::Plain), ("", Frame::Plain), ("8:77:1", Frame::Plain)]
        {
            assert_eq!(Frame::of(named, 8, 77), expected, "{named}");
        }
    }
}
