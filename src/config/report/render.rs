//! A report for people and for programs.
//!
//! Only the line that is meant is handed to the renderer, never a whole file. What spans several lines is underlined
//! on its first. Reports are printed, logged and sent, so a secret that is written on the line is starred.

use std::borrow::Cow;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde_json::json;

use super::locate::Locator;
use super::sources::{Source, Sources};
use super::{Problem, Report, Severity, Spot};

/// Whether a drawn report has terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    Never,
    /// Escape sequences.
    Always,
}

impl Report {
    /// Draws every problem with its line, in the order of the text. Empty when there is none.
    pub fn render(&self, sources: &Sources, color: Color) -> String {
        let renderer = match color {
            Color::Never => Renderer::plain(),
            Color::Always => Renderer::styled().hyperlink(false),
        };
        let drawn: Vec<_> =
            self.located(sources).iter().map(|(spot, problem)| draw(&renderer, sources, spot, problem)).collect();
        drawn.join("\n")
    }

    /// Every problem as `{severity, file, line, column, path, message, help}`, in the order of the text. `line` and
    /// `column` are `null` when a file could not be read.
    pub fn to_json(&self, sources: &Sources) -> serde_json::Value {
        let problem = |(spot, problem): (Spot, &Problem)| {
            let source = sources.file(spot.file);
            let position = source.filter(|source| !source.text.is_empty());
            let position = position.map(|source| source.line_column(spot.bytes.start));
            json!({
                "severity": severity(problem.severity),
                "file": source.map(|source| &source.name),
                "line": position.map(|(line, _)| line),
                "column": position.map(|(_, column)| column),
                "path": problem.place.to_string(),
                "message": problem.message,
                "help": problem.help,
            })
        };
        self.located(sources).into_iter().map(problem).collect()
    }

    /// Every problem with its line, from 1 (0: the file could not be read), and its message, in the order of the text.
    pub fn lines(&self, sources: &Sources) -> Vec<(usize, String)> {
        let line = |spot: &Spot| match sources.file(spot.file) {
            Some(source) if !source.text.is_empty() => source.line_column(spot.bytes.start).0,
            _ => 0,
        };
        self.located(sources).iter().map(|(spot, problem)| (line(spot), problem.message.clone())).collect()
    }

    fn located(&self, sources: &Sources) -> Vec<(Spot, &Problem)> {
        let locator = Locator::new(sources);
        let mut located: Vec<_> = self.problems().iter().map(|problem| (locator.problem(problem), problem)).collect();
        located.sort_by_key(|(spot, _)| (spot.file, spot.bytes.start));
        // What is written once and used twice, by an alias, is wrong once.
        located.dedup_by(|(spot, problem), (before, first)| spot == before && problem.message == first.message);
        located
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn draw(renderer: &Renderer, sources: &Sources, spot: &Spot, problem: &Problem) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(problem.message.as_str());
    let group = match sources.file(spot.file) {
        Some(source) if !source.line(spot.bytes.start).is_empty() => title.element(snippet(source, spot, problem)),
        Some(source) => {
            let origin = Origin::path(source.name.as_str());
            let (line, column) = source.line_column(spot.bytes.start);
            let known = !source.text.is_empty();
            let group = title.element(if known { origin.line(line).char_column(column) } else { origin });
            match &problem.help {
                Some(help) => group.element(Level::HELP.message(help.as_str())),
                None => group,
            }
        }
        None => title.elements(std::iter::empty::<Origin<'_>>()),
    };
    let mut text = renderer.render(&[group]);
    text.push('\n');
    text
}

fn snippet<'a>(
    source: &'a Source,
    spot: &Spot,
    problem: &'a Problem,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let line = source.line(spot.bytes.start);
    let line_start = source.line_start(spot.bytes.start);
    let start = (spot.bytes.start - line_start).min(line.len());
    let end = spot.bytes.end.saturating_sub(line_start).min(line.len()).max(start);
    // Blanks at the end of what spans several lines are not worth underlining.
    let end = line.get(start..end).map_or(end, |text| start + text.trim_end().len());
    Snippet::source(without_secrets(line))
        .path(source.name.as_str())
        .line_start(source.line_column(spot.bytes.start).0)
        .annotation(AnnotationKind::Primary.span(start..end).label(problem.help.as_deref()))
}

/// A line with stars for the value of every key `secret` and `hash`, byte by byte, so that everything keeps its place. A
/// placeholder stays: it is not the secret.
fn without_secrets(line: &str) -> Cow<'_, str> {
    let shown = starred(Cow::Borrowed(line), "secret", &[',', '}']);
    // The hash of a password may stand without quotes, with commas in it.
    starred(shown, "hash", &[' ', '}'])
}

/// Stars the values of a key; without quotes a value ends before one of `ends`.
fn starred<'l>(line: Cow<'l, str>, key: &str, ends: &[char]) -> Cow<'l, str> {
    let mut shown = line;
    let mut from = 0;
    while let Some(found) = shown[from..].find(key) {
        let key_end = from + found + key.len();
        from = key_end;
        let Some(rest) = shown[key_end..].trim_start_matches(['"', '\'']).strip_prefix(':') else { continue };
        let value = rest.trim_start();
        let start = shown.len() - value.len();
        let length = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |end| end + 2),
            // A mapping is none; parameters may have such names.
            Some('{') => 0,
            _ => value.find(ends).unwrap_or(value.len()),
        };
        from = start + length;
        if !value.trim_start_matches(['"', '\'']).starts_with("${") {
            shown.to_mut().replace_range(start..start + length, &"*".repeat(length));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn a_secret_on_the_line_is_starred() {
        for (line, shown) in [
            ("  secret: abc", "  secret: ***"),
            ("  jwt: { secret: \"a,b}\", plan: x }", "  jwt: { secret: ******, plan: x }"),
            ("{\"secret\": \"ü\", 'secret': 'b'}", "{\"secret\": ****, 'secret': ***}"),
            ("  secret: \"open", "  secret: *****"),
            ("  secret: ${env:SECRET}", "  secret: ${env:SECRET}"),
            ("  secret: '${file:/x}'", "  secret: '${file:/x}'"),
            ("  name: secret", "  name: secret"),
            ("  secret:", "  secret:"),
            ("  secrets: 5", "  secrets: 5"),
            ("  - hash: $argon2id$v=19$m=8,t=1,p=1$c$d # x", "  - hash: ****************************** # x"),
            ("[{ hash: \"$2y$05$a,b\" }]", "[{ hash: ************ }]"),
            ("  hash: ${env:HASH}", "  hash: ${env:HASH}"),
            ("  hash: { type: string }", "  hash: { type: string }"),
        ] {
            assert_eq!(without_secrets(line), shown, "{line}");
        }
    }
}
