//! User instructions an operation, by callgrind: the difference between two run lengths, so that
//! neither the start nor the opening of connections counts.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use super::{PEERS, at_most};
use crate::load::{Exchange, Kind, Load};
use crate::server::Server;
use crate::steps::Outcome;
use crate::{Res, sh};

const SHORT: u32 = 2_000;
const LONG: u32 = 12_000;

/// Counts and compares with the limit of this kind.
pub(super) fn count(kind: Kind) -> Res<Outcome> {
    if !sh::have("valgrind") {
        return Ok(Outcome::Skipped("no valgrind".into()));
    }
    let limit = match kind {
        Kind::WsEcho => 1500.0,
        Kind::Plaintext => 3350.0,
    };
    let (short, long) = (total(&whole_run(kind, SHORT)?)?, total(&whole_run(kind, LONG)?)?);
    let each = (long - short) / f64::from(LONG - SHORT);
    at_most(each, limit, &format!("{each:.0} an operation"))
}

/// `cargo xtask profile`: the same difference, by function.
pub(crate) fn profile(kind: Kind) -> ExitCode {
    match sh::build_release().and_then(|()| by_function(kind)) {
        Ok(rows) => {
            for (name, each) in rows.iter().filter(|(_, each)| *each >= 5.0) {
                println!("{each:8.0}  {name}");
            }
            println!("{:8.0}  in all", rows.iter().map(|(_, each)| each).sum::<f64>());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What a warm block of nine fields may cost to decode.
const BLOCK_MOST: f64 = 950.0;

/// `cargo xtask profile hpack`: instructions to decode a block of nine fields that are in the tables.
pub(crate) fn profile_hpack() -> ExitCode {
    let each =
        sh::run(1200, "cargo", &["build", "--release", "--locked", "-p", "lodger-bench-hpack"])
            .and_then(|_| Ok((block_run(LONG)? - block_run(SHORT)?) / f64::from(LONG - SHORT)));
    match each.and_then(|each| at_most(each, BLOCK_MOST, &format!("{each:.0} a block"))) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn block_run(times: u32) -> Res<f64> {
    std::fs::create_dir_all(sh::target("count"))?;
    let out = sh::target("count").join(format!("callgrind.hpack.{times}"));
    let file = format!("--callgrind-out-file={}", out.display());
    let program = sh::target("release/bench-hpack");
    let args = ["-q", "--tool=callgrind", &file, &program.to_string_lossy(), &times.to_string()];
    sh::run(120, "valgrind", &args)?;
    let each = total(&out)?;
    println!("{each:.0} instructions for {times} blocks");
    Ok(each)
}

/// Gives the instructions an operation of each function, the dearest first.
fn by_function(kind: Kind) -> Res<Vec<(String, f64)>> {
    let short = annotate(&whole_run(kind, SHORT)?)?;
    let long = annotate(&whole_run(kind, LONG)?)?;
    let each = |(name, all): (String, f64)| {
        let start = short.get(&name).copied().unwrap_or(0.0);
        (name, (all - start) / f64::from(LONG - SHORT))
    };
    let mut rows: Vec<(String, f64)> = long.into_iter().map(each).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(rows)
}

/// Adds up a run by function; what was inlined counts for the function that it is in.
fn annotate(out: &Path) -> Res<BTreeMap<String, f64>> {
    let out = out.to_string_lossy();
    let table = sh::run(60, "callgrind_annotate", &["--threshold=100", "--auto=no", &out])?;
    let mut sums = BTreeMap::new();
    for (name, own) in sh::text(&table.stdout).lines().filter_map(annotated) {
        *sums.entry(name.to_owned()).or_insert(0.0) += own;
    }
    Ok(sums)
}

/// Reads `1,234 ( 5.67%)  FILE:FUNCTION [OBJECT]`.
fn annotated(line: &str) -> Option<(&str, f64)> {
    let (number, rest) = line.trim_start().split_once(" (")?;
    let own = number.replace(',', "").parse().ok()?;
    let (_, place) = rest.split_once("%)")?;
    let (_, name) = place.split_once(':')?;
    Some((name.split(" [").next().unwrap_or(name), own))
}

/// Gives the instructions of an exchange in `program`, which says its URL, and ends by SIGTERM.
pub(crate) fn each(program: &[&OsStr], exchange: &Exchange) -> Res<f64> {
    let out = |messages| sh::target("count").join(format!("callgrind.{messages}"));
    let run = |messages| total(&callgrind(program, exchange, messages, out(messages))?);
    Ok((run(LONG)? - run(SHORT)?) / f64::from(LONG - SHORT))
}

/// Gives the file that callgrind wrote about a whole run of the release program.
fn whole_run(kind: Kind, messages: u32) -> Res<PathBuf> {
    let out = sh::target("count").join(format!("callgrind.{kind:?}.{messages}"));
    let program = sh::lodger();
    let program = [program.as_ref(), "serve".as_ref(), "--listen".as_ref(), "127.0.0.1:0".as_ref()];
    callgrind(&program, &kind.exchange(), messages, out)
}

/// Runs `program` under callgrind with so many messages, and gives `out`, which it wrote.
fn callgrind(program: &[&OsStr], exchange: &Exchange, messages: u32, out: PathBuf) -> Res<PathBuf> {
    std::fs::create_dir_all(sh::target("count"))?;
    let mut command = Command::new("valgrind");
    command.args(["-q", "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", out.display())).args(program);
    let mut server = Server::spawn(&mut command)?;
    let mut load = Load::with(exchange.clone(), server.port(), PEERS)?;
    load.run(usize::try_from(messages)?)?;
    server.signal("TERM")?;
    server.wait(Duration::from_secs(15))?;
    Ok(out)
}

fn total(out: &Path) -> Res<f64> {
    totals(&std::fs::read_to_string(out)?).ok_or_else(|| "no totals in callgrind's file".into())
}

fn totals(file: &str) -> Option<f64> {
    let line = file.lines().find_map(|line| line.strip_prefix("totals: "))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read() {
        assert_eq!(totals("version: 1\nevents: Ir\nfn=(1)\n1 2\ntotals: 4711\n"), Some(4711.0));
    }

    #[test]
    fn a_row_has_a_function() {
        let row = "1,600,236 ( 5.45%)  src/sul/heap.rs:lodger::sul::Heap::up [/a/lodger]";

        assert_eq!(annotated(row), Some(("lodger::sul::Heap::up", 1_600_236.0)));
        assert_eq!(annotated("29,345,633 (100.0%)  PROGRAM TOTALS"), None);
    }
}
