//! Compiles and runs the programs of `tests/c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// One program: `tests/c/NAME.c` or `.cpp`, its compiler and its flags.
pub(crate) struct Program {
    name: String,
    source: PathBuf,
    compiler: &'static str,
    flags: Vec<String>,
    libraries: Vec<String>,
    /// What it is run with.
    arguments: Vec<PathBuf>,
    /// Where the library is, when it is not the one that was just built.
    installed: Option<Vec<String>>,
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

const FLAGS: [&str; 8] =
    ["-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-g", "-O1", "-pthread"];

impl Program {
    /// A program in C.
    pub(crate) fn new(name: &str) -> Self {
        Self::made(name, "c", "cc", "-std=c11")
    }

    /// A program in C++, by this standard.
    pub(crate) fn cpp(name: &str, standard: &str) -> Self {
        let mut program = Self::made(name, "cpp", "c++", &format!("-std={standard}"));
        program.name.push_str(standard);
        // Qt asks for it.
        program.flags.push("-fPIC".to_owned());
        program
    }

    /// A header, to be looked at as C++ by this standard.
    pub(crate) fn header(name: &str, standard: &str) -> Self {
        let mut program = Self::made(name, "h", "c++", &format!("-std={standard}"));
        program.source = crate_dir().join("include").join(name);
        program
    }

    /// Has the compiler look at it, and make nothing.
    pub(crate) fn check(&self) {
        let mut compiler = Command::new(self.compiler);
        compiler.args(["-fsyntax-only", "-x", "c++"]).args(&self.flags).arg("-I");
        let output = compiler.arg(crate_dir().join("include")).arg(&self.source).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// An example in C.
    pub(crate) fn example(folder: &str, file: &str) -> Self {
        let examples = crate_dir().join("../foreign-loop-examples");
        let mut program = Self::made(folder, "c", "cc", "-std=c11");
        program.source = examples.join(folder).join(file);
        program.flags.push(format!("-I{}", examples.join("common").display()));
        program
    }

    /// As a module, which a host loads.
    pub(crate) fn shared(mut self) -> Self {
        self.flags.extend(["-shared".to_owned(), "-fPIC".to_owned()]);
        self
    }

    fn made(name: &str, ending: &str, compiler: &'static str, standard: &str) -> Self {
        let source = crate_dir().join(format!("tests/c/{name}.{ending}"));
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(standard.to_owned());
        Self {
            name: name.to_owned(),
            source,
            compiler,
            flags,
            libraries: Vec::new(),
            arguments: Vec::new(),
            installed: None,
        }
    }

    /// Under another name, for a program that is made twice.
    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Run with these arguments.
    pub(crate) fn with_arguments(mut self, arguments: &[&Path]) -> Self {
        self.arguments = arguments.iter().map(|path| path.to_path_buf()).collect();
        self
    }

    /// With a library that pkg-config knows; `None` if it does not.
    pub(crate) fn with_library(mut self, library: &str) -> Option<Self> {
        let ask = |flag: &str| {
            let output = Command::new("pkg-config").args([flag, library]).output().ok()?;
            let words = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| words.split_whitespace().map(str::to_owned).collect())
        };
        let (headers, libraries): (Vec<String>, Vec<String>) = (ask("--cflags")?, ask("--libs")?);
        // Whatever a library's own headers do, they do not fail the test.
        self.flags.extend(headers.into_iter().map(|flag| flag.replacen("-I", "-isystem", 1)));
        self.libraries = libraries;
        Some(self)
    }

    /// As an installed library's user compiles it: by what its `.pc` file in `folder` says.
    pub(crate) fn installed(mut self, folder: &Path) -> Self {
        let mut ask = Command::new("pkg-config");
        ask.args(["--static", "--cflags", "--libs", "lodger"]).env("PKG_CONFIG_PATH", folder);
        let output = ask.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let words = String::from_utf8(output.stdout).unwrap();
        self.name.push_str("-installed");
        self.installed = Some(words.split_whitespace().map(str::to_owned).collect());
        self
    }

    /// Compiles it against the header and the shared library.
    pub(crate) fn build(&self) -> PathBuf {
        self.compile().unwrap()
    }

    /// As [`build`](Self::build), or what the compiler has said.
    pub(crate) fn compile(&self) -> Result<PathBuf, String> {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("c-{}", self.name));
        let mut cc = Command::new(self.compiler);
        cc.args(&self.flags).arg(&self.source).arg("-o").arg(&out).args(&self.libraries);
        match &self.installed {
            Some(flags) => _ = cc.args(flags),
            None => {
                let dir = library_dir();
                cc.arg("-I").arg(crate_dir().join("include")).arg("-L").arg(dir).arg("-llodger");
                cc.arg(format!("-Wl,-rpath,{}", dir.display()));
            }
        }
        let output = cc.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(out) } else { Err(format!("{cc:?}\n{said}")) }
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
        let output = command.args(&self.arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{said}", self.name, output.status);
    }
}
