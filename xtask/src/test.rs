//! `cargo xtask test`: everything, in one command.

use std::process::ExitCode;

use crate::conformance::Role;
use crate::steps::{Counts, Outcome, Steps};
use crate::{Res, conformance, count, examples, install, program, sh, tidy};

/// Runs everything. Under `CI=true` what is skipped has failed, optional steps excepted.
pub(crate) fn run() -> ExitCode {
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    let mut steps = Steps::new(strict);
    steps.step("Debian packages", install::debian);
    steps.step("npm packages", install::npm);
    steps.step("Python packages", install::python);
    sources(&mut steps);
    steps.step("cargo test", cargo_test);
    examples::steps(&mut steps, OPTIONAL);
    if steps.step("release build", || passed(sh::build_release())) {
        program::steps(&mut steps);
        count::steps(&mut steps, count::Plan::quick());
        let roles = [
            ("server", Role::Server),
            ("server over TLS", Role::ServerTls),
            ("client", Role::Client),
        ];
        for (name, role) in roles {
            steps.step(&format!("autobahn quick, {name}"), || conformance::autobahn("quick", role));
        }
    }
    steps.finish()
}

/// What can be said about the sources without running them.
fn sources(steps: &mut Steps) {
    steps.step("tidy", tidy_tree);
    steps.step("cargo fmt", || cargo(120, &["fmt", "--all", "--", "--check", "-l"]));
    let deny = ["--", "-D", "warnings"];
    let workspace = ["clippy", "--locked", "--workspace", "--all-targets", "--features", OPTIONAL];
    steps.step("cargo clippy", || cargo(1200, &[&workspace[..], &deny].concat()));
    // A workspace build unifies features, so each is looked at alone.
    let alone = ["clippy", "--locked", "-p", "lodger", "--no-default-features"];
    steps.step("no features", || cargo(300, &[&alone[..], &deny].concat()));
    for feature in features() {
        let with = ["--features", feature.as_str()];
        steps.step(&format!("feature {feature} alone"), || {
            cargo(300, &[&alone[..], &with, &deny].concat())
        });
    }
    steps.step("cargo doc", || {
        let args = ["doc", "--locked", "--workspace", "--no-deps"];
        passed(sh::check(sh::command(900, "cargo", &args).env("RUSTDOCFLAGS", "-D warnings")))
    });
}

fn cargo(limit: u32, args: &[&str]) -> Res<Outcome> {
    passed(sh::run(limit, "cargo", args))
}

fn passed<T>(result: Res<T>) -> Res<Outcome> {
    result.map(|_| Outcome::Passed(String::new()))
}

fn tidy_tree() -> Res<Outcome> {
    let findings = tidy::check(sh::root())?;
    if findings.broken.is_empty() {
        Ok(Outcome::Passed(findings.notes.join("; ")))
    } else {
        Err(findings.broken.join("\n    ").into())
    }
}

/// Features that are off by default and have tests.
pub(crate) const OPTIONAL: &str = "lodger/json,lodger/mqtt,lodger-glib/glib";

/// Gives the features of `lodger`, as its manifest names them.
fn features() -> Vec<String> {
    let manifest = std::fs::read_to_string(sh::root().join("Cargo.toml")).unwrap_or_default();
    let lines = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.to_owned());
    names.filter(|name| !name.starts_with('#')).collect()
}

/// Runs all tests, and counts them one by one.
fn cargo_test() -> Res<Outcome> {
    let args = ["test", "--locked", "--workspace", "--no-fail-fast", "--features", OPTIONAL];
    let args = [&args[..], &["--", "--show-output"]].concat();
    let output = sh::command(1500, "cargo", &args).output()?;
    let log = sh::text(&output.stdout);
    let mut counts = counted(&log);
    if !output.status.success() {
        counts.failed = counts.failed.max(1);
        print!("\n{log}{}", sh::text(&output.stderr));
    }
    for line in log.lines().filter(|line| is_skip(line)) {
        println!("\n    {line}");
    }
    Ok(Outcome::Counted(counts))
}

/// Adds up the result lines, and the skips that tests said.
fn counted(log: &str) -> Counts {
    let mut counts = Counts::default();
    for line in log.lines().filter(|line| line.starts_with("test result: ")) {
        let number = |word: &str| {
            let part = line.split(';').find(|part| part.trim_end().ends_with(word));
            let digits = part.and_then(|part| part.split_whitespace().rev().nth(1));
            digits.and_then(|digits| digits.parse::<u64>().ok()).unwrap_or(0)
        };
        counts.passed += number(" passed");
        counts.failed += number(" failed");
        counts.skipped += number(" ignored");
    }
    // A test that could not do its work has said so and passed: it counts as skipped.
    for line in log.lines().filter(|line| is_skip(line)) {
        let optional = line.starts_with("skipped (optional):");
        *(if optional { &mut counts.optional } else { &mut counts.skipped }) += 1;
        counts.passed = counts.passed.saturating_sub(1);
    }
    counts
}

fn is_skip(line: &str) -> bool {
    line.starts_with("skipped: ") || line.starts_with("skipped (optional): ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let log = "test a ... ok\n\
                   test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; in 1s\n\
                   skipped: no libglib2.0-dev\n\
                   skipped (optional): no nightly\n\
                   test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 3 filtered out\n";

        let counts = counted(log);

        assert_eq!(counts, Counts { passed: 10, failed: 2, skipped: 2, optional: 1 });
    }

    #[test]
    fn every_feature_is_found() {
        let features = features();

        assert!(features.iter().any(|name| name == "std"), "{features:?}");
        assert!(features.iter().all(|name| !name.contains(' ')), "{features:?}");
    }
}
