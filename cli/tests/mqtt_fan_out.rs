//! The program's fan-out behind a broker that is not ours: what docs/mqtt-scale-out.md tells to do.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger::{Budget, Reason, Runtime, ws};

/// WebSockets that hear the same topic.
const PEERS: usize = 200;
const MESSAGES: usize = 10;

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mosquitto() -> (Process, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mqtt-fan-out");
    std::fs::create_dir_all(&folder).unwrap();
    let conf = folder.join("mosquitto.conf");
    let text =
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\nuser root\n");
    std::fs::write(&conf, text).unwrap();
    let child = Command::new("mosquitto").arg("-c").arg(conf).stderr(Stdio::null()).spawn();
    let child = Process(child.unwrap());
    let patience = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < patience, "mosquitto does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (child, port.to_string())
}

/// Starts the fan-out; gives where its WebSockets are.
fn fan_out(broker: &str) -> (Process, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lodger"))
        .args(["mqtt", "fan-out", "--qos", "1", "--listen", "127.0.0.1:0", "--url"])
        .arg(format!("mqtt://127.0.0.1:{broker}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let url = line.split("serves ").nth(1).unwrap().trim_end_matches("/TOPIC").to_owned();
    (Process(child), url)
}

fn publish(broker: &str, topic: &str, payload: &str, more: &[&str]) {
    let args = ["-p", broker, "-q", "1", "-t", topic, "-m", payload];
    let sent = Command::new("mosquitto_pub").args(args).args(more).status().unwrap();
    assert!(sent.success());
}

/// What one WebSocket has heard.
type Heard = Rc<RefCell<Vec<String>>>;

struct Hears {
    heard: Heard,
    ended: Rc<Cell<u16>>,
}

impl ws::Handler for Hears {
    fn message(&mut self, _cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        let text = String::from_utf8(message.bytes().to_vec()).unwrap();
        self.heard.borrow_mut().push(text);
    }

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, why: Reason) {
        if let Reason::Refused { status } = why {
            self.ended.set(status);
        }
    }
}

fn connect(rt: &Runtime, url: &str) -> (ws::Connection, Heard, Rc<Cell<u16>>) {
    let (heard, ended): (Heard, Rc<Cell<u16>>) = Default::default();
    let hears = Hears { heard: Rc::clone(&heard), ended: Rc::clone(&ended) };
    (ws::Client::new(url).connect(rt, hears).unwrap(), heard, ended)
}

fn run_until(rt: &Runtime, what: &str, holds: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < patience, "not in time: {what}");
        rt.step(Some(Duration::from_millis(20)), Budget::default()).unwrap();
    }
}

#[test]
fn websockets_behind_mosquitto_hear_every_message_in_order() {
    if Command::new("mosquitto_pub").arg("--help").output().is_err() {
        println!("skipped: no mosquitto-clients");
        return;
    }
    let (_broker, port) = mosquitto();
    let (_fan_out, url) = fan_out(&port);
    let rt = Runtime::standalone().unwrap();
    publish(&port, "room/temperature", "kept", &["-r"]);
    let peers: Vec<_> =
        (0..PEERS).map(|_| connect(&rt, &format!("{url}/room/temperature"))).collect();
    let (_other, other, _) = connect(&rt, &format!("{url}/room/light"));
    let (_wild, _, refused) = connect(&rt, &format!("{url}/room/%23"));
    // What the broker keeps says that it has heard the subscription.
    run_until(&rt, "all hear what is kept", || peers.iter().all(|p| !p.1.borrow().is_empty()));
    run_until(&rt, "a wildcard is refused", || refused.get() == 404);

    for i in 0..MESSAGES {
        publish(&port, "room/temperature", &i.to_string(), &[]);
    }
    run_until(&rt, "all hear all", || peers.iter().all(|p| p.1.borrow().len() > MESSAGES));

    let wanted: Vec<String> =
        ["kept".to_owned()].into_iter().chain((0..MESSAGES).map(|i| i.to_string())).collect();
    for (_, heard, _) in &peers {
        assert_eq!(*heard.borrow(), wanted);
    }
    assert!(other.borrow().is_empty());
    let (_late, late, _) = connect(&rt, &format!("{url}/room/temperature"));
    run_until(&rt, "one that comes late hears the latest", || !late.borrow().is_empty());
    assert_eq!(*late.borrow(), [(MESSAGES - 1).to_string()]);
}
