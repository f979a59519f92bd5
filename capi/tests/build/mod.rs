//! Compiles and runs the programs of `tests/c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// One program: `tests/c/NAME.c` (or another file), its compiler and its flags.
pub(crate) struct Program {
    name: String,
    source: PathBuf,
    compiler: &'static str,
    flags: Vec<String>,
}

pub(crate) fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Builds the library, which cargo does not do for the tests of a crate that Rust cannot link to,
/// and gives the folder that it is in.
pub(crate) fn library_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let args = ["build", "-q", "--locked", "-p", "lodger-capi"];
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(args).current_dir(crate_dir()).env("CARGO_TARGET_DIR", target);
        assert!(cargo.status().unwrap().success(), "{cargo:?}");
        target.join("debug")
    })
}

pub(crate) fn have(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .unwrap()
        .status
        .success()
}

impl Program {
    pub(crate) fn new(name: &str) -> Self {
        let source = crate_dir().join(format!("tests/c/{name}.c"));
        let mut flags = Vec::new();
        for flag in [
            "-std=c11",
            "-D_GNU_SOURCE",
            "-Wall",
            "-Wextra",
            "-Wconversion",
            "-Werror",
            "-g",
            "-O1",
            "-pthread",
        ] {
            flags.push(flag.to_owned());
        }
        Self { name: name.to_owned(), source, compiler: "cc", flags }
    }

    /// Compiles it against the header and the shared library.
    pub(crate) fn build(&self) -> PathBuf {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("c-{}", self.name));
        let dir = library_dir();
        let mut cc = Command::new(self.compiler);
        cc.args(&self.flags).arg("-I").arg(crate_dir().join("include")).arg(&self.source);
        cc.arg("-o").arg(&out).arg("-L").arg(dir).arg("-llodger");
        cc.arg(format!("-Wl,-rpath,{}", dir.display()));
        let output = cc.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{cc:?}\n{text}");
        out
    }

    /// Runs it, under valgrind with `flags` if there are any; it must end with 0.
    pub(crate) fn run(&self, binary: &Path, valgrind: &[&str]) {
        let mut command = if valgrind.is_empty() {
            Command::new(binary)
        } else {
            let mut command = Command::new("valgrind");
            command.args(valgrind).arg(binary);
            command
        };
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    }
}
