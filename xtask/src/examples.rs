//! `cargo xtask examples [NAME...]`: lodger in other loops, each checked from outside.
//!
//! One table: how an example is built, how it is started, and what it must say of itself. What is
//! checked is the same for all, by `hostcheck` of `tests/kit`.

use std::process::ExitCode;

use crate::steps::{Outcome, Steps};
use crate::{Res, sh};

/// One host with lodger in its loop.
struct Example {
    /// Its folder in `foreign-loop-examples`.
    name: &'static str,
    /// Programs without which it is skipped; [`crate::install`] brings them on Debian.
    needs: &'static [&'static str],
    /// Commands that build it, run in the root. `{target}` stands for the build's folder.
    build: &'static [&'static [&'static str]],
    /// What starts it, with the same `{target}`.
    command: &'static [&'static str],
    /// What the live page must say of the host.
    host: &'static str,
    /// Threads, with the guest and without.
    threads: u32,
}

const EXAMPLES: [Example; 1] = [Example {
    name: "poll-rs",
    needs: &[],
    build: &[&["cargo", "build", "--locked", "-p", "poll-rs"]],
    command: &["{target}/debug/poll-rs"],
    host: "poll(2)",
    threads: 1,
}];

/// Checks the examples of these names; none is all.
pub(crate) fn run(names: &[&str]) -> ExitCode {
    let mut steps = Steps::new(false);
    steps_for(&mut steps, names);
    steps.finish()
}

/// One step an example.
pub(crate) fn steps(steps: &mut Steps) {
    steps_for(steps, &[]);
}

fn steps_for(steps: &mut Steps, names: &[&str]) {
    if !steps.step("example checker", build_checker) {
        return;
    }
    for example in &EXAMPLES {
        if names.is_empty() || names.contains(&example.name) {
            steps.step(&format!("example {}", example.name), || check(example));
        }
    }
    for name in names.iter().filter(|name| EXAMPLES.iter().all(|e| e.name != **name)) {
        steps.step(&format!("example {name}"), || Err("there is none of this name".into()));
    }
}

fn build_checker() -> Res<Outcome> {
    sh::run(600, "cargo", &["build", "--locked", "-p", "lodger-kit"])?;
    Ok(Outcome::Passed(String::new()))
}

fn check(example: &Example) -> Res<Outcome> {
    if let Some(missing) = example.needs.iter().find(|program| !sh::have(program)) {
        return Ok(Outcome::Skipped(format!("no {missing}")));
    }
    for words in example.build {
        let words = resolved(words);
        if let Some((program, args)) = split(&words) {
            sh::run(1200, program, &args)?;
        }
    }
    let checker = sh::target("debug/hostcheck").to_string_lossy().into_owned();
    let threads = example.threads.to_string();
    let mut args = vec!["--threads", &threads, "--host", example.host, "--"];
    let command = resolved(example.command);
    args.extend(command.iter().map(String::as_str));
    let output = sh::run(300, &checker, &args)?;
    Ok(Outcome::Passed(sh::text(&output.stdout).trim().to_owned()))
}

/// Puts the build's folder in.
fn resolved(words: &[&str]) -> Vec<String> {
    let target = sh::target("").to_string_lossy().trim_end_matches('/').to_owned();
    words.iter().map(|word| word.replace("{target}", &target)).collect()
}

fn split(words: &[String]) -> Option<(&str, Vec<&str>)> {
    let (program, args) = words.split_first()?;
    Some((program, args.iter().map(String::as_str).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_has_a_folder_and_every_folder_an_example() {
        let folder = sh::root().join("foreign-loop-examples");
        let mut folders: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("README.md").is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !SHARED.contains(&name.as_str()))
            .collect();
        let mut names: Vec<String> = EXAMPLES.iter().map(|e| e.name.to_owned()).collect();
        folders.sort();
        names.sort();

        assert_eq!(names, folders);
    }

    /// What examples share.
    const SHARED: [&str; 2] = ["guest", "common"];
}
