//! The files that are served, by us and by nginx.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Cores;
use crate::server::Server;
use crate::{Res, nginx, sh};

pub(super) const SMALL: usize = 10_000;
pub(super) const LARGE: usize = 1_000_000;

/// Makes the folder that holds `www` with the files, and what nginx leaves.
pub(super) fn folder() -> Res<PathBuf> {
    let dir = sh::target("bench/files");
    std::fs::create_dir_all(dir.join("www"))?;
    for (name, size) in [("small.bin", SMALL), ("large.bin", LARGE)] {
        let path = dir.join("www").join(name);
        // One that is being served is not truncated under its server.
        if std::fs::metadata(&path).map_or(0, |found| found.len()) != size as u64 {
            std::fs::write(&path, content(size))?;
            // The tag of a file that was changed just now is a weak one, and is longer: answers
            // would not stay as long as the first.
            let before = SystemTime::now() - Duration::from_secs(3600);
            std::fs::File::options().write(true).open(&path)?.set_modified(before)?;
        }
    }
    Ok(dir)
}

/// Gives what a file of this size holds.
pub(super) fn content(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

/// One nginx process on the server's processor, set as its manual advises for static files.
pub(super) fn nginx(cores: Cores) -> Res<Server> {
    nginx::start(&mut cores.server(Path::new("sh")), &folder()?, HTTP, "")
}

/// A request count without end, so that no connection of the loader is closed.
const HTTP: &str = "    \
sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    open_file_cache max=100;
    open_file_cache_valid 60s;
";
