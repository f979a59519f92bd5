//! Connections that are agreed on with their server: who waits for one, and what becomes of them
//! once it is there. RFC 7301; RFC 9113, sections 3.2, 3.3 and 9.1.
//!
//! ```text
//! dialled --h2--> first streams --SETTINGS--> all who waited, as many as it carries
//!    '--http/1.1--> one who waited; the others dial for themselves
//! ```

use std::boxed::Box;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::string::String;

use super::super::url::Url;
use super::Client;
use crate::Error;
#[cfg(feature = "h2")]
use crate::proto::h2::{Connection, Role};
#[cfg(feature = "h2")]
use crate::proto::stack::Stack;
use crate::runtime::handler::App;
use crate::runtime::handler::client::{Lost, Opener, Stages};
use crate::runtime::{ConnId, Handle, Reason};

/// What is to be sent once there is a connection for it.
pub(in crate::app) trait Job {
    /// Whether it is a WebSocket, which needs a server that knows CONNECT with a protocol.
    #[cfg(feature = "h2")]
    fn is_socket(&self) -> bool {
        false
    }

    /// Sends it on a connection of its own, which speaks HTTP/1.1. Gives who hears the answer.
    fn alone(self: Box<Self>, h: &Handle, id: ConnId, stages: &Stages) -> App;

    /// Sends it on a stream of a connection.
    #[cfg(feature = "h2")]
    fn stream(self: Box<Self>, h: &Handle, carrier: ConnId, stages: &Stages);

    /// Looks for a connection once more.
    fn again(self: Box<Self>);

    /// Tells that there is none.
    fn failed(self: Box<Self>, h: &Handle, lost: &Lost);

    /// Tells from a turn that there can be none.
    fn refused(self: Box<Self>, h: &Handle, why: Reason);
}

/// A connection that is being made, or that has become one of streams.
pub(super) struct Dial {
    client: Client,
    origin: String,
    waiting: RefCell<VecDeque<Box<dyn Job>>>,
}

impl Dial {
    fn next(&self) -> Option<Box<dyn Job>> {
        self.waiting.borrow_mut().pop_front()
    }

    /// Sends those who wait away, to look for another connection.
    fn dismiss(&self) {
        let waiting = core::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Job::again);
    }
}

impl Client {
    /// Has `job` sent on a connection that is being made, or on a new one. `shares`: others may be
    /// sent on it as well.
    ///
    /// # Errors
    ///
    /// As [`Inner::way`](super::Inner::way), with the job.
    pub(in crate::app) fn open(
        &self,
        url: &Url,
        job: Box<dyn Job>,
        shares: bool,
    ) -> Result<ConnId, (Error, Box<dyn Job>)> {
        let h = &self.0.h;
        let origin = url.origin();
        let under_way = self.0.pool.borrow().dialling(&origin);
        if shares && let Some((id, dial)) = under_way {
            dial.waiting.borrow_mut().push_back(job);
            return Ok(id);
        }
        let way = match self.0.way(url, true) {
            Ok(way) => way,
            Err(e) => return Err((e, job)),
        };
        let client = self.clone();
        let waiting = RefCell::new(VecDeque::from([job]));
        let dial = Rc::new(Dial { client, origin, waiting });
        let opener: Rc<dyn Opener> = Rc::<Dial>::clone(&dial);
        let id = h.dial_open(way.place.to(), way.channel, opener);
        // One that is refused at once has ended by now.
        if shares && h.is_open(id) {
            self.0.pool.borrow_mut().begin(&dial.origin, id, &dial);
        }
        Ok(id)
    }

    /// See [`Pool::shares`](super::pool::Pool::shares).
    pub(in crate::app) fn shares(&self, origin: &str, socket: bool) -> bool {
        self.0.pool.borrow().shares(origin, socket)
    }

    /// Whether what is spoken with a server is agreed on once there is a connection.
    pub(in crate::app) fn agrees(&self, url: &Url) -> bool {
        #[cfg(feature = "h2")]
        if self.0.http2.get() {
            return true;
        }
        url.secure && !self.0.only_http1.get()
    }
}

impl Opener for Dial {
    fn opened(self: Rc<Self>, h: &Handle, id: ConnId, alpn: Option<&[u8]>, stages: &Stages) -> App {
        #[cfg(feature = "h2")]
        if alpn == Some(b"h2") || alpn.is_none() && self.client.0.http2.get() {
            return self.carry(h, id, stages);
        }
        let _ = alpn;
        self.client.0.pool.borrow_mut().speaks_http1(&self.origin, id);
        let app = match self.next() {
            Some(job) => job.alone(h, id, stages),
            None => App::Gone,
        };
        self.dismiss();
        app
    }

    #[cfg(feature = "h2")]
    fn settled(self: Rc<Self>, h: &Handle, id: ConnId) {
        let sockets = h.can_carry(id, true);
        self.client.0.pool.borrow_mut().settled(&self.origin, id, sockets);
        let now = Stages::begun(h.now());
        while h.can_carry(id, false) {
            match self.next() {
                Some(job) if job.is_socket() && !h.can_carry(id, true) => job.again(),
                Some(job) => job.stream(h, id, &now),
                None => break,
            }
        }
        self.dismiss();
    }

    fn closed(&self, h: &Handle, id: ConnId, lost: &Lost) {
        self.client.0.pool.borrow_mut().ended(&self.origin, id);
        let waiting = core::mem::take(&mut *self.waiting.borrow_mut());
        for job in waiting {
            h.guarded(|h| job.failed(h, lost));
        }
    }
}

#[cfg(feature = "h2")]
impl Dial {
    /// Makes it a connection of streams, and sends as many requests as there may be before the
    /// server has told what it takes.
    fn carry(self: Rc<Self>, h: &Handle, id: ConnId, stages: &Stages) -> App {
        let (now, limits) = (h.now(), Rc::clone(&h.core().limits));
        let stack = Stack::H2(Box::new(Connection::new(Role::Client, now, &limits)));
        // A greeting cannot be wrong.
        let _ = h.begin_on(id, stack, |stack, cx, tx| {
            if let Stack::H2(connection) = stack {
                connection.greet(cx.now, &cx.limits.h2, tx);
            }
            Ok(())
        });
        self.client.0.pool.borrow_mut().speaks_http2(&self.origin, id);
        let mut sockets = VecDeque::new();
        while h.can_carry(id, false)
            && let Some(job) = self.next()
        {
            if job.is_socket() {
                sockets.push_back(job);
            } else {
                job.stream(h, id, stages);
            }
        }
        sockets.append(&mut self.waiting.borrow_mut());
        *self.waiting.borrow_mut() = sockets;
        App::Carrier(self)
    }
}
