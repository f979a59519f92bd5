//! Wakeups of a program that has nothing to do.

use std::time::Duration;

use crate::load::{Kind, Load};
use crate::server::Server;
use crate::steps::Outcome;
use crate::{Res, proc};

/// Watches 100 idle WebSocket connections for a while. The scheduler's own count says how often
/// the process ran, so nothing is missed between two looks.
pub(super) fn count(window: Duration) -> Res<Outcome> {
    let server = Server::start()?;
    let mut load = Load::open(Kind::WsEcho, server.port(), 100)?;
    load.run(1000)?;
    // One turn more is allowed once a deadline has moved away; it has come by then.
    std::thread::sleep(Duration::from_secs(1));
    let before = proc::sched(server.pid())?;
    std::thread::sleep(window);
    let after = proc::sched(server.pid())?;
    let wakeups = after.runs - before.runs;
    let note = format!("{wakeups} in {:.0} s with 100 connections", window.as_secs_f64());
    if after == before {
        Ok(Outcome::Passed(note))
    } else {
        Err((note + "; none is allowed").into())
    }
}
