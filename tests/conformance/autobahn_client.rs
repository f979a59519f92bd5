//! The client that Autobahn's fuzzing server tests: asks how many cases there are, echoes each of
//! them, then asks for the reports.
//!
//! usage: autobahn_client HOST:PORT [--deflate]

#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a program that reports to people")]

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use lodger::policy::Validity;
use lodger::{Handle, Limits, Reason, Runtime, ws};

/// The longest message of the suite.
const MOST: u64 = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(host) = args.next() else {
        eprintln!("usage: autobahn_client HOST:PORT [--deflate]");
        return ExitCode::from(2);
    };
    let deflate = args.next().is_some();
    match run(host, deflate) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn run(host: String, deflate: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut limits = Limits::default();
    // The suite computes for as long as it likes before it answers.
    (limits.client.connect, limits.client.first_byte) = (PATIENCE, PATIENCE);
    let rt = Runtime::standalone_with(limits)?;
    let suite = Rc::new(Suite { host, deflate, cases: Cell::new(0), complete: Cell::new(false) });
    suite.step(&rt, Step::Count)?;
    rt.run()?;
    if suite.complete.get() { Ok(()) } else { Err("the suite did not come to its end".into()) }
}

/// What is true for the whole run.
struct Suite {
    host: String,
    deflate: bool,
    cases: Cell<u32>,
    complete: Cell<bool>,
}

/// One connection of the run.
#[derive(Clone, Copy)]
enum Step {
    Count,
    Case(u32),
    Report,
}

impl Suite {
    fn step(self: &Rc<Self>, h: &Handle, step: Step) -> Result<(), lodger::Error> {
        let target = match step {
            Step::Count => String::from("/getCaseCount"),
            Step::Case(case) => format!("/runCase?case={case}&agent=lodger"),
            Step::Report => String::from("/updateReports?agent=lodger"),
        };
        let config = ws::Config::default().frame(MOST).message(MOST).fragments(u32::MAX);
        let config = config.validity(Validity::never()).close_within(PATIENCE);
        let config = match step {
            Step::Case(_) if self.deflate => {
                config.deflate(ws::Deflate::new().least(1).takeover(true))
            }
            Step::Case(_) | Step::Count | Step::Report => config,
        };
        let peer = Peer { suite: Rc::clone(self), step, opened: false };
        let client = ws::Client::new(&format!("ws://{}{target}", self.host)).config(config);
        client.connect(h, peer).map(drop)
    }

    /// Gives what follows; `None` at the end of the run, or if the suite is not there.
    fn after(&self, step: Step, opened: bool) -> Option<Step> {
        let done = match step {
            Step::Count => 0,
            Step::Case(case) => case,
            Step::Report => {
                self.complete.set(opened);
                return None;
            }
        };
        match step {
            Step::Count if !opened => None,
            _ if done < self.cases.get() => Some(Step::Case(done + 1)),
            _ => Some(Step::Report),
        }
    }
}

struct Peer {
    suite: Rc<Suite>,
    step: Step,
    opened: bool,
}

impl ws::Handler for Peer {
    fn open(&mut self, _cx: &mut ws::Cx<'_>) {
        self.opened = true;
    }

    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        match (self.step, message) {
            (Step::Case(_), message) => {
                if cx.send(message).is_err() {
                    cx.close(1008);
                }
            }
            (Step::Count, ws::Message::Text(text)) => {
                self.suite.cases.set(text.trim().parse().unwrap_or(0));
            }
            (Step::Count | Step::Report, _) => {}
        }
    }

    fn closed(&mut self, cx: &mut ws::Cx<'_>, _why: Reason) {
        let h = cx.runtime();
        let next = self.suite.after(self.step, self.opened);
        let failed = next.is_none_or(|next| self.suite.step(h, next).is_err());
        if failed {
            h.end();
        }
    }
}
