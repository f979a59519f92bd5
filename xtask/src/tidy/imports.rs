//! Who imports whom in `src/`: every path that begins with `crate` or `super`, and the crates of
//! the workspace, against one table.

use std::collections::BTreeMap;

use super::source::File;

/// A part of the crate, what it may name besides itself, and which crates of the workspace.
struct Part {
    name: &'static str,
    may: &'static [&'static str],
    crates: &'static [&'static str],
}

/// The table. `lib` is the root, which joins everything.
const PARTS: [Part; 9] = [
    Part { name: "error", may: &[], crates: &[] },
    Part { name: "limits", may: &[], crates: &[] },
    Part { name: "io", may: &["error", "limits"], crates: &[] },
    Part { name: "proto", may: &["error", "limits", "io", "policy"], crates: &[] },
    Part { name: "sul", may: &["error"], crates: &[] },
    Part { name: "policy", may: &["error"], crates: &[] },
    Part {
        name: "runtime",
        may: &["error", "limits", "io", "proto", "sul", "policy"],
        crates: &["lodger_backend", "lodger_mio"],
    },
    Part { name: "sim", may: &["error"], crates: &["lodger_backend"] },
    Part {
        name: "app",
        may: &["error", "limits", "io", "proto", "policy", "runtime"],
        crates: &["lodger_backend"],
    },
];

/// Every part knows what time is.
const TIME: &str = "Micros";

/// Protocols that may see another one's head types; `stack` sees all.
const PROTOCOLS: [(&str, &str); 5] =
    [("ws", "h1"), ("h2", "h1"), ("h2", "hpack"), ("hpack", "h1"), ("proxy", "h1")];

/// Gives one line for each import that the table does not allow.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let root = files.iter().find(|file| file.path == "src/lib.rs").map(exports).unwrap_or_default();
    let sources = files.iter().filter(|file| file.path.starts_with("src/") && file.is_rust());
    sources.filter(|file| !file.is_test()).flat_map(|file| check_file(file, &root)).collect()
}

fn check_file(file: &File, root: &BTreeMap<String, String>) -> Vec<String> {
    let module = module_of(&file.path);
    let Some(own) = module.first() else { return Vec::new() };
    let Some(part) = PARTS.iter().find(|part| part.name == own) else {
        return vec![format!("{}: `{own}` is not in the import table", file.path)];
    };
    let code = file.code();
    let inside = paths(&code, "crate").into_iter().chain(supers(&code, &module));
    let mut bad: Vec<String> = inside.filter(|path| !allowed(part, &module, path, root)).collect();
    bad.extend(crates(&code, part));
    bad.iter().map(|path| format!("{}: {own} may not name {path}", file.path)).collect()
}

/// Tells whether `part` may name `path`, which begins behind `crate::`.
fn allowed(part: &Part, module: &[String], path: &str, root: &BTreeMap<String, String>) -> bool {
    let mut segments = path.split("::");
    let Some(first) = segments.next() else { return true };
    let second = segments.next().unwrap_or_default();
    if first == "proto" && part.name == "proto" {
        return protocol_allowed(module, second);
    }
    // A name that lib.rs exports counts as the part that it comes from.
    let exported = root.get(first).or_else(|| root.get(&format!("{first}::{second}")));
    let home = exported.map_or(first, String::as_str);
    home == TIME || home == part.name || part.may.contains(&home)
}

/// Tells whether a file of `proto` may name what stands behind `proto::`.
fn protocol_allowed(module: &[String], other: &str) -> bool {
    let is_module = other.starts_with(char::is_lowercase);
    match module.get(1).map(String::as_str) {
        // proto/mod.rs holds what all protocols share, so it knows none of them.
        None => !is_module,
        Some("stack") => true,
        Some(own) => !is_module || own == other || PROTOCOLS.contains(&(own, other)),
    }
}

/// Finds the crates of the workspace that a part names and may not.
fn crates(code: &str, part: &Part) -> Vec<String> {
    let mut bad = Vec::new();
    for name in ["lodger_backend", "lodger_mio"] {
        let paths = paths(code, name);
        let foreign = paths.into_iter().filter(|path| path != TIME);
        if !part.crates.contains(&name) {
            bad.extend(foreign.map(|path| format!("{name}::{path}")));
        }
    }
    bad
}

/// Gives the module that a file is: `src/proto/ws/frame.rs` is proto, ws, frame.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let inner = inner.trim_end_matches("/mod");
    if inner == "lib" { Vec::new() } else { inner.split('/').map(String::from).collect() }
}

/// Reads lib.rs: exported name -> the part that it comes from. A name in a module of the root, such
/// as `http`, is `http::Name`.
fn exports(lib: &File) -> BTreeMap<String, String> {
    let (mut names, mut statement, mut facade) = (BTreeMap::new(), String::new(), String::new());
    for line in lib.code().lines() {
        if let Some(name) = line.strip_prefix("pub mod ").and_then(|line| line.strip_suffix(" {")) {
            facade = format!("{name}::");
            continue;
        }
        if line == "}" {
            facade.clear();
        }
        statement += line;
        if line.ends_with(';') {
            names.extend(exported(&statement, &facade));
            statement.clear();
        }
    }
    names
}

/// Reads one `pub use`.
fn exported(statement: &str, facade: &str) -> Vec<(String, String)> {
    let Some((_, tree)) = statement.split_once("pub use ") else { return Vec::new() };
    let pair = |path: String| {
        let path = path.trim_start_matches("crate::");
        let first = path.split("::").next().unwrap_or_default();
        let last = path.rsplit("::").next().unwrap_or_default();
        let home = if last == TIME { TIME } else { first };
        (format!("{facade}{last}"), home.to_owned())
    };
    leaves(tree).into_iter().map(pair).collect()
}

/// Finds what stands behind `start::` in code, each leaf of a group by itself.
fn paths(code: &str, start: &str) -> Vec<String> {
    let prefix = format!("{start}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&prefix) {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        if !before.is_some_and(is_path) {
            found.extend(leaves(code.get(at + prefix.len()..).unwrap_or_default()));
        }
    }
    found
}

/// Finds what is named by `super::`, as paths from the root; those that stay inside the own part
/// below `module` come out as such.
fn supers(code: &str, module: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths(code, "super") {
        let ups = 1 + path.split("::").take_while(|segment| *segment == "super").count();
        let keep = module.len().saturating_sub(ups);
        let base = module.iter().take(keep).map(String::as_str);
        let rest = path.split("::").skip(ups - 1);
        found.push(base.chain(rest).collect::<Vec<_>>().join("::"));
    }
    found
}

/// Gives the leaves of the use tree or path at the front of `text`.
fn leaves(text: &str) -> Vec<String> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return split_group(group).into_iter().flat_map(leaves).collect();
    }
    let end = text.find(|c: char| !is_path(c)).unwrap_or(text.len());
    let (path, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    match path.strip_suffix("::") {
        Some(base) if rest.starts_with('{') => {
            leaves(rest).into_iter().map(|leaf| format!("{base}::{leaf}")).collect()
        }
        Some(base) => vec![base.to_owned()],
        None if path.is_empty() => Vec::new(),
        None => vec![path.to_owned()],
    }
}

/// Splits the inside of a group at its own commas, up to its closing brace.
fn split_group(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                parts.push(text.get(from..at).unwrap_or_default());
                from = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    parts
}

fn is_path(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let lib = "pub use error::{Error, Wire};\npub use lodger_backend::Micros;\n\
                   pub mod ws {\n    pub use crate::app::ws::Refuse;\n    \
                   pub use crate::runtime::handler::{\n        Cx, Handler,\n    };\n}\n";
        check(&[File::new("src/lib.rs", lib), File::new(path, text)])
    }

    #[test]
    fn the_table_is_kept() {
        let good = [
            ("src/io/rx.rs", "use crate::{Error, limits::Limits};"),
            ("src/proto/ws/mod.rs", "use crate::proto::h1::{Head, Method};\nuse crate::Micros;"),
            ("src/proto/ws/frame.rs", "use super::{Ws, mask};\nuse super::super::Event;"),
            ("src/proto/stack.rs", "use crate::proto::{h1, ws};"),
            ("src/runtime/mod.rs", "use lodger_backend::{Net, Driver}; use crate::sul::Sched;"),
            ("src/sul/mod.rs", "use lodger_backend::Micros;"),
            ("src/sul/tests.rs", "use crate::app::http;"),
            ("src/app/http.rs", "fn f<H: crate::ws::Handler>(h: crate::ws::Cx::Inner) {}"),
            ("src/app/http.rs", "use crate::ws::Refuse;"),
        ];

        for (path, text) in good {
            assert_eq!(complaints(path, text), Vec::<String>::new());
        }
    }

    #[test]
    fn each_breach_is_found() {
        let bad = [
            ("src/error.rs", "use crate::io::Rx;"),
            ("src/io/rx.rs", "use crate::{\n    Error,\n    proto::{h1::Head, ws},\n};"),
            ("src/proto/h1/mod.rs", "use crate::proto::ws::Frame;"),
            ("src/proto/h1/read.rs", "use super::super::ws::Frame;"),
            ("src/proto/mod.rs", "use crate::proto::ws::Frame;"),
            ("src/sul/mod.rs", "use lodger_backend::{Micros, Net};"),
            ("src/runtime/mod.rs", "fn f() { crate::app::http::serve() }"),
            ("src/runtime/mod.rs", "use crate::ws::Refuse;"),
            ("src/proto/h1/mod.rs", "use crate::ws::Handler;"),
            ("src/sim/net.rs", "use crate::runtime::Handle;"),
            ("src/app/mod.rs", "use lodger_mio::Mio;"),
            ("src/strange.rs", ""),
        ];

        for (path, text) in bad {
            assert!(!complaints(path, text).is_empty(), "{path}: {text}");
        }
    }

    #[test]
    fn a_group_gives_its_leaves() {
        let text = "{a::{b, c::d}, e, f::*}; rest";

        assert_eq!(leaves(text), ["a::b", "a::c::d", "e", "f"]);
    }
}
