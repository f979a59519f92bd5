//! The floor must be one: short, and with few instructions, so that it flatters nobody.

use super::report::Report;
use super::rows::{Server, all, floor};
use crate::steps::Outcome;
use crate::{Res, count, sh};

const LINES: usize = 150;
/// User instructions an operation.
const INSTRUCTIONS: f64 = 350.0;

/// Counts its lines, and its instructions for the first row of each protocol.
pub(super) fn check(report: &mut Report) -> Res<Outcome> {
    let lines = std::fs::read_to_string(sh::root().join("benches/floor/src/main.rs"))?;
    let lines = lines.lines().count();
    if lines > LINES {
        return Err(format!("{lines} lines, {LINES} at most").into());
    }
    if !sh::have("valgrind") {
        return Ok(Outcome::Skipped(format!("{lines} lines; no valgrind")));
    }
    let program = floor();
    let rows = all();
    let mut first: Vec<_> = rows.iter().filter(|row| Server::Floor.speaks(row.protocol)).collect();
    first.dedup_by_key(|row| row.protocol);
    for row in first {
        let each = count::instructions(&[program.as_ref()], &row.exchange)?;
        report.floor.push((row.name, each));
        if each > INSTRUCTIONS {
            return Err(format!("{}: {each:.0} instructions", row.name).into());
        }
    }
    let counts = report.floor.iter().map(|(name, each)| format!("{name}: {each:.0} instructions"));
    Ok(Outcome::Passed(format!("{lines} lines; {}", counts.collect::<Vec<_>>().join(", "))))
}
