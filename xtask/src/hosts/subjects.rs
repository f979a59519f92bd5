//! Who is measured.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bench::Cores;
use crate::sh;

/// A server in a loop.
pub(super) struct Subject {
    pub(super) name: &'static str,
    program: PathBuf,
    /// What comes before the mode.
    words: Vec<String>,
    /// There is a host, whose timer goes on without the guest.
    pub(super) has_host: bool,
    /// What one connection may cost, as a multiple of the guest's own loop; `None` where there is no
    /// guest of ours.
    pub(super) aim_of_one: Option<f64>,
    /// Runs in a display of its own that nobody sees.
    in_display: bool,
}

impl Subject {
    fn new(name: &'static str, program: impl Into<PathBuf>, words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let program = program.into();
        Self { name, program, words, has_host: true, aim_of_one: Some(1.35), in_display: false }
    }

    fn ours(name: &'static str, host: &str, aim_of_one: f64) -> Self {
        let aim_of_one = Some(aim_of_one);
        Self { aim_of_one, ..Self::new(name, sh::target("release/bench-hosts"), &[host]) }
    }

    fn lws(name: &'static str, host: &str) -> Self {
        Self { has_host: false, aim_of_one: None, ..Self::new(name, lws_program(), &[host]) }
    }

    fn node() -> Self {
        let addon = sh::target("release/liblodger_bench_node.so");
        Self::new("Node.js", "node", &["benches/hosts/node/host.js", &addon.to_string_lossy()])
    }

    fn python(name: &'static str, python: &Path) -> Self {
        let library = sh::target("release/liblodger_bench_python.so");
        let words = ["benches/hosts/python/host.py", &library.to_string_lossy(), name];
        Self { aim_of_one: Some(1.5), ..Self::new(name, python, &words) }
    }

    /// No guest: what the loop itself takes.
    fn bare_python(python: &Path) -> Self {
        let bare = Self::new("asyncio alone", python, &["benches/hosts/python/bare.py"]);
        Self { has_host: false, aim_of_one: None, ..bare }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.aim_of_one.is_some()
    }

    /// Makes the command that runs it on the server's processor; its modes are those of
    /// `bench-hosts`. What else this machine does comes behind it, where that is allowed.
    pub(super) fn command(&self, cores: Cores, mode: &[&str]) -> Command {
        let mut command = cores.server(Path::new("nice"));
        if self.in_display {
            // The display is on the loader's processor.
            let pinned = command;
            command = Command::new("foreign-loop-examples/gtk4-ticker/headless.sh");
            command.arg(pinned.get_program()).args(pinned.get_args()).current_dir(sh::root());
        }
        command.args(["-n", "-15"]).arg(&self.program).args(&self.words).args(mode);
        // A thread of the kernel's beside uvloop's own would not be counted.
        command.env("UV_USE_IO_URING", "0").stdout(Stdio::null());
        command
    }
}

/// The first is what the others are compared with.
pub(super) fn all(lws: bool) -> Vec<Subject> {
    let own = Subject::ours("its own loop (mio)", "mio", 1.0);
    let mut all = vec![
        Subject { has_host: false, ..own },
        Subject::ours("poll(2)", "poll", 1.35),
        Subject::ours("calloop", "calloop", 1.35),
        Subject::ours("async-io", "async-io", 1.5),
        Subject::ours("tokio", "tokio", 1.5),
    ];
    if has("glib-2.0") {
        all.push(Subject::ours("GLib", "glib", 1.35));
    }
    if has("libuv") {
        all.push(Subject::ours("libuv", "libuv", 1.35));
        all.push(Subject::ours("libuv, a handle a socket", "libuv-per-fd", 1.35));
    }
    if sh::have("node") {
        all.push(Subject::node());
    }
    let python = python();
    all.extend(python.as_deref().map(|python| Subject::python("asyncio", python)));
    let with_uvloop = sh::target("python/bin/python");
    if sh::run(20, &with_uvloop.to_string_lossy(), &["-c", "import uvloop"]).is_ok() {
        all.push(Subject::python("uvloop", &with_uvloop));
    }
    if lws {
        all.push(Subject::lws("libwebsockets alone", "alone"));
        all.push(Subject::lws("libwebsockets in GLib", "glib"));
        all.push(Subject::lws("libwebsockets in libuv", "uv"));
    }
    all.extend(python.as_deref().map(Subject::bare_python));
    all
}

/// The system's, which is built to be fast; one of a user's own often is not.
fn python() -> Option<PathBuf> {
    let system = PathBuf::from("/usr/bin/python3");
    if system.exists() { Some(system) } else { sh::have("python3").then(|| "python3".into()) }
}

/// GTK with a window that draws each frame, where there is GTK and a display to be had.
pub(super) fn window() -> Option<Subject> {
    let there = has("gtk4") && sh::have("Xvfb");
    let gtk = Subject::new("GTK 4", sh::target("release/bench-gtk"), &[]);
    there.then_some(Subject { in_display: true, ..gtk })
}

/// Tells whether pkg-config knows the library.
pub(super) fn has(library: &str) -> bool {
    sh::run(20, "pkg-config", &["--exists", library]).is_ok()
}

pub(super) fn lws_program() -> PathBuf {
    sh::target("hosts/lws-echo")
}
