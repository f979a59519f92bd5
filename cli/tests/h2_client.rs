//! The program as a client of others' HTTP/2 over TLS: nghttpd, nginx and Node.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const LODGER: &str = env!("CARGO_BIN_EXE_lodger");

/// A program that is ended with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder of a test's own, with a certificate for localhost, its key and a page.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(folder.join("www")).unwrap();
    let made = rcgen::generate_simple_self_signed(vec![String::from("localhost")]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("www/page.txt"), "a page\n").unwrap();
    std::fs::write(folder.join("www/large.bin"), vec![b'x'; 2 << 20]).unwrap();
    folder
}

/// Whether a program is there; says so if it is not.
fn have(program: &str) -> bool {
    let found = Command::new(program).arg("-v").stdin(Stdio::null()).output().is_ok();
    if !found {
        eprintln!("skipped: no {program}");
    }
    found
}

/// A port that nobody uses now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server that is told its port, and waits until it listens.
fn start(program: &str, make: impl Fn(u16) -> Vec<String>) -> (Peer, u16) {
    for _ in 0..5 {
        let port = free_port();
        let mut command = Command::new(program);
        command.args(make(port)).stdin(Stdio::null()).stdout(Stdio::null());
        let mut peer = Peer(command.spawn().unwrap());
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) && peer.0.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (peer, port);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Somebody else may have taken the port.
    }
    panic!("{program} does not listen");
}

fn lodger(args: &[&str]) -> Output {
    Command::new(LODGER).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    format!("{}{error}", String::from_utf8_lossy(&output.stdout))
}

/// Gets pages of a server, loads it, and is told what is wrong with its name.
fn meet(folder: &Path, port: u16, posts: bool) {
    let cacert = folder.join("cert.pem");
    let cacert = cacert.to_str().unwrap();
    let url = |name: &str, path: &str| format!("https://{name}:{port}/{path}");
    let fetch = |more: &[&str], url: &str| {
        let mut args = vec!["fetch", "--timeout", "60", "--cacert", cacert];
        args.extend(more);
        args.push(url);
        lodger(&args)
    };

    let page = text(&fetch(&["-i"], &url("localhost", "page.txt")));
    assert!(page.starts_with("HTTP/2 200") && page.ends_with("a page\n"), "{page}");
    let large = fetch(&[], &url("localhost", "large.bin"));
    assert_eq!((large.status.code(), large.stdout.len()), (Some(0), 2 << 20), "{}", text(&large));
    if posts {
        let echoed = fetch(&["-d", "what is said"], &url("localhost", "echo"));
        assert_eq!(text(&echoed), "what is said");
    }

    let other = text(&fetch(&[], &url("127.0.0.1", "page.txt")));
    assert!(other.contains("no TLS") && other.contains("another name"), "{other}");
    let stranger = text(&lodger(&["fetch", &url("localhost", "page.txt")]));
    assert!(stranger.contains("self-signed or its issuer is not trusted"), "{stranger}");
    assert!(stranger.contains("connect "), "how long the stages took: {stranger}");

    // Some end a connection politely after so many requests.
    let page = url("localhost", "page.txt");
    let load = ["bench", "--cacert", cacert, "-c", "2", "--depth", "10", "-d", "1", "--json"];
    let load = text(&lodger(&[&load[..], &[&page]].concat()));
    assert!(load.contains("\"lost_connections\":0") && load.contains("\"bad_status\":0"), "{load}");
}

#[test]
fn nghttpd_is_spoken_to() {
    if !have("nghttpd") {
        return;
    }
    let folder = folder("with-nghttpd");
    let file = |name: &str| folder.join(name).display().to_string();

    let (_peer, port) = start("nghttpd", |port| {
        let more = ["-a", "127.0.0.1", "-d", &file("www"), &port.to_string()].map(String::from);
        [&more[..], &[file("key.pem"), file("cert.pem")]].concat()
    });

    meet(&folder, port, false);
}

#[test]
fn nginx_is_spoken_to() {
    if !have("nginx") {
        return;
    }
    let folder = folder("with-nginx");

    let (_peer, port) = start("nginx", |port| {
        let at = folder.display();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|of| format!("{of}_temp_path {at}/{of};"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/errors;
             events {{}}
             http {{ access_log off; {temp} types {{}}
               server {{ listen 127.0.0.1:{port} ssl http2; root {at}/www;
                 ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem; }} }}"
        );
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let config = format!("{at}/nginx.conf");
        let errors = format!("{at}/errors");
        ["-c", &config, "-p", &folder.display().to_string(), "-e", &errors].map(String::from).into()
    });

    meet(&folder, port, false);
}

const NODE: &str = "
const http2 = require('http2'), fs = require('fs'), at = process.argv[1];
const read = (name) => fs.readFileSync(at + '/' + name);
const server = http2.createSecureServer({ key: read('key.pem'), cert: read('cert.pem') });
server.on('stream', (stream, head) => {
  stream.on('error', () => {});
  if (head[':path'] === '/echo') return stream.pipe(stream);
  stream.respond({ ':status': 200 });
  stream.end(read('www' + head[':path']));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

#[test]
fn node_is_spoken_to() {
    if !have("node") {
        return;
    }
    let folder = folder("with-node");
    let mut command = Command::new("node");
    command.args(["-e", NODE, folder.to_str().unwrap()]).stdin(Stdio::null());
    let mut peer = Peer(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(peer.0.stdout.take().unwrap()).read_line(&mut line).unwrap();

    meet(&folder, line.trim().parse().unwrap(), true);
}
