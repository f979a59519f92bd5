//! Runs other programs, and knows where the repository is.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::Res;

/// Gives the root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Gives a path under `target/`, where everything goes that a run leaves behind.
pub(crate) fn target(name: &str) -> PathBuf {
    let base =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    base.join(name)
}

/// Gives the program that is tested and measured: the release build, or what `LODGER_PROGRAM`
/// names, to compare two builds.
pub(crate) fn lodger() -> PathBuf {
    named_program().unwrap_or_else(|| target("release/lodger"))
}

/// Builds the release program: the one that users get.
pub(crate) fn build_release() -> Res {
    if named_program().is_some() {
        return Ok(());
    }
    run(1200, "cargo", &["build", "--release", "--locked", "-p", "lodger-cli"]).map(drop)
}

fn named_program() -> Option<PathBuf> {
    std::env::var_os("LODGER_PROGRAM").map(PathBuf::from)
}

/// Tells whether a program of this name is in the search path.
pub(crate) fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Makes a command that is ended, children included, after `limit` seconds, and runs in the root.
pub(crate) fn command(limit: u32, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "10", &limit.to_string(), program]).args(args);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a program to its end; what it printed is the error's text if it failed.
pub(crate) fn run(limit: u32, program: &str, args: &[&str]) -> Res<Output> {
    check(&mut command(limit, program, args))
}

/// As [`run`], for a command that was made by [`command`] and changed since.
pub(crate) fn check(command: &mut Command) -> Res<Output> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let reason = match output.status.code() {
        Some(124) => String::from("took too long"),
        _ => output.status.to_string(),
    };
    Err(format!("{reason}\n{}{}", tail(&output.stdout), tail(&output.stderr)).into())
}

/// Allows this program, and what it starts, so many descriptors.
pub(crate) fn allow_descriptors(descriptors: u32) -> Res {
    let limit = format!("--nofile={descriptors}:");
    let pid = std::process::id().to_string();
    run(5, "prlimit", &["--pid", &pid, &limit]).map(drop)
}

/// Gives what a program printed, both streams, as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Gives the last lines of what a program printed.
fn tail(bytes: &[u8]) -> String {
    const LINES: usize = 60;
    let text = text(bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    lines.get(from..).unwrap_or_default().iter().map(|line| format!("    {line}\n")).collect()
}
