//! Starts Debian's nginx as one process with a folder of its own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Res;
use crate::server::Server;

/// Starts nginx with `dir` for its files and serves `dir/www` on a free port of 127.0.0.1. It is
/// killed when the value is dropped.
///
/// - `shell`: runs `sh`, so that the caller says where.
/// - `http`, `server`: what its blocks of these names hold besides.
pub(crate) fn start(shell: &mut Command, dir: &Path, http: &str, server: &str) -> Res<Server> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    std::fs::write(dir.join("nginx.conf"), config(dir, port, http, server))?;
    let line =
        "echo \"http://127.0.0.1:$2/\"; exec nginx -p \"$1\" -e \"$1/error.log\" -c nginx.conf";
    let process = Server::spawn(shell.args(["-c", line, "sh"]).arg(dir).arg(port.to_string()))?;
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err("nginx does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

fn config(dir: &Path, port: u16, http: &str, server: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {}/{kind};\n", dir.display()))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nevents {{ worker_connections 64; }}\n\
         http {{\n    access_log off;\n{http}{temporary}    server {{\n        \
         listen 127.0.0.1:{port};\n        root {dir}/www;\n{server}    }}\n}}\n",
        dir = dir.display()
    )
}
