//! Messages out: offered to the session, sent as far as the server takes them, told the end of.

use core::time::Duration;
use std::boxed::Box;
use std::rc::Rc;

use super::shared::{Done, Sent, Shared, State};
use super::{ClientEvent, Published, QueueFull};
use crate::Error;
use crate::app::mqtt::log::kind;
use crate::app::mqtt::outgoing::Outgoing;
use crate::proto::mqtt::{
    Code, Item, Message, Next, Offer, PropertyList, Publish, Qos, check_topic,
};
use crate::runtime::handler::mqtt::Port;
use crate::runtime::{Gone, SendError};

impl Shared {
    pub(super) fn publish(
        self: &Rc<Self>,
        message: Outgoing<'_>,
        done: Option<Done>,
    ) -> Result<(), SendError> {
        check_topic(message.topic(), &self.limits)?;
        if self.stopped.get() {
            return Err(Gone.into());
        }
        match message.publish() {
            publish if publish.qos == Qos::AtMostOnce => self.publish_once(&publish, done),
            publish => self.publish_kept(publish, message.patience(), done),
        }
    }

    /// Sends a message that nobody acknowledges.
    fn publish_once(&self, publish: &Publish<'_>, done: Option<Done>) -> Result<(), SendError> {
        let port = self.state.borrow().port_up().ok_or(Gone)?;
        let sent = port.within(&self.h, |mqtt, cx, tx| mqtt.publish(cx, tx, publish, &[]));
        if matches!(sent, Err(SendError::Full { .. })) {
            self.state.borrow_mut().full = true;
            port.want_write(&self.h);
        }
        sent?;
        if let Some(done) = done {
            // Callbacks come from a turn.
            self.h.after(Duration::ZERO, move |h| done(h, Published::Acknowledged));
        }
        Ok(())
    }

    /// Sends a message that the session keeps until it is acknowledged.
    fn publish_kept(
        self: &Rc<Self>,
        mut publish: Publish<'_>,
        patience: Option<Duration>,
        done: Option<Done>,
    ) -> Result<(), SendError> {
        let mut state = self.state.borrow_mut();
        let port = state.port_up();
        if port.as_ref().is_some_and(|port| self.is_too_long(port, &publish)) {
            return Err(Error::misuse("the packet is longer than the server takes").into());
        }
        let item = self.item(&mut state, &publish);
        let offer = self.offer(&mut state, &item, port.as_ref());
        if !state.write_offer(&self.h, &item, offer) {
            state.session.take_back(offer);
            return Err(Error::host("the journal takes nothing").into());
        }
        match (offer, &port) {
            (Offer::Full, _) => {
                state.full = true;
                return Err(SendError::Full { room: 0 });
            }
            (Offer::Send(id), Some(port)) => {
                publish.id = id;
                // It fails only when the connection has ended: it is sent on the next.
                let _ = port.with(&self.h, |mqtt, cx, tx| mqtt.publish(cx, tx, &publish, &[]));
            }
            _ => {}
        }
        if done.is_some() {
            let timer = patience.map(|time| {
                let (shared, tag) = (Rc::clone(self), item.tag);
                self.h.after(time, move |_| shared.timed_out(tag))
            });
            state.sent.insert(item.tag, Sent { done, timer });
        }
        Ok(())
    }

    fn is_too_long(&self, port: &Port, publish: &Publish<'_>) -> bool {
        port.with(&self.h, |mqtt, _, _| Ok(!mqtt.takes(publish, 5))).unwrap_or(false)
    }

    /// Makes what the session keeps of a message, under a tag of its own.
    fn item(&self, state: &mut State, publish: &Publish<'_>) -> Item {
        state.count += 1;
        Item {
            message: Rc::new(Message::copy(publish, self.h.now())),
            qos: publish.qos,
            retain: publish.retain,
            subscriptions: Box::default(),
            tag: state.count,
        }
    }

    /// Offers a message to the session; the oldest make room for it if the client says so.
    fn offer(&self, state: &mut State, item: &Item, port: Option<&Port>) -> Offer {
        let limits = &self.limits;
        let room = port.is_some_and(|port| port.has_room(&self.h));
        let mut offer = state.session.offer(item.clone(), room, limits);
        let fits = limits.queued > 0 && item.message.size() <= limits.queued_bytes;
        while offer == Offer::Full && fits && self.client.queue == QueueFull::DropOldest {
            let Some(oldest) = state.session.drop_oldest() else { break };
            state.note(kind::DROPPED, 0);
            if let Some(sent) = state.sent.remove(&oldest) {
                self.finish_later(sent, Published::Lost);
            }
            offer = state.session.offer(item.clone(), room, limits);
        }
        offer
    }

    fn timed_out(&self, tag: u64) {
        let sent = self.state.borrow_mut().sent.remove(&tag);
        if let Some(done) = sent.and_then(|sent| sent.done) {
            done(&self.h, Published::TimedOut);
        }
    }

    /// Tells the end of a message, from a turn.
    fn finish_later(&self, sent: Sent, end: Published) {
        if let Some(timer) = sent.timer {
            self.h.cancel(timer);
        }
        if let Some(done) = sent.done {
            self.h.after(Duration::ZERO, move |h| done(h, end));
        }
    }

    /// Tells the end of a message. User code runs: nothing is borrowed.
    pub(super) fn finish(&self, tag: u64, end: Published) {
        let sent = self.state.borrow_mut().sent.remove(&tag);
        let Some(Sent { done, timer }) = sent else { return };
        if let Some(timer) = timer {
            self.h.cancel(timer);
        }
        if let Some(done) = done {
            done(&self.h, end);
        }
    }

    /// Sends what waits, as far as it is taken.
    pub(super) fn pump_out(&self) {
        let now = self.h.now();
        loop {
            let mut state = self.state.borrow_mut();
            let Some(port) = state.port_up() else { return };
            if let Some(item) = state.session.pop_expired(now) {
                state.note(kind::DROPPED, 0);
                drop(state);
                self.finish(item.tag, Published::Lost);
                continue;
            }
            if state.session.queued() + state.session.in_flight() == 0 {
                return;
            }
            if !port.has_room(&self.h) {
                port.want_write(&self.h);
                return;
            }
            let (item, id, dup) = match state.session.next_out() {
                None => return,
                Some(Next::Release(id)) => {
                    super::link::send_ack(&self.h, &port, id);
                    continue;
                }
                Some(Next::Publish { item, id, dup }) => (item.clone(), id, dup),
            };
            if !dup {
                state.note(kind::SENT, id);
            }
            let mut publish = item.message.publish(item.qos, item.retain, id);
            publish.dup = dup;
            let mut expiry = PropertyList::new();
            item.message.put_expiry(now, &mut expiry);
            let sent = port.with(&self.h, |mqtt, cx, tx| {
                mqtt.publish(cx, tx, &publish, expiry.view().bytes())
            });
            if let Err(SendError::Misuse(_)) = sent {
                state.session.give_up(id);
                state.note_acked(id, true);
                drop(state);
                self.finish(item.tag, Published::Refused(Code::PACKET_TOO_LARGE));
            }
        }
    }

    /// Tells that there is room, if somebody was told that there is none.
    pub(super) fn tell_room(&self) {
        let room = {
            let mut state = self.state.borrow_mut();
            let room = state.full && state.session.queued() < self.limits.queued.max(1);
            state.full &= !room;
            room
        };
        if room {
            self.tell(ClientEvent::Writable);
        }
    }
}
