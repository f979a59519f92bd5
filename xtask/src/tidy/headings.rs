//! The headings that a reader finds in every page of a kind.

use super::source::File;

const DECISION: [&str; 4] = ["Question", "Choice", "What else", "Cost"];
const README: [&str; 4] = ["What it ", "Files", "Run", "What you should see"];

/// Gives one line for each page whose headings are not those of its kind.
pub(super) fn check(files: &[File]) -> Vec<String> {
    files.iter().filter_map(complaint).chain(unlisted(files)).collect()
}

/// Finds decisions that the list of them does not name.
fn unlisted(files: &[File]) -> Vec<String> {
    let list = files.iter().find(|file| file.path == "docs/decisions/README.md");
    let list = list.map(|list| list.text.as_str()).unwrap_or_default();
    let pages = files.iter().filter_map(|file| file.path.strip_prefix("docs/decisions/"));
    let missing = pages.filter(|page| *page != "README.md" && !list.contains(&format!("({page})")));
    missing.map(|page| format!("docs/decisions/README.md: {page} is not in the list")).collect()
}

fn complaint(file: &File) -> Option<String> {
    let parts: Vec<&str> = file.path.split('/').collect();
    let wanted = match parts.as_slice() {
        ["docs", "decisions", "README.md"] => return None,
        ["docs", "decisions", page] if page.ends_with(".md") => &DECISION,
        ["backends" | "foreign-loop-examples", _, "README.md"] => &README,
        _ => return None,
    };
    let found: Vec<&str> = file.text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let good =
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| f.starts_with(w));
    (!good).then(|| format!("{}: headings {found:?}, wanted {wanted:?}", file.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_has_four_headings() {
        let page = "# A\n## Question\n## Choice\n## What else\n## Cost\n";

        let good = File::new("docs/decisions/a.md", page);
        let bad = File::new("docs/decisions/b.md", &page.replace("Cost", "Price"));
        let list = File::new("docs/decisions/README.md", "[a](a.md) [b](b.md)");

        assert_eq!(check(&[good, bad, list]).len(), 1);
    }

    #[test]
    fn a_decision_is_listed() {
        let page =
            File::new("docs/decisions/a.md", "## Question\n## Choice\n## What else\n## Cost\n");

        assert_eq!(check(&[page]), ["docs/decisions/README.md: a.md is not in the list"]);
    }
}
