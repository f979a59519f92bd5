//! `lodger doctor`: what this machine offers to the runtime and to its hosts.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use crate::report::{self, Problem};

/// What can be a host, and what shows that it is here: a library's file, or a command.
const HOSTS: [(&str, &str, &str); 8] = [
    ("GLib", "libglib-2.0.so.0", ""),
    ("GTK 4", "libgtk-4.so.1", ""),
    ("libuv", "libuv.so.1", ""),
    ("libevent", "libevent-2.1.so.7", ""),
    ("sd-event", "libsystemd.so.0", ""),
    ("Qt 6", "libQt6Core.so.6", ""),
    ("Node.js", "", "node"),
    ("Python", "", "python3"),
];

/// Prints the table.
///
/// # Errors
///
/// A standard output that takes nothing; a reader that has enough is none.
pub(crate) fn run() -> Result<(), Problem> {
    let mut text = String::new();
    for (what, state) in machine().into_iter().chain(hosts()) {
        text.push_str(&format!("{what:<12} {state}\n"));
    }
    match report::print(&text) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Problem::new(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

fn machine() -> Vec<(&'static str, String)> {
    let system = rustix::system::uname();
    let name = [system.sysname(), system.release(), system.machine()];
    let name = name.map(|part| part.to_string_lossy().into_owned()).join(" ");
    let limit = getrlimit(Resource::Nofile);
    let many = |n: Option<u64>| n.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let own_loop = match lodger::Runtime::standalone() {
        Ok(_) => "works".to_owned(),
        Err(e) => format!("no: {e}"),
    };
    let mut rows = vec![("system", name)];
    #[cfg(target_os = "linux")]
    rows.extend(linux());
    rows.push(("own loop", own_loop));
    let descriptors = format!("{}, at most {}", many(limit.current), many(limit.maximum));
    rows.push(("descriptors", descriptors));
    rows
}

#[cfg(target_os = "linux")]
fn linux() -> [(&'static str, String); 2] {
    use rustix::event::epoll;
    use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
    let said = |tried: rustix::io::Result<std::os::fd::OwnedFd>| match tried {
        Ok(_) => "works".to_owned(),
        Err(e) => format!("no: {e}"),
    };
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC);
    [("epoll", said(epoll::create(epoll::CreateFlags::CLOEXEC))), ("timerfd", said(timer))]
}

fn hosts() -> impl Iterator<Item = (&'static str, String)> {
    let libraries = library_folders();
    let commands: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    HOSTS.into_iter().map(move |(name, library, command)| {
        let (folders, file) =
            if command.is_empty() { (&libraries, library) } else { (&commands, command) };
        let found = folders.iter().map(|folder| folder.join(file)).find(|path| path.exists());
        (name, found.map_or_else(|| "not found".to_owned(), |path| path.display().to_string()))
    })
}

/// Where libraries are: the usual folders, and those below them that are named after a machine.
fn library_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in ["/usr/local/lib", "/usr/lib", "/lib", "/usr/lib64", "/lib64"].map(Path::new) {
        folders.push(folder.to_owned());
        let below = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let machines = below.map(|entry| entry.path());
        folders.extend(machines.filter(|path| path.to_string_lossy().contains("-linux-")));
    }
    folders
}
