//! What the program says: one line for each thing that went wrong, and how it exits.
//!
//! Exit codes: 0 for help, version, a goodbye and what was done, 1 for what the system or a server
//! refuses, 2 for a command line that cannot be, 22 for an error status under `fetch --fail`.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// What went wrong, with what to do about it, in one line.
#[derive(Debug)]
pub(crate) struct Problem {
    text: String,
    code: u8,
}

impl Problem {
    /// The system refuses something.
    pub(crate) fn new(text: String) -> Self {
        Self { text, code: 1 }
    }

    /// The command line cannot be.
    pub(crate) fn usage(text: String) -> Self {
        Self { text, code: 2 }
    }

    /// The server's answer is an error, where that was asked to count as one.
    pub(crate) fn status(text: String) -> Self {
        Self { text, code: 22 }
    }

    /// Nothing went wrong, but there is nothing left to do: an end without a word.
    pub(crate) fn quiet() -> Self {
        Self { text: String::new(), code: 0 }
    }

    /// Whether it is no failure.
    pub(crate) fn is_quiet(&self) -> bool {
        self.code == 0
    }

    /// Tells it. Gives the exit code for it.
    pub(crate) fn tell(&self) -> ExitCode {
        say(&self.text);
        ExitCode::from(self.code)
    }
}

/// Writes one line to standard error. With nobody to hear it, it is not said.
pub(crate) fn say(text: impl fmt::Display) {
    let mut line = format!("lodger: {text}").replace(char::is_control, " ");
    line.push('\n');
    // Its own failure could be told nowhere.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Writes to standard output and hands it on at once.
///
/// # Errors
///
/// Nobody takes it: a closed pipe, a full disk.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// As [`print`], for any bytes.
///
/// # Errors
///
/// As [`print`].
pub(crate) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// A panic is a bug of ours: whoever runs the program gets one line to report, and no trace.
pub(crate) fn one_line_for_a_panic() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let what = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no reason given");
        let at = info.location().map(|at| format!(" at {at}")).unwrap_or_default();
        say(format_args!("a bug in lodger, please report it: {what}{at}"));
    }));
}
