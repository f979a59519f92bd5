//! TLS on real sockets: the program's server with curl, openssl, Node and Python as clients, and the
//! program as a client.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const LODGER: &str = env!("CARGO_BIN_EXE_lodger");

/// Our own server, ended with the test.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let mut command = Command::new(LODGER);
        command.args(["serve", "--tls", "--listen", "127.0.0.1:0"]).args(more);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split("https://127.0.0.1:").nth(1).unwrap();
        Self { child, port: port.trim_end().trim_end_matches('/').to_owned() }
    }

    fn https(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate and key in files of a test's own: valid for these names, unless `expired`.
fn files(test: &str, names: &[&str], expired: bool) -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (cert_file, key_file) =
        (folder.join(format!("{test}-cert.pem")), folder.join(format!("{test}-key.pem")));
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    std::fs::write(&cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    (cert_file, key_file)
}

fn serve(files: &(PathBuf, PathBuf)) -> Server {
    let (cert, key) = (files.0.to_str().unwrap(), files.1.to_str().unwrap());
    Server::start(&["--cert", cert, "--key", key])
}

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    format!("{}{error}", String::from_utf8_lossy(&output.stdout))
}

/// Whether a program is there; says so if it is not.
fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no {program}");
    }
    found
}

#[test]
fn our_own_client_trusts_whom_it_is_told_to() {
    let ours = files("own", &["localhost"], false);
    let server = serve(&ours);
    let url = server.https("/plaintext");

    let known = run(LODGER, &["fetch", "--cacert", ours.0.to_str().unwrap(), &url]);
    assert_eq!((known.status.code(), &*known.stdout), (Some(0), &b"Hello, World!"[..]));

    let insecure = run(LODGER, &["fetch", "-k", &url]);
    assert_eq!((insecure.status.code(), &*insecure.stdout), (Some(0), &b"Hello, World!"[..]));
    assert!(text(&insecure).contains("WARNING"), "{}", text(&insecure));

    let stranger = run(LODGER, &["fetch", &url]);
    assert_eq!(stranger.status.code(), Some(1));
    assert!(
        text(&stranger).contains("no TLS") && stranger.stdout.is_empty(),
        "{}",
        text(&stranger)
    );

    let name = format!("https://127.0.0.1:{}/plaintext", server.port);
    let other = run(LODGER, &["fetch", "--cacert", ours.0.to_str().unwrap(), &name]);
    assert!(text(&other).contains("another name"), "{}", text(&other));
}

#[test]
fn an_expired_certificate_is_refused_with_the_reason() {
    let ours = files("expired", &["localhost"], true);
    let server = serve(&ours);

    let cacert = ours.0.to_str().unwrap();
    let refused = run(LODGER, &["fetch", "--cacert", cacert, &server.https("/plaintext")]);

    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("has expired"), "{}", text(&refused));
}

#[test]
fn a_websocket_and_a_load_go_over_tls() {
    let ours = files("wss", &["localhost"], false);
    let server = serve(&ours);
    let cacert = ours.0.to_str().unwrap();

    let wss = server.https("/echo").replace("https", "wss");
    let script = format!("printf 'hello\\n' | '{LODGER}' ws --cacert '{cacert}' '{wss}'");
    let said = run("sh", &["-c", &script]);
    assert_eq!((said.status.code(), &*said.stdout), (Some(0), &b"hello\n"[..]), "{}", text(&said));

    // One that speaks nothing else shows that it goes in a stream of HTTP/2.
    let (cert, key) = (ours.0.to_str().unwrap(), ours.1.to_str().unwrap());
    let only = Server::start(&["--cert", cert, "--key", key, "--h2-only"]);
    let stream = only.https("/ws").replace("https", "wss");
    let said = run("sh", &["-c", &script.replace(&wss, &stream)]);
    assert_eq!((said.status.code(), &*said.stdout), (Some(0), &b"hello\n"[..]), "{}", text(&said));

    for url in [server.https("/plaintext"), wss] {
        let load =
            run(LODGER, &["bench", "--cacert", cacert, "-c", "4", "-d", "0.3", "--json", &url]);
        let text = text(&load);
        assert!(load.status.success() && text.contains("\"lost_connections\":0"), "{text}");
    }
}

#[test]
fn plain_http_on_the_port_hears_400() {
    if !have("curl") {
        return;
    }
    let server = serve(&files("plain", &["localhost"], false));
    let url = server.https("/").replace("https", "http");

    let answer = run("curl", &["-sS", "-i", "-m", "20", &url]);

    assert!(text(&answer).starts_with("HTTP/1.1 400 "), "{}", text(&answer));
}

#[test]
fn curl_gets_pages_in_both_versions_and_sends_a_large_body() {
    if !have("curl") {
        return;
    }
    let ours = files("curl", &["localhost"], false);
    let server = serve(&ours);
    let cacert = ours.0.to_str().unwrap();
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"], &["--http1.1"]] {
        let mut args = vec!["-sS", "-m", "20", "--cacert", cacert];
        args.extend(version);
        let url = server.https("/plaintext");
        args.push(&url);
        let answer = run("curl", &args);
        assert_eq!(text(&answer), "Hello, World!", "{version:?}");
    }

    let body = Path::new(env!("CARGO_TARGET_TMPDIR")).join("curl-body");
    std::fs::write(&body, vec![b'x'; 3 << 20]).unwrap();
    let data = format!("@{}", body.display());
    let echo = server.https("/echo");
    let answer =
        run("curl", &["-sS", "-m", "30", "--cacert", cacert, "--data-binary", &data, &echo]);
    assert_eq!(answer.stdout.len(), 3 << 20, "{}", String::from_utf8_lossy(&answer.stderr));
}

#[test]
fn openssl_resumes_its_session() {
    if !have("openssl") {
        return;
    }
    let server = serve(&files("openssl", &["localhost"], false));
    let script = format!(
        "(printf 'GET /plaintext HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1) | \
         openssl s_client -connect 127.0.0.1:{port} -servername localhost -alpn http/1.1 \
         -tls1_2 -reconnect 2>&1",
        port = server.port
    );

    let said = text(&run("sh", &["-c", &script]));

    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    assert!(said.matches("Reused, TLSv1.2").count() >= 4, "{said}");
}

const NODE: &str = "
const https = require('https'), tls = require('tls');
const [port, ca] = [process.argv[1], require('fs').readFileSync(process.argv[2])];
https.get({ port, ca, host: 'localhost', path: '/plaintext' }, (res) => {
  const socket = res.socket;
  res.on('data', (data) => console.log(res.statusCode, String(data), socket.getProtocol()));
});
";

#[test]
fn node_gets_a_page() {
    if !have("node") {
        return;
    }
    let ours = files("node", &["localhost"], false);
    let server = serve(&ours);

    let said = run("node", &["-e", NODE, &server.port, ours.0.to_str().unwrap()]);

    assert_eq!(text(&said), "200 Hello, World! TLSv1.3\n");
}

const PYTHON: &str = "
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
context.set_alpn_protocols(['http/1.1'])
plain = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 20)
with context.wrap_socket(plain, server_hostname='localhost') as s:
    s.sendall(b'GET /plaintext HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
    data = b''
    while True:
        piece = s.recv(4096)  # an end without close_notify is an exception
        if not piece:
            break
        data += piece
    print(s.version(), s.selected_alpn_protocol(), data.rsplit(b'\\r\\n', 1)[1].decode())
";

#[test]
fn python_reads_to_a_polite_end() {
    if !have("python3") {
        return;
    }
    let ours = files("python", &["localhost"], false);
    let server = serve(&ours);

    let said = run("python3", &["-c", PYTHON, &server.port, ours.0.to_str().unwrap()]);

    assert_eq!(text(&said), "TLSv1.3 http/1.1 Hello, World!\n");
}

#[test]
fn a_certificate_is_made_on_the_spot_and_that_is_said() {
    let mut command = Command::new(LODGER);
    command.args(["serve", "--tls", "--listen", "127.0.0.1:0"]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    assert!(line.contains("WARNING") && line.contains("self-signed"), "{line}");
}

#[test]
fn what_is_no_certificate_is_told_with_its_file() {
    let ours = files("wrong", &["localhost"], false);
    let (cert, key) = (ours.1.to_str().unwrap(), ours.0.to_str().unwrap());

    let refused = run(LODGER, &["serve", "--tls", "--cert", cert, "--key", key]);

    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("wrong-key.pem: no PEM certificate"), "{}", text(&refused));
}
