//! Installs what the tests need beyond cargo: Debian packages, npm packages, Python for Autobahn.

use std::path::{Path, PathBuf};

use crate::steps::Outcome;
use crate::{Res, sh};

/// A program that some step runs, and the Debian packages that bring it.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("cc", &["gcc", "libc6-dev"]),
    ("c++", &["g++"]),
    ("readelf", &["binutils"]),
    ("curl", &["curl"]),
    ("pkg-config", &["pkg-config"]),
    ("node", &["nodejs"]),
    ("npm", &["npm"]),
    ("python3", &["python3", "python3-venv"]),
    ("strace", &["strace"]),
    ("valgrind", &["valgrind"]),
    ("mosquitto", &["mosquitto"]),
    ("mosquitto_pub", &["mosquitto-clients"]),
    ("openssl", &["openssl"]),
    ("perl", &["perl"]),
    ("tclsh", &["tcl"]),
    ("wish", &["tk"]),
    ("Xvfb", &["xvfb"]),
    ("xvfb-run", &["xvfb", "xauth"]),
    ("chromium", &["chromium"]),
    ("nginx", &["nginx"]),
    ("nghttpd", &["nghttp2-server"]),
    ("wget", &["wget"]),
    ("aria2c", &["aria2"]),
    ("sway", &["sway"]),
    ("grim", &["grim"]),
    ("import", &["imagemagick"]),
];

/// What pkg-config must find for the hosts' libraries, and the Debian packages that bring it.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("glib-2.0", &["libglib2.0-dev"]),
    ("gtk4", &["libgtk-4-dev"]),
    ("libuv", &["libuv1-dev"]),
    ("libevent_core", &["libevent-dev"]),
    ("libsystemd", &["libsystemd-dev"]),
    ("Qt5Core", &["qtbase5-dev"]),
    ("tcl", &["tcl-dev"]),
];

/// Files that nothing else announces, and the Debian packages that bring them.
const FILES: &[(&str, &[&str])] = &[
    ("/usr/include/ev.h", &["libev-dev"]),
    ("/usr/share/doc/libanyevent-perl", &["libanyevent-perl"]),
    ("/usr/share/doc/libev-perl", &["libev-perl"]),
    ("/usr/share/doc/libffi-platypus-perl", &["libffi-platypus-perl"]),
];

/// The npm packages: a WebSocket client that is not ours, and what drives the browser.
const NPM: [(&str, &str); 3] =
    [("ws", "8.18.3"), ("mqtt", "5.16.0"), ("playwright-core", "1.56.1")];

/// Installs the missing Debian packages, if this user may.
pub(crate) fn debian() -> Res<Outcome> {
    let packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !sh::have(program))
        .flat_map(|(_, p)| *p)
        .chain(LIBRARIES.iter().filter(|(name, _)| !has_library(name)).flat_map(|(_, p)| *p))
        .chain(FILES.iter().filter(|(path, _)| !Path::new(path).exists()).flat_map(|(_, p)| *p))
        .copied()
        .collect();
    if packages.is_empty() {
        return Ok(Outcome::Passed("all there".into()));
    }
    let list = packages.join(" ");
    if !sh::have("apt-get") || !is_root()? {
        return Ok(Outcome::Skipped(format!("install these packages as root: {list}")));
    }
    let lock = "DPkg::Lock::Timeout=600";
    sh::run(900, "apt-get", &["-q", "-o", lock, "update"])?;
    let mut args = vec!["-q", "-y", "-o", lock, "install", "--no-install-recommends"];
    args.extend(packages);
    sh::check(sh::command(1800, "apt-get", &args).env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(Outcome::Passed(format!("installed {list}")))
}

/// The Python package of a host, in an environment of its own under `target/`.
const UVLOOP: &str = "uvloop==0.22.1";

/// Makes that environment.
pub(crate) fn python() -> Res<Outcome> {
    let folder = sh::target("python").to_string_lossy().into_owned();
    let pip = sh::target("python/bin/pip").to_string_lossy().into_owned();
    if sh::run(60, &pip, &["show", "-q", "uvloop"]).is_ok() {
        return Ok(Outcome::Passed("all there".into()));
    }
    sh::run(120, "python3", &["-m", "venv", &folder])?;
    sh::run(600, &pip, &["-q", "install", UVLOOP])?;
    Ok(Outcome::Passed(UVLOOP.into()))
}

fn has_library(name: &str) -> bool {
    sh::run(10, "pkg-config", &["--exists", name]).is_ok()
}

/// Where `node` finds the npm packages.
pub(crate) fn node_modules() -> PathBuf {
    sh::target("npm/node_modules")
}

/// Installs the npm packages under `target/`.
pub(crate) fn npm() -> Res<Outcome> {
    if NPM.iter().all(|(name, version)| has_npm(name, version)) {
        return Ok(Outcome::Passed("all there".into()));
    }
    if !sh::have("npm") {
        return Ok(Outcome::Skipped("no npm".into()));
    }
    let folder = sh::target("npm");
    std::fs::create_dir_all(&folder)?;
    let wanted: Vec<String> =
        NPM.iter().map(|(name, version)| format!("{name}@{version}")).collect();
    let folder = folder.to_string_lossy().into_owned();
    let mut args =
        vec!["install", "--prefix", &folder, "--no-audit", "--no-fund", "--ignore-scripts"];
    args.extend(wanted.iter().map(String::as_str));
    sh::run(600, "npm", &args)?;
    Ok(Outcome::Passed(wanted.join(", ")))
}

fn has_npm(name: &str, version: &str) -> bool {
    let manifest = node_modules().join(name).join("package.json");
    let text = std::fs::read_to_string(manifest).unwrap_or_default();
    text.contains(&format!("\"version\": \"{version}\""))
}

/// Gives the virtual environment with the Autobahn suite, made if need be; `Err` is a reason for
/// people why it cannot be had. The suite needs Python 2.7, which pyenv may have.
pub(crate) fn autobahn() -> Result<PathBuf, String> {
    let env = sh::target("venv-ab");
    if env.join("bin/wstest").is_file() {
        return Ok(env);
    }
    let python = python2().ok_or("Autobahn needs Python 2.7 under pyenv, which is not here")?;
    make_autobahn(&python, &env)
        .map_err(|error| format!("Autobahn cannot be installed: {error}"))?;
    Ok(env)
}

fn make_autobahn(python: &Path, env: &Path) -> Res {
    let tools = sh::target("venv-tools");
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    sh::run(300, "python3", &["-m", "venv", &path(tools.clone())])?;
    sh::run(300, &path(tools.join("bin/pip")), &["install", "-q", "virtualenv==20.21.1"])?;
    let pins = ["--pip", "20.3.4", "--setuptools", "44.1.1", "--wheel", "0.37.1"];
    let (python, into) = (path(python.into()), path(env.into()));
    let mut args = vec!["-q", "-p", &python];
    args.extend(pins);
    args.push(&into);
    sh::run(300, &path(tools.join("bin/virtualenv")), &args)?;
    let suite = ["install", "-q", "incremental==16.10.1", "autobahntestsuite==25.10.1"];
    sh::run(600, &path(env.join("bin/pip")), &suite).map(drop)
}

/// Gives the HTTP/2 suite, built under `target/` if need be. Its lock file is its own: newer
/// versions of what it is made of do not fit together.
pub(crate) fn httpwg() -> Res<PathBuf> {
    let root = sh::target("tools");
    let suite = root.join("bin/httpwg");
    if !suite.is_file() {
        let into = root.to_string_lossy();
        let args = ["install", "-q", "--locked", "--root", &into, "httpwg-cli@0.2.5"];
        sh::run(1200, "cargo", &args)?;
    }
    Ok(suite)
}

fn python2() -> Option<PathBuf> {
    let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".pyenv")))?;
    let versions = std::fs::read_dir(pyenv.join("versions")).ok()?;
    let mut pythons = versions.flatten().map(|version| version.path().join("bin/python2.7"));
    pythons.find(|python| python.is_file())
}

fn is_root() -> Res<bool> {
    Ok(sh::text(&sh::run(5, "id", &["-u"])?.stdout).trim() == "0")
}
