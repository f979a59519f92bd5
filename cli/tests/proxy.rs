//! The program through a proxy on real sockets: by option and by environment.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

const LODGER: &str = env!("CARGO_BIN_EXE_lodger");

/// Our own server, ended with the test, and its port.
struct Server(Child, u16);

impl Server {
    fn start(more: &[&str]) -> Self {
        Self::run(&["serve"], more)
    }

    /// Runs a server of the program, whose first line ends in its port.
    fn run(what: &[&str], more: &[&str]) -> Self {
        let mut command = Command::new(LODGER);
        command.args(what).args(["--listen", "127.0.0.1:0"]).args(more).stdin(Stdio::null());
        command.stderr(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim_end().trim_end_matches('/').rsplit(':').next().unwrap();
        Self(child, port.parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a proxy was asked for.
type Asked = Arc<Mutex<Vec<String>>>;

/// Starts a proxy that knows absolute-form, CONNECT and SOCKS5; all that goes through it leads to this
/// port. It ends with the program.
fn proxy(to: u16) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Asked::default());
    let into = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let asked = Arc::clone(&into);
            std::thread::spawn(move || tunnel(client, to, &asked));
        }
    });
    (port, asked)
}

fn tunnel(mut client: TcpStream, to: u16, asked: &Asked) -> io::Result<()> {
    let mut first = [0];
    client.read_exact(&mut first)?;
    let mut server = TcpStream::connect(("127.0.0.1", to))?;
    let hello: &[u8] = if first[0].is_ascii_uppercase() {
        let mut head = first.to_vec();
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut first)?;
            head.push(first[0]);
        }
        let tunnels = head.starts_with(b"CONNECT ");
        if !tunnels {
            // A server takes what a proxy is sent: RFC 9112, section 3.2.2.
            server.write_all(&head)?;
        }
        asked.lock().unwrap().push(String::from_utf8(head).unwrap());
        if tunnels { b"HTTP/1.1 200 fine\r\n\r\n" } else { b"" }
    } else {
        let mut count = [0];
        client.read_exact(&mut count)?;
        client.read_exact(&mut vec![0; usize::from(count[0])])?;
        client.write_all(b"\x05\0")?;
        let mut head = [0; 5];
        client.read_exact(&mut head)?;
        let mut name = vec![0; usize::from(head[4]) + 2];
        client.read_exact(&mut name)?;
        asked.lock().unwrap().push(name.escape_ascii().to_string());
        b"\x05\0\0\x01\0\0\0\0\0\0"
    };
    client.write_all(hello)?;
    let (mut from, mut into) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut into);
        let _ = into.shutdown(Shutdown::Write);
    });
    io::copy(&mut client, &mut &server)?;
    server.shutdown(Shutdown::Write)
}

/// Runs the program with this environment alone, as far as proxies go.
fn lodger(args: &[&str], vars: &[(&str, String)]) -> Output {
    let mut command = clean(Command::new(LODGER));
    let vars = vars.iter().map(|(name, value)| (name, value));
    command.args(args).envs(vars).stdin(Stdio::null()).output().unwrap()
}

/// Takes what names proxies out of a program's environment.
fn clean(mut command: Command) -> Command {
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    format!("{}{error}", String::from_utf8_lossy(&output.stdout))
}

#[test]
fn fetch_and_ws_go_through_a_proxy() {
    let (plain, secure) = (Server::start(&[]), Server::start(&["--tls"]));
    for scheme in ["http", "socks5"] {
        let (port, asked) = proxy(plain.1);
        let url = format!("{scheme}://127.0.0.1:{port}");
        let page = "http://far.test/plaintext";
        let got = lodger(&["fetch", "--timeout", "60", "--proxy", &url, page], &[]);
        assert_eq!(text(&got), "Hello, World!");
        let got = lodger(&["fetch", "--timeout", "60", page], &[("http_proxy", url.clone())]);
        assert_eq!(text(&got), "Hello, World!");
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        assert_eq!(asked.len(), 2);
        let absolute = asked[0].starts_with("GET http://far.test/plaintext HTTP/1.1\r\n");
        assert!(absolute || scheme != "http", "{asked:?}");

        let (port, asked) = proxy(secure.1);
        let url = format!("{scheme}://127.0.0.1:{port}");
        let page = "https://far.test:4433/plaintext";
        let got = lodger(&["fetch", "-k", "-i", "--timeout", "60", "--proxy", &url, page], &[]);
        assert!(text(&got).starts_with("HTTP/2 200"), "{}", text(&got));
        let script = "printf 'hello\\n' | \"$0\" ws -k wss://far.test:4433/echo";
        let mut shell = clean(Command::new("sh"));
        let said = shell.args(["-c", script, LODGER]).env("ALL_PROXY", &url).output().unwrap();
        assert_eq!(
            (said.status.code(), &*said.stdout),
            (Some(0), &b"hello\n"[..]),
            "{}",
            text(&said)
        );
        let asked = asked.lock().unwrap();
        assert!(
            asked.len() == 2 && asked.iter().all(|head| head.contains("far.test")),
            "{asked:?}"
        );
    }
}

#[test]
fn what_is_excepted_goes_directly_and_a_bad_proxy_is_told() {
    let server = Server::start(&[]);
    let (port, asked) = proxy(server.1);
    let page = format!("http://127.0.0.1:{}/plaintext", server.1);
    let all = ("ALL_PROXY", format!("http://127.0.0.1:{port}"));

    let direct = lodger(&["fetch", &page], std::slice::from_ref(&all));
    let none = lodger(&["fetch", "--proxy", "", &page], &[all]);
    let wrong = lodger(&["fetch", "--proxy", "gopher://me:secret@a", &page], &[]);
    // Our server is no proxy.
    let (own, secure) = (format!("http://127.0.0.1:{}", server.1), page.replace("http", "https"));
    let nobody = lodger(&["fetch", "--proxy", &own, &secure], &[]);

    assert_eq!((text(&direct), text(&none)), ("Hello, World!".into(), "Hello, World!".into()));
    assert!(asked.lock().unwrap().is_empty());
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("--proxy: ") && !text(&wrong).contains("secret"));
    assert!(text(&nobody).contains("no way through the proxy: "), "{}", text(&nobody));
}

#[test]
fn mqtt_goes_through_a_proxy() {
    for (tls, url) in [(&[][..], "mqtt://far.test"), (&["--tls"], "mqtts://far.test")] {
        let broker = Server::run(&["mqtt", "broker"], tls);
        let (port, asked) = proxy(broker.1);
        let way = format!("http://me:secret@127.0.0.1:{port}");
        let other = [("ALL_PROXY", format!("socks5://127.0.0.1:{port}"))];
        let trust: &[&str] = if tls.is_empty() { &[] } else { &["-k"] };

        let publish =
            ["mqtt", "pub", "-u", url, "-q", "1", "-r", "-m", "hello", "a/b", "--proxy", &way];
        let said = lodger(&[&publish, trust].concat(), &[]);
        let hear = ["mqtt", "sub", "-u", url, "-c", "1", "a/#"];
        let heard = lodger(&[&hear, trust].concat(), &other);

        assert_eq!(said.status.code(), Some(0), "{}", text(&said));
        assert_eq!((heard.status.code(), &*heard.stdout), (Some(0), &b"hello\n"[..]));
        let asked = asked.lock().unwrap();
        assert!(asked.len() == 2 && asked[0].starts_with("CONNECT far.test:"), "{asked:?}");
        assert!(asked[0].contains("Proxy-Authorization: Basic "));
        drop(broker);
    }
}

/// A server takes what a proxy is sent, so ours can stand for one that is reached by TLS.
#[test]
fn a_proxy_is_reached_by_tls() {
    let front = Server::start(&["--tls"]);
    let way = format!("https://127.0.0.1:{}", front.1);
    let page = "http://far.test/plaintext";

    let got = lodger(&["fetch", "-k", "--timeout", "60", "--proxy", &way, page], &[]);
    let distrusted = lodger(&["fetch", "--timeout", "60", "--proxy", &way, page], &[]);

    assert_eq!((got.status.code(), &*got.stdout), (Some(0), &b"Hello, World!"[..]));
    assert_eq!(distrusted.status.code(), Some(1));
    assert!(text(&distrusted).contains("no TLS: "), "{}", text(&distrusted));
}
