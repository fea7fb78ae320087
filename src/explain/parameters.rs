//! What becomes of each parameter: what the client sends beside what the service gets, by place and name.
//!
//! Nothing is asked of the contract. A value that is on both sides is kept, or changed into its canonical form; one that
//! is on one side only was dropped, or comes from the gateway. Of a refused request there is only one side, so it is the
//! violations that are told.

use std::borrow::Cow;

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderName, VIA};

use crate::gateway::Route;
use crate::policy::authenticate::Part;
use crate::policy::contract::{LocPart, PathValues, Violation, Violations};
use crate::policy::headers::{is_framing, is_hop_by_hop, is_own};
use crate::proxy::rehearse::{Found, Message};

use super::secrets::{MASK, Secrets};
use super::{body, routes};

/// Longest value that is shown, in characters.
const MAX_VALUE: usize = 60;

/// A parameter, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// `path`, `query`, `header`, `cookie` or `body`.
    pub place: &'static str,
    /// Its name; of a member of a JSON document the way to it.
    pub name: String,
    /// What the client sends.
    pub came: Option<String>,
    /// What the service gets.
    pub goes: Option<String>,
    /// What became of it.
    pub fate: Fate,
    /// Why, where there is more to say.
    pub note: String,
}

/// What becomes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The service gets it as it came.
    Kept,
    /// The service gets it in another form.
    Changed,
    /// The client did not send it; the contract's default stands for it.
    FilledIn,
    /// The gateway adds it.
    Added,
    /// It ends at the gateway.
    Dropped,
    /// It is why the request is refused.
    Refused,
    /// It violates the contract, which only observes.
    Observed,
}

impl Fate {
    /// In a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Changed => "changed",
            Self::FilledIn => "filled in",
            Self::Added => "added",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::Observed => "observed",
        }
    }
}

/// A name with one of its values.
pub type Pair = (String, String);

/// Every parameter of a request; `goes` is what the service gets, unless the request ends before.
pub fn all(route: &Route, sent: &Message, goes: Option<&Message>, found: &Found, secrets: &Secrets) -> Vec<Parameter> {
    let violated = |violation: &Violation, fate| told(violation, fate, route, sent);
    let Some(goes) = goes else {
        let violations = found.refused.iter().flat_map(|refused| &refused.violations);
        return masked(violations.map(|violation| violated(violation, Fate::Refused)).collect(), secrets);
    };
    let mut all: Vec<Parameter> = found.observed.iter().map(|violation| violated(violation, Fate::Observed)).collect();
    all.extend(path(route, sent));
    all.extend(query(route, sent, goes));
    all.extend(headers(route, sent, goes));
    all.extend(compared("cookie", &cookies_of(sent), &cookies_of(goes)));
    all.extend(body::both_sides(sent, goes));
    masked(all, secrets)
}

/// A violation, with the value it is about where that is a single one.
fn told(violation: &Violation, fate: Fate, route: &Route, sent: &Message) -> Parameter {
    let mut steps = violation.loc.0.iter();
    let place = match steps.next() {
        Some(LocPart::Text(place)) => match &**place {
            "path" => "path",
            "query" => "query",
            "header" => "header",
            "cookie" => "cookie",
            _ => "body",
        },
        _ => "body",
    };
    let name = steps
        .map(|step| match step {
            LocPart::Text(text) => text.to_string(),
            LocPart::Index(index) => index.to_string(),
        })
        .collect::<Vec<_>>()
        .join(".");
    let pairs = match place {
        "path" => routes::path_values(route, &routes::path_of(sent)),
        "query" => pairs_of(query_of(sent)),
        "header" => fields_of(sent),
        "cookie" => cookies_of(sent),
        _ => body::pairs(sent),
    };
    let came = joined(&pairs, &name);
    Parameter { place, name, came, goes: None, fate, note: violation.msg.to_string() }
}

/// A path value reaches the service where the service path names it, which cannot be told from the other side. So its
/// canonical form is asked of the contract, as admission does.
fn path(route: &Route, sent: &Message) -> Vec<Parameter> {
    let values = routes::path_values(route, &routes::path_of(sent));
    let decoded: Vec<Cow<'_, str>> = values.iter().map(|(_, value)| Cow::Borrowed(value.as_str())).collect();
    let mut canonical = PathValues::new();
    route.contract.check_path(&decoded, &mut canonical, &mut Violations::new());
    let written = |name: &str| {
        let is_named = |form: &str| route.service_path_text.contains(form);
        is_named(&format!("{{{name}}}")) || is_named(&format!("{{*{name}}}"))
    };
    let one = |((name, came), canonical): (&Pair, &Cow<'_, str>)| {
        let goes = if route.observes() { came } else { &**canonical };
        let (fate, note) = match written(name) {
            false => (Fate::Dropped, "the service path does not name it"),
            true if came == goes => (Fate::Kept, ""),
            true => (Fate::Changed, ""),
        };
        let goes = (fate != Fate::Dropped).then(|| shown(goes));
        Parameter { place: "path", name: name.clone(), came: Some(shown(came)), goes, fate, note: note.to_owned() }
    };
    values.iter().zip(&canonical).map(one).collect()
}

fn query(route: &Route, sent: &Message, goes: &Message) -> Vec<Parameter> {
    let own = route.service_path_text.split_once('?').map_or(0, |(_, query)| query.split('&').count());
    let mut pieces = query_of(goes).split('&');
    let from_template: Vec<&str> = pieces.by_ref().take(own).collect();
    let rest: Vec<&str> = pieces.collect();
    let mut all: Vec<Parameter> = compared("query", &pairs_of(query_of(sent)), &pairs_of(&rest.join("&")));
    all.extend(pairs_of(&from_template.join("&")).into_iter().map(|(name, value)| Parameter {
        place: "query",
        name,
        came: None,
        goes: Some(shown(&value)),
        fate: Fate::Added,
        note: "written in the service path".to_owned(),
    }));
    all
}

fn headers(route: &Route, sent: &Message, goes: &Message) -> Vec<Parameter> {
    let mut all = compared("header", &fields_of(sent), &fields_of(goes));
    for parameter in &mut all {
        let Ok(name) = parameter.name.parse::<HeaderName>() else { continue };
        let edits = &route.request_headers;
        let set = edits.set.iter().any(|(of, _)| *of == name);
        let own = is_own(&name) || is_framing(&name) || [CONTENT_TYPE, VIA].contains(&name);
        let hidden = route.hidden_keys.iter().any(|part| matches!(part, Part::Header(of) if *of == name));
        let note = match parameter.fate {
            Fate::FilledIn | Fate::Changed if set => "request_headers.set",
            Fate::FilledIn | Fate::Changed if own => "the gateway's own",
            Fate::Dropped if hidden => "API keys end at the gateway",
            Fate::Dropped if edits.remove.contains(&name) => "request_headers.remove",
            Fate::Dropped if is_own(&name) => "only the gateway may say this",
            Fate::Dropped if is_hop_by_hop(&name) || name == CONNECTION => "concerns one connection only",
            Fate::Dropped if [CONTENT_LENGTH, CONTENT_TYPE, EXPECT].contains(&name) => "of a body that ends here",
            Fate::Dropped if route.allowed_headers.is_some() => "not in request_headers.allow",
            _ => "",
        };
        if parameter.fate == Fate::FilledIn && (set || own) {
            parameter.fate = Fate::Added;
        }
        parameter.note = note.to_owned();
        if name == HOST && parameter.fate == Fate::Changed {
            parameter.note = "the service's own name".to_owned();
        }
    }
    all
}

/// Without credentials, whose values are nobody's business.
fn masked(mut all: Vec<Parameter>, secrets: &Secrets) -> Vec<Parameter> {
    for parameter in &mut all {
        let is_secret = match parameter.place {
            "query" => secrets.in_query(&parameter.name),
            "header" => secrets.in_header(&parameter.name),
            "cookie" => secrets.in_cookie(&parameter.name),
            _ => false,
        };
        if is_secret {
            hide(parameter);
        }
    }
    all
}

fn hide(parameter: &mut Parameter) {
    for value in [&mut parameter.came, &mut parameter.goes].into_iter().flatten() {
        MASK.clone_into(value);
    }
    if parameter.fate == Fate::Dropped {
        "API keys end at the gateway".clone_into(&mut parameter.note);
    }
}

/// Both sides of a place, name by name in the order of the client and then of the service.
pub fn compared(place: &'static str, came: &[Pair], goes: &[Pair]) -> Vec<Parameter> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in came.iter().chain(goes) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let one = |name: &str| {
        let of = |pairs: &[Pair]| -> Vec<String> {
            pairs.iter().filter(|(of, _)| of == name).map(|(_, value)| value.clone()).collect()
        };
        let (before, after) = (of(came), of(goes));
        let fate = match (before.is_empty(), after.is_empty()) {
            (false, true) => Fate::Dropped,
            (true, _) => Fate::FilledIn,
            (false, false) if before == after => Fate::Kept,
            (false, false) => Fate::Changed,
        };
        let note = if fate == Fate::Dropped { "not declared" } else { "" };
        let (came, goes) = (joined(came, name), joined(goes, name));
        Parameter { place, name: name.to_owned(), came, goes, fate, note: note.to_owned() }
    };
    names.into_iter().map(one).collect()
}

/// All values of a name, as they are shown.
fn joined(pairs: &[Pair], name: &str) -> Option<String> {
    let values: Vec<&str> = pairs.iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_str()).collect();
    if values.is_empty() { None } else { Some(shown(&values.join(", "))) }
}

/// A value that fits on a line, without characters that a terminal would act on.
pub fn shown(value: &str) -> String {
    let plain: String = value.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect();
    match plain.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}

fn query_of(message: &Message) -> &str {
    message.target().split_once('?').map_or("", |(_, query)| query)
}

/// The pairs of a query or form.
pub fn pairs_of(text: &str) -> Vec<Pair> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

/// The fields of a header, but for cookies, which are told one by one.
fn fields_of(message: &Message) -> Vec<Pair> {
    let fields = message
        .fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), String::from_utf8_lossy(value).into_owned()));
    fields.filter(|(name, _)| name != COOKIE.as_str()).collect()
}

fn cookies_of(message: &Message) -> Vec<Pair> {
    let texts: Vec<String> =
        message.values(COOKIE.as_str()).map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    let pair = |pair: &str| {
        let (name, value) = pair.trim().split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    texts.iter().flat_map(|text| text.split(';')).filter_map(pair).collect()
}
