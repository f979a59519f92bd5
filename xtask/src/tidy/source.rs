//! The text files of the tree, and how to look at them without comments, strings and tests.

use std::path::Path;

use crate::Res;

/// A text file of the tree.
pub(super) struct File {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// The module that holds it compiles it for tests alone.
    test: bool,
}

/// What holds nothing of ours. In a worktree `.git` is a file.
const SKIPPED: [&str; 5] = [".git", "target", "node_modules", "artifacts", "corpus-found"];

/// Reads every text file below `root`.
pub(super) fn files(root: &Path) -> Res<Vec<File>> {
    let mut files = Vec::new();
    walk(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    mark_tests(&mut files);
    Ok(files)
}

/// Marks the files of modules that are declared under `cfg(test)` or `cfg(any(test, …))`.
fn mark_tests(files: &mut [File]) {
    let bases: Vec<String> = files.iter().flat_map(File::test_modules).collect();
    for file in files {
        let is_below = |base: &String| {
            let rest = file.path.strip_prefix(base.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        file.test = bases.iter().any(is_below);
    }
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<File>) -> Res {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), &format!("{prefix}{name}/"), files)?;
        } else if kind.is_file() {
            // Bytes that are no text are vectors and pictures: nothing to check.
            if let Ok(text) = String::from_utf8(std::fs::read(entry.path())?) {
                files.push(File { path: format!("{prefix}{name}"), text, test: false });
            }
        }
    }
    Ok(())
}

impl File {
    #[cfg(test)]
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into(), test: false }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Tells whether the whole file is tests.
    pub(super) fn is_test(&self) -> bool {
        self.test
            || self.path.ends_with("/tests.rs")
            || self.path.split('/').any(|part| part == "tests")
    }

    /// Gives the paths, without `.rs`, of the modules that this file declares for tests.
    fn test_modules(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let base = if matches!(name, "mod" | "lib" | "main") { folder } else { stem };
        let mut lines = self.text.lines().map(str::trim);
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            if line == "#[cfg(test)]" || line.starts_with("#[cfg(any(test,") {
                let module = lines.next().and_then(|line| line.split_once("mod "));
                let module = module.and_then(|(_, rest)| rest.strip_suffix(';'));
                found.extend(module.map(|module| format!("{base}/{module}")));
            }
        }
        found
    }

    /// Gives what stands before the tests at the foot of a file.
    pub(super) fn without_tests(&self) -> &str {
        match self.text.find("\n#[cfg(test)]\nmod tests") {
            Some(at) => self.text.get(..at).unwrap_or(&self.text),
            None => &self.text,
        }
    }

    /// Gives the code before the tests, with comments and the insides of strings left out.
    pub(super) fn code(&self) -> String {
        self.without_tests().lines().map(|line| code_of(line) + "\n").collect()
    }
}

/// Drops the comment at the end of a line and what stands between its quotes.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let (mut quoted, mut before) = (false, ' ');
    for c in line.chars() {
        match (c, before) {
            ('"', _) if before != '\\' && before != '\'' => quoted = !quoted,
            ('/', '/') if !quoted => {
                code.pop();
                return code;
            }
            _ if quoted => {}
            _ => code.push(c),
        }
        // A backslash that is itself escaped escapes nothing.
        before = if before == '\\' && c == '\\' { ' ' } else { c };
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_for_tests_are_marked() {
        let root = "#[cfg(test)]\nmod table;\n#[cfg(any(test, fuzzing))]\npub(crate) mod check;\nmod write;\n";
        let paths = ["src/h1/table.rs", "src/h1/check/deep.rs", "src/h1/write.rs", "src/table.rs"];
        let mut files: Vec<File> = paths.iter().map(|path| File::new(path, "")).collect();
        files.push(File::new("src/h1/mod.rs", root));

        mark_tests(&mut files);

        let tests: Vec<bool> = files.iter().map(File::is_test).collect();
        assert_eq!(tests, [true, true, false, false, false]);
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        assert_eq!(code_of("let a = 1; // use crate::app"), "let a = 1; ");
        assert_eq!(code_of("/// [`crate::app`]"), "");
        assert_eq!(code_of(r#"f("crate::app // x", b);"#), "f(, b);");
        assert_eq!(code_of(r#"f("\\"); g()"#), "f(); g()");
        assert_eq!(code_of(r#"if c == '"' { g() } // x"#), r#"if c == '"' { g() } "#);
    }
}
