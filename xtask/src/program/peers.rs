//! `lodger fetch` and `lodger ws` against servers that are not ours: nginx, and Node's `ws`.

use std::path::PathBuf;
use std::process::Command;

use super::{check, expect, scratch};
use crate::server::Server;
use crate::steps::{Outcome, Steps};
use crate::{Res, install, nginx, sh};

pub(super) fn run(steps: &mut Steps) {
    steps.step("program: fetch from nginx", from_nginx);
    steps.step("program: ws to Node's `ws`", node);
}

/// nginx with a folder of its own, in one process that is ended with the value.
struct Nginx {
    dir: PathBuf,
    base: String,
    big: Vec<u8>,
    _process: Server,
}

impl Nginx {
    fn start() -> Res<Self> {
        let dir = scratch()?.join("nginx");
        // What an earlier run left is not to be met again.
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("www"))?;
        let big: Vec<u8> =
            (0_u32..3 << 20).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        std::fs::write(dir.join("www/big.bin"), &big)?;
        std::fs::write(dir.join("www/page.html"), "<p>line\n".repeat(10_000))?;
        // A Last-Modified vouches for what it dates only if it is older than the answer.
        let files = [dir.join("www/big.bin"), dir.join("www/page.html")];
        for file in &files {
            sh::run(5, "touch", &["-d", "1 hour ago", &file.to_string_lossy()])?;
        }
        let process = nginx::start(&mut Command::new("sh"), &dir, HTTP, ROUTES)?;
        let base = format!("http://127.0.0.1:{}", process.port());
        Ok(Self { dir, base, big, _process: process })
    }

    /// Runs `lodger fetch` in the folder by a line of shell: `$L` is the program, `$U` the server.
    fn sh(&self, line: &str) -> Res<String> {
        let mut command = sh::command(60, "sh", &["-c", line]);
        command.current_dir(&self.dir).env("L", sh::lodger()).env("U", &self.base);
        Ok(sh::text(&sh::check(&mut command)?.stdout))
    }
}

const HTTP: &str = "    gzip on;\n    default_type text/html;\n";

const ROUTES: &str = "        \
location = /old { return 302 /big.bin; }
        location = /busy { return 503; }
";

fn from_nginx() -> Res<Outcome> {
    if !sh::have("nginx") {
        return Ok(Outcome::Skipped("no nginx".into()));
    }
    let nginx = Nginx::start()?;
    let is_big = |name: &str| {
        let got = std::fs::read(nginx.dir.join(name))?;
        check(got == nginx.big, || format!("{name}: {} bytes, or others", got.len()))
    };
    nginx.sh("\"$L\" fetch -o whole \"$U/big.bin\"")?;
    is_big("whole")?;
    nginx.sh("\"$L\" fetch \"$U/old\" > redirected")?;
    is_big("redirected")?;
    // What is missing of a file, as the server's date and tag vouch for the rest.
    nginx.sh("cp whole part && truncate -s 1000000 part && touch -r whole part")?;
    nginx.sh("\"$L\" fetch -C -o part \"$U/big.bin\"")?;
    is_big("part")?;
    // Chunked, since its length is not known.
    let gzip =
        "\"$L\" fetch -H 'Accept-Encoding: gzip' \"$U/page.html\" | gunzip | cmp - www/page.html";
    nginx.sh(gzip)?;
    nginx.sh("\"$L\" fetch -i \"$U/busy\" | head -n 1 | grep -q ' 503 '")?;
    nginx.sh("\"$L\" fetch -f \"$U/nowhere\" 2>/dev/null; test $? = 22")?;
    nginx.sh("\"$L\" fetch \"$U/big.bin\" | head -c 100000 | cmp -n 100000 - www/big.bin")?;
    expect(true, String::new)
}

/// A thousand lines there and back, with compression on offer from the server.
fn node() -> Res<Outcome> {
    let modules = install::node_modules();
    if !sh::have("node") || !modules.join("ws").is_dir() {
        return Ok(Outcome::Skipped("no node, or no npm package `ws`".into()));
    }
    let mut command = Command::new("node");
    command.arg(sh::root().join("xtask/src/program/ws_serve.cjs")).env("NODE_PATH", modules);
    let server = Server::spawn(&mut command)?;
    let url = format!("ws://127.0.0.1:{}/", server.port());
    for flags in ["", "--binary"] {
        let line = format!("seq 1000 | \"$L\" ws {flags} {url} | cmp - \"$E\"");
        let expected = scratch()?.join("lines");
        std::fs::write(&expected, (1..=1000).map(|n| format!("{n}\n")).collect::<String>())?;
        let mut command = sh::command(60, "sh", &["-c", &line]);
        sh::check(command.env("L", sh::lodger()).env("E", expected))?;
    }
    Ok(Outcome::Passed("1,000 lines, as text and as bytes".into()))
}
