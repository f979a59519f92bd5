//! Runs the fuzz targets of `tests/fuzz`. Optional: it needs a nightly compiler and cargo-fuzz.

use std::process::ExitCode;

use crate::steps::{Outcome, Steps};
use crate::{Res, sh};

/// For how long, and which target; all if none is named.
pub(crate) struct Plan {
    seconds: u32,
    target: Option<String>,
}

impl Plan {
    /// Reads `[SECONDS] [TARGET]`.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        match words {
            [] => Some(Self { seconds: 60, target: None }),
            [seconds] => Some(Self { seconds: seconds.parse().ok()?, target: None }),
            [seconds, target] => {
                Some(Self { seconds: seconds.parse().ok()?, target: Some((*target).to_owned()) })
            }
            _ => None,
        }
    }
}

/// `cargo xtask fuzz`.
pub(crate) fn run(plan: &Plan) -> ExitCode {
    let mut steps = Steps::new(false);
    match targets() {
        Ok(targets) => {
            let wanted = |name: &String| plan.target.as_ref().is_none_or(|target| target == name);
            for target in targets.iter().filter(|name| wanted(name)) {
                steps.step(&format!("fuzz {target}"), || one(target, plan.seconds));
            }
        }
        Err(why) => {
            steps.step("fuzz", || Ok(Outcome::Optional(why)));
        }
    }
    steps.finish()
}

/// Gives the names of the targets, or why they cannot be run here.
fn targets() -> Result<Vec<String>, String> {
    if !sh::root().join("tests/fuzz/Cargo.toml").is_file() {
        return Err("no tests/fuzz".into());
    }
    sh::run(20, "cargo", &["+nightly", "--version"]).map_err(|_| "no nightly compiler")?;
    if !sh::have("cargo-fuzz") {
        sh::run(900, "cargo", &["install", "--quiet", "--locked", "cargo-fuzz"])
            .map_err(|error| format!("cargo-fuzz cannot be installed: {error}"))?;
    }
    let listed = sh::run(60, "cargo", &["+nightly", "fuzz", "list", "--fuzz-dir", "tests/fuzz"]);
    let listed = listed.map_err(|error| error.to_string())?;
    Ok(sh::text(&listed.stdout).split_whitespace().map(String::from).collect())
}

/// Runs one target. What it finds goes to `corpus-found`, which is not committed; it begins with
/// the committed corpus.
fn one(target: &str, seconds: u32) -> Res<Outcome> {
    let (found, seeds) =
        (format!("tests/fuzz/corpus-found/{target}"), format!("tests/fuzz/corpus/{target}"));
    std::fs::create_dir_all(sh::root().join(&found))?;
    let mut args = vec!["+nightly", "fuzz", "run", "--fuzz-dir", "tests/fuzz", target, &found];
    if sh::root().join(&seeds).is_dir() {
        args.push(&seeds);
    }
    let time = format!("-max_total_time={seconds}");
    args.extend(["--", &time, "-print_final_stats=1", "-timeout=10"]);
    let output = sh::run(seconds.saturating_add(900), "cargo", &args)?;
    Ok(Outcome::Passed(figures(&sh::text(&output.stderr))))
}

/// Reads the executions and the edges from what libFuzzer printed.
fn figures(log: &str) -> String {
    let after = |line: &str, word: &str| {
        let rest = line.split_once(word)?.1;
        rest.split_whitespace().next().map(String::from)
    };
    let runs = log.lines().rev().find_map(|line| after(line, "stat::number_of_executed_units:"));
    let edges = log.lines().rev().find_map(|line| after(line, " cov: "));
    let unknown = || String::from("?");
    format!("{} executions, {} edges", runs.unwrap_or_else(unknown), edges.unwrap_or_else(unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_last_ones() {
        let log = "#2 INITED cov: 10 ft: 11\n#9 DONE   cov: 412 ft: 900 corp: 7/9b\n\
                   stat::number_of_executed_units: 12345\n";

        assert_eq!(figures(log), "12345 executions, 412 edges");
    }
}
