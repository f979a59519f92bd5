//! Every dependency has its row in the page that says why it is there.

use super::source::File;

const PAGE: &str = "docs/decisions/libraries.md";

/// Gives one line for each dependency without a row.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let page = files.iter().find(|file| file.path == PAGE);
    let rows = page.map(|page| page.text.as_str()).unwrap_or_default();
    let manifests = files.iter().filter(|file| file.path.ends_with("Cargo.toml"));
    let wanted = manifests.flat_map(|file| names(&file.text).map(|name| (&file.path, name)));
    let missing = wanted.filter(|(_, name)| !rows.contains(&format!("\n| {name} ")));
    missing.map(|(path, name)| format!("{path}: {name} has no row in {PAGE}")).collect()
}

/// Reads the dependencies of a manifest that are not ours.
fn names(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.ends_with("dependencies]");
            return None;
        }
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        let is_name = !name.is_empty() && !name.starts_with('#') && !name.starts_with("lodger");
        (inside && is_name).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_needs_a_row() {
        let page = File::new(PAGE, "# Each\n\n| crate |\n| --- |\n| mio 1.2.5 | the queue |\n");
        let manifest = "[package]\nname = \"a\"\n\n[dependencies]\nlodger.workspace = true\nmio = \"1\"\n\
                        [target.'cfg(unix)'.dev-dependencies]\nnix = { version = \"1\" }\n[lints]\nx = 1\n";

        let broken = check(&[page, File::new("Cargo.toml", manifest)]);

        assert_eq!(broken, ["Cargo.toml: nix has no row in docs/decisions/libraries.md"]);
    }
}
