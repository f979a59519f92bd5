//! The feed: one timer and one text for all who look, and nothing while nobody does.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use super::controls::{self, Controls};
use super::probe::{self, Probe};
use super::snapshot::{self, Own};
use crate::http::Request;
use crate::ws::{Config, Cx, Handler, Message, Refuse};
use crate::{ConnId, Handle, Reason, SendError, TimerId};

/// Ten frames a second.
pub(super) const PERIOD: Duration = Duration::from_millis(100);
/// Viewers at once; the next is told to come later.
const VIEWERS: usize = 64;
/// A viewer says a word: what it may make us hold is small.
const MESSAGE: u64 = 125;

/// Who looks, and what they are shown.
///
/// Invariant: the timers are armed, and sockets are open, only while there are viewers.
#[derive(Debug, Default)]
pub(super) struct Feed {
    viewers: RefCell<Vec<ConnId>>,
    /// Of the feed, of the probe.
    timers: Cell<Option<[TimerId; 2]>>,
    probe: Probe,
    controls: Rc<Controls>,
    #[cfg(feature = "mqtt")]
    broker: Option<crate::mqtt::Broker>,
    /// The last snapshot, kept for its memory.
    text: RefCell<String>,
    /// Snapshots that were written.
    #[cfg(test)]
    pub(super) written: Cell<u64>,
}

impl Feed {
    pub(super) fn new(controls: Rc<Controls>) -> Self {
        Self { controls, ..Self::default() }
    }

    /// With the figures of a broker.
    #[cfg(feature = "mqtt")]
    pub(super) fn broker(self, broker: Option<crate::mqtt::Broker>) -> Self {
        Self { broker, ..self }
    }

    fn enter(self: &Rc<Self>, h: &Handle, id: ConnId) {
        self.viewers.borrow_mut().push(id);
        if self.timers.get().is_none() {
            self.probe.begin(h.now());
            let (feed, probe) = (Rc::clone(self), Rc::clone(self));
            let feed = h.every(PERIOD, move |h| feed.show(h));
            let probe = h.every(probe::EVERY, move |h| probe.probe.ran(h.now()));
            self.timers.set(Some([feed, probe]));
            h.measure_turns(true);
        }
    }

    fn leave(&self, h: &Handle, id: ConnId) {
        let mut viewers = self.viewers.borrow_mut();
        viewers.retain(|&viewer| viewer != id);
        if viewers.is_empty()
            && let Some(timers) = self.timers.take()
        {
            timers.iter().for_each(|&timer| _ = h.cancel(timer));
            h.measure_turns(false);
            self.controls.end();
            *viewers = Vec::new();
            *self.text.borrow_mut() = String::new();
        }
    }

    /// Shows the runtime to every viewer that has taken the frame before. One that has not loses
    /// this one, so that what waits for it is never more than a frame.
    fn show(&self, h: &Handle) {
        self.probe.bar(h.now());
        // Nothing below calls a handler, so nothing comes back here.
        let (viewers, mut text) = (self.viewers.borrow(), self.text.borrow_mut());
        let mut fresh = false;
        for &viewer in viewers.iter().filter(|&&viewer| h.queued(viewer) == 0) {
            if !fresh {
                self.write(h, &mut text);
                fresh = true;
            }
            match h.send(viewer, Message::Text(&text)) {
                // Gone: it is on its way to `leave`. Full: it loses a frame. A frame is too short
                // for misuse.
                Ok(()) | Err(SendError::Gone | SendError::Full { .. } | SendError::Misuse(_)) => {}
            }
        }
    }

    fn write(&self, h: &Handle, text: &mut String) {
        #[cfg(test)]
        self.written.set(self.written.get() + 1);
        let own = Own {
            probe: &self.probe,
            timers: self.timers.get(),
            #[cfg(feature = "mqtt")]
            broker: self.broker.as_ref().map(crate::mqtt::Broker::stats),
        };
        snapshot::write(h, &own, text);
    }
}

/// One who looks.
#[derive(Debug)]
pub(super) struct Viewer {
    feed: Rc<Feed>,
    /// Its page is this machine's own.
    local: bool,
    /// It may act.
    may: bool,
}

impl Viewer {
    /// Lets another one in: RFC 9110, section 15.6.4, where there are too many.
    pub(super) fn new(feed: &Rc<Feed>, request: &Request<'_>) -> Result<Self, Refuse> {
        let many = feed.viewers.borrow().len() >= VIEWERS;
        let local = controls::is_local_page(request);
        if many { Err(Refuse(503)) } else { Ok(Self { feed: Rc::clone(feed), local, may: false }) }
    }

    /// What its connection may do: nearly nothing.
    pub(super) fn config() -> Config {
        Config::default().frame(MESSAGE).message(MESSAGE)
    }
}

impl Handler for Viewer {
    fn open(&mut self, cx: &mut Cx<'_>) {
        self.feed.enter(cx.runtime(), cx.id());
        self.may = self.feed.controls.allows(cx.runtime(), cx.id(), self.local);
        if self.may {
            let may = snapshot::may(self.feed.controls.offered());
            // Its output is empty; one that has gone needs no buttons.
            let _ = cx.send(Message::Text(&may));
        }
    }

    /// A word that is not known is ignored: a later page may say it.
    fn message(&mut self, cx: &mut Cx<'_>, message: Message<'_>) {
        if let (true, Message::Text(word)) = (self.may, message) {
            self.feed.controls.act(cx.runtime(), cx.id(), word);
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>, _why: Reason) {
        self.feed.leave(cx.runtime(), cx.id());
    }
}
