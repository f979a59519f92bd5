//! `lodger serve DIR` as curl and wget see it: ranges, resumed downloads, conditions, codings, and
//! paths that lead elsewhere.

use std::path::{Path, PathBuf};

use super::{Answer, check, curl, scratch};
use crate::server::{Server, plain};
use crate::steps::{Outcome, Steps};
use crate::{Res, sh};

/// What is served: a file of 3 MiB among others.
struct Site {
    dir: PathBuf,
    big: Vec<u8>,
    base: String,
}

type Row = fn(&Site) -> Res;

pub(super) fn run(steps: &mut Steps) {
    if !sh::have("curl") {
        return;
    }
    let (server, site) = match start() {
        Ok(started) => started,
        Err(error) => {
            steps.step("program: serve DIR", || Err(error));
            return;
        }
    };
    let rows: [(&str, Row); 8] = [
        ("a file, and its head", whole),
        ("one range, from either end", ranges),
        ("several ranges in one answer", several),
        ("416 behind the end", behind_the_end),
        ("a download that is resumed", resumed),
        ("304 by tag and by date", unchanged),
        ("a prepared coding", prepared),
        ("paths that lead elsewhere", elsewhere),
    ];
    for (name, row) in rows {
        steps.step(&format!("program: serve DIR: {name}"), || {
            row(&site).map(|()| Outcome::Passed(String::new()))
        });
    }
    steps.step("program: serve DIR: wget resumes", || wget(&site));
    steps.step("program: serve DIR: aria2 over four connections", || aria2(&site));
    steps.step("program: serve DIR: ends with 0", || {
        server.terminate().map(|_| Outcome::Passed(String::new()))
    });
}

fn start() -> Res<(Server, Site)> {
    let dir = scratch()?.join("www");
    // What an earlier run left is not to be met again.
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("dir"))?;
    let big: Vec<u8> =
        (0_u32..3 << 20).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let files: [(&str, &[u8]); 6] = [
        ("big.bin", &big),
        ("index.html", b"<h1>home</h1>"),
        ("dir/index.html", b"<h1>dir</h1>"),
        ("app.css", b"body { color: red }"),
        (".hidden", b"hidden"),
        ("../outside", b"outside"),
    ];
    for (name, content) in files {
        std::fs::write(dir.join(name), content)?;
    }
    // Tags are strong two seconds after the last change.
    let folder = dir.to_string_lossy().into_owned();
    sh::run(
        10,
        "sh",
        &["-c", "gzip -k \"$1/app.css\" && touch -d '1 hour ago' \"$1\"/*", "sh", &folder],
    )?;
    std::os::unix::fs::symlink("../outside", dir.join("link"))?;
    let server = Server::spawn(&mut plain(&["serve", &folder, "--listen", "127.0.0.1:0"]))?;
    let base = format!("http://127.0.0.1:{}", server.port());
    Ok((server, Site { dir, big, base }))
}

impl Site {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn get(&self, path: &str, args: &[&str]) -> Res<Answer> {
        curl(&[args, &["--path-as-is", &self.url(path)]].concat())
    }
}

fn is(answer: &Answer, status: u16, body: &[u8]) -> Res {
    check(answer.status == status, || answer.head.clone())?;
    check(answer.body == body, || format!("{} bytes, or others", answer.body.len()))
}

fn whole(site: &Site) -> Res {
    is(&site.get("/big.bin", &[])?, 200, &site.big)?;
    is(&site.get("/", &[])?, 200, b"<h1>home</h1>")?;
    is(&site.get("/dir", &["-L"])?, 200, b"<h1>dir</h1>")?;
    let head = site.get("/big.bin", &["--head"])?.head.to_ascii_lowercase();
    check(head.contains("content-length: 3145728\r\n"), || head.clone())?;
    check(head.contains("accept-ranges: bytes\r\n") && head.contains("\r\netag: \""), || {
        head.clone()
    })
}

fn ranges(site: &Site) -> Res {
    for (range, from, to) in
        [("0-0", 0, 1), ("1000-2000999", 1000, 2_001_000), ("3145000-", 3_145_000, 3 << 20)]
    {
        let part = site.big.get(from..to).unwrap_or_default();
        is(&site.get("/big.bin", &["-r", range])?, 206, part)?;
    }
    let end = site.big.get(site.big.len() - 7..).unwrap_or_default();
    is(&site.get("/big.bin", &["-r", "-7"])?, 206, end)
}

fn several(site: &Site) -> Res {
    let answer = site.get("/big.bin", &["-r", "0-99,1000000-1999999,-5"])?;
    let kind = "content-type: multipart/byteranges; boundary=";
    check(answer.status == 206 && answer.head.to_ascii_lowercase().contains(kind), || {
        answer.head.clone()
    })?;
    for part in [0..100, 1_000_000..2_000_000, (3 << 20) - 5..3 << 20] {
        let part = site.big.get(part).unwrap_or_default();
        check(answer.body.windows(part.len()).any(|w| w == part), || "a part is not there".into())?;
    }
    Ok(())
}

fn behind_the_end(site: &Site) -> Res {
    let answer = site.get("/big.bin", &["-r", "3145728-"])?;
    check(answer.status == 416, || answer.head.clone())?;
    check(answer.head.to_ascii_lowercase().contains("content-range: bytes */3145728"), || {
        answer.head.clone()
    })
}

/// curl asks for what is missing of a file that is there in part.
fn resumed(site: &Site) -> Res {
    let part = scratch()?.join("part");
    std::fs::write(&part, site.big.get(..1_234_567).unwrap_or_default())?;
    sh::run(
        60,
        "curl",
        &["-sSf", "-C", "-", "-o", &part.to_string_lossy(), &site.url("/big.bin")],
    )?;
    is_big(site, &part)
}

fn is_big(site: &Site, path: &Path) -> Res {
    check(std::fs::read(path)? == site.big, || "the parts are not the whole".into())
}

fn unchanged(site: &Site) -> Res {
    let tags = scratch()?.join("etag");
    let tags = tags.to_string_lossy();
    is(&site.get("/index.html", &["--etag-save", &*tags])?, 200, b"<h1>home</h1>")?;
    is(&site.get("/index.html", &["--etag-compare", &*tags])?, 304, b"")?;
    is(&site.get("/index.html", &["-z", "20370101"])?, 304, b"")?;
    is(&site.get("/index.html", &["-z", "19900101"])?, 200, b"<h1>home</h1>")
}

fn prepared(site: &Site) -> Res {
    let answer = site.get("/app.css", &["--compressed"])?;
    is(&answer, 200, b"body { color: red }")?;
    let head = answer.head.to_ascii_lowercase();
    check(head.contains("content-encoding: gzip\r\n"), || head.clone())?;
    check(head.contains("vary: accept-encoding\r\n"), || head.clone())?;
    is(&site.get("/app.css", &[])?, 200, b"body { color: red }")
}

fn elsewhere(site: &Site) -> Res {
    for (path, status) in [
        ("/.hidden", 404),
        ("/link", 404),
        ("/../outside", 404),
        ("/%2e%2e/outside", 404),
        ("/dir/../../outside", 404),
        ("/..%2foutside", 400),
        ("/..%5coutside", 400),
        ("/index.html%00", 400),
        ("//etc/passwd", 404),
        ("/index.html/", 404),
    ] {
        let answer = site.get(path, &[])?;
        check(answer.status == status, || format!("{path}: status {}", answer.status))?;
    }
    Ok(())
}

/// Ranges of one file, over several connections at once.
fn aria2(site: &Site) -> Res<Outcome> {
    if !sh::have("aria2c") {
        return Ok(Outcome::Skipped("no aria2c".into()));
    }
    let folder = site.dir.join("dir").to_string_lossy().into_owned();
    let url = site.url("/big.bin");
    let parts = ["-q", "-x4", "-s4", "-k1M", "--min-split-size=1M", "--allow-overwrite=true"];
    sh::run(60, "aria2c", &[&parts[..], &["-d", &folder, "-o", "aria2.bin", &url]].concat())?;
    is_big(site, &Path::new(&folder).join("aria2.bin")).map(|()| Outcome::Passed(String::new()))
}

fn wget(site: &Site) -> Res<Outcome> {
    if !sh::have("wget") {
        return Ok(Outcome::Skipped("no wget".into()));
    }
    let folder = site.dir.join("dir");
    std::fs::write(folder.join("big.bin"), site.big.get(..2_000_000).unwrap_or_default())?;
    sh::run(60, "wget", &["-q", "-c", "-P", &folder.to_string_lossy(), &site.url("/big.bin")])?;
    is_big(site, &folder.join("big.bin")).map(|()| Outcome::Passed(String::new()))
}
