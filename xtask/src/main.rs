//! The project's own commands: `cargo xtask test`, `tidy`, `count`, `bench`, `hosts`, `examples`,
//! `platforms`, `conformance`, `fuzz`.
//!
//! Depends on std and cbindgen alone. What a command needs beyond cargo is installed where that is allowed, and
//! otherwise the command says what it skips and why.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports to people")]

mod bench;
mod conformance;
mod count;
mod examples;
mod fuzz;
mod header;
mod hosts;
mod install;
mod load;
mod mqtt;
mod nginx;
mod pictures;
mod platforms;
mod proc;
mod program;
mod server;
mod sh;
mod steps;
mod test;
mod tidy;

use std::process::ExitCode;

use conformance::Role;
use load::Kind;

/// What a command returns; errors are for people.
type Res<T = ()> = Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test                      everything; ends with `N passed, N failed, N skipped`
  tidy                      imports, file sizes, headings, forbidden words
  header [--verify]         makes capi/include/lodger.h, or compares it
  program                   the release program from outside: curl, `ws`, bad input, Chromium
  count [--quick] [--long]  allocations, system calls, wakeups, memory, instructions
  profile ws|plaintext      instructions an operation, by function
  profile hpack             instructions to decode a block of nine fields
  bench h2                  HTTP/2 beside others under h2load: a section of benches/RESULTS.md
  bench [--quick]           processor time beside the floor and beside others: benches/RESULTS.md
  bench tls                 the same of TLS handshakes
  hosts [--quick]           what a guest costs in each loop, and what it does to it
  examples [NAME...]        lodger in other loops: builds the examples and checks them
  pictures                  takes the README's pictures anew: the page in four hosts, a window
  platforms                 type-checks lodger for macOS, FreeBSD, Windows and bare metal
  conformance autobahn [quick|full|deflate|IDS [server [--tls]|client]]
                            the WebSocket suite against the release program and a client
  mqtt interop|kill|bench   the broker: clients of others, killed 100 times, beside mosquitto and rumqttd
  conformance httpwg [FILTER]
                            an HTTP/2 suite against the release program
  fuzz [SECONDS] [TARGET]   each fuzz target for so long (default 60 s)

LODGER_PROGRAM=PATH tests, counts and measures that program instead of the release build;
LODGER_AUTOBAHN=PATH names the suite's script if it is not ../shared/conformance/autobahn.sh.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => test::run(),
        ["tidy"] => tidy::run(),
        ["header"] => header::run(false),
        ["header", "--verify"] => header::run(true),
        ["program"] => program::run(),
        ["count", flags @ ..] => match count::Plan::parse(flags) {
            Some(plan) => count::run(plan),
            None => usage(),
        },
        ["bench", "tls"] => bench::run_tls(),
        ["bench", "h2"] => bench::h2::run(),
        ["bench", flags @ ..] => match bench::Plan::parse(flags) {
            Some(plan) => bench::run(plan),
            None => usage(),
        },
        ["hosts", flags @ ..] => match hosts::Plan::parse(flags) {
            Some(plan) => hosts::run(plan),
            None => usage(),
        },
        ["examples", names @ ..] => examples::run(names),
        ["pictures"] => pictures::run(),
        ["platforms"] => platforms::run(),
        ["profile", "ws"] => count::profile(Kind::WsEcho),
        ["profile", "hpack"] => count::profile_hpack(),
        ["profile", "plaintext"] => count::profile(Kind::Plaintext),
        ["conformance", "autobahn", rest @ ..] => match rest {
            [] => conformance::run("quick", None),
            [set] => conformance::run(set, None),
            [set, "server"] => conformance::run(set, Some(Role::Server)),
            [set, "server", "--tls"] => conformance::run(set, Some(Role::ServerTls)),
            [set, "client"] => conformance::run(set, Some(Role::Client)),
            _ => usage(),
        },
        ["mqtt", what @ ("interop" | "kill" | "bench")] => mqtt::run(what),
        ["conformance", "httpwg"] => conformance::run_httpwg(None),
        ["conformance", "httpwg", filter] => conformance::run_httpwg(Some(filter)),
        ["fuzz", rest @ ..] => match fuzz::Plan::parse(rest) {
            Some(plan) => fuzz::run(&plan),
            None => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
