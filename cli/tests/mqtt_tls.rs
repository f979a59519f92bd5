//! MQTT over TLS on real sockets: the program's broker with mosquitto's clients, the program's
//! clients with mosquitto, and the two with each other.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

const LODGER: &str = env!("CARGO_BIN_EXE_lodger");
/// After so long a client that hears nothing ends, and the test with it.
const PATIENCE: &str = "60";

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A certificate for "localhost" and its key, in files.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn make(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        std::fs::create_dir_all(&folder).unwrap();
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { cert, key }
    }

    fn cert(&self) -> &str {
        self.cert.to_str().unwrap()
    }

    fn key(&self) -> &str {
        self.key.to_str().unwrap()
    }
}

fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--help").output().is_ok();
    if !found {
        println!("skipped: no {program}");
    }
    found
}

/// Starts our broker; gives it, and the ports of MQTT and of WebSockets.
fn lodger(files: &Files) -> (Process, String, String) {
    let mut child = Command::new(LODGER)
        .args(["mqtt", "broker", "--tls", "--cert", files.cert(), "--key", files.key()])
        .args(["--listen", "127.0.0.1:0", "--ws", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut port = |scheme: &str| {
        let line = lines.next().unwrap().unwrap();
        let rest = line.split(&format!("{scheme}://127.0.0.1:")).nth(1).unwrap().to_owned();
        rest.trim_end_matches("/mqtt").to_owned()
    };
    let (mqtt, ws) = (port("mqtts"), port("wss"));
    (Process(child), mqtt, ws)
}

fn mosquitto(files: &Files) -> (Process, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = files.cert.with_file_name("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\nuser root\n\
         certfile {}\nkeyfile {}\n",
        files.cert(),
        files.key()
    );
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

/// A subscriber, which has subscribed once the kept message "t/ready" has come.
struct Hears {
    child: Process,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Hears {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut hears = Self { child: Process(child), lines };
        assert_eq!(hears.next(), "ready");
        hears
    }

    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn ends_well(mut self) {
        assert!(self.child.0.wait().unwrap().success());
    }
}

fn well(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Publishes with mosquitto's client.
fn theirs(port: &str, files: &Files, args: &[&str]) {
    let output = Command::new("mosquitto_pub")
        .args(["-h", "localhost", "-p", port, "--cafile", files.cert()])
        .args(args)
        .output();
    well(&output.unwrap());
}

/// Publishes with ours.
fn ours(url: &str, files: &Files, args: &[&str]) {
    let output = Command::new(LODGER)
        .args(["mqtt", "pub", "--url", url, "--cacert", files.cert()])
        .args(args)
        .output();
    well(&output.unwrap());
}

fn mosquitto_sub(port: &str, files: &Files, version: &str) -> Command {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", "localhost", "-p", port, "--cafile", files.cert(), "-V", version]);
    command.args(["-t", "t/#", "-q", "2", "-C", "4", "-W", PATIENCE]);
    command
}

fn lodger_sub(url: &str, files: &Files, version: &str) -> Command {
    let mut command = Command::new(LODGER);
    command.args(["mqtt", "sub", "--url", url, "--cacert", files.cert(), "-V", version]);
    command.args(["--qos", "2", "--count", "4", "t/#"]);
    command
}

#[test]
fn mosquittos_clients_reach_our_broker_over_tls() {
    if !have("mosquitto_pub") {
        return;
    }
    let files = Files::make("mqtt-tls-broker");
    let (_broker, port, _) = lodger(&files);
    theirs(&port, &files, &["-t", "t/ready", "-m", "ready", "-r", "-q", "1"]);
    for (sub, version) in [("mqttv311", "mqttv5"), ("mqttv5", "mqttv311")] {
        let mut hears = Hears::start(&mut mosquitto_sub(&port, &files, sub));

        for qos in ["0", "1", "2"] {
            // A name that we do not speak is refused: RFC 7301, section 3.2.
            let alpn = ["-V", version, "--tls-alpn", "mqtt"];
            let args = [&["-t", "t/x", "-m", qos, "-q", qos], &alpn[..]].concat();
            theirs(&port, &files, &args);
        }

        assert_eq!([hears.next(), hears.next(), hears.next()], ["0", "1", "2"]);
        hears.ends_well();
    }
    let args = ["-h", "localhost", "-p", &port, "--cafile", files.cert(), "-t", "t/x", "-m", ""];
    let other = Command::new("mosquitto_pub").args(args).args(["--tls-alpn", "h2"]).output();
    assert!(!other.unwrap().status.success(), "h2 is not spoken here");
}

#[test]
fn our_clients_reach_mosquitto_over_tls() {
    if !have("mosquitto") || !have("mosquitto_pub") {
        return;
    }
    let files = Files::make("mqtt-tls-client");
    let (_broker, port) = mosquitto(&files);
    let url = format!("mqtts://localhost:{port}");
    ours(&url, &files, &["--retain", "--qos", "1", "--message", "ready", "t/ready"]);
    for (sub, version) in [("4", "5"), ("5", "4")] {
        let mut hears = Hears::start(&mut lodger_sub(&url, &files, sub));

        for qos in ["0", "1", "2"] {
            ours(&url, &files, &["-V", version, "--qos", qos, "--message", qos, "t/x"]);
        }

        assert_eq!([hears.next(), hears.next(), hears.next()], ["0", "1", "2"]);
        hears.ends_well();
    }
}

#[test]
fn our_clients_reach_our_broker_over_tls_and_over_websockets_in_it() {
    let files = Files::make("mqtt-tls-own");
    let (_broker, port, web) = lodger(&files);
    let (url, wss) = (format!("mqtts://localhost:{port}"), format!("wss://localhost:{web}/mqtt"));
    ours(&wss, &files, &["--retain", "--qos", "1", "--message", "ready", "t/ready"]);
    for (from, to) in [(&url, &wss), (&wss, &url)] {
        let mut hears = Hears::start(&mut lodger_sub(to, &files, "5"));

        for qos in ["0", "1", "2"] {
            ours(from, &files, &["--qos", qos, "--message", qos, "t/x"]);
        }

        assert_eq!([hears.next(), hears.next(), hears.next()], ["0", "1", "2"]);
        hears.ends_well();
    }
    let stranger = Command::new(LODGER)
        .args(["mqtt", "pub", "--url", &url, "--message", "x", "t/x"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(stranger.status.code() == Some(1) && said.contains("certificate"), "{said}");
}
