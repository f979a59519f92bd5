//! What no compiler checks: who imports whom, sizes of files, headings, forbidden words,
//! dependencies without a reason.

mod dependencies;
mod headings;
mod imports;
mod source;
mod words;

use std::path::Path;
use std::process::ExitCode;

use source::File;

use crate::{Res, sh};

/// Lines before the tests above which a file must be split.
const TOO_LONG: usize = 800;
/// Lines before the tests above which a file is listed, so that somebody looks.
const LONG: usize = 600;

/// What was found.
#[derive(Default, Debug)]
pub(crate) struct Findings {
    /// Each breaks a rule.
    pub(crate) broken: Vec<String>,
    /// Each deserves a look.
    pub(crate) notes: Vec<String>,
}

/// `cargo xtask tidy`.
pub(crate) fn run() -> ExitCode {
    let findings = match check(sh::root()) {
        Ok(findings) => findings,
        Err(error) => Findings { broken: vec![error.to_string()], notes: Vec::new() },
    };
    for line in &findings.notes {
        println!("note: {line}");
    }
    for line in &findings.broken {
        println!("{line}");
    }
    println!("tidy: {} broken", findings.broken.len());
    if findings.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks the tree at `root`.
pub(crate) fn check(root: &Path) -> Res<Findings> {
    let files = source::files(root)?;
    let mut findings = Findings::default();
    findings.broken.extend(imports::check(&files));
    findings.broken.extend(headings::check(&files));
    findings.broken.extend(words::check(&files));
    findings.broken.extend(dependencies::check(&files));
    sizes(&files, &mut findings);
    Ok(findings)
}

fn sizes(files: &[File], findings: &mut Findings) {
    for file in files.iter().filter(|file| file.is_rust() && !file.is_test()) {
        let lines = file.without_tests().lines().count();
        let line = format!("{}: {lines} lines before its tests", file.path);
        match lines {
            n if n <= LONG => {}
            n if n <= TOO_LONG => findings.notes.push(line),
            _ => findings.broken.push(line + ": split it by concern"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let findings = check(sh::root()).unwrap();

        assert!(findings.broken.is_empty(), "{:#?}", findings.broken);
    }

    #[test]
    fn a_file_is_measured_without_its_tests() {
        let (mut short, mut long) = (Findings::default(), Findings::default());
        let tests = format!("code\n#[cfg(test)]\nmod tests {{}}\n{}", "line\n".repeat(TOO_LONG));

        sizes(&[File::new("src/a.rs", &tests)], &mut short);
        sizes(&[File::new("src/a.rs", &"line\n".repeat(TOO_LONG + 1))], &mut long);

        assert!(short.broken.is_empty() && short.notes.is_empty());
        assert_eq!(long.broken.len(), 1);
    }
}
