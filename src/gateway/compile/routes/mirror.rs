//! The second service of a route, which gets copies of its requests.

use std::sync::Arc;

use crate::config::{On, Websocket};
use crate::gateway::Mirror;

use super::RouteCompiler;

impl RouteCompiler<'_> {
    pub(super) fn mirror(&mut self) -> Option<Arc<Mirror>> {
        let written = self.written.mirror.as_ref()?;
        let place = self.at("mirror");
        let service = self.known(&written.service, place.clone().key("service"), On::Value);
        if self.written.service.names().any(|name| name == written.service) {
            self.report
                .error(place.clone().key("service"), format!("`{}` would get every request twice", written.service))
                .given_keys(&self.place, &["service"])
                .help("name another service");
        }
        if matches!(self.written.websocket, Websocket::Taken(_)) {
            self.report
                .error(place, "a WebSocket cannot be mirrored")
                .on_key()
                .given_keys(&self.place, &["websocket"])
                .help("what goes through a WebSocket is for one service");
        }
        Some(Arc::new(Mirror {
            service: service?,
            millionths: written.share.millionths(),
            metrics: self.telemetry.mirror(&self.written.name),
        }))
    }
}
