//! The program as those who start it see it: what it says, how it ends, what it leaves.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LODGER: &str = env!("CARGO_BIN_EXE_lodger");
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program, ended with the test.
struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
    err: ChildStderr,
}

impl Program {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(LODGER);
        command.args(args);
        Self::spawn(command)
    }

    /// Starts it from a shell, where `$0` is the program.
    fn shell(script: &str) -> Self {
        Self::spawn(shell(script))
    }

    fn spawn(mut command: Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let err = child.stderr.take().unwrap();
        Self { child, out, err }
    }

    /// Takes a line that it says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    /// Takes a line that it says on standard error.
    fn error_line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            self.err.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Takes the address out of the line that says it.
    fn addr(&mut self) -> String {
        addr_in(&self.line())
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end. Gives the exit code and what it said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let since = Instant::now();
        while self.is_running() {
            assert!(since.elapsed() < PATIENCE, "it does not end");
            sleep(Duration::from_millis(5));
        }
        let mut said = String::new();
        self.err.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    /// A number that the kernel keeps about the process.
    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory of its own, removed with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lodger-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A directory that is left does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, LODGER]);
    command
}

fn addr_in(line: &str) -> String {
    let (_, rest) = line.split_once("http://").unwrap_or_else(|| panic!("no address in {line:?}"));
    rest.split('/').next().unwrap().to_string()
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn connect(addr: &str) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Asks for `/plaintext` and gives the last line of the answer.
fn plaintext(mut stream: impl Read + Write) -> String {
    stream.write_all(b"GET /plaintext HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.lines().last().unwrap_or_default().to_string()
}

/// Runs it to its end. Gives the exit code and its one line, which must be one.
fn refused(command: Command) -> (Option<i32>, String) {
    let (code, said) = Program::spawn(command).end();
    assert_eq!(said.matches('\n').count(), 1, "{said}");
    assert!(said.starts_with("lodger: ") && said.len() < 400, "{said}");
    (code, said)
}

fn refused_listen(addr: &str) -> (Option<i32>, String) {
    let mut command = Command::new(LODGER);
    command.args(["serve", "--listen", addr]);
    refused(command)
}

#[test]
fn it_says_where_it_serves_and_serves_there() {
    let mut program = Program::start(&["--listen", "127.0.0.1:0"]);

    let line = program.line();
    let addr = addr_in(&line);

    assert_eq!(line, format!("lodger serves http://{addr}/\n"));
    assert!(!addr.ends_with(":0"), "{addr}");
    assert_eq!(plaintext(connect(&addr)), "Hello, World!");
}

#[test]
fn it_listens_wherever_it_is_told_to() {
    let dir = Dir::new("several");
    let path = dir.join("sock");
    let listen = ["--listen", "127.0.0.1:0", "--listen", &unix(&path), "--listen", "[::1]:0"];
    let mut program = Program::start(&[&["serve"], &listen[..]].concat());

    let (first, second) = (program.addr(), program.line());
    let third = program.addr();

    assert_eq!(second, format!("lodger serves {}\n", unix(&path)));
    assert_eq!(plaintext(connect(&first)), "Hello, World!");
    assert_eq!(plaintext(UnixStream::connect(&path).unwrap()), "Hello, World!");
    assert_eq!(plaintext(connect(&third)), "Hello, World!");
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
    assert!(!path.exists(), "the socket file is left");
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["serve", "--help"], &["help"], &["--version"], &["-V"]] {
        let (code, said) = Program::start(args).end();

        assert_eq!((code, said.as_str()), (Some(0), ""), "{args:?}");
    }
}

/// RFC 6455, section 7.4.1: 1001, going away.
#[test]
fn a_signal_says_goodbye_in_every_protocol() {
    for signal in ["TERM", "INT"] {
        let mut program = Program::start(&["serve", "--listen", "127.0.0.1:0"]);
        let addr = program.addr();
        let mut socket = websocket(&addr);
        let mut idle = connect(&addr);
        idle.write_all(b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        read_until(&mut idle, b"Hello, World!");

        program.signal(signal);

        let mut close = [0; 4];
        socket.read_exact(&mut close).unwrap();
        assert_eq!(close, [0x88, 2, 0x03, 0xe9]);
        socket.write_all(b"\x88\x82\0\0\0\0\x03\xe9").unwrap();
        assert_eq!(socket.read(&mut close).unwrap(), 0);
        assert_eq!(idle.read(&mut close).unwrap(), 0);
        drop((socket, idle));
        assert_eq!(program.end().0, Some(0), "{signal}");
    }
}

fn websocket(addr: &str) -> TcpStream {
    let mut stream = connect(addr);
    stream
        .write_all(
            b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let head = read_until(&mut stream, b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    bytes
}

#[test]
fn a_second_signal_ends_at_once() {
    let dir = Dir::new("twice");
    let path = dir.join("sock");
    let listen = ["--listen", "127.0.0.1:0", "--listen", &unix(&path)];
    let mut program = Program::start(&[&["serve", "--grace", "600"], &listen[..]].concat());
    let addr = program.addr();
    let mut busy = connect(&addr);
    busy.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1").unwrap();
    // An answer on another connection: the request above is in by now.
    assert_eq!(plaintext(connect(&addr)), "Hello, World!");

    program.signal("TERM");
    let said = program.error_line();
    sleep(Duration::from_millis(100));
    let waits = program.is_running();
    program.signal("TERM");

    assert!(said.starts_with("lodger: goodbye to ") && said.contains(" 600 s at most"), "{said}");
    assert!(waits);
    assert_eq!(program.end().0, Some(0));
    assert!(!path.exists(), "the socket file is left");
}

#[test]
fn a_wrong_command_line_is_one_line_and_exit_2() {
    let long = format!("unix:/tmp/{}", "long".repeat(40));
    let rows: &[(&[&str], &str)] = &[
        (&["serve", "--listen", "nowhere"], "an address is IP:PORT"),
        (&["serve", "--listen", "127.0.0.1"], "an address is IP:PORT"),
        (&["serve", "--listen", "127.0.0.1:65536"], "an address is IP:PORT"),
        (&["serve", "--listen", "unix:"], "needs a path"),
        (&["serve", "--listen", &long], "choose a shorter one"),
        (&["serve", "--listen", "two\nlines"], "an address is IP:PORT"),
        (&["serve", "--listen"], "a value is required"),
        (&["serve", "--lisen", "127.0.0.1:0"], "'--listen'"),
        (&["serve", "--max-head", "2m"], "1 to 1048576 bytes"),
        (&["serve", "--max-connections", "0"], "is not in 1.."),
        (&["serve", "--idle-timeout=-1"], "0.001 to 100000000 seconds"),
        (&["serv"], "'serve'"),
        (&["--grace", "soon"], "0.001 to 100000000 seconds"),
    ];
    for (args, expected) in rows {
        let mut command = Command::new(LODGER);
        command.args(*args);

        let (code, said) = refused(command);

        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn an_address_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();

    let (code, said) = refused_listen(&addr);

    assert_eq!(
        (code, said.contains(&format!("{addr} is in use: stop"))),
        (Some(1), true),
        "{said}"
    );
}

/// 192.0.2.0/24 is for documentation, RFC 5737.
#[test]
fn an_address_of_another_machine_is_told() {
    let (code, said) = refused_listen("192.0.2.1:80");

    assert_eq!((code, said.contains("no address of this machine")), (Some(1), true), "{said}");
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let dir = Dir::new("nowhere");

    let (code, said) = refused_listen(&unix(&dir.join("none/sock")));

    assert_eq!((code, said.contains("make it first")), (Some(1), true), "{said}");
}

#[test]
fn somebody_elses_socket_is_left_alone() {
    let dir = Dir::new("alive");
    let path = dir.join("sock");
    let owner = UnixListener::bind(&path).unwrap();

    let (code, said) = refused_listen(&unix(&path));

    assert_eq!((code, said.contains("is in use: stop")), (Some(1), true), "{said}");
    let mut other = UnixStream::connect(&path).unwrap();
    other.write_all(b"x").unwrap();
    drop(other);
    // The first is the program's own question whether anybody answers.
    let answered = owner.incoming().take(2).map(|s| {
        let mut bytes = Vec::new();
        s.unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    });
    assert_eq!(answered.last().unwrap(), b"x");
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let dir = Dir::new("stale");
    let path = dir.join("sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());

    let mut program = Program::start(&["serve", "--listen", &unix(&path)]);

    assert_eq!(program.line(), format!("lodger serves {}\n", unix(&path)));
    assert_eq!(plaintext(UnixStream::connect(&path).unwrap()), "Hello, World!");
}

#[test]
fn a_file_is_never_removed() {
    let dir = Dir::new("file");
    let path = dir.join("file");
    fs::write(&path, "precious").unwrap();

    let (code, said) = refused_listen(&unix(&path));

    assert_eq!((code, said.contains("is left alone")), (Some(1), true), "{said}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_closed_standard_output_is_no_reason_to_stop() {
    let dir = Dir::new("closed");
    let path = dir.join("sock");
    let mut program = Program::shell(&format!("exec \"$0\" --listen {} >&-", unix(&path)));

    let since = Instant::now();
    while UnixStream::connect(&path).is_err() {
        assert!(since.elapsed() < PATIENCE && program.is_running());
        sleep(Duration::from_millis(5));
    }

    assert_eq!(plaintext(UnixStream::connect(&path).unwrap()), "Hello, World!");
    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn what_standard_output_does_not_take_is_said_on_the_other() {
    let mut program = Program::shell("exec \"$0\" serve --listen 127.0.0.1:0 >/dev/full");

    let said = program.error_line();

    assert!(said.starts_with("lodger: standard output takes nothing"), "{said}");
    assert_eq!(plaintext(connect(&addr_in(&said))), "Hello, World!");
}

/// Accepting pauses: those who wait cost nothing, and are served when others have gone.
#[test]
#[cfg(target_os = "linux")]
fn few_descriptors_are_enough() {
    let mut program = Program::shell("ulimit -n 16; exec \"$0\" serve --listen 127.0.0.1:0");
    let addr = program.addr();
    assert_eq!(plaintext(connect(&addr)), "Hello, World!");

    let crowd: Vec<TcpStream> = (0..20).map(|_| connect(&addr)).collect();
    sleep(Duration::from_millis(200));
    let before = program.status("voluntary_ctxt_switches");
    sleep(Duration::from_secs(1));
    let woken = program.status("voluntary_ctxt_switches") - before;
    drop(crowd);

    // It tries again every 100 ms.
    assert!((1..=25).contains(&woken), "{woken} wakeups in a second");
    assert_eq!(plaintext(connect(&addr)), "Hello, World!");
}

#[test]
fn too_few_descriptors_are_told() {
    let (code, said) = refused(shell("ulimit -n 6; exec \"$0\" serve --listen 127.0.0.1:0"));

    assert_eq!((code, said.contains("ulimit -n")), (Some(1), true), "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn idle_is_no_wakeup_and_no_thread() {
    let mut program = Program::start(&["serve", "--listen", "127.0.0.1:0"]);
    let addr = program.addr();
    assert_eq!(plaintext(connect(&addr)), "Hello, World!");
    let sockets: Vec<TcpStream> = (0..10).map(|_| websocket(&addr)).collect();
    sleep(Duration::from_millis(200));

    let before = program.status("voluntary_ctxt_switches");
    sleep(Duration::from_secs(1));

    assert_eq!(program.status("voluntary_ctxt_switches"), before);
    assert_eq!((program.status("Threads"), sockets.len()), (1, 10));
    // Resident memory in kB; what a debug build holds.
    assert!(program.status("VmRSS") < 8 << 10);
}

// ---- Files ----

/// Asks for a path with these field lines. Gives the head and the body.
fn ask(addr: &str, path: &str, fields: &str) -> (String, Vec<u8>) {
    let mut stream = connect(addr);
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    // A file that became shorter may end in a reset.
    let _ = stream.read_to_end(&mut all);
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let body = all.split_off(end);
    (String::from_utf8(all).unwrap(), body)
}

fn status(addr: &str, path: &str) -> String {
    ask(addr, path, "").0[9..12].to_owned()
}

fn noise(n: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(n).collect()
}

#[test]
fn a_directory_is_served_whole_and_in_parts() {
    let dir = Dir::new("www");
    let big = noise(5 << 20);
    fs::write(dir.join("big.bin"), &big).unwrap();
    fs::write(dir.join("index.html"), "<h1>home</h1>").unwrap();
    fs::write(dir.join(".hidden"), "hidden").unwrap();
    let path = dir.0.to_str().unwrap();
    let args = ["serve", path, "--listen", "127.0.0.1:0", "--cache-control", "max-age=9"];
    let mut program = Program::start(&args);
    let addr = program.addr();

    let (head, body) = ask(&addr, "/big.bin", "");
    assert!(body == big && head.contains("\r\nCache-Control: max-age=9\r\n"), "{head}");
    let (head, body) = ask(&addr, "/big.bin", "Range: bytes=1000000-\r\n");
    assert!(body == big[1_000_000..] && head.starts_with("HTTP/1.1 206 "), "{head}");
    assert_eq!(ask(&addr, "/", "").1, b"<h1>home</h1>");
    assert!(ask(&addr, "/_lodger", "").0.contains("text/html"));
    for hidden in ["/.hidden", "/plaintext", "/../Cargo.toml", "/%2e%2e/Cargo.toml"] {
        assert_eq!(status(&addr, hidden), "404", "{hidden}");
    }
    assert_eq!(status(&addr, "/..%2fCargo.toml"), "400");

    program.signal("TERM");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn links_lead_nowhere_outside() {
    let dir = Dir::new("links");
    fs::create_dir(dir.join("www")).unwrap();
    fs::write(dir.join("secret"), "secret").unwrap();
    fs::write(dir.join("www/a.txt"), "inside").unwrap();
    for (target, link) in [("a.txt", "in"), ("../secret", "out"), ("/etc/passwd", "top")] {
        std::os::unix::fs::symlink(target, dir.join("www").join(link)).unwrap();
    }
    let www = dir.join("www");
    let mut program = Program::start(&["serve", www.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let addr = program.addr();

    assert_eq!((status(&addr, "/out").as_str(), status(&addr, "/top").as_str()), ("404", "404"));
    assert_eq!(status(&addr, "/a.txt"), "200");
    if cfg!(target_os = "linux") {
        assert_eq!(ask(&addr, "/in", "").1, b"inside");
    }
}

/// Its length was announced: the end of the connection is all that can tell the peer.
#[test]
fn a_file_that_shrinks_ends_its_connection_short() {
    let dir = Dir::new("shrinks");
    let path = dir.join("big.bin");
    fs::write(&path, noise(64 << 20)).unwrap();
    let mut program =
        Program::start(&["serve", dir.0.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let mut stream = connect(&program.addr());
    stream.write_all(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut first = [0; 1000];
    stream.read_exact(&mut first).unwrap();

    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let rest = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or(0);

    assert!(String::from_utf8_lossy(&first).contains("Content-Length: 67108864\r\n"));
    assert!(rest < 64 << 20, "{rest}");
    assert!(program.is_running());
}

/// Nothing is kept of a file but its descriptor.
#[test]
#[cfg(target_os = "linux")]
fn a_large_file_is_not_held_in_memory_and_a_slow_peer_costs_nothing() {
    let dir = Dir::new("large");
    fs::write(dir.join("big.bin"), noise(64 << 20)).unwrap();
    let mut program =
        Program::start(&["serve", dir.0.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    let addr = program.addr();
    let slow: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = connect(&addr);
            stream.write_all(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream
        })
        .collect();
    sleep(Duration::from_millis(1500));

    let before = program.status("voluntary_ctxt_switches");
    sleep(Duration::from_secs(1));

    // It may let its remembered names go meanwhile.
    assert!(program.status("voluntary_ctxt_switches") <= before + 2);
    assert!(program.status("VmRSS") < 10 << 10, "{} kB", program.status("VmRSS"));
    assert_eq!(ask(&addr, "/big.bin", "Range: bytes=-5\r\n").1.len(), 5);
    drop(slow);
}

#[test]
fn a_missing_directory_is_told() {
    let mut command = Command::new(LODGER);
    command.args(["serve", "/nowhere/at/all", "--listen", "127.0.0.1:0"]);

    let (code, said) = refused(command);

    assert_eq!((code, said.contains("/nowhere/at/all")), (Some(1), true), "{said}");
}
