//! The C API, by programs in C: compiled with all warnings as errors, run, some under valgrind.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a test, and what it skips is said")]

mod build;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use build::{Program, crate_dir, have, library_dir};

/// Runs one program as it is.
fn run(program: &Program) {
    program.run(&program.build(), &[]);
}

/// Runs one program as it is, and once more under valgrind.
fn run_and_check_memory(program: &Program) {
    run_and_check(program, &[]);
}

/// As above, with more `flags` of valgrind's.
fn run_and_check(program: &Program, flags: &[&str]) {
    let binary = program.build();
    program.run(&binary, &[]);
    if !have("valgrind") {
        println!("skipped: no valgrind");
        return;
    }
    let usual = ["-q", "--error-exitcode=9", "--leak-check=full", "--fair-sched=yes"];
    program.run(&binary, &[&usual, flags].concat());
}

#[test]
fn a_server_answers_and_a_client_asks() {
    run_and_check_memory(&Program::new("serve"));
}

#[test]
fn websockets_are_accepted_refused_flooded_closed_and_come_back() {
    run_and_check_memory(&Program::new("ws"));
}

/// Writes a certificate for "localhost" and its key as PEM files, in a folder of this name.
fn certificate(folder: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[test]
fn tls_is_spoken_by_servers_and_clients_and_refusals_say_why() {
    let (certificate, key) = certificate("c-tls-files");
    let program = Program::new("tls").with_arguments(&[&certificate, &key]);
    // What ring's assembly has made of whole registers counts as never written: all that is sealed.
    run_and_check(&program, &["--undef-value-errors=no"]);
}

#[test]
fn mqtt_is_spoken_from_both_ends_and_tells_the_end_of_each_publish() {
    run_and_check_memory(&Program::new("mqtt"));
}

#[test]
fn mqtt_is_spoken_over_tls() {
    let (certificate, key) = certificate("c-mqtt-tls-files");
    let program = Program::new("mqtt").named("mqtt-tls").with_arguments(&[&certificate, &key]);
    // As above.
    run_and_check(&program, &["--undef-value-errors=no"]);
}

#[test]
fn what_is_against_the_contract_is_told_or_does_nothing() {
    run_and_check_memory(&Program::new("bad"));
}

#[test]
fn values_of_other_threads_arrive_or_are_freed() {
    run_and_check_memory(&Program::new("remote"));
}

#[test]
fn a_host_that_watches_each_descriptor_has_a_guest() {
    run_and_check_memory(&Program::new("ops"));
}

#[test]
fn a_reset_in_the_middle_of_a_send_raises_no_signal() {
    run(&Program::new("sigpipe"));
}

#[test]
fn a_modal_loop_serves_all_others() {
    run(&Program::new("modal"));
}

#[test]
fn a_dialog_of_qt_serves_all_others() {
    run_if(Program::cpp("qt_modal", "c++17").with_library("Qt5Core"), "qtbase5-dev");
}

#[test]
fn a_dialog_of_tk_serves_all_others() {
    run_if(Program::new("tcl_modal").with_library("tcl"), "tcl-dev");
}

#[test]
fn no_memory_is_allocated_for_a_message() {
    run(&Program::new("alloc"));
}

#[test]
fn a_guest_of_glib_comes_and_goes() {
    run_if(Program::new("glib").with_library("glib-2.0"), "libglib2.0-dev");
}

#[test]
fn a_guest_of_libuv_comes_and_goes() {
    match Program::new("uv").with_library("libuv") {
        Some(program) => run_and_check_memory(&program),
        None => println!("skipped: no libuv1-dev"),
    }
}

fn run_if(program: Option<Program>, package: &str) {
    match program {
        Some(program) => run(&program),
        None => println!("skipped: no {package}"),
    }
}

#[test]
fn an_installed_static_library_is_found_by_pkg_config() {
    let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c-prefix");
    let (lib, include) = (prefix.join("lib"), prefix.join("include"));
    fs::create_dir_all(&lib).unwrap();
    fs::create_dir_all(&include).unwrap();
    fs::copy(library_dir().join("liblodger.a"), lib.join("liblodger.a")).unwrap();
    fs::copy(crate_dir().join("include/lodger.h"), include.join("lodger.h")).unwrap();
    let template = fs::read_to_string(crate_dir().join("lodger.pc.in")).unwrap();
    let file = template.replace("@PREFIX@", &prefix.to_string_lossy());
    let file = file.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    fs::write(lib.join("lodger.pc"), file).unwrap();

    let program = Program::new("remote").installed(&lib);

    run(&program);
}

#[test]
fn a_callback_that_may_throw_is_refused_by_the_compiler() {
    let program = Program::cpp("throw", "c++17");

    let why = program.compile().unwrap_err();

    assert!(why.contains("noexcept"), "{why}");
}

#[test]
fn a_callback_that_throws_nevertheless_ends_the_process_with_a_message() {
    let binary = Program::cpp("throw", "c++11").build();

    let output = Command::new(binary).output().unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{:?}", output.status);
    assert!(said.contains("foreign exception"), "{said}");
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
fn python_loads_it_and_an_exception_there_harms_nobody() {
    if !have("python3") {
        println!("skipped: no python3");
        return;
    }
    let script = crate_dir().join("tests/c/load.py");
    let library = library_dir().join("liblodger.so");

    let output = Command::new("python3").arg(script).arg(library).output().unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("out of a callback"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "fired\n");
}

#[test]
fn the_headers_are_cpp_too() {
    for standard in ["c++11", "c++20"] {
        Program::header("lodger.h", standard).check();
        let glue = [("lodger-glib.h", "glib-2.0"), ("lodger-uv.h", "libuv")];
        for (header, library) in glue {
            match Program::header(header, standard).with_library(library) {
                Some(program) => program.check(),
                None => println!("skipped: no {library}"),
            }
        }
    }
}

/// Runs the counted laws in Python's loop, by the binding of the example.
fn laws(python: &Path, args: &[&str]) {
    let example = crate_dir().join("../foreign-loop-examples/python-asyncio");

    let output = Command::new(python)
        .arg(crate_dir().join("tests/c/laws.py"))
        .args(args)
        .env("LODGER_LIBRARY", library_dir().join("liblodger.so"))
        .env("PYTHONPATH", example)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("UV_USE_IO_URING", "0")
        .output()
        .unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.starts_with(b"11 laws in"));
}

#[test]
fn the_laws_hold_in_asyncio() {
    if !have("python3") {
        println!("skipped: no python3");
        return;
    }
    laws(Path::new("python3"), &[]);
}

#[test]
fn the_laws_hold_in_uvloop() {
    let python = library_dir().join("../python/bin/python");
    if !python.is_file() {
        println!("skipped (optional): no uvloop; `cargo xtask test` installs it");
        return;
    }
    laws(&python, &["uvloop"]);
}

/// Asks an example over https, by Python's own TLS. What it is run with comes from the environment
/// too: `LODGER_CERTIFICATE`, `LODGER_KEY`.
fn asks_over_https(folder: &str, command: impl Fn(&Path, &Path) -> Command) {
    let (certificate, key) = certificate(folder);
    let example = command(&certificate, &key);
    let mut script = Command::new("python3");
    script.arg(crate_dir().join("tests/c/https.py")).arg(&certificate);

    let output = script
        .arg(example.get_program())
        .args(example.get_args())
        .env("LODGER_CERTIFICATE", &certificate)
        .env("LODGER_KEY", &key)
        .env("LODGER_LIBRARY", library_dir().join("liblodger.so"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"TLSv1.3\n");
}

#[test]
fn the_example_in_python_serves_https() {
    if !have("python3") {
        println!("skipped: no python3");
        return;
    }
    asks_over_https("python-tls", |certificate, key| {
        let mut command = Command::new("python3");
        let example = "../foreign-loop-examples/python-asyncio/main.py";
        command.arg(crate_dir().join(example)).arg("--tls").arg(certificate).arg(key);
        command
    });
}

#[test]
fn the_examples_in_c_serve_https() {
    let program = Program::example("libuv-c", "main.c").with_library("libuv");
    let Some(program) = program.filter(|_| have("python3")) else {
        println!("skipped: no libuv1-dev or python3");
        return;
    };
    asks_over_https("libuv-tls", |_, _| Command::new(program.build()));
}

#[test]
fn the_example_in_python_awaits_what_an_mqtt_server_has_taken() {
    if !have("python3") {
        println!("skipped: no python3");
        return;
    }
    let mut command = Command::new("python3");
    command.arg(crate_dir().join("../foreign-loop-examples/python-asyncio/mqtt_main.py"));
    command.args(["--count", "5"]).env("PYTHONDONTWRITEBYTECODE", "1");

    let output =
        command.env("LODGER_LIBRARY", library_dir().join("liblodger.so")).output().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.ends_with("5 taken, 5 heard\n"), "{said}");
    assert!(said.contains("sensor/number: 4\n"), "{said}");
}

#[test]
fn the_example_in_glib_speaks_mqtt() {
    let program = Program::example("gtk4-c", "mqtt.c").named("glib-mqtt");
    let Some(program) = program.with_library("glib-2.0") else {
        println!("skipped: no libglib2.0-dev");
        return;
    };

    let output = Command::new(program.build()).args(["", "5"]).output().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.ends_with("5 taken, 5 heard\n"), "{said}");
    assert!(said.contains("connected\n") && said.contains("room/temperature: 20.4\n"), "{said}");
}

#[test]
fn three_thousand_connections_fit_into_a_host_on_select() {
    let tcl = Program::example("tk", "shim.c").shared().with_library("tcl");
    let Some(module) = tcl.filter(|_| have("tclsh") && have("python3")) else {
        println!("skipped: no tcl-dev, tclsh or python3");
        return;
    };
    let many = |name: &str| crate_dir().join(format!("tests/c/many.{name}"));

    let output = Command::new("python3")
        .arg(many("py"))
        .arg("tclsh")
        .arg(many("tcl"))
        .arg(module.build())
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said == "3000 connections\n" || said.starts_with("skipped: "), "{said}");
    print!("{}", said.replace("3000 connections\n", ""));
}
