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

/// Builds liblodger, which the examples in other languages use.
const LIBLODGER: &[&str] = &["cargo", "build", "--locked", "-p", "lodger-capi"];

const EXAMPLES: &[Example] = &[
    Example {
        name: "calloop-wayland",
        needs: &["sway", "grim"],
        build: &[&["cargo", "build", "--locked", "-p", "calloop-wayland"]],
        command: &[
            "env",
            "LODGER_SHOT={target}/calloop-wayland.ppm",
            "foreign-loop-examples/calloop-wayland/under-sway.sh",
            "{target}/debug/calloop-wayland",
        ],
        host: "calloop 0.14",
        threads: 1,
    },
    Example {
        name: "game-loop",
        needs: &[],
        build: &[&["cargo", "build", "--locked", "-p", "game-loop"]],
        command: &["{target}/debug/game-loop"],
        host: "a game loop",
        threads: 1,
    },
    Example {
        name: "poll-rs",
        needs: &[],
        build: &[&["cargo", "build", "--locked", "-p", "poll-rs"]],
        command: &["{target}/debug/poll-rs"],
        host: "poll(2)",
        threads: 1,
    },
    Example {
        name: "smol-echo",
        needs: &[],
        build: &[&["cargo", "build", "--locked", "-p", "smol-echo"]],
        command: &["{target}/debug/smol-echo"],
        host: "async-io",
        // The reactor's own is the second.
        threads: 2,
    },
    Example {
        name: "tokio-guest",
        needs: &[],
        build: &[&["cargo", "build", "--locked", "-p", "tokio-guest"]],
        command: &["{target}/debug/tokio-guest"],
        host: "tokio",
        threads: 1,
    },
    Example {
        name: "poll-c",
        needs: &["cc"],
        build: &[
            LIBLODGER,
            &["sh", "foreign-loop-examples/common/build.sh", "{target}", "poll-c", "poll-c/main.c"],
        ],
        command: &["{target}/examples/poll-c"],
        host: "poll(2)",
        threads: 1,
    },
    Example {
        name: "libevent-c",
        needs: &["cc"],
        build: &[
            LIBLODGER,
            &[
                "sh",
                "foreign-loop-examples/common/build.sh",
                "{target}",
                "libevent-c",
                "libevent-c/main.c",
                "libevent_core",
            ],
        ],
        command: &["{target}/examples/libevent-c"],
        host: "libevent 2",
        threads: 1,
    },
    Example {
        name: "libev-c",
        needs: &["cc"],
        build: &[
            LIBLODGER,
            &[
                "sh",
                "foreign-loop-examples/common/build.sh",
                "{target}",
                "libev-c",
                "libev-c/main.c",
                "-lev",
            ],
        ],
        command: &["{target}/examples/libev-c"],
        host: "libev 4",
        threads: 1,
    },
    Example {
        name: "sd-event-c",
        needs: &["cc", "python3"],
        build: &[
            LIBLODGER,
            &[
                "sh",
                "foreign-loop-examples/common/build.sh",
                "{target}",
                "sd-event-c",
                "sd-event-c/main.c",
                "libsystemd",
            ],
        ],
        command: &[
            "python3",
            "foreign-loop-examples/sd-event-c/activate.py",
            "{target}/examples/sd-event-c",
        ],
        host: "sd-event",
        threads: 1,
    },
    Example {
        name: "qt5-cpp",
        needs: &["c++"],
        build: &[
            LIBLODGER,
            &[
                "sh",
                "foreign-loop-examples/common/build.sh",
                "{target}",
                "qt5-cpp",
                "qt5-cpp/main.cpp",
                "Qt5Core",
            ],
        ],
        command: &["{target}/examples/qt5-cpp"],
        host: "Qt 5",
        threads: 1,
    },
    Example {
        name: "tk",
        needs: &["cc", "wish", "xvfb-run"],
        build: &[
            LIBLODGER,
            &[
                "sh",
                "foreign-loop-examples/common/build.sh",
                "{target}",
                "tk.so",
                "tk/shim.c",
                "tcl",
            ],
        ],
        command: &[
            "xvfb-run",
            "-a",
            "wish",
            "foreign-loop-examples/tk/main.tcl",
            "{target}/examples/tk.so",
        ],
        host: "Tcl/Tk 8",
        threads: 2,
    },
    Example {
        name: "perl-anyevent",
        needs: &["perl"],
        build: &[LIBLODGER],
        command: &[
            "env",
            "LODGER_LIBRARY={target}/debug/liblodger.so",
            "perl",
            "foreign-loop-examples/perl-anyevent/main.pl",
        ],
        host: "AnyEvent",
        threads: 1,
    },
    Example {
        name: "python-asyncio",
        needs: &["python3"],
        build: &[LIBLODGER],
        command: &[
            "env",
            "LODGER_LIBRARY={target}/debug/liblodger.so",
            "python3",
            "foreign-loop-examples/python-asyncio/main.py",
        ],
        host: "asyncio (CPython 3",
        threads: 1,
    },
    Example {
        name: "python-asyncio",
        needs: &["python3"],
        build: &[LIBLODGER],
        command: &[
            "env",
            "LODGER_LIBRARY={target}/debug/liblodger.so",
            "UV_USE_IO_URING=0",
            "{target}/python/bin/python",
            "foreign-loop-examples/python-asyncio/main.py",
            "uvloop",
        ],
        host: "uvloop (CPython 3",
        threads: 1,
    },
    Example {
        name: "libuv-c",
        needs: &["cc"],
        build: &[
            LIBLODGER,
            &[
                "sh",
                "foreign-loop-examples/common/build.sh",
                "{target}",
                "libuv-c",
                "libuv-c/main.c",
                "libuv",
            ],
        ],
        command: &["{target}/examples/libuv-c"],
        host: "libuv 1.",
        threads: 1,
    },
    Example {
        name: "gtk4-c",
        needs: &["cc", "Xvfb"],
        build: &[
            LIBLODGER,
            &[
                "sh",
                "foreign-loop-examples/common/build.sh",
                "{target}",
                "gtk4-c",
                "gtk4-c/main.c",
                "gtk4",
            ],
            // What its window shows.
            &[
                "env",
                "LODGER_TICKER={target}/examples/gtk4-c",
                "cargo",
                "test",
                "--locked",
                "-p",
                "gtk4-ticker",
            ],
        ],
        command: &["foreign-loop-examples/gtk4-ticker/headless.sh", "{target}/examples/gtk4-c"],
        host: "GTK 4",
        threads: 3,
    },
    Example {
        name: "node-addon",
        needs: &["node"],
        build: &[
            &["cargo", "build", "--locked", "-p", "node-addon"],
            // Workers that are terminated, a process that ends by itself, and one that exits.
            &[
                "node",
                "foreign-loop-examples/node-addon/worker.js",
                "{target}/debug/libnode_addon.so",
            ],
            &[
                "node",
                "foreign-loop-examples/node-addon/worker.js",
                "{target}/debug/libnode_addon.so",
                "exit",
            ],
            // Callbacks of JavaScript's that throw inside a turn.
            &[
                "node",
                "foreign-loop-examples/node-addon/throws.js",
                "{target}/debug/libnode_addon.so",
            ],
        ],
        command: &[
            "node",
            "--v8-pool-size=4",
            "foreign-loop-examples/node-addon/main.js",
            "{target}/debug/libnode_addon.so",
        ],
        host: "Node.js v",
        threads: 7,
    },
    Example {
        name: "gtk4-ticker",
        needs: &["Xvfb"],
        build: &[&["cargo", "build", "--locked", "-p", "gtk4-ticker"]],
        command: &["foreign-loop-examples/gtk4-ticker/headless.sh", "{target}/debug/gtk4-ticker"],
        host: "GTK 4",
        threads: 3,
    },
];

/// Checks the examples of these names; none is all.
pub(crate) fn run(names: &[&str]) -> ExitCode {
    let mut steps = Steps::new(false);
    steps.step("Python packages", crate::install::python);
    if steps.step("example checker", build_checker) {
        check_each(&mut steps, names, false);
    }
    steps.finish()
}

/// All of them, one step each. What is built by cargo is built at once, with the features that
/// `cargo test` has, so that nothing is compiled twice.
pub(crate) fn steps(steps: &mut Steps, features: &str) {
    let built = steps.step("examples in Rust", || {
        let args = ["build", "--locked", "--workspace", "--lib", "--bins", "--features", features];
        sh::run(1200, "cargo", &args)?;
        Ok(Outcome::Passed(String::new()))
    });
    if built {
        check_each(steps, &[], true);
    }
    steps.step("the laws in Node.js", laws_in_node);
    steps.step("the laws in asyncio", || laws_in_python("asyncio", "python3"));
    let python = sh::target("python/bin/python").to_string_lossy().into_owned();
    steps.step("the laws in uvloop", || laws_in_python("uvloop", &python));
}

/// The kit inside Node, whose loop is no test's own: an addon, and a process for each law.
fn laws_in_node() -> Res<Outcome> {
    if !sh::have("node") {
        return Ok(Outcome::Skipped("no node".into()));
    }
    sh::run(1200, "cargo", &["build", "--locked", "-p", "lodger-libuv-node"])?;
    let addon = sh::target("debug/liblodger_libuv_node.so").to_string_lossy().into_owned();
    let output = sh::run(600, "node", &["backends/libuv/tests/node/run.js", &addon])?;
    let last = sh::text(&output.stdout).lines().last().unwrap_or_default().to_owned();
    Ok(Outcome::Passed(last))
}

/// The kit inside Python's loops, likewise.
fn laws_in_python(kind: &str, python: &str) -> Res<Outcome> {
    if sh::run(20, python, &["-c", &format!("import {kind}")]).is_err() {
        return Ok(Outcome::Skipped(format!("no {kind}")));
    }
    sh::run(1200, "cargo", &["build", "--locked", "-p", "lodger-foreign-python"])?;
    let library = sh::target("debug/liblodger_foreign_python.so").to_string_lossy().into_owned();
    let script = "backends/foreign/tests/python/run.py";
    // With its own thread of the kernel's, io_uring would count as one of the guest's.
    let mut command = sh::command(600, python, &[script, &library, kind]);
    let output = sh::check(command.env("UV_USE_IO_URING", "0"))?;
    let last = sh::text(&output.stdout).lines().last().unwrap_or_default().to_owned();
    Ok(Outcome::Passed(last))
}

fn check_each(steps: &mut Steps, names: &[&str], built: bool) {
    for example in EXAMPLES {
        if names.is_empty() || names.contains(&example.name) {
            let title = format!("example {} in {}", example.name, example.host);
            steps.step(&title, || check(example, built));
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

/// `built`: what cargo builds of the workspace is there.
fn check(example: &Example, built: bool) -> Res<Outcome> {
    if let Some(missing) = example.needs.iter().find(|program| !sh::have(program)) {
        return Ok(Outcome::Skipped(format!("no {missing}")));
    }
    for words in example.build {
        if built && is_built(example, words) {
            continue;
        }
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
    let note = sh::text(&output.stdout).trim().to_owned();
    match example.name {
        "calloop-wayland" => Ok(Outcome::Passed(format!("{note}; {}", bar_was_drawn()?))),
        _ => Ok(Outcome::Passed(note)),
    }
}

/// Builds the first example of this name; gives the words that start it.
pub(crate) fn built(name: &str) -> Res<Vec<String>> {
    let example = EXAMPLES.iter().find(|example| example.name == name).ok_or("no such example")?;
    for words in example.build {
        let words = resolved(words);
        if let Some((program, args)) = split(&words) {
            sh::run(1200, program, &args)?;
        }
    }
    Ok(resolved(example.command))
}

/// Tells whether `words` build no more than liblodger, or a program of the workspace that the
/// example starts.
fn is_built(example: &Example, words: &[&str]) -> bool {
    let ["cargo", "build", "--locked", "-p", package] = words else { return false };
    let program = format!("{{target}}/debug/{package}");
    words == LIBLODGER || example.command.contains(&program.as_str())
}

/// Looks at the picture of the Wayland client's window, in PPM: it has its background nearly
/// everywhere, and its bar.
fn bar_was_drawn() -> Res<String> {
    const BACKGROUND: [u8; 3] = [0x18, 0x28, 0x40];
    const BAR: [u8; 3] = [0x2e, 0xcc, 0x71];
    let picture = std::fs::read(sh::target("calloop-wayland.ppm"))?;
    // Three lines of text come first: the kind, the size, the brightest value.
    let pixels = picture.splitn(4, |byte| *byte == b'\n').nth(3).ok_or("no picture")?;
    let count = |wanted: [u8; 3]| pixels.chunks_exact(3).filter(|pixel| *pixel == wanted).count();
    let (all, background, bar) = (pixels.len() / 3, count(BACKGROUND), count(BAR));
    if background < all / 3 || bar == 0 {
        return Err(format!("of {all} pixels {background} are background, {bar} the bar").into());
    }
    Ok(format!("the bar has {bar} pixels of {all}"))
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
        // One program may be an example of two hosts.
        names.dedup();

        assert_eq!(names, folders);
    }

    /// What examples share.
    const SHARED: [&str; 2] = ["guest", "common"];
}
