//! A client's journal: what is under way, for another program after this one.

use std::boxed::Box;
use std::io;
use std::vec::Vec;

use lodger_backend::Journal;

use super::shared::State;
use crate::app::mqtt::log::{self, Fields, Log, kind};
use crate::app::mqtt::stored::{self, Clock};
use crate::proto::mqtt::{Item, Offer};
use crate::runtime::Handle;

/// The key of its one session.
const KEY: u32 = 0;

impl State {
    /// Reads what another program left under way.
    pub(super) fn restore(&mut self, h: &Handle, journal: Box<dyn Journal>) -> io::Result<()> {
        let clock = clock(h);
        let session = &mut self.session;
        let log = Log::open(journal, |body| {
            let (&what, fields) = body.split_first()?;
            let mut f = Fields(fields);
            let ours = f.u32()? == KEY;
            let session = if ours { Some(&mut *session) } else { None };
            stored::replay(session, what, &mut f, clock)
        })?;
        self.log = log;
        Ok(())
    }

    /// Writes down what became of a message that was offered, at once. `false`: it cannot be.
    pub(super) fn write_offer(&mut self, h: &Handle, item: &Item, offer: Offer) -> bool {
        if !self.log.is_on() || offer == Offer::Full {
            return true;
        }
        let unix = clock(h).unix_of(&item.message);
        let id = if let Offer::Send(id) = offer { id } else { 0 };
        let before = self.log.added();
        self.log.add(kind::OFFERED, |out| log::put_item(out, KEY, id, item, unix));
        let written = self.commit(h);
        if !written {
            self.log.forget(before);
        }
        written
    }

    /// Writes down what happened to a message of the session.
    pub(super) fn note(&mut self, what: u8, id: u16) {
        self.log.add(what, |out| log::put_key(out, KEY, id));
    }

    /// Writes down that a message was acknowledged: `done`, or received.
    pub(super) fn note_acked(&mut self, id: u16, done: bool) {
        self.log.add(kind::ACKED, |out| {
            log::put_key(out, KEY, id);
            out.push(u8::from(done));
        });
    }

    /// Appends what was written down, before what was said about it is sent. `false`: it could not
    /// be.
    pub(super) fn commit(&mut self, h: &Handle) -> bool {
        if self.log.commit().is_err() {
            return false;
        }
        if self.log.is_long() {
            self.rewrite(h);
        }
        true
    }

    /// Puts what is under way in the place of the journal.
    pub(super) fn rewrite(&mut self, h: &Handle) {
        if !self.log.is_on() {
            return;
        }
        let mut bytes = Vec::new();
        stored::put_session(&mut bytes, KEY, &self.session, clock(h));
        // It fails only beside the journal, which goes on.
        let _ = self.log.replace(&bytes);
    }
}

fn clock(h: &Handle) -> Clock {
    Clock { unix: h.unix_time(), now: h.now() }
}
