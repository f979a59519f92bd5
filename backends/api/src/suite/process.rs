//! Tests that look at the whole process, and so need one of their own.

use std::env;
use std::prelude::v1::*;
use std::process::Command;

/// In the environment of a process that was started for one test.
const MARK: &str = "LODGER_SUITE_ALONE";

/// Runs `test` with no other test beside it: the test binary is started again for the test named
/// `path` alone, as `module_path!()` and the function's name give it.
///
/// # Panics
///
/// The test failed there, or there is no such test.
pub fn alone(path: &str, test: impl FnOnce()) {
    if env::var_os(MARK).is_some() {
        return test();
    }
    // The harness knows a test by its path without the crate's name.
    let name = path.split_once("::").map_or(path, |(_, rest)| rest);
    let binary = env::current_exe().expect("a test has a binary");
    let output = Command::new(binary)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .expect("a test binary can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{name} alone:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    show(&text);
}

#[expect(clippy::print_stdout, reason = "a test shows its figures")]
fn show(text: &str) {
    print!("{text}");
}
