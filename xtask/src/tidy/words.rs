//! Words that must not be in the tree.

use super::source::File;

/// Left-overs of work that is not finished, in Rust files. Written in halves, so that this file
/// does not hold them.
const UNFINISHED: [&str; 7] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ig", "nore"),
    concat!("```ig", "nore"),
    concat!("db", "g!("),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];

/// Paths of the machines that this was made on, and hosts of package registries, in any file.
const PLACES: [&str; 9] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "wt"),
    concat!("static.crates", ".io"),
    concat!("index.crates", ".io"),
    concat!("registry.npm", "js.org"),
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
    concat!("deb.deb", "ian.org"),
];

/// Gives one line for each word found.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files.iter().filter(|file| !file.path.ends_with("Cargo.lock")) {
        let mut find = |words: &[&str]| {
            for (number, line) in (1..).zip(file.text.lines()) {
                for word in words.iter().filter(|word| line.contains(**word)) {
                    broken.push(format!("{}:{number}: `{word}` must not be here", file.path));
                }
            }
        };
        find(&PLACES);
        if file.is_rust() {
            find(&UNFINISHED);
        }
        broken.extend(unsafe_code(file));
    }
    broken
}

/// The core forbids `unsafe`; this finds it also where a file is not compiled here.
fn unsafe_code(file: &File) -> Option<String> {
    if !file.path.starts_with("src/") || !file.is_rust() {
        return None;
    }
    let code = file.code();
    let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| word == "unsafe").then(|| format!("{}: `unsafe` in src/", file.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_overs_are_found() {
        let file = File::new("src/a.rs", &format!("fn f() {{\n    {}()\n}}\n", UNFINISHED[0]));

        assert_eq!(check(&[file]), [format!("src/a.rs:2: `{}` must not be here", UNFINISHED[0])]);
    }

    #[test]
    fn unsafe_is_found_in_code_alone() {
        let bad = File::new("src/a.rs", "unsafe { f() }");
        let good = File::new("src/b.rs", "#![forbid(unsafe_code)] // unsafe");

        assert_eq!(check(&[bad, good]).len(), 1);
    }
}
