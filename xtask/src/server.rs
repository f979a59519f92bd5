//! Starts the program `lodger`, reads where it listens, and ends it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::{Res, sh};

/// A running program that is killed when the value is dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
    stderr: Receiver<String>,
}

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

impl Ended {
    /// Passes if the program ended with 0.
    pub(crate) fn well(self) -> Res<Self> {
        if self.status.success() {
            return Ok(self);
        }
        Err(format!("ended with {}; stderr: {}", self.status, self.stderr).into())
    }
}

impl Server {
    /// Starts the release program on a port of its own choice.
    pub(crate) fn start() -> Res<Self> {
        Self::spawn(&mut plain(&["serve", "--listen", "127.0.0.1:0"]))
    }

    /// As [`start`](Self::start), over TLS, with a certificate that it makes itself.
    pub(crate) fn start_tls() -> Res<Self> {
        Self::spawn(&mut plain(&["serve", "--tls", "--listen", "127.0.0.1:0"]))
    }

    /// As [`start`](Self::start), for HTTP/2 by prior knowledge alone.
    pub(crate) fn start_h2_only() -> Res<Self> {
        Self::spawn(&mut plain(&["serve", "--h2-only", "--listen", "127.0.0.1:0"]))
    }

    /// As [`start`](Self::start), with room for `descriptors` open descriptors.
    pub(crate) fn start_with_descriptors(descriptors: u32) -> Res<Self> {
        let script = format!("ulimit -n {descriptors} && exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(sh::lodger());
        Self::spawn(command.args(["serve", "--listen", "127.0.0.1:0"]))
    }

    /// Starts `command`, which is the program or runs it, and waits until it prints its URL.
    pub(crate) fn spawn(command: &mut Command) -> Res<Self> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let lines = lines_of(child.stdout.take().ok_or("no stdout")?);
        let stderr = whole_of(child.stderr.take().ok_or("no stderr")?);
        Self { child, port: 0, stderr }.wait_for_url(&lines)
    }

    /// As [`start`](Self::start), but nobody reads its standard output: it has to say its URL on
    /// standard error.
    pub(crate) fn start_unread() -> Res<Self> {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = plain(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn()?;
        let lines = lines_of(child.stderr.take().ok_or("no stderr")?);
        Self { child, port: 0, stderr: whole_of(std::io::empty()) }.wait_for_url(&lines)
    }

    fn wait_for_url(mut self, lines: &Receiver<String>) -> Res<Self> {
        if let Some(port) = wait_for_port(lines) {
            self.port = port;
            return Ok(self);
        }
        let said = self.kill()?.stderr;
        Err(format!("the program printed no http:// URL in 20 s; stderr: {said}").into())
    }

    /// Gives the port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Gives its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) -> Res {
        signal(self.pid(), name)
    }

    /// Asks it to end, and waits until it has; anything but 0 is an error.
    pub(crate) fn terminate(mut self) -> Res<Ended> {
        self.signal("TERM")?;
        self.wait(Duration::from_secs(15))?.well()
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self, limit: Duration) -> Res<Ended> {
        let status = wait(&mut self.child, limit)?;
        let stderr = self.stderr.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
        Ok(Ended { status, stderr })
    }

    fn kill(&mut self) -> Res<Ended> {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        self.wait(Duration::from_secs(5))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Nothing is left to be done about a process that cannot be killed.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Makes the command that runs the release program with `args`.
pub(crate) fn plain(args: &[&str]) -> Command {
    let mut command = Command::new(sh::lodger());
    command.args(args).current_dir(sh::root());
    command
}

/// Runs `command` to its end without a terminal.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Res<Ended> {
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let stderr = whole_of(child.stderr.take().ok_or("no stderr")?);
    let status = match wait(&mut child, limit) {
        Ok(status) => status,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
    };
    Ok(Ended { status, stderr: stderr.recv_timeout(Duration::from_secs(5)).unwrap_or_default() })
}

/// Sends a signal by name to the process that this program started as `pid`.
pub(crate) fn signal(pid: u32, name: &str) -> Res {
    sh::run(5, "sh", &["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid.to_string()]).map(drop)
}

fn wait(child: &mut Child, limit: Duration) -> Res<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(format!("still running after {:.1} s", limit.as_secs_f64()).into())
}

/// Reads the first line with a URL and gives its port.
fn wait_for_port(lines: &Receiver<String>) -> Option<u16> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let line = lines.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?;
        if let Some(port) = port_of(&line) {
            return Some(port);
        }
    }
}

/// Finds the port in a line that holds `http://HOST:PORT/` or the same with `https`.
fn port_of(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("http://").or_else(|| line.split_once("https://"))?;
    let authority = rest.split(['/', ' ']).next()?;
    let (_, port) = authority.rsplit_once(':')?;
    port.parse().ok()
}

/// Gives the lines of a stream; it is read to its end, so that the writer never blocks.
pub(crate) fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            // Nobody listens any more once the URL was read.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Gives all of a stream once it has ended.
fn whole_of(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(sh::text(&bytes));
    });
    receiver
}

/// Waits until `path` is there.
pub(crate) fn wait_for_file(path: &Path) -> Res {
    for _ in 0..1000 {
        if path.exists() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(format!("{} did not appear", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_a_url() {
        assert_eq!(port_of("listening on http://127.0.0.1:41234/ (mio)"), Some(41234));
        assert_eq!(port_of("http://[::1]:80"), Some(80));
        assert_eq!(port_of("lodger serves https://127.0.0.1:41235/"), Some(41235));
        assert_eq!(port_of("listening on unix:/run/x.sock"), None);
    }
}
