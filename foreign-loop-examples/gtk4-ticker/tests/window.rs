//! What the window shows, by the pixels of a display that nobody sees. `LODGER_TICKER` names
//! another program of the same looks.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lodger::{Handle, Remote, Runtime, http, ws};

type Colour = [u8; 3];

const LINE: Colour = [0x00, 0x66, 0xff];
const UP: Colour = [0x00, 0x80, 0x00];
const DOWN: Colour = [0xcc, 0x00, 0x00];

/// Pixels of a badge, which is large, and of a line of some length.
const MANY: usize = 300;

#[test]
fn the_chart_is_drawn_and_the_badge_follows_the_feed() {
    for program in ["Xvfb", "import"] {
        if Command::new(program).arg("-version").output().is_err() {
            println!("skipped: no {program}");
            return;
        }
    }
    let (display, feed) = (Display::start(), Feed::start(0));
    let port = feed.port;
    let _ticker = display.ticker(port);

    display.until("a line and a green badge", |shot| {
        shot.count(LINE) > MANY && shot.count(UP) > MANY && shot.count(DOWN) == 0
    });
    drop(feed);
    display.until("a red badge", |shot| shot.count(DOWN) > MANY && shot.count(UP) == 0);
    let _feed = Feed::start(port);
    display.until("a green badge again", |shot| {
        shot.count(LINE) > MANY && shot.count(UP) > MANY && shot.count(DOWN) == 0
    });
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Display {
    number: String,
    _server: Process,
}

impl Display {
    fn start() -> Self {
        let args = ["-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "640x480x24"];
        let mut server = Command::new("Xvfb");
        server.args(args).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Process(server.spawn().expect("Xvfb starts"));
        let out = server.0.stdout.take().expect("it has an output");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("Xvfb tells its number");
        Self { number: format!(":{}", line.trim()), _server: server }
    }

    fn ticker(&self, feed: u16) -> Process {
        let ours = || env!("CARGO_BIN_EXE_gtk4-ticker").into();
        let mut ticker = Command::new(std::env::var_os("LODGER_TICKER").unwrap_or_else(ours));
        ticker
            .env("DISPLAY", &self.number)
            .env("GDK_BACKEND", "x11")
            .env("GSK_RENDERER", "cairo")
            .env("GTK_A11Y", "none")
            .env("GSETTINGS_BACKEND", "memory")
            .env("LODGER_FEED", format!("ws://127.0.0.1:{feed}/"));
        Process(ticker.stdout(Stdio::null()).spawn().expect("the ticker starts"))
    }

    /// Takes pictures until one is as it must be.
    fn until(&self, what: &str, holds: impl Fn(&Shot) -> bool) {
        let began = Instant::now();
        loop {
            let shot = self.shot();
            if holds(&shot) {
                return;
            }
            let seen = [LINE, UP, DOWN].map(|colour| shot.count(colour));
            assert!(began.elapsed() < PATIENCE, "never seen: {what}; at last {seen:?}");
        }
    }

    fn shot(&self) -> Shot {
        let args = ["-display", &self.number, "-window", "root", "-depth", "8", "rgb:-"];
        let output = Command::new("import").args(args).output().expect("import starts");
        Shot(output.stdout)
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A picture: red, green and blue of each pixel.
struct Shot(Vec<u8>);

impl Shot {
    fn count(&self, colour: Colour) -> usize {
        self.0.chunks_exact(3).filter(|pixel| *pixel == colour).count()
    }
}

/// A feed of prices on a thread of its own. Dropping it breaks off its connections.
struct Feed {
    port: u16,
    end: Remote<()>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    fn start(port: u16) -> Self {
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let rt = Runtime::standalone().expect("a runtime");
            let server = http::Server::new().ws("/", |_| Ok(Prices));
            let listener = rt.listen(&format!("127.0.0.1:{port}"), server).expect("a listener");
            let addr = rt.local_addr(listener).and_then(|addr| addr.tcp()).expect("an address");
            let end = rt.remote(|rt, ()| rt.end());
            tell.send((addr.port(), end)).expect("the test waits");
            rt.run().expect("the feed runs");
        });
        let (port, end) = told.recv().expect("the feed starts");
        Self { port, end, thread: Some(thread) }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.end.post(());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A price that goes up and down, sent every 10 ms.
struct Prices;

impl ws::Handler for Prices {
    fn open(&mut self, cx: &mut ws::Cx<'_>) {
        let (id, mut step) = (cx.id(), 0.0_f64);
        cx.runtime().every(Duration::from_millis(10), move |rt: &Handle| {
            step += 0.1;
            // Gone with its connection, and the feed with it.
            let _ = rt.send(id, ws::Message::Text(&format!("{:.2}", 100.0 + step.sin())));
        });
    }

    fn message(&mut self, _cx: &mut ws::Cx<'_>, _message: ws::Message<'_>) {}
}
