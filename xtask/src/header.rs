//! `cargo xtask header`: makes `capi/include/lodger.h` from the crate, or compares it.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::{Res, sh};

const FILE: &str = "capi/include/lodger.h";

/// Writes the header, or (`verify`) says whether it is what it would write.
pub(crate) fn run(verify: bool) -> ExitCode {
    let done = if verify { compare() } else { write() };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Res {
    std::fs::write(path(), make()?).map_err(Into::into)
}

/// Fails if the committed header is not the crate's.
pub(crate) fn compare() -> Res {
    if std::fs::read_to_string(path())? == make()? {
        return Ok(());
    }
    Err(format!("{FILE} is not what the crate says: run `cargo xtask header`").into())
}

fn path() -> PathBuf {
    sh::root().join(FILE)
}

fn make() -> Res<String> {
    let capi = sh::root().join("capi");
    let mut config = cbindgen::Config::from_file(capi.join("cbindgen.toml"))?;
    config.header = Some(std::fs::read_to_string(capi.join("src/head.h"))?.trim_end().to_owned());
    config.after_includes = Some(NOEXCEPT.to_owned());
    let mut text = Vec::new();
    let bindings = cbindgen::Builder::new().with_crate(&capi).with_config(config).generate()?;
    bindings.write(&mut text);
    Ok(polish(&String::from_utf8(text)?))
}

/// Callbacks must not throw: where the language can say so, their types do.
const NOEXCEPT: &str = "
#if defined(__cplusplus) && __cplusplus >= 201703L
#define LODGER_NOEXCEPT noexcept
#else
#define LODGER_NOEXCEPT
#endif";

/// Says in C what Rust says otherwise: an opaque struct is shared inside, so its pointers are not
/// const, and what is called back does not throw.
fn polish(text: &str) -> String {
    const OPAQUE: [&str; 6] = [
        "lodger_runtime",
        "lodger_remote",
        "lodger_ws_client",
        "lodger_mqtt_client",
        "lodger_server",
        "lodger_response",
    ];
    let mut text = text.to_owned();
    for name in OPAQUE {
        text = text.replace(&format!("const struct {name} *"), &format!("struct {name} *"));
    }
    let mut callback = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        callback |= line.contains("(*");
        let ends = callback && line.trim_end().ends_with(");");
        lines.push(if ends {
            callback = false;
            line.trim_end().trim_end_matches(';').to_owned() + " LODGER_NOEXCEPT;"
        } else {
            line.trim_end().to_owned()
        });
    }
    short_comments(&lines) + "\n"
}

/// Puts a comment of one line into one line, and a negative number into parentheses.
fn short_comments(lines: &[String]) -> String {
    let mut out: Vec<String> = Vec::new();
    for line in lines {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let text = out.last().and_then(|last| last.trim_start().strip_prefix("* "));
        let opens = out.len() > 1 && out.get(out.len() - 2).is_some_and(|l| l.trim() == "/**");
        match (line.trim(), text.map(str::to_owned)) {
            ("*/", Some(text)) if opens => {
                out.truncate(out.len() - 2);
                out.push(format!("{}/** {text} */", indent.strip_suffix(' ').unwrap_or_default()));
            }
            (define, _) if define.starts_with("#define") && define.contains(" -") => {
                out.push(define.replace(" -", " (-") + ")");
            }
            _ => out.push(line.clone()),
        }
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_the_crate_says() {
        compare().unwrap();
    }

    #[test]
    fn callbacks_do_not_throw_and_functions_may() {
        let made = polish(
            "typedef void (*f)(int a,\n  int b);\nint g(const struct lodger_runtime *rt);\n",
        );

        let wanted = "typedef void (*f)(int a,\n  int b) LODGER_NOEXCEPT;\nint g(struct lodger_runtime *rt);\n";
        assert_eq!(made, wanted);
    }
}
