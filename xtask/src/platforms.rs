//! `cargo xtask platforms`: type-checks `lodger` for platforms that it is not tested on.
//!
//! A standard library for each is not to be had everywhere, its source is: Debian's `rustc-web` and
//! what belongs to it are unpacked under `target/`, installed nowhere, and cargo builds the
//! library's metadata from there. Some two minutes a platform, the first time.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::steps::{Outcome, Steps};
use crate::{Res, sh};

/// A platform, which parts of the standard library it has, and how `lodger` is built for it.
struct Platform {
    target: &'static str,
    library: &'static str,
    features: &'static [&'static str],
}

/// Without a standard library: the protocols and the scheduler.
const BARE: &[&str] = &["--no-default-features", "--features", "h1,ws"];

const PLATFORMS: [Platform; 4] = [
    Platform { target: "aarch64-apple-darwin", library: "std", features: &[] },
    Platform { target: "x86_64-unknown-freebsd", library: "std", features: &[] },
    Platform { target: "x86_64-pc-windows-msvc", library: "std", features: &[] },
    Platform { target: "x86_64-unknown-none", library: "core,alloc", features: BARE },
];

/// The compiler and the library's source. The rest is found through [`LIBRARY`].
const PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", LIBRARY];
/// It depends on the compiler's own library, which is named for its version, and that on LLVM's.
const LIBRARY: &str = "libstd-rust-web-dev";

/// Checks all platforms.
pub(crate) fn run() -> ExitCode {
    let mut steps = Steps::new(false);
    let mut compiler = None;
    steps.step("compiler and library", || match Compiler::get() {
        Ok(found) => {
            let version = found.version()?;
            compiler = Some(found);
            Ok(Outcome::Passed(version))
        }
        Err(error) => Ok(Outcome::Skipped(format!("Debian's packages are not to be had: {error}"))),
    });
    if let Some(compiler) = compiler {
        for platform in &PLATFORMS {
            steps.step(platform.target, || compiler.check(platform));
        }
    }
    steps.finish()
}

/// A compiler that was unpacked.
struct Compiler {
    /// Where its packages lie, as if installed at `/`.
    root: PathBuf,
    /// The folder of shared libraries.
    libraries: PathBuf,
}

impl Compiler {
    /// Gives the compiler, downloaded and unpacked if need be.
    fn get() -> Res<Self> {
        let root = sh::target("platforms/root");
        if !root.join("usr/bin/rustc").is_file() {
            download(&root)?;
        }
        let libraries = folder(&root.join("usr/lib"), |name| name.ends_with("-linux-gnu"))?;
        Ok(Self { root, libraries })
    }

    fn version(&self) -> Res<String> {
        let rustc = self.root.join("usr/bin/rustc").to_string_lossy().into_owned();
        let mut command = sh::command(20, &rustc, &["--version"]);
        let output = sh::check(command.env("LD_LIBRARY_PATH", &self.libraries))?;
        Ok(sh::text(&output.stdout).trim().to_owned())
    }

    /// Passes if there is neither an error nor a warning.
    fn check(&self, platform: &Platform) -> Res<Outcome> {
        let library = format!("-Zbuild-std={}", platform.library);
        let folder = sh::target("platforms/build").to_string_lossy().into_owned();
        let args = ["check", "-p", "lodger", "--locked", &library, "--target", platform.target];
        let args = [&args[..], &["--target-dir", &folder], platform.features].concat();
        let mut command = sh::command(1800, "cargo", &args);
        let output = sh::check(self.prepared(&mut command))?;
        let said = sh::text(&output.stderr);
        if said.contains("warning: `lodger") {
            return Err(said.into());
        }
        Ok(Outcome::Passed(platform.features.join(" ")))
    }

    /// Building a standard library is not a stable feature of cargo: the variable allows it.
    fn prepared<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let compiler = command.env("RUSTC", self.root.join("usr/bin/rustc"));
        compiler.env("LD_LIBRARY_PATH", &self.libraries).env("RUSTC_BOOTSTRAP", "1")
    }
}

/// Downloads the packages and unpacks them. Their folder becomes `root` only when all is there.
fn download(root: &Path) -> Res {
    if !sh::have("apt-get") || !sh::have("dpkg-deb") {
        return Err("this is not Debian".into());
    }
    let part = sh::target("platforms/part");
    if part.exists() {
        std::fs::remove_dir_all(&part)?;
    }
    std::fs::create_dir_all(&part)?;
    let own = depends(LIBRARY, "libstd-rust-web")?;
    let llvm = depends(&own, "libllvm")?;
    let packages = [&PACKAGES[..], &[&own, &llvm]].concat();
    let args = [&["-q", "download"][..], &packages].concat();
    sh::check(sh::command(900, "apt-get", &args).current_dir(&part))?;
    for file in std::fs::read_dir(&part)?.collect::<Result<Vec<_>, _>>()? {
        let (package, into) = (file.path(), part.join("root"));
        let (package, into) = (package.to_string_lossy(), into.to_string_lossy());
        sh::run(300, "dpkg-deb", &["-x", &package, &into])?;
        std::fs::remove_file(file.path())?;
    }
    std::fs::rename(part.join("root"), root)?;
    Ok(())
}

/// Finds the package that `package` depends on and whose name begins so.
fn depends(package: &str, begin: &str) -> Res<String> {
    let output = sh::run(60, "apt-cache", &["depends", package])?;
    let said = sh::text(&output.stdout);
    let name = dependency(&said, begin);
    name.map(str::to_owned).ok_or_else(|| format!("{package} depends on no {begin}").into())
}

/// Reads a line `  Depends: NAME`.
fn dependency<'a>(said: &'a str, begin: &str) -> Option<&'a str> {
    let mut names = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with(begin))
}

fn folder(parent: &Path, wanted: impl Fn(&str) -> bool) -> Res<PathBuf> {
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        if wanted(&entry.file_name().to_string_lossy()) {
            return Ok(entry.path());
        }
    }
    Err(format!("nothing of that kind in {}", parent.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_found_by_how_its_name_begins() {
        let said =
            "libstd-rust-web-1.96\n  Depends: libc6\n  Depends: libllvm22\n  Conflicts: <x>\n";

        assert_eq!(dependency(said, "libllvm"), Some("libllvm22"));
        assert_eq!(dependency(said, "x"), None);
    }
}
