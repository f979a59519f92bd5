//! The text files of the tree, and how to look at them without comments, strings and tests.

use std::path::Path;

use crate::Res;

/// A text file of the tree.
pub(super) struct File {
    /// Relative to the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

/// What holds nothing of ours. In a worktree `.git` is a file.
const SKIPPED: [&str; 5] = [".git", "target", "node_modules", "artifacts", "corpus-found"];

/// Reads every text file below `root`.
pub(super) fn files(root: &Path) -> Res<Vec<File>> {
    let mut files = Vec::new();
    walk(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
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
                files.push(File { path: format!("{prefix}{name}"), text });
            }
        }
    }
    Ok(())
}

impl File {
    #[cfg(test)]
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Tells whether the whole file is tests.
    pub(super) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.split('/').any(|part| part == "tests")
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
    fn comments_and_strings_are_no_code() {
        assert_eq!(code_of("let a = 1; // use crate::app"), "let a = 1; ");
        assert_eq!(code_of("/// [`crate::app`]"), "");
        assert_eq!(code_of(r#"f("crate::app // x", b);"#), "f(, b);");
        assert_eq!(code_of(r#"f("\\"); g()"#), "f(); g()");
        assert_eq!(code_of(r#"if c == '"' { g() } // x"#), r#"if c == '"' { g() } "#);
    }
}
