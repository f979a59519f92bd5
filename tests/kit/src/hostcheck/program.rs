//! The program under test: started, listened to, and ended.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::Res;
use crate::tls::Certificate;
use crate::web::Scheme;

/// How long the program may take for what it is asked for. Long, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running program that is killed when the value is dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    /// Who owns the listening socket: the child, or what it has started.
    server: u32,
    port: u16,
}

impl Program {
    /// Starts `command` and waits until it says where it listens, over TLS if it is to show a
    /// certificate. Its errors go to ours.
    pub(crate) fn start(command: &[String], feed: u16, tls: Option<&Certificate>) -> Res<Self> {
        let (name, args) = command.split_first().ok_or("no command")?;
        let mut command = Command::new(name);
        for name in ["LODGER_CERTIFICATE", "LODGER_KEY"] {
            command.env_remove(name);
        }
        if let Some(files) = tls {
            command.env("LODGER_CERTIFICATE", files.certificate()).env("LODGER_KEY", files.key());
        }
        let mut child = command
            .args(args)
            .env("LODGER_LISTEN", "127.0.0.1:0")
            .env("LODGER_FEED", format!("ws://127.0.0.1:{feed}/"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Nobody listens any more once the check is over.
                let _ = sender.send(line);
            }
        });
        let server = child.id();
        let mut program = Self { child, lines, server, port: 0 };
        let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
        let line = program.line_with(&format!("listening on {}://", scheme.name()))?;
        program.port = port_of(&line).ok_or("no port in the line that says where it listens")?;
        program.server = owner_of(program.port)?.ok_or("nobody listens on the port it said")?;
        Ok(program)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for a line that holds `text`.
    pub(crate) fn line_with(&self, text: &str) -> Res<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return Ok(line),
                Ok(_) => {}
                Err(_) => return Err(format!("it ended, or never printed `{text}`").into()),
            }
        }
    }

    /// Counts the threads of the process that listens.
    pub(crate) fn threads(&self) -> Res<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.server))?.count())
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> Res<ExitStatus> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err("it does not end".into())
    }
}

impl Program {
    /// Ends it without a goodbye; what has started it may tidy up.
    pub(crate) fn kill(&mut self) -> Res {
        self.kill_server();
        self.wait().map(drop)
    }

    fn kill_server(&mut self) {
        // One that has ended by itself is as good.
        if self.server == self.child.id() {
            let _ = self.child.kill();
        } else {
            let _ = Command::new("kill").args(["-9", &self.server.to_string()]).status();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        self.kill_server();
        // Nothing is left to be done about a process that cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds the port in a line that holds `http://HOST:PORT`, or the same with another scheme.
fn port_of(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("://")?;
    let authority = rest.split(['/', ' ']).next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

/// Finds the process that listens on a port of 127.0.0.1: a command may start another program.
fn owner_of(port: u16) -> Res<Option<u32>> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let Some(inode) = table.lines().find_map(|line| listener(line, port)) else { return Ok(None) };
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Another user's process, or one that has ended meanwhile.
        let Ok(fds) = fs::read_dir(process.path().join("fd")) else { continue };
        let mut links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        if links.any(|link| link.as_os_str() == wanted.as_str()) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// Gives the inode of a line of `/proc/net/tcp` that listens (state 0A) on `port`.
fn listener(line: &str, port: u16) -> Option<&str> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let here = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()? == port;
    let listens = fields.nth(1)? == "0A";
    (here && listens).then(|| fields.nth(5)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_line() {
        assert_eq!(port_of("listening on http://127.0.0.1:41234"), Some(41234));
        assert_eq!(port_of("listening on 127.0.0.1"), None);
    }

    #[test]
    fn a_listener_is_found_by_its_port() {
        let listens = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 36214 1 0 100 0 0 10 0";

        assert_eq!(listener(listens, 8080), Some("36214"));
        assert_eq!(listener(listens, 8081), None);
        assert_eq!(listener(&listens.replace(" 0A ", " 01 "), 8080), None);
    }

    #[test]
    fn the_owner_of_a_port_is_this_process() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();

        assert_eq!(owner_of(port).unwrap(), Some(std::process::id()));
    }
}
