//! The program as a client: fetch, ws, doctor and bench, against our own server and bad ones.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{JoinHandle, spawn};

const LODGER: &str = env!("CARGO_BIN_EXE_lodger");

/// Our own server, ended with the test.
struct Server(Child, String);

impl Server {
    fn start() -> Self {
        let mut command = Command::new(LODGER);
        command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.split("http://").nth(1).unwrap().trim_end().trim_end_matches('/');
        Self(child, addr.to_owned())
    }

    fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.1)
    }

    fn ws(&self) -> String {
        format!("ws://{}/echo", self.1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that gives each connection one of `answers`. Its thread gives what was asked.
fn says(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = spawn(move || {
        let answer = |answer: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(head).unwrap()
        };
        answers.into_iter().map(answer).collect()
    });
    (url, asked)
}

fn run(args: &[&str]) -> Output {
    Command::new(LODGER).args(args).stdin(Stdio::null()).output().unwrap()
}

fn shell(script: &str, arg: &str) -> Output {
    Command::new("sh").args(["-c", script, LODGER, arg]).output().unwrap()
}

fn fed(args: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(LODGER);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that ends early does not read all of it.
    let feeder = spawn(move || _ = pipe.write_all(&input));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

/// The exit code and the one line on standard error.
fn failed(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(said.matches('\n').count(), 1, "{said}");
    assert!(said.starts_with("lodger: "), "{said}");
    (output.status.code(), said)
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lodger-client-{}-{name}", std::process::id()))
}

#[test]
fn a_body_goes_to_standard_output() {
    let server = Server::start();

    let plain = run(&["fetch", &server.http("/plaintext")]);
    let headed = run(&["fetch", "-i", &server.http("/plaintext")]);
    let echoed = fed(&["fetch", "-d", "@-", &server.http("/echo")], b"a body");

    assert_eq!((plain.status.code(), &plain.stdout[..]), (Some(0), &b"Hello, World!"[..]));
    assert!(plain.stderr.is_empty());
    let headed = String::from_utf8(headed.stdout).unwrap();
    assert!(headed.starts_with("HTTP/1.1 200 OK\r\n") && headed.ends_with("\r\n\r\nHello, World!"));
    assert_eq!(echoed.stdout, b"a body");
}

#[test]
fn a_large_file_goes_up_and_comes_back() {
    let server = Server::start();
    let (sent, back) = (temporary("sent"), temporary("back"));
    let bytes: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(&sent, &bytes).unwrap();
    let (data, target) = (format!("@{}", sent.display()), back.to_str().unwrap());

    let output = run(&["fetch", "-d", &data, "-o", target, &server.http("/echo")]);

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(fs::read(&back).unwrap() == bytes, "it came back changed");
    fs::remove_file(sent).unwrap();
    fs::remove_file(back).unwrap();
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let body = "x".repeat(3_000_000);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n{body}");
    let (url, _asked) = says(vec![answer]);

    // The shell says the code of the program on standard error, after what the program says.
    let output = shell("{ \"$0\" fetch \"$1\"; echo $? >&2; } | head -c 5", &url);

    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"xxxxx"[..], &b"0\n"[..]));
}

#[test]
fn failures_name_their_stage() {
    let (cut, _asked) = says(vec!["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".into()]);
    let (silent, _thread) = says(vec![String::new()]);
    let server = Server::start();
    for (args, code, part) in [
        (&["fetch", "http://127.0.0.1:9/"][..], 1, "no connection: "),
        (&["fetch", "http://nowhere.invalid/"], 1, "the name has no address"),
        (&["fetch", &cut], 1, "the response did not end"),
        (&["fetch", &silent], 1, "no response"),
        (&["fetch", "--fail", &server.http("/none")], 22, "404 Not Found"),
        (&["fetch", &server.http("/").replace("http:", "https:")], 1, "no TLS: "),
        (&["fetch", "-C", "http://127.0.0.1/"], 2, "--output"),
        (&["fetch", "-H", "nothing", "http://127.0.0.1/"], 2, "Name: value"),
        (&["ws", "ws://127.0.0.1:9/"], 1, "connection refused"),
        (&["ws", &server.ws().replace("/echo", "/plaintext")], 1, "refused with status"),
        (&["bench", "--duration", "0.2", "http://127.0.0.1:9/"], 1, "connection refused"),
    ] {
        let (found, said) = failed(&run(args));
        assert_eq!(found, Some(code), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

#[test]
fn a_file_is_resumed_where_the_server_vouches_for_the_rest() {
    const DATES: &str = "Date: Sun, 06 Nov 1994 09:00:00 GMT\r\n\
                         Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let path = temporary("resumed");
    let target = path.to_str().unwrap();
    let (url, asked) = says(vec![
        format!("HTTP/1.1 200 OK\r\n{DATES}Content-Length: 10\r\n\r\n01234"),
        format!(
            "HTTP/1.1 206 Partial Content\r\n{DATES}Content-Range: bytes 5-9/10\r\n\
             Content-Length: 5\r\n\r\n56789"
        ),
        "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */10\r\n\
         Content-Length: 0\r\n\r\n"
            .into(),
        format!("HTTP/1.1 200 OK\r\n{DATES}Content-Length: 3\r\n\r\nnew"),
    ]);

    let (code, said) = failed(&run(&["fetch", "-C", "-o", target, &url]));
    assert!(code == Some(1) && said.contains("--resume"), "{said}");
    for content in ["0123456789", "0123456789", "new"] {
        let output = run(&["fetch", "-C", "-o", target, &url]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }

    let asked = asked.join().unwrap();
    assert!(!asked[0].contains("Range"), "{}", asked[0]);
    assert!(asked[1].contains("Range: bytes=5-\r\n"), "{}", asked[1]);
    assert!(asked[1].contains("If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{}", asked[1]);
    fs::remove_file(path).unwrap();
}

/// A server that names no date of the file: its tag vouches, as long as nobody else touches the file.
#[test]
fn a_file_is_resumed_by_its_tag() {
    const TAG: &str = "Date: Sun, 06 Nov 1994 09:00:00 GMT\r\nETag: \"v1\"\r\n";
    let path = temporary("tagged");
    let target = path.to_str().unwrap();
    let rest = format!(
        "HTTP/1.1 206 Partial Content\r\n{TAG}Content-Range: bytes 5-9/10\r\n\
         Content-Length: 5\r\n\r\n56789"
    );
    let (url, asked) = says(vec![
        format!("HTTP/1.1 200 OK\r\n{TAG}Content-Length: 10\r\n\r\n01234"),
        rest,
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew".into(),
    ]);

    assert_eq!(run(&["fetch", "-C", "-o", target, &url]).status.code(), Some(1));
    assert_eq!(run(&["fetch", "-C", "-o", target, &url]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), "0123456789");
    fs::write(&path, "of another program").unwrap();
    assert_eq!(run(&["fetch", "-C", "-o", target, &url]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");

    let asked = asked.join().unwrap();
    assert!(asked[1].contains("If-Range: \"v1\"\r\n"), "{}", asked[1]);
    assert!(!asked[2].contains("v1"), "{}", asked[2]);
    fs::remove_file(path).unwrap();
}

#[test]
fn lines_go_round_a_websocket() {
    let server = Server::start();
    let lines: String = (0..20_000).map(|n| format!("line {n}\n")).collect();

    let all = fed(&["ws", &server.ws()], lines.as_bytes());
    let last = fed(&["ws", &server.ws()], b"a\r\nno end of line");
    let binary = fed(&["ws", "--binary", &server.ws()], b"\xff\n");
    let no_text = fed(&["ws", &server.ws()], b"\xff\n");

    assert_eq!(all.status.code(), Some(0), "{:?}", String::from_utf8(all.stderr));
    assert!(all.stdout == lines.as_bytes(), "lines came back changed");
    assert_eq!(last.stdout, b"a\nno end of line\n");
    assert_eq!(binary.stdout, b"\xff\n");
    assert_eq!(failed(&no_text).0, Some(1));
}

#[test]
fn the_machine_is_described() {
    let output = run(&["doctor"]);

    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for row in ["system ", "own loop     works", "descriptors ", "GLib ", "Node.js "] {
        assert!(text.lines().any(|line| line.starts_with(row)), "{row}: {text}");
    }
}

#[test]
fn a_server_is_loaded_over_both_protocols() {
    let server = Server::start();
    let (http, post, ws) = (server.http("/plaintext"), server.http("/echo"), server.ws());
    for args in [&["--depth", "16", &http][..], &["--size", "1k", &post], &["--depth", "4", &ws]] {
        let short = ["bench", "--json", "--connections", "4", "--duration", "0.3"];

        let output = run(&[&short[..], args].concat());

        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(text.contains("\"bad_status\":0,\"lost_connections\":0,"), "{args:?}: {text}");
        assert!(text.contains("\"p99\":") && !text.contains("\"answers\":0,"), "{args:?}: {text}");
    }
}
