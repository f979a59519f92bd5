//! Authentication in several steps: MQTT 5.0, section 4.12.
//!
//! In: a CONNECT that names a method, then AUTH packets. Out: what to say about each.
//!
//! ```text
//! CONNECT --> asked --> CONNACK, proven --AUTH 0x19--> asked again --> AUTH 0x00
//!               `--AUTH 0x18--> waiting --AUTH 0x18--> asked
//! ```

use std::boxed::Box;
use std::vec::Vec;

use super::BrokerConfig;
use crate::proto::mqtt::{
    Auth, Code, Connect, Properties, Property, PropertyList, Publish, Qos, Version, Will,
};

/// What an authentication comes to after what the client has said.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum AuthStep {
    /// The client is to answer this.
    Continue(Vec<u8>),
    /// It is who it says it is, and is told this; empty is nothing.
    Success(Vec<u8>),
    /// It is not, and hears this code; one below 0x80 stands for [`Code::NOT_AUTHORIZED`].
    Refuse(Code),
}

type Step = dyn FnMut(&[u8]) -> AuthStep;
type Begin = dyn Fn(&Connect<'_>) -> Box<Step>;

/// A method, and what begins an authentication by it.
pub(super) struct Method {
    name: Box<str>,
    begin: Box<Begin>,
}

impl BrokerConfig {
    /// Authenticates clients that name `method` in their CONNECT by AUTH packets (MQTT 5.0, section
    /// 4.12), after [`authenticate`](Self::authenticate) has let them pass. `begin` gives what is
    /// asked about each step: first with the data of the CONNECT, which may be empty, then with what
    /// the client answers; later again from the beginning, if the client authenticates anew.
    /// Clients that name no method are not asked: `authenticate` decides about them.
    ///
    /// A client has as long for all of it as for a CONNECT, and as many bytes for each answer.
    #[must_use]
    pub fn enhanced<F: FnMut(&[u8]) -> AuthStep + 'static>(
        mut self,
        method: &str,
        begin: impl Fn(&Connect<'_>) -> F + 'static,
    ) -> Self {
        let begin = Box::new(move |connect: &Connect<'_>| Box::new(begin(connect)) as Box<Step>);
        self.methods.push(Method { name: method.into(), begin });
        self
    }

    /// Begins an authentication; `None`: the method is not known.
    pub(super) fn begin(&self, method: &str, connect: &Connect<'_>) -> Option<Exchange> {
        let found = self.methods.iter().find(|known| &*known.name == method)?;
        let waiting = Some(Box::new(Waiting::copy(connect)));
        Some(Exchange { method: method.into(), step: (found.begin)(connect), waiting })
    }
}

/// The authentication of one connection, which may be repeated.
pub(super) struct Exchange {
    method: Box<str>,
    step: Box<Step>,
    /// The CONNECT that it decides about; none once that is answered.
    pub(super) waiting: Option<Box<Waiting>>,
}

impl Exchange {
    /// Asks about what a client has said. User code runs.
    pub(super) fn ask(&mut self, properties: Properties<'_>) -> AuthStep {
        let data = properties.find(|p| if let Property::AuthData(d) = p { Some(d) } else { None });
        (self.step)(data.unwrap_or_default())
    }

    /// Whether an AUTH belongs here: the method stays, and one that is not asked begins anew.
    pub(super) fn takes(&self, auth: &Auth<'_>, asked: bool) -> bool {
        let code = if asked { Code::CONTINUE_AUTHENTICATION } else { Code::RE_AUTHENTICATE };
        method_of(auth.properties) == Some(&self.method) && auth.code == code
    }

    /// Gives the properties that tell a client `data`.
    pub(super) fn properties(&self, data: &[u8]) -> PropertyList {
        let mut list = PropertyList::new();
        // What is too long for a property is a mistake of who authenticates: the client misses it.
        let _ = list.push(Property::AuthMethod(&self.method));
        if !data.is_empty() {
            let _ = list.push(Property::AuthData(data));
        }
        list
    }
}

/// Gives the method that a packet names.
pub(super) fn method_of(properties: Properties<'_>) -> Option<&str> {
    properties.find(|p| if let Property::AuthMethod(name) = p { Some(name) } else { None })
}

/// A CONNECT with memory of its own.
pub(super) struct Waiting {
    version: Version,
    clean: bool,
    keep_alive: u16,
    client_id: Box<str>,
    username: Option<Box<str>>,
    password: Option<Box<[u8]>>,
    properties: Box<[u8]>,
    will: Option<(crate::proto::mqtt::Message, Box<[u8]>)>,
}

impl Waiting {
    fn copy(connect: &Connect<'_>) -> Self {
        Self {
            version: connect.version,
            clean: connect.clean,
            keep_alive: connect.keep_alive,
            client_id: connect.client_id.into(),
            username: connect.username.map(Box::from),
            password: connect.password.map(Box::from),
            properties: connect.properties.bytes().into(),
            will: connect.will.as_ref().map(|will| {
                let message =
                    crate::proto::mqtt::Message::copy(&publish(will), crate::Micros::ZERO);
                (message, will.properties.bytes().into())
            }),
        }
    }

    /// Gives it as it came.
    pub(super) fn connect(&self) -> Connect<'_> {
        let will = self.will.as_ref().map(|(message, properties)| {
            let will = message.publish(message.qos(), message.retain(), 0);
            Will {
                topic: will.topic,
                payload: will.payload,
                qos: will.qos,
                retain: will.retain,
                properties: Properties::checked(properties),
            }
        });
        Connect {
            version: self.version,
            clean: self.clean,
            keep_alive: self.keep_alive,
            client_id: &self.client_id,
            will,
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            properties: Properties::checked(&self.properties),
        }
    }
}

fn publish<'a>(will: &Will<'a>) -> Publish<'a> {
    Publish {
        dup: false,
        qos: will.qos,
        retain: will.retain,
        topic: will.topic,
        id: u16::from(will.qos != Qos::AtMostOnce),
        properties: Properties::NONE,
        payload: will.payload,
        rest: 0,
    }
}
