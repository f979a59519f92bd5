//! A WebSocket that was asked for, on a connection or on a stream of one.

use alloc::rc::Rc;

use lodger_backend::Micros;

use super::Event;
use crate::io::{Rx, Scratch};
use crate::proto::Cx;
use crate::proto::h1;
#[cfg(feature = "h2")]
use crate::proto::h2;
use crate::proto::ws;
use crate::{Error, Limits};

/// A WebSocket's handshake, the client's side: RFC 6455, section 4.1; RFC 8441, section 5.
#[derive(Debug)]
pub(crate) struct WsDial {
    pub(crate) by: AskedBy,
    pub(crate) key: [u8; 24],
    pub(crate) config: Rc<ws::Config>,
}

/// How a WebSocket was asked for.
#[derive(Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "made by clients alone"))]
pub(crate) enum AskedBy {
    Http1(h1::Client),
    #[cfg(feature = "h2")]
    Stream(h2::Asking),
}

impl WsDial {
    pub(super) fn poll<'s, 'a: 's>(
        &mut self,
        cx: &mut Cx<'_>,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Result<Option<Event<'s>>, Error> {
        loop {
            let (event, agrees) = match &mut self.by {
                AskedBy::Http1(http) => (http.poll(cx, rx, scratch)?, 101..=101),
                #[cfg(feature = "h2")]
                AskedBy::Stream(asking) => (asking.poll(cx, rx, scratch)?, 200..=299),
            };
            match event {
                None => return Ok(None),
                Some(h1::ResponseEvent::Head(head)) if agrees.contains(&head.status) => {
                    return self.check(head.fields).map(|agreed| Some(Event::Dialled(agreed)));
                }
                Some(h1::ResponseEvent::Head(head)) if head.status >= 200 => {
                    return Ok(Some(Event::Refused(head.status, head.retry_after())));
                }
                Some(_) => {}
            }
        }
    }

    fn check(&self, fields: h1::Fields<'_>) -> Result<ws::Extensions, Error> {
        let agreed = match &self.by {
            AskedBy::Http1(_) => {
                ws::handshake::check_answer(fields.iter(), &self.key, &self.config)
            }
            #[cfg(feature = "h2")]
            AskedBy::Stream(_) => ws::handshake::check_stream_answer(fields.iter(), &self.config),
        };
        agreed.map(|agreed| agreed.extensions())
    }

    /// The side of the stream that was asked on; `None` where that is a connection.
    #[cfg(feature = "h2")]
    pub(crate) fn asking(&mut self) -> Option<&mut h2::Asking> {
        match &mut self.by {
            AskedBy::Http1(_) => None,
            AskedBy::Stream(asking) => Some(asking),
        }
    }

    pub(super) fn deadline(&mut self, now: Micros, limits: &Limits) -> Option<Micros> {
        match &mut self.by {
            AskedBy::Http1(http) => {
                http.begin_wait(now, &limits.client);
                http.deadline()
            }
            #[cfg(feature = "h2")]
            AskedBy::Stream(asking) => asking.deadline(),
        }
    }

    pub(super) fn hold(&mut self) {
        match &mut self.by {
            AskedBy::Http1(http) => http.hold(),
            // Its time is a bound of everything.
            #[cfg(feature = "h2")]
            AskedBy::Stream(_) => {}
        }
    }

    pub(super) fn on_deadline(&mut self, now: Micros) -> Result<(), Error> {
        match &mut self.by {
            AskedBy::Http1(http) => http.on_deadline(now),
            #[cfg(feature = "h2")]
            AskedBy::Stream(asking) => asking.on_deadline(now),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.by {
            AskedBy::Http1(http) => http.is_over(),
            #[cfg(feature = "h2")]
            AskedBy::Stream(asking) => asking.is_over(),
        }
    }
}
