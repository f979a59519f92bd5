//! One WebSocket message to many: a list of connections, and what becomes of the slow ones.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use super::peers::Peers;
use crate::Error;
use crate::proto::stack::Shared;
use crate::proto::ws::Message;
use crate::runtime::fanout::Rule;
use crate::runtime::handler::http::ExchangeId;
use crate::runtime::{ConnId, Delivery, Gone, Handle, WhenFull};

/// A list of WebSockets that hear the same messages: a chat room, a price, a game.
///
/// A message is encoded once however many hear it. To each it goes out in the order of the calls,
/// also among what is sent to that one alone. Those that have gone drop off by themselves. Cheap
/// to clone, for handlers, timers and host code alike; one value belongs to one runtime.
///
/// ```
/// use lodger::{Reason, WhenFull, http, ws};
///
/// struct Guest(ws::Broadcast);
///
/// impl ws::Handler for Guest {
///     fn open(&mut self, cx: &mut ws::Cx<'_>) {
///         // It is open: it has just said so.
///         let _ = self.0.join(cx.runtime(), cx.id());
///     }
///
///     fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
///         let heard = self.0.send(cx.runtime(), message);
///         assert!(heard.is_ok(), "it came in, so it is short enough to go out");
///     }
/// }
///
/// let room = ws::Broadcast::new(WhenFull::DropOldest { messages: 100 });
/// let server = http::Server::new().ws("/chat", move |_| Ok(Guest(room.clone())));
/// # drop(server);
/// ```
#[derive(Clone, Debug)]
pub struct Broadcast {
    peers: Rc<RefCell<Peers>>,
    rule: Rule,
}

impl Broadcast {
    /// Makes an empty list.
    pub fn new(when_full: WhenFull) -> Self {
        Self { peers: Rc::default(), rule: Rule { when: when_full, above: None, except: None } }
    }

    /// Sets from how many bytes of waiting output on a peer is full, in place of
    /// [`IoLimits::queue_high`](crate::IoLimits::queue_high): with 0, one that has not taken all
    /// that it was sent before. [`WhenFull::DropOldest`] does not look at it.
    #[must_use]
    pub fn full_above(mut self, bytes: usize) -> Self {
        self.rule.above = Some(bytes);
        self
    }

    /// Adds a WebSocket; one that is there already stays once.
    ///
    /// # Errors
    ///
    /// It has gone, or is no WebSocket.
    pub fn join(&self, h: &Handle, id: ConnId) -> Result<(), Gone> {
        let peer = h.websocket_peer(id).ok_or(Gone)?;
        self.peers.borrow_mut().add(h, peer);
        Ok(())
    }

    /// Takes one off; `false` if it is not there. Messages that wait for it still go out.
    pub fn leave(&self, id: ConnId) -> bool {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.set.range(ExchangeId::all_of(id)).next().copied();
        peer.is_some_and(|peer| peers.set.remove(&peer))
    }

    /// Gives how many are there, with those that have gone since the last message.
    pub fn len(&self) -> usize {
        self.peers.borrow().set.len()
    }

    /// Tells whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a message to all. One to which a message is being sent in chunks counts as full, and
    /// with [`WhenFull::DropOldest`] misses this one.
    ///
    /// # Errors
    ///
    /// Misuse: it is over [`IoLimits::send`](crate::IoLimits::send). Nobody heard it.
    pub fn send(&self, h: &Handle, message: Message<'_>) -> Result<Delivery, Error> {
        self.send_to(h, None, message)
    }

    fn send_to(
        &self,
        h: &Handle,
        except: Option<ConnId>,
        message: Message<'_>,
    ) -> Result<Delivery, Error> {
        h.check_size(message.bytes().len())?;
        let mut peers = self.peers.borrow_mut();
        if peers.set.is_empty() {
            return Ok(Delivery::default());
        }
        let encoded = Shared::message(h.lend(), message);
        let kept = || Rc::new(Shared::message(Vec::new(), message));
        let done = h.fan_out(&mut peers.set, encoded.parcel(), Rule { except, ..self.rule }, &kept);
        h.give_back(encoded.into_memory());
        Ok(done)
    }

    /// As [`send`](Self::send), to all but one: the one whose message it is.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_except(
        &self,
        h: &Handle,
        id: ConnId,
        message: Message<'_>,
    ) -> Result<Delivery, Error> {
        self.send_to(h, Some(id), message)
    }
}
