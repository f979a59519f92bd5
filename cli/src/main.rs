//! The program `lodger`.

#![forbid(unsafe_code)]

mod args;
mod report;
mod serve;
mod signal;

use std::process::ExitCode;

use args::Command;

fn main() -> ExitCode {
    report::one_line_for_a_panic();
    let done = match args::read() {
        Ok(Command::Serve(options)) => serve::run(&options),
        Err(shown) => return shown,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => problem.tell(),
    }
}
