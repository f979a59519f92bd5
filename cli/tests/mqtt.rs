//! The program's broker under load, killed at random moments, and its clients.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(clippy::print_stdout, reason = "a test tells its figures")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger::mqtt::{Client, Connection, Outgoing, Published, Qos};
use lodger::policy::Retry;
use lodger::{Budget, Runtime};

/// Which broker, and how it ends.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Ours, with a journal, killed.
    Lodger,
    /// One that writes down its sessions when it is asked to end, and is.
    Mosquitto,
}

/// A broker that ends when it is dropped.
struct Broker(Child, Kind);

impl Broker {
    fn start(folder: &Path, kind: Kind) -> Self {
        match kind {
            Kind::Lodger => Self(lodger(folder), kind),
            Kind::Mosquitto => Self(mosquitto(folder), kind),
        }
    }
}

fn mosquitto(folder: &Path) -> Child {
    let conf = folder.join("mosquitto.conf");
    let text = format!(
        "listener 0 {0}/socket\nallow_anonymous true\npersistence true\n\
         persistence_location {0}/\nmax_queued_messages 0\nlog_dest none\nuser root\n",
        folder.display()
    );
    std::fs::write(&conf, text).unwrap();
    let _ = std::fs::remove_file(folder.join("socket"));
    Command::new("mosquitto").arg("-c").arg(conf).stderr(Stdio::null()).spawn().unwrap()
}

fn lodger(folder: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lodger"))
        .args(["mqtt", "broker", "--listen"])
        .arg(format!("unix:{}", folder.join("socket").display()))
        .args(["--journal", &folder.join("journal").display().to_string()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Broker {
    fn drop(&mut self) {
        match self.1 {
            // SIGKILL: it has no time to write anything.
            Kind::Lodger => self.0.kill().unwrap(),
            Kind::Mosquitto => {
                let pid = self.0.id().to_string();
                assert!(Command::new("kill").arg(pid).status().unwrap().success());
            }
        }
        self.0.wait().unwrap();
    }
}

/// What was sent, acknowledged and heard, by the number in the payload.
#[derive(Default)]
struct Counts {
    acknowledged: BTreeMap<u64, Qos>,
    heard: BTreeMap<u64, u32>,
    lost: u64,
}

fn turn(rt: &Runtime, time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        rt.step(Some(left), Budget::default()).unwrap();
    }
}

fn client(folder: &Path, name: &str) -> Client {
    Client::new(&format!("unix:{}", folder.join("socket").display()))
        .id(name)
        .session(Duration::from_secs(3000))
        .retry(Retry::new(&[Duration::from_millis(3)]).attempts(None).jitter(100))
}

/// Publishes as long as not too much is under way; odd numbers exactly once.
fn load(says: &Connection, counts: &Rc<RefCell<Counts>>, next: &mut u64) {
    while says.pending() < 60 {
        let number = *next;
        let qos = if number.is_multiple_of(2) { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
        let payload = number.to_string();
        let done = Rc::clone(counts);
        let message = Outgoing::new("kill/load", payload.as_bytes()).qos(qos);
        let sent = says.publish_then(message, move |_, end| match end {
            Published::Acknowledged => _ = done.borrow_mut().acknowledged.insert(number, qos),
            _ => done.borrow_mut().lost += 1,
        });
        if sent.is_err() {
            return;
        }
        *next += 1;
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lodger-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// `LODGER_KILLS` sets how often; 5 times otherwise.
#[test]
fn nothing_acknowledged_is_lost_and_qos_2_comes_once_though_the_broker_is_killed() {
    let kills = std::env::var("LODGER_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(5_u32);
    survive(kills, Kind::Lodger, &folder("kill"));
}

/// Our client against a broker that is not ours.
#[test]
fn nothing_is_lost_and_qos_2_comes_once_though_mosquitto_is_started_again() {
    let there = Command::new("mosquitto").arg("-h").stdout(Stdio::null()).status().is_ok();
    if !there {
        println!("skipped: no mosquitto");
        return;
    }
    survive(3, Kind::Mosquitto, &folder("mosquitto"));
}

/// Loads a broker that ends at random moments; checks what came of it.
fn survive(kills: u32, kind: Kind, folder: &Path) {
    let rt = Runtime::standalone().unwrap();
    let counts = Rc::new(RefCell::new(Counts::default()));
    let hears = client(folder, "hears").connect(&rt).unwrap();
    let heard = Rc::clone(&counts);
    let _sub = hears
        .subscribe("kill/#", Qos::ExactlyOnce, move |_, message| {
            let number = std::str::from_utf8(message.payload).unwrap().parse().unwrap();
            *heard.borrow_mut().heard.entry(number).or_default() += 1;
        })
        .unwrap();
    let says = client(folder, "says").connect(&rt).unwrap();
    let mut broker = Broker::start(folder, kind);
    let (mut next, mut seed) = (0, u64::from(std::process::id()) | 1);
    while _sub.code().is_none() {
        turn(&rt, Duration::from_millis(5));
    }
    for _ in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let end = Instant::now() + Duration::from_micros(20_000 + (seed >> 33) % 150_000);
        while Instant::now() < end {
            load(&says, &counts, &mut next);
            turn(&rt, Duration::from_millis(1));
        }
        drop(broker);
        turn(&rt, Duration::from_millis(2));
        broker = Broker::start(folder, kind);
    }
    let patience = Instant::now() + Duration::from_secs(60);
    while says.pending() > 0 && Instant::now() < patience {
        turn(&rt, Duration::from_millis(10));
    }
    let all = |counts: &Counts| counts.acknowledged.keys().all(|n| counts.heard.contains_key(n));
    while !all(&counts.borrow()) && Instant::now() < patience {
        turn(&rt, Duration::from_millis(10));
    }
    turn(&rt, Duration::from_millis(200));
    drop(broker);

    let counts = counts.borrow();
    let missing: Vec<_> =
        counts.acknowledged.keys().filter(|n| !counts.heard.contains_key(n)).collect();
    let twice: Vec<_> =
        counts.heard.iter().filter(|(n, times)| !n.is_multiple_of(2) && **times > 1).collect();
    println!(
        "{kills} kills: {} acknowledged of {next}, {} heard, {} heard more than once at QoS 1",
        counts.acknowledged.len(),
        counts.heard.len(),
        counts.heard.iter().filter(|(n, times)| n.is_multiple_of(2) && **times > 1).count(),
    );
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    assert!(twice.is_empty(), "QoS 2 more than once: {twice:?}");
    assert_eq!((counts.acknowledged.len() as u64, counts.lost), (next, 0));
    assert!(next > 100, "there was load: {next}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_damaged_journal_is_refused_with_its_place() {
    let folder = std::env::temp_dir().join(format!("lodger-damage-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let journal = folder.join("journal");
    std::fs::write(&journal, b"this is no journal at all").unwrap();

    let output = Command::new(env!("CARGO_BIN_EXE_lodger"))
        .args(["mqtt", "broker", "--listen", "127.0.0.1:0", "--journal"])
        .arg(&journal)
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("journal") && said.contains("at byte 0"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}
