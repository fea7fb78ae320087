//! An explanation for people: aligned, without colours, nothing that a terminal would act on.

use std::fmt::Write as _;

use crate::proxy::rehearse::{Message, Refused, Step};

use super::parameters::shown;
use super::{Explanation, Outcome};

/// Longest body that is shown, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// Stands for an id that every request has of its own.
const REQUEST_ID: &str = "(new for each request)";

/// Width of the first column.
const MARGIN: usize = 10;

impl Explanation {
    /// As text that ends with a line break.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}, from {}\n\n", plain(&self.request), self.client);
        self.write_route(&mut text);
        if let Some(caller) = &self.caller {
            line(&mut text, "caller", caller);
        }
        if let Some(note) = &self.note {
            line(&mut text, "note", &plain(note));
        }
        self.write_conditions(&mut text);
        self.write_limits(&mut text);
        self.write_parameters(&mut text);
        text.push('\n');
        self.write_outcome(&mut text);
        text
    }

    fn write_route(&self, text: &mut String) {
        match &self.route {
            Some(route) => {
                line(text, "route", &format!("{}: {} of service {}", route.name, route.written.trim(), route.service));
                for reason in &route.reasons {
                    line(text, "", reason);
                }
                if route.websocket {
                    line(text, "", "takes WebSockets only; what goes through one is not looked at");
                }
                if route.observes {
                    line(text, "", "mode observe: violations are told to operators, and pass");
                }
            }
            None if self.refused_at() != Some(Step::Request) => line(text, "route", "none"),
            None => {}
        }
        for (nth, other) in self.others.iter().enumerate() {
            let head = if nth == 0 { "not" } else { "" };
            line(text, head, &format!("{}: {}: {}", other.name, other.written.trim(), plain(&other.reason)));
        }
    }

    fn refused_at(&self) -> Option<Step> {
        match &self.outcome {
            Outcome::Refused { refused: Some(refused), .. } => Some(refused.step),
            // Not even read as HTTP.
            Outcome::Refused { refused: None, .. } => Some(Step::Request),
            Outcome::Forwarded(_) | Outcome::Answered(_) => None,
        }
    }

    fn write_conditions(&self, text: &mut String) {
        for (nth, asked) in self.conditions.iter().enumerate() {
            let verdict = match (asked.met, asked.observed) {
                (true, _) => "met",
                (false, false) => "not met",
                (false, true) => "not met, which is only observed",
            };
            line(text, if nth == 0 { "requires" } else { "" }, &format!("{}: {verdict}", asked.condition));
        }
    }

    fn write_limits(&self, text: &mut String) {
        if self.limits.is_empty() {
            if self.route.is_some() && self.refused_at().is_none_or(|step| step >= Step::Limits) {
                line(text, "limits", "none");
            }
            return;
        }
        let rows = self.limits.iter().map(|limit| {
            let left = limit.left.as_ref().map(|left| format!("{left} left")).unwrap_or_default();
            let cost = if limit.cost == 1 { String::new() } else { format!("counts {}", limit.cost) };
            let name = limit.policy.split('"').nth(1).unwrap_or_default().to_owned();
            [name, limit.allows.clone(), format!("{}: {}", limit.of, limit.each), left, cost]
        });
        for (nth, row) in aligned(rows.collect()).iter().enumerate() {
            line(text, if nth == 0 { "limits" } else { "" }, row);
        }
    }

    fn write_parameters(&self, text: &mut String) {
        if self.parameters.is_empty() {
            return;
        }
        let mut rows = vec![["PLACE", "NAME", "CAME IN", "GOES OUT", "", ""].map(str::to_owned)];
        rows.extend(self.parameters.iter().map(|parameter| {
            let value =
                |value: &Option<String>| value.as_deref().map_or("-".to_owned(), |value| self.without_id(value));
            [
                parameter.place.to_owned(),
                shown(&parameter.name),
                value(&parameter.came),
                value(&parameter.goes),
                parameter.fate.word().to_owned(),
                plain(&parameter.note),
            ]
        }));
        text.push('\n');
        for row in aligned(rows) {
            let _ = writeln!(text, "{row}");
        }
    }

    fn write_outcome(&self, text: &mut String) {
        match &self.outcome {
            Outcome::Forwarded(message) => {
                let service = self.route.as_ref().map(|route| route.service.as_str()).unwrap_or_default();
                let _ = writeln!(text, "Forwarded. Service {service} gets:\n");
                self.write_message(text, message);
            }
            Outcome::Answered(message) => {
                text.push_str("Answered by the gateway itself. The client gets:\n\n");
                self.write_message(text, message);
            }
            Outcome::Refused { refused, answer, cause } => {
                let why = refused.as_ref().map_or("this is not HTTP/1.1".to_owned(), reason);
                let _ = writeln!(text, "Refused: {why}.");
                if let Some(cause) = cause {
                    let _ = writeln!(text, "Operators are told: {}.", plain(cause));
                }
                match answer {
                    Some(answer) => {
                        text.push_str("The client gets:\n\n");
                        self.write_message(text, answer);
                    }
                    None => text.push_str("The connection is closed without an answer.\n"),
                }
            }
        }
    }

    fn write_message(&self, text: &mut String, message: &Message) {
        let _ = writeln!(text, "  {}", plain(&message.start));
        for (name, value) in &message.fields {
            let _ = writeln!(text, "  {name}: {}", self.without_id(&plain(&String::from_utf8_lossy(value))));
        }
        if message.body.is_empty() {
            return;
        }
        text.push('\n');
        match std::str::from_utf8(&message.body) {
            Ok(body) if body.len() <= MAX_BODY => {
                for line in body.lines() {
                    let _ = writeln!(text, "  {}", self.without_id(&plain(line)));
                }
            }
            _ => {
                let _ = writeln!(text, "  ({} bytes)", message.body.len());
            }
        }
    }

    /// An id of our own making says nothing, and would be another one the next time.
    fn without_id(&self, text: &str) -> String {
        match self.performance.found.id.as_str() {
            id if id.len() < 32 => text.to_owned(),
            id => text.replace(id, REQUEST_ID),
        }
    }
}

fn reason(refused: &Refused) -> String {
    let at = match refused.step {
        Step::Request => "no request to act on",
        Step::Route => "no route for it",
        Step::Caller => "its caller is not known",
        Step::Conditions => "a condition of the route is not met",
        Step::Limits => "its caller has had enough",
        Step::Contract => "it does not fit what the route declares",
        Step::Service => "the service cannot be asked",
    };
    format!("{at} ({})", refused.code)
}

/// A line with its heading.
fn line(text: &mut String, head: &str, content: &str) {
    let _ = writeln!(text, "{}", format!("{head:MARGIN$}{content}").trim_end());
}

/// Rows whose columns are equally wide; empty columns are left out.
fn aligned<const N: usize>(rows: Vec<[String; N]>) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let row = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).filter(|(_, width)| **width > 0);
        let cells: Vec<String> = cells.map(|(cell, &width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(row).collect()
}

/// A text on one line, without what a terminal would act on.
fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
