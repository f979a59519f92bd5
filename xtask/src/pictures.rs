//! `cargo xtask pictures`: the pictures of the README, taken anew.

use std::process::ExitCode;

use crate::steps::{Outcome, Steps};
use crate::{Res, examples, install, sh};

/// Whose live pages are shown, side by side.
const HOSTS: [&str; 4] = ["gtk4-ticker", "node-addon", "python-asyncio", "calloop-wayland"];
/// Whose window is.
const WINDOW: &str = "gtk4-ticker";
/// Bytes that a picture may have.
const ROOM: u64 = 150_000;

/// Builds the hosts, has the pictures taken, and puts them into `docs`.
pub(crate) fn run() -> ExitCode {
    let mut steps = Steps::new(true);
    steps.step("Debian packages", install::debian);
    steps.step("npm packages", install::npm);
    steps.step("pictures", take);
    steps.finish()
}

fn take() -> Res<Outcome> {
    let out = sh::target("pictures");
    std::fs::create_dir_all(&out)?;
    let window = sh::target("debug").join(WINDOW);
    let mut command = sh::command(300, "node", &["tests/page/hosts.mjs"]);
    command.arg(&out).arg(sh::target("npm")).arg(window);
    for name in HOSTS {
        command.arg(json(&examples::built(name)?));
    }
    command.env("LODGER_LIBRARY", sh::target("debug/liblodger.so"));
    let printed = sh::text(&sh::check(&mut command)?.stdout);
    for name in ["hosts.png", "window.png"] {
        let (from, to) = (out.join(name), sh::root().join("docs").join(name));
        let size = std::fs::metadata(&from)?.len();
        if size > ROOM {
            return Err(format!("{name} has {size} bytes, and {ROOM} are allowed").into());
        }
        std::fs::copy(from, to)?;
    }
    Ok(Outcome::Passed(printed.trim_end().to_owned()))
}

/// Writes words as a list in JSON. They are paths and names of our own.
fn json(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_json() {
        assert_eq!(json(&["a b".into(), "c\"".into()]), r#"["a b","c\""]"#);
    }
}
