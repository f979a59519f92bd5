//! The program `lodger`.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod doctor;
mod fetch;
mod host;
mod mqtt;
mod output;
mod proxy;
mod report;
mod serve;
mod signal;
mod tls;
mod ws;

use std::process::ExitCode;

use args::Command;

fn main() -> ExitCode {
    report::one_line_for_a_panic();
    let done = match args::read() {
        Ok(Command::Serve(options)) => serve::run(&options),
        Ok(Command::Fetch(options)) => fetch::run(&options),
        Ok(Command::Ws(options)) => ws::run(&options),
        Ok(Command::Mqtt(options)) => mqtt::run(&options),
        Ok(Command::Doctor) => doctor::run(),
        Ok(Command::Bench(options)) => bench::run(&options),
        Err(shown) => return shown,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => problem.tell(),
    }
}
