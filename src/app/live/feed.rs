//! The feed: one timer and one text for all who look, and nothing while nobody does.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use super::snapshot;
use crate::ws::{Config, Cx, Handler, Message, Refuse};
use crate::{ConnId, Handle, Reason, SendError, TimerId};

/// Ten frames a second.
const PERIOD: Duration = Duration::from_millis(100);
/// Viewers at once; the next is told to come later.
const VIEWERS: usize = 64;
/// A viewer has nothing to say: what it may make us hold is small.
const MESSAGE: u64 = 125;

/// Who looks, and what they are shown.
///
/// Invariant: the timer is armed exactly while there are viewers.
#[derive(Debug, Default)]
pub(super) struct Feed {
    viewers: RefCell<Vec<ConnId>>,
    timer: Cell<Option<TimerId>>,
    /// The last snapshot, kept for its memory.
    text: RefCell<String>,
    /// Snapshots that were written.
    #[cfg(test)]
    pub(super) written: Cell<u64>,
}

impl Feed {
    fn enter(self: &Rc<Self>, h: &Handle, id: ConnId) {
        self.viewers.borrow_mut().push(id);
        if self.timer.get().is_none() {
            let feed = Rc::clone(self);
            self.timer.set(Some(h.every(PERIOD, move |h| feed.show(h))));
            h.measure_turns(true);
        }
    }

    fn leave(&self, h: &Handle, id: ConnId) {
        let mut viewers = self.viewers.borrow_mut();
        viewers.retain(|&viewer| viewer != id);
        if viewers.is_empty()
            && let Some(timer) = self.timer.take()
        {
            h.cancel(timer);
            h.measure_turns(false);
            *viewers = Vec::new();
            *self.text.borrow_mut() = String::new();
        }
    }

    /// Shows the runtime to every viewer that has taken the frame before. One that has not loses
    /// this one, so that what waits for it is never more than a frame.
    fn show(&self, h: &Handle) {
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
        snapshot::write(h, text);
    }
}

/// One who looks.
#[derive(Debug)]
pub(super) struct Viewer(Rc<Feed>);

impl Viewer {
    /// Lets another one in: RFC 9110, section 15.6.4, where there are too many.
    pub(super) fn new(feed: &Rc<Feed>) -> Result<Self, Refuse> {
        let many = feed.viewers.borrow().len() >= VIEWERS;
        if many { Err(Refuse(503)) } else { Ok(Self(Rc::clone(feed))) }
    }

    /// What its connection may do: nearly nothing.
    pub(super) fn config() -> Config {
        Config::default().frame(MESSAGE).message(MESSAGE)
    }
}

impl Handler for Viewer {
    fn open(&mut self, cx: &mut Cx<'_>) {
        self.0.enter(cx.runtime(), cx.id());
    }

    /// The page says nothing; a later one may, to a program that does not know of it yet.
    fn message(&mut self, _cx: &mut Cx<'_>, _message: Message<'_>) {}

    fn closed(&mut self, cx: &mut Cx<'_>, _why: Reason) {
        self.0.leave(cx.runtime(), cx.id());
    }
}
