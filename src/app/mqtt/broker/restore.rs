//! A broker's state from its journal, and back into one that is short.

use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

use super::state::{Client, State};
use crate::app::mqtt::log::{self, Fields, kind, put_record};
use crate::app::mqtt::stored::{Clock, put_session, read_message, replay};
use crate::proto::mqtt::{Options, Session, Version};

impl State {
    /// Does again what one record says. `None`: it cannot be read.
    pub(super) fn replay(&mut self, body: &[u8], clock: Clock) -> Option<()> {
        let (&what, fields) = body.split_first()?;
        let mut f = Fields(fields);
        if what == kind::KEPT {
            let (message, _) = read_message(&mut f, clock)?;
            self.keep_message(Rc::new(message));
            return Some(());
        }
        let key = f.u32()?;
        match what {
            kind::SESSION => self.replay_session(key, &mut f)?,
            kind::GONE => _ = self.remove(key),
            kind::SUBSCRIBED => {
                let (id, bits) = (f.u32()?, f.u8()?);
                self.add_sub(key, f.text()?, Options::from_bits(bits)?, id);
            }
            kind::UNSUBSCRIBED => _ = self.remove_sub(key, f.text()?),
            _ => {
                let session = self.client(key).map(|client| &mut client.session);
                replay(session, what, &mut f, clock)?;
            }
        }
        Some(())
    }

    fn replay_session(&mut self, key: u32, f: &mut Fields<'_>) -> Option<()> {
        let (expiry, id, named, name) = (f.u32()?, f.text()?, f.u8()?, f.text()?);
        let username = (named != 0).then(|| Box::from(name));
        if let Some(client) = self.client(key) {
            (client.expiry, client.username) = (expiry, username);
            return Some(());
        }
        let client = Client {
            id: id.into(),
            username,
            port: None,
            version: Version::V5,
            epoch: 0,
            durable: true,
            session: Session::new(),
            subs: Vec::new(),
            expiry,
            will: None,
            aliases: None,
            timer: None,
            stamp: 0,
            hit: 0,
        };
        self.add_at(key, client)
    }

    /// Writes down everything, as records.
    pub(super) fn snapshot(&self, clock: Clock) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, client) in self.clients.iter().enumerate() {
            let Some(client) = client.as_ref().filter(|client| client.durable) else { continue };
            put_client(&mut out, u32::try_from(key).unwrap_or(u32::MAX), client, clock);
        }
        for message in self.retained.values().flatten() {
            let unix = clock.unix_of(message);
            put_record(&mut out, kind::KEPT, |o| log::put_message(o, message, unix));
        }
        out
    }
}

fn put_client(out: &mut Vec<u8>, key: u32, client: &Client, clock: Clock) {
    put_record(out, kind::SESSION, |o| {
        log::put_session(o, key, client.expiry, (&client.id, client.username.as_deref()));
    });
    for sub in &client.subs {
        put_record(out, kind::SUBSCRIBED, |o| {
            log::put_sub(o, key, &sub.filter, (sub.options, sub.id));
        });
    }
    put_session(out, key, &client.session, clock);
}
