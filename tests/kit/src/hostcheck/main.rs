//! `hostcheck [--threads N] [--host TEXT] -- COMMAND...`: whether a program with lodger in its
//! event loop keeps what the examples promise, seen from outside.
//!
//! It knows nothing of lodger: blocking sockets of std, rustls over them, and a WebSocket written for
//! this. What the program has to offer is written in `foreign-loop-examples/README.md`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports to people")]

mod check;
mod feed;
mod program;
mod sha1;
mod tls;
mod web;
mod ws;

use std::process::ExitCode;

use check::Wanted;

/// What went wrong, for people.
type Res<T = ()> = Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: hostcheck [--threads N] [--host TEXT] -- COMMAND [ARGUMENT...]

  --threads N   how many threads the program has, with the guest and without (default 1)
  --host TEXT   what the live page must name, such as `GLib 2.74`";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((wanted, command)) = parse(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match check::run(&wanted, command) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hostcheck: {}: {error}", command.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// Reads the flags; what stands behind `--` is the command.
fn parse(args: &[String]) -> Option<(Wanted, &[String])> {
    let at = args.iter().position(|arg| arg == "--")?;
    let (flags, command) = (args.get(..at)?, args.get(at + 1..)?);
    let mut wanted = Wanted { threads: 1, host: String::new() };
    for pair in flags.chunks(2) {
        match pair {
            [flag, value] if flag == "--threads" => wanted.threads = value.parse().ok()?,
            [flag, value] if flag == "--host" => wanted.host.clone_from(value),
            _ => return None,
        }
    }
    (!command.is_empty()).then_some((wanted, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn flags_stand_before_the_command() {
        let line = words("--threads 2 --host GLib -- cat --threads 3");

        let (wanted, command) = parse(&line).unwrap();

        assert_eq!((wanted.threads, wanted.host.as_str()), (2, "GLib"));
        assert_eq!(command, words("cat --threads 3"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(parse(&words("cat")).is_none());
        assert!(parse(&words("--threads x -- cat")).is_none());
        assert!(parse(&words("--host --")).is_none());
    }
}
