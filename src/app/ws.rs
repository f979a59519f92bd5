//! WebSocket routes: the handshake, and who is let in.

use std::boxed::Box;
use std::rc::Rc;

use super::http::{Page, page};
use crate::proto::h1::Version;
use crate::proto::ws::Config;
use crate::proto::ws::handshake::{Offer, accept};
use crate::runtime::handler::http::{Answer, Request, Response};
use crate::runtime::handler::ws::Handler;

const UPGRADE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\n";
const CONNECTION: &str = "Connection: upgrade\r\n";

type Make = dyn Fn(&Request<'_>) -> Result<Box<dyn Handler>, Refuse>;

/// Refuses a WebSocket with an HTTP status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Refuse(
    /// The status: 401, 403, 404 …
    pub u16,
);

/// A route that upgrades.
pub(crate) struct Upgrade {
    config: Rc<Config>,
    make: Box<Make>,
}

impl Upgrade {
    pub(crate) fn new<H: Handler>(
        config: Config,
        f: impl Fn(&Request<'_>) -> Result<H, Refuse> + 'static,
    ) -> Self {
        let make = move |request: &Request<'_>| {
            f(request).map(|handler| Box::new(handler) as Box<dyn Handler>)
        };
        Self { config: Rc::new(config), make: Box::new(make) }
    }

    /// Checks the handshake, makes the handler and switches protocols; or says why not.
    pub(crate) fn answer(
        &self,
        request: &Request<'_>,
        response: Response<'_>,
        errors: Option<&Page>,
    ) -> Answer {
        if !request.is_upgrade() {
            return page(errors, 426, response.lines(UPGRADE));
        }
        let keyless = request.head.version == Version::Http2;
        let offer = Offer::from_fields(request.fields().iter())
            .keyless(keyless)
            .secure(request.is_secure());
        let accepted = match accept(&offer, &self.config) {
            Ok(accepted) => accepted,
            Err(refusal) => {
                // A 426 names the protocol, and Connection names that field: RFC 9110, 7.8.
                let named = if refusal.status == 426 { CONNECTION } else { "" };
                let response = response.lines(named).lines(refusal.fields);
                return page(errors, refusal.status, response);
            }
        };
        match (self.make)(request) {
            Ok(handler) => response.websocket(&accepted, &self.config, handler),
            Err(Refuse(status)) => page(errors, status, response),
        }
    }
}
