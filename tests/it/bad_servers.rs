//! Clients against servers that are not there, go away, or break WebSocket's rules.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lodger::http::{Client, Failure, Fetch, FetchCx, ResponseHead, Stage, Timing, Whole};
use lodger::proto::ws::handshake::{Offer, accept};
use lodger::sim::Faults;
use lodger::{Handle, Limits, Reason, Wire, raw, ws};
use lodger_backend::Trigger;

use crate::kit::{Rig, ms, secs};

/// Hears a WebSocket.
#[derive(Clone, Default)]
struct Heard(Rc<RefCell<Vec<String>>>, Rc<RefCell<Vec<Reason>>>);

impl ws::Handler for Heard {
    fn open(&mut self, _cx: &mut ws::Cx<'_>) {
        self.0.borrow_mut().push("open".into());
    }

    fn message(&mut self, _cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        self.0.borrow_mut().push(format!("{message:?}"));
    }

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, why: Reason) {
        self.1.borrow_mut().push(why);
    }
}

type Told = Rc<RefCell<Vec<Result<Whole, Failure>>>>;

fn get(rig: &Rig) -> Told {
    let told = Told::default();
    let into = Rc::clone(&told);
    Client::new(&rig.rt).get("http://127.0.0.1/").whole(99, move |got| into.borrow_mut().push(got));
    told
}

#[test]
fn a_port_that_never_answers_is_given_up() {
    let mut faults = Faults::none();
    faults.unanswered = 1000;
    let rig = Rig::with(Trigger::Edge, Limits::default(), 1, faults);
    let heard = Heard::default();

    let told = get(&rig);
    ws::Client::new("ws://127.0.0.1/").connect(&rig.rt, heard.clone()).unwrap();
    rig.run_for(secs(9));
    assert!(told.borrow().is_empty() && heard.1.borrow().is_empty());
    rig.run_for(secs(2));

    let failure = told.borrow_mut().pop().unwrap().unwrap_err();
    assert_eq!((failure.stage, failure.why), (Stage::Connect, Reason::ConnectTimeout));
    assert!(failure.never_sent && told.borrow().is_empty());
    assert_eq!(*heard.1.borrow(), [Reason::ConnectTimeout]);
    rig.end();
}

/// Writes when there is room, and counts how often it is asked.
struct Writes(Rc<Cell<u32>>);

impl Fetch for Writes {
    fn head(&mut self, _cx: &mut FetchCx<'_>, _head: &ResponseHead<'_>) {}

    fn writable(&mut self, _cx: &mut FetchCx<'_>, _room: usize) {
        self.0.set(self.0.get() + 1);
    }

    fn closed(&mut self, _h: &Handle, _outcome: Result<Timing, Failure>) {}
}

/// What is to be done once there is a connection is no work before.
#[test]
fn waiting_for_a_connection_costs_nothing() {
    let mut faults = Faults::none();
    faults.unanswered = 1000;
    let rig = Rig::with(Trigger::Edge, Limits::default(), 1, faults);
    let asked = Rc::new(Cell::new(0));

    let post = Client::new(&rig.rt).request("POST", "http://127.0.0.1/").streamed(None);
    post.send(Writes(Rc::clone(&asked))).unwrap();
    let id = rig.rt.connect(&rig.addr, Resets);
    rig.rt.pause(id, true).unwrap();
    rig.rt.pause(id, false).unwrap();
    let turns = rig.run_for(secs(5));

    assert!(turns < 5 && asked.get() == 0, "{turns} turns");
    rig.end();
}

/// Aborts with the request unread: the client meets a reset.
struct Resets;

impl raw::Handler for Resets {
    fn open(&mut self, cx: &mut raw::Cx<'_>) {
        cx.pause(true);
        cx.timer(0, ms(10)).unwrap();
    }

    fn data(&mut self, _cx: &mut raw::Cx<'_>, _bytes: &[u8]) {}

    fn timer(&mut self, cx: &mut raw::Cx<'_>, _tag: u64) {
        cx.abort();
    }
}

#[test]
fn a_reset_is_told_once_and_what_was_sent_is_not_sent_again() {
    let rig = Rig::new(Trigger::Edge);
    rig.serve(raw::Server::new(|_| Some(Resets)));
    let heard = Heard::default();

    let told = get(&rig);
    ws::Client::new("ws://127.0.0.1/").connect(&rig.rt, heard.clone()).unwrap();
    rig.run_for(secs(1));

    let failure = told.borrow_mut().pop().unwrap().unwrap_err();
    assert_eq!(failure.why, Reason::Io(std::io::ErrorKind::ConnectionReset));
    assert_eq!((failure.stage, failure.never_sent), (Stage::FirstByte, false));
    assert_eq!(*heard.1.borrow(), [Reason::Io(std::io::ErrorKind::ConnectionReset)]);
    assert_eq!(rig.rt.stats().accepted, 2);
    rig.end();
}

/// Agrees to be a WebSocket, with these fields besides, and says these bytes.
struct Agrees {
    more: &'static str,
    says: Vec<u8>,
    heard: Rc<RefCell<Vec<u8>>>,
    open: bool,
}

impl raw::Handler for Agrees {
    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        if self.open {
            self.heard.borrow_mut().extend_from_slice(bytes);
            return;
        }
        self.open = true;
        let request = std::str::from_utf8(bytes).unwrap();
        let fields = request.lines().filter_map(|line| line.split_once(": "));
        let offer = Offer::from_fields(fields.map(|(name, value)| (name, value.as_bytes())));
        let head = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        let mut answer = head.as_bytes().to_vec();
        accept(&offer, &ws::Config::default()).unwrap().put_fields(&mut answer);
        answer.extend_from_slice(self.more.as_bytes());
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&self.says);
        cx.send(&answer).unwrap();
    }
}

/// Gives how the client's WebSocket ended, and what it said, its masks taken off.
fn against(more: &'static str, says: &[u8]) -> (Vec<String>, Option<Reason>, Vec<u8>) {
    let rig = Rig::new(Trigger::Edge);
    let (heard, said) = (Heard::default(), Rc::<RefCell<Vec<u8>>>::default());
    let (says, into) = (says.to_vec(), Rc::clone(&said));
    rig.serve(raw::Server::new(move |_| {
        Some(Agrees { more, says: says.clone(), heard: Rc::clone(&into), open: false })
    }));

    ws::Client::new("ws://127.0.0.1/").connect(&rig.rt, heard.clone()).unwrap();
    rig.run_for(secs(1));

    rig.end();
    let first = heard.1.borrow().first().copied();
    let texts = heard.0.borrow().clone();
    let said = said.borrow().clone();
    (texts, first, said)
}

fn close_code_of(said: &[u8]) -> Option<u16> {
    match said {
        [0x88, 0x82, a, b, _, _, first, second, ..] => {
            Some(u16::from_be_bytes([first ^ a, second ^ b]))
        }
        _ => None,
    }
}

#[test]
fn what_a_server_may_not_say_ends_the_websocket_with_its_code() {
    let masked_hello = [0x81, 0x81, 1, 2, 3, 4, b'a' ^ 1];
    let rows: [(&str, &[u8], u16); 9] = [
        ("5.1: a masked frame", &masked_hello, 1002),
        ("5.2: a reserved bit", &[0xc1, 1, b'a'], 1002),
        ("5.2: a reserved opcode", &[0x83, 0], 1002),
        ("5.4: nothing to continue", &[0x80, 0], 1002),
        ("5.5: a long control frame", &[0x89, 126, 0, 126], 1002),
        ("7.4: code 999", &[0x88, 2, 0x03, 0xe7], 1002),
        ("7.4: code 1005", &[0x88, 2, 0x03, 0xed], 1002),
        ("7.4: code 5000", &[0x88, 2, 0x13, 0x88], 1002),
        ("8.1: no UTF-8", &[0x81, 1, 0xff], 1007),
    ];
    for (rule, says, code) in rows {
        let (texts, why, said) = against("", says);

        assert_eq!(texts, ["open"], "{rule}");
        let Some(Reason::Peer(e)) = why else { panic!("{rule}: {why:?}") };
        assert_eq!((e.wire(), close_code_of(&said)), (Wire::Ws(code), Some(code)), "{rule}");
    }
    assert_eq!(against("", &[0x81, 1, b'a']).0, ["open", "Text(\"a\")"], "and this it may");
}

/// RFC 6455, 4.1: what was not offered cannot be agreed on.
#[test]
fn what_was_not_offered_is_refused() {
    for more in [
        "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        "Sec-WebSocket-Extensions: x-unknown\r\n",
        "Sec-WebSocket-Protocol: chat\r\n",
    ] {
        let (texts, why, said) = against(more, &[]);

        assert!(texts.is_empty() && said.is_empty(), "{more}");
        assert!(matches!(why, Some(Reason::Peer(_))), "{more}: {why:?}");
    }
}
