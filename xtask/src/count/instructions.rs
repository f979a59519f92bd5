//! User instructions an operation, by callgrind: the difference between two run lengths, so that
//! neither the start nor the opening of connections counts.

use super::{PEERS, at_most};
use crate::load::{Kind, Load};
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
        Kind::Plaintext => 3500.0,
    };
    let (short, long) = (whole_run(kind, SHORT)?, whole_run(kind, LONG)?);
    let each = (long - short) / f64::from(LONG - SHORT);
    at_most(each, limit, &format!("{each:.0} an operation"))
}

/// Gives the instructions of a whole run with so many messages.
fn whole_run(kind: Kind, messages: u32) -> Res<f64> {
    std::fs::create_dir_all(sh::target("count"))?;
    let out = sh::target("count").join(format!("callgrind.{kind:?}.{messages}"));
    let mut command = std::process::Command::new("valgrind");
    command.args(["-q", "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", out.display())).arg(sh::lodger());
    let server = Server::spawn(command.args(["serve", "--listen", "127.0.0.1:0"]))?;
    let mut load = Load::open(kind, server.port(), PEERS)?;
    load.run(usize::try_from(messages)?)?;
    let ended = server.terminate()?;
    if !ended.status.success() {
        return Err(format!("ended with {}: {}", ended.status, ended.stderr).into());
    }
    total(&std::fs::read_to_string(&out)?).ok_or_else(|| "no totals in callgrind's file".into())
}

fn total(file: &str) -> Option<f64> {
    let line = file.lines().find_map(|line| line.strip_prefix("totals: "))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read() {
        assert_eq!(total("version: 1\nevents: Ir\nfn=(1)\n1 2\ntotals: 4711\n"), Some(4711.0));
    }
}
