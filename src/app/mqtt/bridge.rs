//! A bridge: what is published at one broker is published at another too.

use core::cell::Cell;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use super::client::{Connection, Subscription};
use super::outgoing::Outgoing;
use crate::Error;
use crate::proto::mqtt::{Options, Properties, Property, PropertyList, Publish, Qos};

/// The user property that names the bridges which a message has passed.
const VIA: &str = "lodger-via";

/// Which way a bridge carries messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// From the near broker to the far one.
    Out,
    /// From the far broker to the near one.
    In,
}

/// Carries messages between two brokers, as a client of each, for as long as it is held.
///
/// A message does not come back the way it came (the subscriptions are "no local"), and ends where
/// bridges form a circle: each adds its name as the user property `lodger-via`, and stops what has
/// it already. In a circle copies arrive by each way round; a line or a star has none. Both need
/// MQTT 5.0 at both ends. A message with QoS
/// 1 or 2 is acknowledged at its source when it waits in the bridge, which is memory; one that the
/// bridge has no room for is dropped and counted.
#[derive(Debug)]
#[must_use = "dropping it ends it"]
pub struct Bridge {
    subs: Vec<Subscription>,
    carried: Rc<Cell<u64>>,
    dropped: Rc<Cell<u64>>,
}

impl Bridge {
    /// Begins to carry what matches the filters. `name` is the bridge's own among all.
    ///
    /// # Errors
    ///
    /// Misuse: a filter is none, or is shared.
    pub fn new(
        name: &str,
        near: &Connection,
        far: &Connection,
        filters: &[(&str, Qos, Direction)],
    ) -> Result<Self, Error> {
        let (carried, dropped) = (Rc::default(), Rc::default());
        let mut bridge = Self { subs: Vec::new(), carried, dropped };
        for &(filter, qos, direction) in filters {
            if filter.starts_with("$share/") {
                return Err(Error::misuse("no local on a shared subscription"));
            }
            if direction != Direction::In {
                bridge.carry(name, near, far, (filter, qos))?;
            }
            if direction != Direction::Out {
                bridge.carry(name, far, near, (filter, qos))?;
            }
        }
        Ok(bridge)
    }

    fn carry(
        &mut self,
        name: &str,
        from: &Connection,
        to: &Connection,
        (filter, qos): (&str, Qos),
    ) -> Result<(), Error> {
        let options = Options { no_local: true, retain_as_published: true, ..Options::new(qos) };
        let (name, to) = (String::from(name), to.clone());
        let (carried, dropped) = (Rc::clone(&self.carried), Rc::clone(&self.dropped));
        let sub = from.subscribe_with(filter, options, move |_, message| {
            if passed(message.properties, &name) {
                return;
            }
            let count = if forward(&to, &name, message) { &carried } else { &dropped };
            count.set(count.get() + 1);
        })?;
        self.subs.push(sub);
        Ok(())
    }

    /// Gives how many messages it has carried.
    pub fn carried(&self) -> u64 {
        self.carried.get()
    }

    /// Gives how many it had no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}

/// Whether a message has passed the bridge of that name.
fn passed(properties: Properties<'_>, name: &str) -> bool {
    let own = |p| if p == Property::User(VIA, name) { Some(()) } else { None };
    properties.find(own).is_some()
}

fn forward(to: &Connection, name: &str, message: &Publish<'_>) -> bool {
    let mut list = PropertyList::passed_on(message.properties);
    if list.push(Property::User(VIA, name)).is_err() {
        return false;
    }
    let message = Outgoing::new(message.topic, message.payload)
        .qos(message.qos)
        .retain(message.retain)
        .properties(&list);
    to.publish(message).is_ok()
}
