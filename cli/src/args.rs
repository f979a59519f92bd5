//! The command line: what can be asked for, in which units, and what else is taken for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use lodger::{Addr, Limits};

use crate::report;

/// A guest in your event loop, and here the whole house: a server on a loop of its own.
///
/// Without a command it does what `lodger serve` does, and takes its options.
#[derive(Debug, Parser)]
#[command(name = "lodger", version, override_usage = "lodger [COMMAND]", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 after a goodbye or when all is done, 1 if the system or a \
                          server refuses something, 2 for a wrong command line.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a directory, or the live page, /plaintext, POST /echo and the WebSocket /echo
    #[command(after_help = SERVE_NOTES)]
    Serve(Serve),

    /// Get a URL, to standard output or into a file
    #[command(after_help = crate::fetch::NOTES)]
    Fetch(crate::fetch::Options),

    /// Talk to a WebSocket, line by line
    #[command(after_help = crate::ws::NOTES)]
    Ws(crate::ws::Options),

    /// Speak MQTT: a broker, and clients
    #[command(after_help = crate::mqtt::NOTES)]
    Mqtt(crate::mqtt::Options),

    /// Tell what this machine offers
    Doctor,

    /// Load an HTTP or WebSocket server, and measure its answers
    #[command(after_help = crate::bench::NOTES)]
    Bench(crate::bench::Options),
}

const SERVE_NOTES: &str = "\
SIZE is a number of bytes, or of units of 1024: 64k, 16m, 1g. SECS may have decimals: 0.5.

Routes without DIR: / and /_lodger (the live page, fed by /_lodger/feed), /plaintext, POST /echo
(answers with the body, which is held in memory whole), WebSocket /echo; all else is 404.

With DIR: its files at /, index.html for a directory, the live page at /_lodger, nothing else.
Conditional requests and ranges; a.css.br and a.css.gz in place of a.css to those who accept that,
unless they are older. What begins with a dot or leaves DIR, through a link too, is 404. A change
is seen within a second. Reading a slow disk holds up everybody.

The live page's buttons stall the loop for 200 ms, open sockets to the program itself (at
/_lodger/socket) and drop one. They act for pages of http://localhost, 127.0.0.1 or [::1] only.

SIGTERM and SIGINT say goodbye: no new connection is taken, answers under way are completed,
WebSockets are closed with 1001. A second one ends at once. Both exit with 0.

The limit of open files (ulimit -n) is raised as far as the system allows. Without descriptors
or at --max-connections accepting pauses, and those who wait are served later.";

/// Where and within which limits to serve.
#[derive(Args, Clone, Debug)]
pub(crate) struct Serve {
    /// Directory whose files are served at /
    pub(crate) dir: Option<PathBuf>,

    /// Cache-Control of the files: "public, max-age=3600"
    #[arg(long, value_name = "VALUE", requires = "dir", value_parser = field_value)]
    pub(crate) cache_control: Option<String>,

    /// Where to listen: IP:PORT or unix:PATH; repeatable; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7681", value_parser = Addr::parse)]
    pub(crate) listen: Vec<Addr>,

    #[command(flatten)]
    pub(crate) secure: crate::tls::Server,

    /// Put an MQTT broker beside it, at this address, and in WebSockets at /mqtt; repeatable
    #[arg(long, value_name = "ADDR", value_parser = Addr::parse)]
    pub(crate) mqtt: Vec<Addr>,

    /// Speak HTTP/2 alone, with prior knowledge; / answers GET and POST once it has read the body
    #[arg(long, conflicts_with = "dir")]
    pub(crate) h2_only: bool,

    /// Let the live page's buttons act for every viewer, not only for pages opened on this machine
    #[arg(long)]
    pub(crate) live_controls: bool,

    /// How long a goodbye may take
    #[arg(long, value_name = "SECS", default_value = "5", value_parser = seconds)]
    pub(crate) grace: Duration,

    /// Longest body of POST /echo, else 413; at most 1g
    #[arg(long, value_name = "SIZE", default_value = "64m", value_parser = |s: &str| size(s, 1 << 30))]
    pub(crate) max_body: u64,

    /// Longest WebSocket message, else 1009; at most 1g
    #[arg(long, value_name = "SIZE", default_value = "16m", value_parser = |s: &str| size(s, 1 << 30))]
    pub(crate) max_message: u64,

    /// Compress WebSocket messages with those who offer it (permessage-deflate)
    #[arg(long)]
    pub(crate) deflate: bool,

    /// Connections open at once; at the limit accepting pauses
    #[arg(long, value_name = "N", default_value = "65536", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,

    /// Longest head of a request, else 431; half of it for one line, else 414; at most 1m
    #[arg(long, value_name = "SIZE", default_value = "16k", value_parser = |s: &str| size(s, 1 << 20))]
    max_head: u64,

    /// Output waiting for one slow peer above which it is not read from; at most 1g
    #[arg(long, value_name = "SIZE", default_value = "256k", value_parser = |s: &str| size(s, 1 << 30))]
    max_queue: u64,

    /// Requests on one connection; 0 is unlimited
    #[arg(long, value_name = "N", default_value = "0")]
    max_requests: u32,

    /// From the first byte of a head to its last, else 408
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = seconds)]
    head_timeout: Duration,

    /// Between two requests on a connection
    #[arg(long, value_name = "SECS", default_value = "15", value_parser = seconds)]
    idle_timeout: Duration,

    /// Without progress of the output, after which a connection is given up
    #[arg(long, value_name = "SECS", default_value = "30", value_parser = seconds)]
    stall_timeout: Duration,

    /// Least bytes a second of a request body, over 10 s, else 408; at most 1g
    #[arg(long, value_name = "SIZE", default_value = "1k", value_parser = |s: &str| size(s, 1 << 30))]
    min_body_rate: u64,

    /// Silence of a WebSocket after which it is pinged
    #[arg(long, value_name = "SECS", default_value = "30", value_parser = seconds)]
    ping_after: Duration,

    /// From that ping to giving the peer up
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = seconds)]
    pong_within: Duration,
}

impl Serve {
    /// The limits that these options ask for.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.io.connections = self.max_connections as usize;
        limits.io.queue_high = whole(self.max_queue);
        limits.io.queue_low = limits.io.queue_low.min(limits.io.queue_high);
        limits.io.send = limits.io.send.max(whole(self.max_message));
        limits.io.write_stall = self.stall_timeout;
        limits.h1.head = whole(self.max_head);
        limits.h1.line = whole(self.max_head.div_ceil(2));
        limits.h1.field = limits.h1.line;
        limits.h1.requests = self.max_requests;
        limits.h1.head_time = self.head_timeout;
        limits.h1.idle = self.idle_timeout;
        limits.h1.body_rate = u32::try_from(self.min_body_rate).unwrap_or(u32::MAX);
        limits.ws.frame = self.max_message;
        limits.ws.message = self.max_message;
        limits.ws.fragments = u32::MAX;
        limits.ws.ping_after = self.ping_after;
        limits.ws.pong_within = self.pong_within;
        limits
    }
}

fn whole(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Reads the command line.
///
/// # Errors
///
/// Help or a version was asked for, or the line is wrong; that has been told, and the exit code is
/// given.
pub(crate) fn read() -> Result<Command, ExitCode> {
    let args = with_command(std::env::args_os().skip(1).collect());
    let command = args.get(1).and_then(|arg| arg.to_str()).unwrap_or_default().to_owned();
    Cli::try_parse_from(args).map(|cli| cli.command).map_err(|e| tell(&e, &command))
}

/// Puts the program's name in front, and `serve` where no command is named.
fn with_command(args: Vec<OsString>) -> Vec<OsString> {
    let about = ["-h", "--help", "-V", "--version"];
    let named = args.first().is_some_and(|first| {
        !first.as_encoded_bytes().starts_with(b"-") || about.iter().any(|about| first == about)
    });
    let front = ["lodger", "serve"].into_iter().take(if named { 1 } else { 2 });
    front.map(OsString::from).chain(args).collect()
}

fn tell(e: &clap::Error, command: &str) -> ExitCode {
    let text = e.render().to_string();
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Whoever asked has closed the pipe, and does not want to know.
            let _ = report::print(&text);
            ExitCode::SUCCESS
        }
        _ => report::Problem::usage(one_line(&text, command)).tell(),
    }
}

/// Makes one line of what the parser says in several about a command.
fn one_line(text: &str, command: &str) -> String {
    let known = ["serve", "fetch", "ws", "mqtt", "doctor", "bench"].contains(&command);
    let help = if known { format!("lodger {command} --help") } else { "lodger --help".to_owned() };
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .map(|line| line.strip_prefix("error: ").unwrap_or(line))
        .collect();
    format!("{} (see {help})", said.join("; "))
}

/// Reads `1000`, `64k`, `16m` or `1g`, from 1 to `most`.
pub(crate) fn size(text: &str, most: u64) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (text.get(..text.len() - 1), 1 << 10),
        Some(b'm' | b'M') => (text.get(..text.len() - 1), 1 << 20),
        Some(b'g' | b'G') => (text.get(..text.len() - 1), 1 << 30),
        _ => (Some(text), 1),
    };
    let number: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    number
        .and_then(|n| n.checked_mul(unit))
        .filter(|n| (1..=most).contains(n))
        .ok_or_else(|| format!("a size is 1 to {most} bytes, or in units of 1024: 64k, 16m, 1g"))
}

/// Reads `Name: value`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    text.split_once(':')
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .ok_or_else(|| String::from("a header is 'Name: value'"))
}

/// Reads seconds, with or without decimals, up to about three years.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|s| (0.001..=1e8).contains(s))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| String::from("a time is 0.001 to 100000000 seconds: 0.5, 30"))
}

/// Reads what may stand in a field.
fn field_value(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~'));
    if fits { Ok(text.to_owned()) } else { Err(String::from("a field's value is visible ASCII")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Serve, clap::Error> {
        let args = ["lodger", "serve"].iter().chain(args);
        Cli::try_parse_from(args).map(|cli| match cli.command {
            Command::Serve(serve) => serve,
            other => panic!("{other:?}"),
        })
    }

    fn refused(args: &[&str]) -> String {
        one_line(&parsed(args).unwrap_err().render().to_string(), "serve")
    }

    #[test]
    fn without_options_the_limits_are_those_of_the_library() {
        let mut expected = Limits::default();
        expected.ws.frame = 16 << 20;
        expected.ws.message = 16 << 20;
        expected.ws.fragments = u32::MAX;

        let serve = parsed(&[]).unwrap();

        assert_eq!(format!("{:?}", serve.limits()), format!("{expected:?}"));
        assert_eq!(serve.listen, [Addr::parse("127.0.0.1:7681").unwrap()]);
        assert_eq!((serve.max_body, serve.grace), (64 << 20, Duration::from_secs(5)));
    }

    #[test]
    fn a_larger_message_may_also_be_sent() {
        let limits = parsed(&["--max-message", "1g"]).unwrap().limits();

        assert_eq!((limits.ws.message, limits.io.send), (1 << 30, 1 << 30));
    }

    #[test]
    fn sizes_have_units_and_bounds() {
        for (text, n) in [("1", 1), ("1000", 1000), ("64k", 64 << 10), ("2M", 2 << 20)] {
            assert_eq!(size(text, 1 << 30), Ok(n), "{text}");
        }
        for text in ["", "k", "0", "-1", "1.5m", "1kk", "2g", "99999999999999999999", "1é", "64 k"]
        {
            assert!(size(text, 1 << 30).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_decimals_and_bounds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("30"), Ok(Duration::from_secs(30)));
        for text in ["", "0", "-1", "nan", "inf", "1e9", "5s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn without_a_command_it_serves() {
        let whole = |args: &[&str]| with_command(args.iter().map(OsString::from).collect());

        assert_eq!(whole(&[]), ["lodger", "serve"]);
        assert_eq!(whole(&["--listen", "a"]), ["lodger", "serve", "--listen", "a"]);
        assert_eq!(whole(&["serve", "-h"]), ["lodger", "serve", "-h"]);
        assert_eq!(whole(&["other"]), ["lodger", "other"]);
        assert_eq!(whole(&["--help"]), ["lodger", "--help"]);
    }

    #[test]
    fn what_is_wrong_fits_one_line() {
        assert_eq!(
            refused(&["--listen", "nowhere"]),
            "invalid value 'nowhere' for '--listen <ADDR>': an address is IP:PORT \
             (127.0.0.1:7681, [::1]:7681) or unix:PATH (see lodger serve --help)"
        );
        assert_eq!(
            refused(&["--lisen", "127.0.0.1:0"]),
            "unexpected argument '--lisen' found; tip: a similar argument exists: '--listen' \
             (see lodger serve --help)"
        );
    }

    #[test]
    fn a_directory_is_served_by_its_name() {
        let serve = parsed(&["www", "--cache-control", "max-age=1"]).unwrap();

        assert_eq!(serve.dir, Some(PathBuf::from("www")));
        assert_eq!(serve.cache_control.as_deref(), Some("max-age=1"));
        assert!(parsed(&["--cache-control", "max-age=1"]).is_err());
        assert!(parsed(&["www", "--cache-control", "a\nb"]).is_err());
        assert!(parsed(&["www", "other"]).is_err());
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
