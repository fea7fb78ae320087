//! Compression of replies: which of them, and what would never be used.

use std::sync::Arc;

use crate::config::{self, CompressingRules, Config, Place, Report};
use crate::policy::coding::{Coding, Compression, Effort, SHRINKING, TypePattern};

use super::RouteCompiler;

/// What holds where a route says nothing.
pub(super) fn of_defaults(config: &Config, report: &mut Report) -> Option<Arc<Compression>> {
    let Some(config::Compressing::On(rules)) = &config.defaults.compression else { return None };
    Some(Arc::new(compiled(rules, &Place::root().key("defaults").key("compression"), report)))
}

impl RouteCompiler<'_> {
    pub(super) fn compression(&mut self) -> Option<Arc<Compression>> {
        let takes_websockets = matches!(self.written.websocket, config::Websocket::Taken(_));
        match &self.written.compression {
            Some(config::Compressing::Off) => None,
            Some(config::Compressing::On(_)) if takes_websockets => {
                self.report
                    .error(self.at("compression"), "what goes through a WebSocket is not compressed by the gateway")
                    .on_key()
                    .given_keys(&self.place, &["websocket"])
                    .help("client and service can agree on `permessage-deflate`");
                None
            }
            Some(config::Compressing::On(rules)) => {
                Some(Arc::new(compiled(rules, &self.at("compression"), self.report)))
            }
            None => self.defaults.compression.clone().filter(|_| !takes_websockets),
        }
    }
}

/// The rules that are written at this place.
fn compiled(written: &CompressingRules, place: &Place, report: &mut Report) -> Compression {
    Compression {
        codings: codings(&written.algorithms, &place.clone().key("algorithms"), report),
        effort: match written.level {
            config::Level::Fast => Effort::Least,
            config::Level::Balanced => Effort::Medium,
            config::Level::Small => Effort::Most,
        },
        types: match &written.types {
            Some(types) => patterns(types, &place.clone().key("types"), report),
            None => SHRINKING.iter().filter_map(|pattern| TypePattern::parse(pattern)).collect(),
        },
        min_size: written.min_size.bytes(),
    }
}

fn codings(written: &[config::Coding], place: &Place, report: &mut Report) -> Vec<Coding> {
    if written.is_empty() {
        report
            .error(place.clone(), "there is nothing to compress with")
            .by_itself()
            .help("leave `algorithms` out for `[zstd, br, gzip]`, or say `compression: false`");
    }
    let mut codings = Vec::new();
    for (index, coding) in written.iter().enumerate() {
        let coding = match coding {
            config::Coding::Zstd => Coding::Zstd,
            config::Coding::Br => Coding::Brotli,
            config::Coding::Gzip => Coding::Gzip,
        };
        if codings.contains(&coding) {
            report.error(place.clone().index(index), format!("`{}` is listed twice", coding.name())).by_itself();
        }
        codings.push(coding);
    }
    codings
}

fn patterns(written: &[String], place: &Place, report: &mut Report) -> Vec<TypePattern> {
    if written.is_empty() {
        report
            .error(place.clone(), "nothing would be compressed")
            .by_itself()
            .help("leave `types` out for those that are known to shrink, or say `compression: false`");
    }
    let mut patterns = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match TypePattern::parse(text) {
            Some(pattern) => patterns.push(pattern),
            None => {
                report
                    .error(place.clone().index(index), format!("`{text}` is no media type"))
                    .by_itself()
                    .help("for example `text/html`, `text/*` or `application/*+json`, without parameters");
            }
        }
    }
    patterns
}
