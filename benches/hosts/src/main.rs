//! `bench-hosts HOST MODE [SECONDS]`: one guest in many loops, to be measured.
//!
//! Each host is a loop with a timer of its own, which decides at each tick whether the guest comes
//! or goes. The guest echoes WebSocket messages at `/echo`. Standard output says where it listens,
//! standard error what was found, as `NAME=NUMBER` words.

#![deny(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

mod hosts;
#[cfg(feature = "libuv")]
mod uv;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use lodger_bench_hosts::script::Script;

type Res<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [host, mode] => run(host, mode, "10"),
        [host, mode, seconds] => run(host, mode, seconds),
        _ => Err("usage: bench-hosts HOST serve|traced|steady|flood|timers|idle [SECONDS]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-hosts: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(host: &str, mode: &str, seconds: &str) -> Res {
    let seconds = Duration::from_secs(seconds.parse()?);
    let script = Script::new(mode, seconds).ok_or("there is no such mode")?;
    #[cfg(feature = "libuv")]
    let script = if host == "libuv-per-fd" { script.made_by(uv::make_per_fd) } else { script };
    let script = Rc::new(script);
    match host {
        "mio" => hosts::mio(&script)?,
        "poll" => hosts::poll(&script)?,
        "calloop" => hosts::calloop(&script)?,
        "async-io" => hosts::async_io(&script)?,
        "tokio" => hosts::tokio(&script)?,
        #[cfg(feature = "glib")]
        "glib" => hosts::glib(&script)?,
        #[cfg(feature = "libuv")]
        "libuv" | "libuv-per-fd" => uv::uv(&script)?,
        _ => return Err("there is no such host".into()),
    }
    eprintln!("{}", script.found());
    Ok(())
}
