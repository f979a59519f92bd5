//! What outlives a connection: messages under way in both directions. MQTT 5.0, sections 4.1, 4.3,
//! 4.4 and 4.9.
//!
//! In: messages to be sent, acknowledgements, identifiers of what arrives. Out: what to send now.
//!
//! ```text
//! offer --> queue --> flight: Sent --PUBACK--> done
//!             (room)           `---PUBREC--> Released --PUBCOMP--> done
//! ```
//!
//! Invariant: what is in flight stands in the order in which it was first sent, and the part that
//! this connection has not sent yet is at its end; nothing leaves the queue before that is empty.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;

use lodger_backend::Micros;

use super::ids::Ids;
use super::{AckKind, Code, Message, Peer, Qos};
use crate::MqttLimits;

/// A message on its way to one receiver.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by whoever sends")]
pub struct Item {
    /// The message, possibly shared with other receivers.
    pub message: Rc<Message>,
    /// The QoS for this receiver.
    pub qos: Qos,
    /// The retain flag for this receiver.
    pub retain: bool,
    /// The numbers of its subscriptions.
    pub subscriptions: Box<[u32]>,
    /// Whatever the sender knows it by.
    pub tag: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Waits for PUBACK or PUBREC.
    Sent,
    /// Waits for PUBCOMP.
    Released,
}

#[derive(Debug)]
struct Flight {
    id: u16,
    stage: Stage,
    tag: u64,
    /// `None` once the receiver has it.
    item: Option<Item>,
}

/// What became of a message that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Offer {
    /// It is to be sent now, with this identifier.
    Send(u16),
    /// It waits.
    Queued,
    /// There is no room for it.
    Full,
}

/// Something to send.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Next<'s> {
    /// A PUBLISH.
    Publish {
        /// The message.
        item: &'s Item,
        /// Its identifier.
        id: u16,
        /// It was sent before.
        dup: bool,
    },
    /// A PUBREL.
    Release(u16),
}

/// What an acknowledgement means.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Acked {
    /// The message is done; its tag.
    Done(u64),
    /// PUBREL is to be sent.
    Release,
    /// Nothing of this identifier is under way.
    Unknown,
}

/// One session, either end.
#[derive(Debug, Default)]
pub struct Session {
    ids: Ids,
    flight: VecDeque<Flight>,
    /// How many at the end of `flight` this connection has not sent.
    unsent: usize,
    queue: VecDeque<Item>,
    queued_bytes: usize,
    /// How many may be in flight; 0 without a connection.
    window: usize,
    /// Identifiers of messages with QoS 2 that were received and not released.
    received: Ids,
}

impl Session {
    /// Makes an empty one; it holds no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a connection to `peer`: what is in flight is to be sent again.
    pub fn begin(&mut self, peer: Peer, limits: &MqttLimits) {
        self.window = usize::from(peer.receive_maximum.min(limits.in_flight.max(1)));
        self.unsent = self.flight.len();
    }

    /// Ends a connection.
    pub fn end(&mut self) {
        self.window = 0;
        self.unsent = self.flight.len();
    }

    /// Offers a message with QoS 1 or 2. `room`: it could be sent at once.
    pub fn offer(&mut self, item: Item, room: bool, limits: &MqttLimits) -> Offer {
        if room
            && self.sends_now()
            && let Some(id) = self.ids.take()
        {
            self.fly(id, item);
            return Offer::Send(id);
        }
        let size = item.message.size();
        let full = self.queue.len() >= limits.queued
            || self.queued_bytes.saturating_add(size) > limits.queued_bytes;
        if full {
            return Offer::Full;
        }
        self.queued_bytes += size;
        self.queue.push_back(item);
        Offer::Queued
    }

    /// Tells whether [`offer`](Self::offer) with room would send at once.
    pub fn sends_now(&self) -> bool {
        self.queue.is_empty() && self.unsent == 0 && self.has_window()
    }

    fn has_window(&self) -> bool {
        self.flight.len() - self.unsent < self.window
    }

    fn fly(&mut self, id: u16, item: Item) {
        let tag = item.tag;
        self.flight.push_back(Flight { id, stage: Stage::Sent, tag, item: Some(item) });
    }

    /// Gives the next thing to send, which counts as sent then: first what was in flight, in order,
    /// then what waits. `None`: nothing is left, or the receiver takes no more.
    pub fn next_out(&mut self) -> Option<Next<'_>> {
        if !self.has_window() {
            return None;
        }
        if self.unsent > 0 {
            let at = self.flight.len() - self.unsent;
            self.unsent -= 1;
            let flight = self.flight.get(at)?;
            return Some(match &flight.item {
                Some(item) => Next::Publish { item, id: flight.id, dup: true },
                None => Next::Release(flight.id),
            });
        }
        if self.queue.is_empty() {
            return None;
        }
        let id = self.ids.take()?;
        let item = self.pop()?;
        self.fly(id, item);
        let item = self.flight.back()?.item.as_ref()?;
        Some(Next::Publish { item, id, dup: false })
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.queue.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(item.message.size());
        Some(item)
    }

    /// Takes the first of those that wait if it is of no use any more.
    pub fn pop_expired(&mut self, now: Micros) -> Option<Item> {
        self.queue.front().filter(|item| item.message.is_expired(now))?;
        self.pop()
    }

    /// Takes an acknowledgement of what was sent: PUBACK, PUBREC or PUBCOMP.
    pub fn acked(&mut self, kind: AckKind, id: u16, code: Code) -> Acked {
        let sent = self.flight.len() - self.unsent;
        let Some(at) = self.flight.iter().take(sent).position(|f| f.id == id) else {
            return Acked::Unknown;
        };
        let Some(flight) = self.flight.get_mut(at) else { return Acked::Unknown };
        let qos = flight.item.as_ref().map(|item| item.qos);
        match (kind, flight.stage, qos) {
            (AckKind::PubAck, Stage::Sent, Some(Qos::AtLeastOnce))
            | (AckKind::PubComp, Stage::Released, _) => {}
            (AckKind::PubRec, Stage::Sent, Some(Qos::ExactlyOnce)) if code.is_error() => {}
            (AckKind::PubRec, Stage::Sent, Some(Qos::ExactlyOnce))
            | (AckKind::PubRec, Stage::Released, _) => {
                flight.stage = Stage::Released;
                flight.item = None;
                return Acked::Release;
            }
            _ => return Acked::Unknown,
        }
        let tag = flight.tag;
        self.flight.remove(at);
        self.ids.remove(id);
        if self.flight.is_empty() && self.flight.capacity() > 64 {
            self.flight = VecDeque::new();
        }
        Acked::Done(tag)
    }

    /// Gives an identifier up whose packet could not be sent.
    pub fn give_up(&mut self, id: u16) {
        if let Some(at) = self.flight.iter().position(|f| f.id == id) {
            self.unsent = self.unsent.min(self.flight.len() - 1);
            self.flight.remove(at);
            self.ids.remove(id);
        }
    }

    /// Takes back the message that was offered last: `offer` says what became of it.
    pub fn take_back(&mut self, offer: Offer) {
        match offer {
            Offer::Send(id) => self.give_up(id),
            Offer::Queued => {
                let item = self.queue.pop_back();
                let size = item.map_or(0, |item| item.message.size());
                self.queued_bytes = self.queued_bytes.saturating_sub(size);
            }
            Offer::Full => {}
        }
    }

    /// Takes an identifier for a packet that is no PUBLISH; [`give_back`](Self::give_back) frees
    /// it.
    pub fn take_id(&mut self) -> Option<u16> {
        self.ids.take()
    }

    /// Frees an identifier of [`take_id`](Self::take_id).
    pub fn give_back(&mut self, id: u16) {
        self.ids.remove(id);
    }

    /// Notes that a message with QoS 2 was received. `false`: it was received before, and is not to
    /// be handed on again.
    pub fn receive(&mut self, id: u16) -> bool {
        self.received.insert(id)
    }

    /// Tells whether a message with QoS 2 was received and not released.
    pub fn has_received(&self, id: u16) -> bool {
        self.received.contains(id)
    }

    /// Notes that its sender has released it. `false`: it was not there.
    pub fn release(&mut self, id: u16) -> bool {
        self.received.remove(id)
    }

    /// Gives how many messages with QoS 2 were received and not released.
    pub fn unreleased(&self) -> usize {
        self.received.len()
    }

    /// Gives how many messages are in flight.
    pub fn in_flight(&self) -> usize {
        self.flight.len()
    }

    /// Gives how many messages wait.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Gives the bytes of the messages that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Tells whether nothing is under way, in either direction.
    pub fn is_empty(&self) -> bool {
        self.flight.is_empty() && self.queue.is_empty() && self.received.len() == 0
    }

    /// Begins anew with a peer that has forgotten the session. What was sent with QoS 1 waits again,
    /// in front; what was with QoS 2 is dropped, since it may have arrived. Gives the tags of that.
    pub fn forget_peer(&mut self) -> Vec<u64> {
        let mut dropped = Vec::new();
        for flight in core::mem::take(&mut self.flight).into_iter().rev() {
            self.ids.remove(flight.id);
            match flight.item {
                Some(item) if item.qos == Qos::AtLeastOnce => {
                    self.queued_bytes += item.message.size();
                    self.queue.push_front(item);
                }
                _ => dropped.push(flight.tag),
            }
        }
        self.unsent = 0;
        self.received = Ids::default();
        dropped.reverse();
        dropped
    }

    /// Drops the message that waits longest; its tag.
    pub fn drop_oldest(&mut self) -> Option<u64> {
        self.pop().map(|item| item.tag)
    }
}

/// Storing and restoring.
impl Session {
    /// Gives what is in flight, in order: the identifier, and the message if the receiver may not
    /// have it.
    pub fn flights(&self) -> impl Iterator<Item = (u16, Option<&Item>)> {
        self.flight.iter().map(|f| (f.id, f.item.as_ref()))
    }

    /// Gives what waits, in order.
    pub fn waiting(&self) -> impl Iterator<Item = &Item> {
        self.queue.iter()
    }

    /// Gives the identifiers of what was received and not released.
    pub fn received(&self) -> impl Iterator<Item = u16> {
        self.received.iter()
    }

    /// Puts back what was in flight; without a message it was received already.
    pub fn restore_flight(&mut self, id: u16, item: Option<Item>) {
        if !self.ids.insert(id) {
            return;
        }
        let stage = if item.is_some() { Stage::Sent } else { Stage::Released };
        let tag = item.as_ref().map_or(0, |item| item.tag);
        self.flight.push_back(Flight { id, stage, tag, item });
        self.unsent += 1;
    }

    /// Puts back what waited.
    pub fn restore_queued(&mut self, item: Item) {
        self.queued_bytes += item.message.size();
        self.queue.push_back(item);
    }

    /// Does again that the first of those that wait was sent with `id`.
    pub fn restore_sent(&mut self, id: u16) {
        if let Some(item) = self.pop() {
            self.restore_flight(id, Some(item));
        }
    }

    /// Does again that an acknowledgement came.
    pub fn restore_acked(&mut self, id: u16, done: bool) {
        let Some(at) = self.flight.iter().position(|f| f.id == id) else { return };
        if done {
            self.flight.remove(at);
            self.ids.remove(id);
            self.unsent = self.flight.len();
        } else if let Some(flight) = self.flight.get_mut(at) {
            flight.stage = Stage::Released;
            flight.item = None;
        }
    }
}

#[cfg(test)]
mod tests;
