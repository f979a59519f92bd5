//! Allocations a message, counted by a preloaded `malloc`.

use std::path::{Path, PathBuf};

use super::{COUNTED, PEERS, WARM};
use crate::load::{Kind, Load};
use crate::server::{Server, plain};
use crate::steps::Outcome;
use crate::{Res, sh};

/// Counts in the steady state: none is allowed.
pub(super) fn count(kind: Kind) -> Res<Outcome> {
    if !sh::have("cc") {
        return Ok(Outcome::Skipped("no C compiler".into()));
    }
    let (server, counter) = counted(&[])?;
    let mut load = Load::open(kind, server.port(), PEERS)?;
    load.run(WARM)?;
    let before = read(&counter)?;
    load.run(COUNTED)?;
    let allocations = read(&counter)? - before;
    if allocations == 0 {
        Ok(Outcome::Passed(format!("0 in {COUNTED} messages, {before} before them")))
    } else {
        Err(format!("{allocations} in {COUNTED} messages; none is allowed").into())
    }
}

/// Starts the program with these arguments more, and gives the file that its allocations are counted
/// in.
pub(super) fn counted(more: &[&str]) -> Res<(Server, PathBuf)> {
    let (shim, counter) = (compile()?, sh::target("count/allocations"));
    std::fs::write(&counter, [0; 8])?;
    let mut command = plain(&["serve", "--listen", "127.0.0.1:0"]);
    command.args(more).env("LD_PRELOAD", shim).env("LODGER_MALLOC_COUNT", &counter);
    let server = Server::spawn(&mut command)?;
    if read(&counter)? == 0 {
        return Err("the count stayed 0 through the start: it does not count".into());
    }
    Ok((server, counter))
}

fn compile() -> Res<PathBuf> {
    std::fs::create_dir_all(sh::target("count"))?;
    let shim = sh::target("count/malloc_count.so");
    let out = shim.to_string_lossy();
    // -fno-builtin: the compiler must not turn what stands inside `calloc` into a `calloc`.
    let flags = ["-O2", "-Wall", "-Werror", "-fno-builtin", "-shared", "-fPIC", "-o", &out];
    sh::run(60, "cc", &[&flags[..], &["xtask/src/malloc_count.c"]].concat())?;
    Ok(shim)
}

pub(super) fn read(counter: &Path) -> Res<u64> {
    let bytes = std::fs::read(counter)?;
    let bytes = bytes.first_chunk().ok_or("a short counter file")?;
    Ok(u64::from_ne_bytes(*bytes))
}
