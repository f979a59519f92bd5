//! Who is measured.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bench::Cores;
use crate::sh;

/// A server in a loop.
pub(super) struct Subject {
    pub(super) name: &'static str,
    program: PathBuf,
    host: &'static str,
    /// There is a host, whose timer goes on without the guest.
    pub(super) has_host: bool,
    /// What one connection may cost, as a multiple of the guest's own loop.
    pub(super) aim_of_one: f64,
}

impl Subject {
    fn ours(name: &'static str, host: &'static str, has_host: bool, aim_of_one: f64) -> Self {
        Self { name, program: sh::target("release/bench-hosts"), host, has_host, aim_of_one }
    }

    fn lws(name: &'static str, host: &'static str) -> Self {
        Self { name, program: lws_program(), host, has_host: false, aim_of_one: f64::INFINITY }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.aim_of_one.is_finite()
    }

    /// Makes the command that runs it on the server's processor; its modes are those of
    /// `bench-hosts`. What else this machine does comes behind it, where that is allowed.
    pub(super) fn command(&self, cores: Cores, mode: &[&str]) -> Command {
        let mut command = cores.server(Path::new("nice"));
        command.args(["-n", "-15"]).arg(&self.program).arg(self.host).args(mode);
        command.stdout(Stdio::null());
        command
    }
}

/// The first is what the others are compared with.
pub(super) fn all(lws: bool) -> Vec<Subject> {
    let mut all = vec![
        Subject::ours("its own loop (mio)", "mio", false, 1.0),
        Subject::ours("poll(2)", "poll", true, 1.35),
        Subject::ours("calloop", "calloop", true, 1.35),
        Subject::ours("async-io", "async-io", true, 1.5),
        Subject::ours("tokio", "tokio", true, 1.5),
    ];
    if has("glib-2.0") {
        all.push(Subject::ours("GLib", "glib", true, 1.35));
    }
    if has("libuv") {
        all.push(Subject::ours("libuv", "libuv", true, 1.35));
    }
    if lws {
        all.push(Subject::lws("libwebsockets alone", "alone"));
        all.push(Subject::lws("libwebsockets in GLib", "glib"));
        all.push(Subject::lws("libwebsockets in libuv", "uv"));
    }
    all
}

/// Tells whether pkg-config knows the library.
pub(super) fn has(library: &str) -> bool {
    sh::run(20, "pkg-config", &["--exists", library]).is_ok()
}

pub(super) fn lws_program() -> PathBuf {
    sh::target("hosts/lws-echo")
}
