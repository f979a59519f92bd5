//! Runs steps one after the other, times them and counts them.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::Res;

/// How a step ended, when it did not fail.
pub(crate) enum Outcome {
    /// It did what it is for; the text is its figure, or empty.
    Passed(String),
    /// It ran tests that count one by one.
    Counted(Counts),
    /// Something is missing that may be installed: a failure under CI.
    Skipped(String),
    /// Something is missing that not every machine can have; counted apart.
    Optional(String),
}

/// How many tests ended in which way.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) optional: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.optional += other.optional;
    }
}

/// A run of steps.
pub(crate) struct Steps {
    began: Instant,
    strict: bool,
    counts: Counts,
    took: Vec<(Duration, String)>,
    failed: Vec<String>,
}

impl Steps {
    /// Begins. `strict`: what is skipped has failed (set under CI).
    pub(crate) fn new(strict: bool) -> Self {
        let counts = Counts::default();
        Self { began: Instant::now(), strict, counts, took: Vec::new(), failed: Vec::new() }
    }

    /// Runs one step and prints one line for it; a failure prints what went wrong below it.
    /// Returns whether it passed.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Res<Outcome>) -> bool {
        print!("{name} ... ");
        // A broken pipe here is found by the next line that is printed.
        let _ = std::io::stdout().flush();
        let began = Instant::now();
        let outcome = work();
        let took = began.elapsed();
        let (word, note, counts) = self.judge(outcome);
        println!(
            "{word} ({:.1} s){}{note}",
            took.as_secs_f64(),
            if note.is_empty() { "" } else { ": " }
        );
        self.counts.add(counts);
        self.took.push((took, name.to_owned()));
        if counts.failed > 0 {
            self.failed.push(name.to_owned());
        }
        counts.failed == 0 && counts.passed > 0
    }

    fn judge(&self, outcome: Res<Outcome>) -> (&'static str, String, Counts) {
        let one = |passed, failed, skipped, optional| Counts { passed, failed, skipped, optional };
        match outcome {
            Ok(Outcome::Passed(note)) => ("ok", note, one(1, 0, 0, 0)),
            Ok(Outcome::Skipped(why)) if self.strict => {
                ("FAILED", format!("skipped: {why}"), one(0, 1, 0, 0))
            }
            Ok(Outcome::Skipped(why)) => ("skipped", why, one(0, 0, 1, 0)),
            Ok(Outcome::Optional(why)) => ("skipped (optional)", why, one(0, 0, 0, 1)),
            Ok(Outcome::Counted(mut counts)) => {
                let note = format!("{} passed, {} skipped", counts.passed, counts.skipped);
                if self.strict {
                    counts.failed += std::mem::take(&mut counts.skipped);
                }
                (if counts.failed == 0 { "ok" } else { "FAILED" }, note, counts)
            }
            Err(error) => ("FAILED", error.to_string(), one(0, 1, 0, 0)),
        }
    }

    /// Prints the slowest steps, the total and the counts; the counts are the last line.
    pub(crate) fn finish(mut self) -> ExitCode {
        self.took.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
        println!("\nslowest steps:");
        for (took, name) in self.took.iter().take(10) {
            println!("{:8.1} s  {name}", took.as_secs_f64());
        }
        println!("{:8.1} s  in all", self.began.elapsed().as_secs_f64());
        for name in &self.failed {
            println!("FAILED: {name}");
        }
        let Counts { passed, failed, skipped, optional } = self.counts;
        println!("optional steps skipped: {optional}\n");
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_fails_only_where_nothing_may_be_missing() {
        let skip = || Ok(Outcome::Skipped("no tool".into()));

        let (_, _, lenient) = Steps::new(false).judge(skip());
        let (_, _, strict) = Steps::new(true).judge(skip());

        assert_eq!(lenient, Counts { skipped: 1, ..Counts::default() });
        assert_eq!(strict, Counts { failed: 1, ..Counts::default() });
    }

    #[test]
    fn an_optional_skip_never_fails() {
        let (_, _, counts) = Steps::new(true).judge(Ok(Outcome::Optional("no ptrace".into())));

        assert_eq!(counts, Counts { optional: 1, ..Counts::default() });
    }
}
