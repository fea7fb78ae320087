//! YAML as a person would write it.
//!
//! Short mappings and lists stand on one line, long ones one entry to a line, text of several lines as a block. Text is
//! quoted wherever it could be read as anything else, and a `${` in a value is written as `$${`, so that the file says
//! exactly the value that was given: what a number cannot keep is the caller's to avoid ([`number`]).

use std::fmt::Write;

use serde_json::{Map, Number, Value};

/// Longest line, unless one word needs more.
const WIDTH: usize = 118;

/// A text that grows by lines.
#[derive(Debug, Default)]
pub(super) struct Writer {
    out: String,
}

/// Where a text stands: what may be left unquoted differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Block,
    Flow,
}

impl Writer {
    /// The text.
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// How long it is so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// An empty line.
    pub(super) fn blank(&mut self) {
        self.out.push('\n');
    }

    /// A line as it is.
    pub(super) fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    /// A comment, broken into lines. What no line can hold is replaced.
    pub(super) fn comment(&mut self, indent: usize, text: &str) {
        let clean: String = text.chars().map(|char| if is_printable(char) { char } else { ' ' }).collect();
        let mut line = String::new();
        for word in clean.split_whitespace() {
            if !line.is_empty() && indent + 2 + line.chars().count() + word.chars().count() >= WIDTH {
                let _ = writeln!(self.out, "{:indent$}# {line}", "");
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        let _ = writeln!(self.out, "{:indent$}# {line}", "");
    }

    /// An element of a list that is a mapping, its `-` at `indent`.
    pub(super) fn element(&mut self, indent: usize, entries: &Map<String, Value>) {
        let start = self.out.len();
        for (key, value) in entries {
            self.entry(indent + 2, key, value);
        }
        self.out.replace_range(start + indent..=start + indent, "-");
    }

    /// `key: value` at `indent`.
    pub(super) fn entry(&mut self, indent: usize, key: &str, value: &Value) {
        let mut head = String::new();
        key_text(key, &mut head);
        let _ = write!(self.out, "{:indent$}{head}:", "");
        self.value(indent, indent + head.chars().count() + 1, value);
    }

    /// What follows `key:` or `-`, which end at `column`.
    fn value(&mut self, indent: usize, column: usize, value: &Value) {
        if let Value::String(text) = value
            && let Some((mark, lines)) = literal(text)
        {
            let _ = writeln!(self.out, " {mark}");
            for line in lines.split('\n') {
                let margin = if line.is_empty() { 0 } else { indent + 2 };
                let _ = writeln!(self.out, "{:margin$}{}", "", escaped_placeholders(line));
            }
            return;
        }
        if let Some(line) = on_one_line(value, WIDTH.saturating_sub(column + 1)) {
            let _ = writeln!(self.out, " {line}");
            return;
        }
        self.out.push('\n');
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    self.entry(indent + 2, key, value);
                }
            }
            Value::Array(items) => {
                for item in items {
                    match item {
                        Value::Object(entries) if on_one_line(item, WIDTH.saturating_sub(indent + 4)).is_none() => {
                            self.element(indent + 2, entries);
                        }
                        item => {
                            let _ = write!(self.out, "{:width$}-", "", width = indent + 2);
                            self.value(indent + 2, indent + 3, item);
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// A number that YAML reads as the same number, or nothing.
pub(super) fn number(number: &Number) -> Option<Number> {
    if number.is_u64() || number.is_i64() {
        return Some(number.clone());
    }
    let float = number.as_f64().filter(|float| float.is_finite())?;
    // Digits that a float would lose stay away.
    let same = Number::from_f64(float)?;
    let exact = |number: &Number| number.as_str().trim_end_matches('0').trim_end_matches('.').to_owned();
    (number.as_str().len() <= 17 || exact(&same) == exact(number)).then_some(same)
}

/// A scalar always; a list or mapping when it is short enough.
fn on_one_line(value: &Value, room: usize) -> Option<String> {
    let mut line = String::new();
    let scalar = !matches!(value, Value::Array(items) if !items.is_empty())
        && !matches!(value, Value::Object(entries) if !entries.is_empty());
    if scalar {
        flow(value, Inside::Block, &mut line, usize::MAX);
        return Some(line);
    }
    (flow(value, Inside::Flow, &mut line, room) && line.chars().count() <= room).then_some(line)
}

/// Writes a value on one line; gives up when it is longer than `room` bytes could ever hold.
fn flow(value: &Value, inside: Inside, out: &mut String, room: usize) -> bool {
    if out.len() > room.saturating_mul(4) {
        return false;
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(number.as_str()),
        Value::String(text) => scalar(&escaped_placeholders(text), inside, out),
        Value::Array(items) => {
            out.push('[');
            for (nth, item) in items.iter().enumerate() {
                out.push_str(if nth > 0 { ", " } else { "" });
                if !flow(item, Inside::Flow, out, room) {
                    return false;
                }
            }
            out.push(']');
        }
        Value::Object(entries) if entries.is_empty() => out.push_str("{}"),
        Value::Object(entries) => {
            out.push('{');
            for (nth, (key, value)) in entries.iter().enumerate() {
                out.push_str(if nth > 0 { ", " } else { " " });
                key_text(key, out);
                out.push_str(": ");
                if !flow(value, Inside::Flow, out, room) {
                    return false;
                }
            }
            out.push_str(" }");
        }
    }
    true
}

/// A key is text however it looks: a status and a keyword like `$ref` are more readable without quotes.
fn key_text(key: &str, out: &mut String) {
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let status = key.strip_prefix(['1', '2', '3', '4', '5']).is_some_and(|rest| rest == "XX" || digits(rest));
    let keyword = key
        .strip_prefix('$')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphabetic()));
    if status || keyword { out.push_str(key) } else { scalar(key, Inside::Flow, out) }
}

fn escaped_placeholders(text: &str) -> String {
    text.replace("${", "$${")
}

fn scalar(text: &str, inside: Inside, out: &mut String) {
    if is_plain(text, inside) {
        out.push_str(text);
    } else if text.chars().all(is_printable) && text.contains(['\\', '"']) {
        let _ = write!(out, "'{}'", text.replace('\'', "''"));
    } else {
        out.push('"');
        text.chars().for_each(|char| escape(char, out));
        out.push('"');
    }
}

fn escape(char: char, out: &mut String) {
    let code = u32::from(char);
    let _ = match char {
        '"' | '\\' => write!(out, "\\{char}"),
        '\n' => write!(out, "\\n"),
        '\t' => write!(out, "\\t"),
        _ if is_printable(char) => write!(out, "{char}"),
        _ if code < 0x100 => write!(out, "\\x{code:02x}"),
        _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Whether a text can stand without quotes and is read as this text. Rather too strict.
fn is_plain(text: &str, inside: Inside) -> bool {
    const WORDS: [&str; 12] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan", "infinity"];
    let may = |char: char| match char {
        '{' | '}' | '[' | ']' | ',' => inside == Inside::Block,
        char if char.is_ascii() => char.is_ascii_alphanumeric() || "_-./ ()'*+=@!?;&$%^~<>|".contains(char),
        char => char.is_alphanumeric(),
    };
    text.starts_with(|first: char| first.is_alphabetic() || first == '_' || first == '/')
        && !text.ends_with(' ')
        && text.chars().all(may)
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// Whether a character may stand in YAML as itself, within a line.
fn is_printable(char: char) -> bool {
    !char.is_control() && !matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// The header and the lines of a block for text of several lines, where one says it exactly.
fn literal(text: &str) -> Option<(&'static str, &str)> {
    let (mark, lines) = match text.strip_suffix('\n') {
        Some(lines) => ("|", lines),
        None => ("|-", text),
    };
    let starts_well = !lines.starts_with([' ', '\t', '\n']) && !lines.is_empty();
    let fits = lines.contains('\n') && starts_well && !lines.ends_with(['\n', ' ', '\t']);
    let clean =
        lines.split('\n').all(|line| line.chars().all(is_printable) && (line.is_empty() || !line.trim().is_empty()));
    (fits && clean).then_some((mark, lines))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(key: &str, value: &Value) -> String {
        let mut writer = Writer::default();
        writer.entry(0, key, value);
        writer.finish()
    }

    /// What YAML reads of a text; what the loader makes of placeholders comes after it.
    fn read(text: &str) -> Value {
        fn plain(value: Value) -> Value {
            match value {
                Value::String(text) => text.replace("$${", "${").into(),
                Value::Array(items) => items.into_iter().map(plain).collect(),
                Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, plain(value))).collect(),
                scalar => scalar,
            }
        }
        plain(serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
    }

    #[test]
    fn short_values_stand_on_one_line() {
        for (value, text) in [
            (json!({"type": "integer", "minimum": 1}), "k: { type: integer, minimum: 1 }\n"),
            (json!(["a b", "yes", "7", "x:y", ""]), "k: [a b, \"yes\", \"7\", \"x:y\", \"\"]\n"),
            (json!({}), "k: {}\n"),
            (json!([]), "k: []\n"),
            (json!("/users/{id}"), "k: /users/{id}\n"),
            (json!(["/users/{id}"]), "k: [\"/users/{id}\"]\n"),
            (json!(r"^\d+$"), "k: '^\\d+$'\n"),
            (json!("it's \"x\""), "k: 'it''s \"x\"'\n"),
            (json!("${HOME}"), "k: \"$${HOME}\"\n"),
            (json!("tab\tnul\0\u{85}\u{2028}"), "k: \"tab\\tnul\\x00\\x85\\u2028\"\n"),
            (json!("two\nlines"), "k: |-\n  two\n  lines\n"),
            (json!("two\n\nlines\n"), "k: |\n  two\n\n  lines\n"),
            (json!(" two\nlines"), "k: \" two\\nlines\"\n"),
            (json!({"404": {"$ref": "none"}, "5XX": 1, "7": 2}), "k: { 404: { $ref: none }, 5XX: 1, \"7\": 2 }\n"),
            (json!(1.5), "k: 1.5\n"),
            (Value::Null, "k: null\n"),
        ] {
            assert_eq!(written("k", &value), text);
        }
    }

    #[test]
    fn long_values_stand_one_entry_to_a_line() {
        let long = "x".repeat(70);
        let value = json!({"a": {"enum": [long, long]}, "b": [{"c": long, "d": long}, [long, long], 1]});
        let text = written("k", &value);
        assert_eq!(read(&text)["k"], value);
        assert_eq!(text.lines().count(), 12, "{text}");
        assert!(text.contains("\n    - c: xxx") && text.contains("\n      d: xxx"), "{text}");
    }

    #[test]
    fn an_element_begins_with_its_dash() {
        let Value::Object(entries) = json!({"name": "a", "tags": ["b"]}) else { unreachable!() };
        let mut writer = Writer::default();
        writer.element(2, &entries);
        assert_eq!(writer.finish(), "  - name: a\n    tags: [b]\n");
    }

    #[test]
    fn comments_stay_comments() {
        let mut writer = Writer::default();
        writer.comment(2, &format!("one\nversion: 2\r\u{85}\u{2028}x {}", "word ".repeat(40)));
        let text = writer.finish();
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.starts_with("  # ") && line.len() <= WIDTH));
        assert!(read(&text).is_null());
    }

    #[test]
    fn numbers_that_yaml_would_change_are_told() {
        for (text, kept) in [
            ("1", Some("1")),
            ("-5", Some("-5")),
            ("1.50", Some("1.5")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("123456789012345678901234567890", None),
            ("1e400", None),
            ("0.1234567890123456789012", None),
        ] {
            let found = number(&text.parse().unwrap());
            assert_eq!(found.as_ref().map(Number::as_str), kept, "{text}");
        }
    }

    /// Text that is easily misread.
    fn text() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "a",
            "yes",
            "~",
            "null",
            ": ",
            ":",
            " #",
            "#",
            "- ",
            "-",
            "? ",
            "?",
            "{",
            "}",
            "[",
            "]",
            ",",
            "&a",
            "*a",
            "!t",
            "|",
            ">",
            "'",
            "\"",
            "%",
            "@",
            "`",
            "\\",
            "\n",
            "\r",
            "\t",
            " ",
            "  ",
            "${",
            "$${",
            "$",
            "}",
            "0x1",
            "1e3",
            ".5",
            ".inf",
            "2020-01-01",
            "<<",
            "=",
            "é",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\0",
            "\u{1f600}",
            "---",
            "...",
            "true",
            "${env:A}",
        ];
        let piece = prop_oneof![
            4 => prop::sample::select(PIECES).prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter_map("a number of JSON", |float| number(&Number::from_f64(float)?).map(Value::Number)),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((text(), inner), 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(key in text(), value in values(), indent in 0_usize..6) {
            let mut writer = Writer::default();
            writer.line("top:");
            writer.entry(indent + 1, &key, &value);
            let text = writer.finish();
            prop_assert_eq!(&read(&text)["top"][&key], &value, "{}", text);
        }
    }
}
