//! The C API, by programs in C: compiled with all warnings as errors, run, some under valgrind.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a test, and what it skips is said")]

mod build;

use std::process::Command;

use build::{Program, crate_dir, have, library_dir};

/// Runs one program as it is, and once more under valgrind if that is asked for.
fn run(name: &str, valgrind: bool) {
    let program = Program::new(name);
    let binary = program.build();
    program.run(&binary, &[]);
    if valgrind {
        if !have("valgrind") {
            println!("skipped: no valgrind");
            return;
        }
        let flags = ["-q", "--error-exitcode=9", "--leak-check=full", "--fair-sched=yes"];
        program.run(&binary, &flags);
    }
}

#[test]
fn a_server_answers_and_a_client_asks() {
    run("serve", true);
}

#[test]
fn the_library_needs_libc_and_libgcc_alone() {
    let library = library_dir().join("liblodger.so");

    let output = Command::new("readelf").arg("-d").arg(library).output().unwrap();

    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let needed = text.lines().filter(|line| line.contains("(NEEDED)"));
    let needed: Vec<&str> =
        needed.filter_map(|line| line.split('[').nth(1)?.strip_suffix(']')).collect();
    let allowed = ["libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];
    assert!(needed.contains(&"libc.so.6"), "{text}");
    assert!(needed.iter().all(|name| allowed.contains(name)), "{needed:?}");
}

#[test]
fn python_loads_it_and_runs_a_timer() {
    if !have("python3") {
        println!("skipped: no python3");
        return;
    }
    let script = crate_dir().join("tests/c/load.py");

    let output = Command::new("python3")
        .arg(script)
        .arg(library_dir().join("liblodger.so"))
        .output()
        .unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "fired\n");
}

#[test]
fn the_header_is_cpp_too() {
    for standard in ["c++11", "c++20"] {
        let header = crate_dir().join("include/lodger.h");
        let args = ["-fsyntax-only", "-x", "c++", "-Wall", "-Wextra", "-Wconversion", "-Werror"];

        let mut compiler = Command::new("c++");
        let output =
            compiler.args(args).arg(format!("-std={standard}")).arg(header).output().unwrap();

        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
