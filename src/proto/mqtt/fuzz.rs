//! What must hold for any bytes, cut anywhere. The tests run it over a corpus and over random
//! bytes, a fuzzer over what it finds.

use alloc::string::String;
use alloc::vec::Vec;

use lodger_backend::Micros;

use super::{Accept, Auth, Code, Connect, Event, Mqtt, Properties, Property, Version};
use crate::io::{Out, Pool, Rx, Scratch, Tx};
use crate::proto::Cx;
use crate::proto::split::pieces;
use crate::{Error, Limits, Wire};

/// A connection driven as the runtime drives it: what is not taken comes back with more behind. A
/// server accepts every client, after an AUTH where one is offered.
pub(super) struct Rig {
    pub(super) mqtt: Mqtt,
    pub(super) now: Micros,
    pub(super) limits: Limits,
    pub(super) out: Out,
    /// One line an event, the parts of a payload joined.
    pub(super) log: Vec<String>,
    pub(super) error: Option<Error>,
    /// The most input that was left over.
    pub(super) most_left: usize,
    pool: Pool,
    tail: Vec<u8>,
    payload: Vec<u8>,
    scratch: Scratch,
}

impl Rig {
    pub(super) fn server() -> Self {
        Self::new(Mqtt::server(Micros::new(1_000_000)))
    }

    /// A client whose CONNECT was sent and not looked at.
    pub(super) fn client(version: Version) -> Self {
        let mut rig = Self::new(Mqtt::client(Micros::new(1_000_000)));
        let mut list = super::PropertyList::new();
        let _ = list.push(Property::TopicAliasMaximum(4));
        let properties = if version == Version::V5 { list.view() } else { Properties::NONE };
        let connect = Connect {
            version,
            clean: true,
            keep_alive: 60,
            client_id: "c",
            will: None,
            username: None,
            password: None,
            properties,
        };
        let said = rig.call(|mqtt, cx, tx| mqtt.connect(cx, tx, &connect));
        assert!(said.is_ok());
        rig.sent();
        rig
    }

    fn new(mqtt: Mqtt) -> Self {
        Self {
            mqtt,
            now: Micros::new(1_000_000),
            limits: Limits::default(),
            out: Out::new(),
            log: Vec::new(),
            error: None,
            most_left: 0,
            pool: Pool::new(1 << 20),
            tail: Vec::new(),
            payload: Vec::new(),
            scratch: Scratch::new(),
        }
    }

    pub(super) fn call<R>(
        &mut self,
        f: impl FnOnce(&mut Mqtt, &mut Cx<'_>, &mut Tx<'_>) -> R,
    ) -> R {
        let mut cx = Cx { now: self.now, limits: &self.limits, random: &mut || 4 };
        f(&mut self.mqtt, &mut cx, &mut Tx::new(&mut self.out, &mut self.pool))
    }

    pub(super) fn sent(&mut self) -> Vec<u8> {
        let bytes = self.out.bytes().to_vec();
        self.out.clear(&mut self.pool);
        bytes
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.turn(bytes, false);
    }

    pub(super) fn end(&mut self) {
        self.turn(&[], true);
    }

    fn turn(&mut self, bytes: &[u8], eof: bool) {
        if self.error.is_some() {
            return;
        }
        let mut lent = core::mem::take(&mut self.tail);
        lent.extend_from_slice(bytes);
        let mut rx = Rx::new(&mut lent, eof);
        let mut scratch = core::mem::take(&mut self.scratch);
        loop {
            let event = match self.call(|mqtt, cx, tx| mqtt.poll(cx, &mut rx, &mut scratch, tx)) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            };
            note(&event, &mut self.log, &mut self.payload);
            let method = |p| if let Property::AuthMethod(_) = p { Some(()) } else { None };
            let proves = matches!(&event, Event::Connect(c) if c.properties.find(method).is_some());
            if proves {
                let more =
                    Auth { code: Code::CONTINUE_AUTHENTICATION, properties: Properties::NONE };
                let _ = self.call(|mqtt, cx, tx| mqtt.auth(cx, tx, &more));
            } else if matches!(event, Event::Connect(_) | Event::Auth(_)) {
                // Only a CONNECT is accepted, and only once.
                let accept = Accept { keep_alive: Some(30), ..Accept::default() };
                let _ = self.call(|mqtt, cx, tx| mqtt.accept(cx, tx, &accept));
            }
        }
        // What stands behind an error is not kept: the connection is over.
        self.tail = if self.error.is_none() { rx.peek().to_vec() } else { Vec::new() };
        self.most_left = self.most_left.max(self.tail.len());
        self.scratch = scratch;
    }
}

fn note(event: &Event<'_>, log: &mut Vec<String>, payload: &mut Vec<u8>) {
    let (part, rest) = match event {
        Event::Publish(publish) => {
            let mut head = *publish;
            (head.payload, head.rest) = (&[], 0);
            log.push(alloc::format!("{head:?}"));
            (publish.payload, publish.rest)
        }
        Event::Payload { data, rest } => (*data, *rest),
        other => return log.push(alloc::format!("{other:?}")),
    };
    payload.extend_from_slice(part);
    if rest == 0 {
        log.push(alloc::format!("{}", payload.escape_ascii()));
        payload.clear();
    }
}

/// What a stream led to.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    pub(super) log: Vec<String>,
    pub(super) end: Option<Wire>,
    pub(super) sent: Vec<u8>,
}

/// Runs a stream in pieces, to its end.
pub(super) fn run(mut rig: Rig, pieces: &[&[u8]]) -> Outcome {
    for piece in pieces {
        rig.feed(piece);
    }
    rig.end();
    let sent = rig.sent();
    Outcome { log: rig.log, end: rig.error.map(|e| e.wire()), sent }
}

/// A narrow server, or a client of either version.
pub(super) fn rig(role: u8) -> Rig {
    let mut rig = match role % 4 {
        0 | 1 => Rig::server(),
        2 => Rig::client(Version::V4),
        _ => Rig::client(Version::V5),
    };
    rig.limits.mqtt.head = 64;
    rig.limits.mqtt.packet = 600;
    rig.limits.mqtt.connect = 300;
    rig.limits.mqtt.levels = 8;
    rig
}

/// Takes a role, a seed for the cuts and a stream; checks what must hold for all of them.
///
/// # Panics
///
/// If something does not hold: the outcome depends on cuts, more is left over than may be, or what
/// a server said is not what a client takes.
pub fn fuzz_mqtt(data: &[u8]) {
    let &[role, seed, ref stream @ ..] = data else { return };
    let whole = run(rig(role), &[stream]);
    assert_eq!(whole, run(rig(role), &pieces(stream, || 1)), "byte by byte");
    let mut seed = u32::from(seed) << 8 | 1;
    for widest in [3, 17, 200] {
        let cut = pieces(stream, || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) as usize % widest + 1
        });
        assert_eq!(whole, run(rig(role), &cut), "cuts of at most {widest}");
    }
    check_answers(role, stream);
}

/// What a server says in answer to anything is read by a client of its version without an error.
fn check_answers(role: u8, stream: &[u8]) {
    if role % 4 > 1 {
        return;
    }
    let mut server = rig(role);
    server.feed(stream);
    assert!(server.most_left <= 700, "what is left over is bounded");
    let version = server.mqtt.version();
    let said = server.sent();
    if said.is_empty() {
        return;
    }
    let mut client = Rig::client(version);
    client.feed(&said);
    assert_eq!(client.error, None, "{:?}", said.escape_ascii());
}
