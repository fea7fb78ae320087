//! How a route's replies are cached, and what sets its requests apart.

use std::time::Duration;

use http::Method;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use ring::digest::{SHA256, digest};
use serde_json::json;

use crate::config;
use crate::gateway::{Access, CachedRoute, Keyed, Service};
use crate::policy::cache::{Freshness, Rules, SetCookie};

use super::RouteCompiler;

/// The store keeps its replies in so many places, of which a reply can take a part only.
const SHARE_OF_STORE: u64 = 32;

/// Largest body that is stored where the route does not say another, in bytes.
const MAX_OBJECT: u64 = 1 << 20;

impl RouteCompiler<'_> {
    pub(super) fn cache(
        &mut self,
        methods: &[Method],
        access: Option<&Access>,
        service: Option<&Service>,
    ) -> Option<Box<CachedRoute>> {
        let written = self.written.cache.as_ref()?;
        let place = self.at("cache");
        if !methods.is_empty() && !methods.contains(&Method::GET) {
            self.report
                .error(place.clone(), "only replies to GET are stored")
                .on_key()
                .given_keys(&self.place, &["method", "methods"])
                .help("a route with `method: GET`");
        }
        if matches!(self.written.websocket, config::Websocket::Taken(_)) {
            self.report
                .error(place.clone(), "a route that takes WebSockets has no replies to store")
                .on_key()
                .given_keys(&self.place, &["websocket"]);
        }
        let memory = config::Place::root().key("cache").key("memory");
        let most = self.config.cache.memory.bytes() / SHARE_OF_STORE;
        let max_object = written.max_object.map_or(MAX_OBJECT.min(most), config::Size::bytes);
        if max_object > most {
            self.report
                .error(place.clone().key("max_object"), format!("the store takes replies of at most {most} bytes"))
                .given(memory)
                .help("a 32nd of the `memory` of `cache`, which holds those of all routes");
        }
        let freshness = match (written.ttl, written.respect) {
            (Some(ttl), false) => Freshness::Fixed(ttl.get()),
            (None, true) => Freshness::Respected,
            (ttl, _) => {
                let fault = match ttl {
                    Some(_) => "a cache has either `ttl` or `respect`",
                    None => "the cache does not know how long replies are fresh",
                };
                self.report
                    .error(place.clone(), fault)
                    .on_key()
                    .given_keys(&place, &["ttl", "respect"])
                    .help("`ttl: 30s`, or `respect: true` to obey the service's `Cache-Control`");
                return None;
            }
        };
        let time = |written: Option<config::Duration>| written.map_or(Duration::ZERO, config::Duration::get);
        let rules = Rules {
            freshness,
            stale_while_revalidate: time(written.stale_while_revalidate),
            stale_if_error: time(written.stale_if_error),
            max_object,
            set_cookie: match written.set_cookie {
                config::SetCookie::Refuse => SetCookie::Refuse,
                config::SetCookie::Remove => SetCookie::Remove,
            },
        };
        // What the service says of freshness it also says of whom a reply is for; what the file says holds for everyone
        // who sends the same.
        let apart = !written.shared && freshness != Freshness::Respected;
        let keyed = Keyed {
            consumer: !written.shared && !access?.is_public(),
            authorization: apart && self.passes(&AUTHORIZATION),
            cookies: apart && self.passes(&COOKIE),
        };
        let (fingerprint, metrics) = (self.fingerprint(service?), self.telemetry.cache(&self.written.name));
        Some(Box::new(CachedRoute { rules, keyed, fingerprint, metrics }))
    }

    /// Whether a client's field reaches the service.
    fn passes(&self, name: &HeaderName) -> bool {
        let changes = &self.written.request_headers;
        let names = |list: &[config::FieldName]| list.iter().any(|listed| listed.0 == *name);
        changes.allow.as_ref().is_none_or(|allowed| names(allowed)) && !names(&changes.remove)
    }

    fn fingerprint(&self, service: &Service) -> [u8; 16] {
        let of = json!({
            "route": self.written,
            "defaults": self.config.defaults,
            "service": [json!(service.name), json!(self.config.services.get(&*service.name))],
            "authenticators": self.config.authenticators,
            "schemas": self.config.schema_files.files.iter().map(|file| &file.schema).collect::<Vec<_>>(),
        });
        let sum = digest(&SHA256, of.to_string().as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&sum.as_ref()[..16]);
        short
    }
}
