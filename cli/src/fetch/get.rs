//! What hears the response, and where it goes.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lodger::http::{Failure, Fetch, FetchCx as Cx, ResponseHead, Stage, Timing};
use lodger::proto::h1::Version;
use lodger::{ConnId, Handle, SendError};

use super::Options;
use super::resume::{self, Part};
use crate::output::Output;
use crate::report::{Problem, say};

/// Bytes of a request's body that are read at once.
const PIECE: usize = 64 << 10;

/// One request's outcome so far.
pub(super) struct State {
    options: Options,
    part: Option<Part>,
    out: Output,
    /// The output is the file of `--output`.
    to_file: bool,
    bar: Option<ProgressBar>,
    /// What vouches for the file.
    time: Option<SystemTime>,
    /// The connection that waits for our reader.
    paused: Option<ConnId>,
    outcome: Option<Result<(), Problem>>,
}

impl State {
    pub(super) fn new(options: &Options) -> Result<Self, Problem> {
        let out = Output::standard()
            .map_err(|e| Problem::new(format!("standard output takes nothing: {e}")))?;
        let part = options.output.as_deref().filter(|_| options.resume).and_then(resume::part);
        Ok(Self {
            options: options.clone(),
            part,
            out,
            to_file: false,
            bar: None,
            time: None,
            paused: None,
            outcome: None,
        })
    }

    pub(super) fn part(&self) -> Option<&Part> {
        self.part.as_ref()
    }

    /// Whether its outcome is known.
    pub(super) fn is_over(&self) -> bool {
        self.outcome.is_some()
    }

    pub(super) fn waits(&self) -> bool {
        self.out.waits()
    }

    pub(super) fn output(&self) -> io::Result<OwnedFd> {
        self.out.get().as_fd().try_clone_to_owned()
    }

    /// Notes why it failed; the first reason counts.
    pub(super) fn fail(&mut self, problem: Problem) {
        self.outcome.get_or_insert(Err(problem));
    }

    /// Writes what its reader has room for now, and reads on when all is written.
    pub(super) fn go_on(&mut self, h: &Handle) {
        let written = self.out.go_on();
        self.wrote(written);
        if !self.out.waits()
            && let Some(id) = self.paused.take()
        {
            // If it has gone meanwhile, that is told otherwise.
            let _ = h.pause(id, false);
        }
    }

    /// Writes what is left, whatever came before, and tells how it went.
    pub(super) fn finish(&mut self) -> Result<(), Problem> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let quiet = matches!(self.outcome, Some(Err(ref p)) if p.is_quiet());
        if !quiet && let Err(e) = self.out.finish() {
            self.fail(refused(self.options.output.as_ref(), &e));
        }
        self.stamp();
        match self.outcome.take() {
            Some(Err(problem)) if problem.is_quiet() => Ok(()),
            Some(outcome) => outcome,
            None => Err(Problem::new("no response: the loop has ended".to_owned())),
        }
    }

    fn stamp(&self) {
        if self.to_file {
            resume::stamp(self.out.get(), self.time);
        }
    }

    /// Ends it if nobody takes the output.
    fn wrote(&mut self, written: io::Result<()>) {
        if let Err(e) = written {
            self.fail(refused(self.options.output.as_ref(), &e));
        }
    }

    fn head(&mut self, head: &ResponseHead<'_>) -> Result<(), Problem> {
        self.judge(head)?;
        let kept = self.kept(head)?;
        if let Some(path) = &self.options.output {
            let file = resume::open(path, kept).map_err(|e| refused(Some(path), &e))?;
            self.time = resume::vouch(&file, head.fields);
            self.out = Output::file(file);
            self.to_file = true;
        }
        if self.options.include {
            let text = written(head);
            self.out.put(&text).map_err(|e| refused(self.options.output.as_ref(), &e))?;
        }
        let length = head.fields.get_str("content-length").and_then(|n| n.parse::<u64>().ok());
        self.bar = bar(self.to_file, kept, length.map(|n| n.saturating_add(kept)));
        Ok(())
    }

    /// Finds the answers that are none.
    fn judge(&self, head: &ResponseHead<'_>) -> Result<(), Problem> {
        let (status, reason) = (head.status, lodger::proto::h1::reason(head.status));
        let location = head.fields.get_str("location");
        if let (300..=399, Some(location)) = (status, location)
            && self.options.max_redirects > 0
        {
            return Err(Problem::new(format!(
                "redirected to {location}, which is not followed: over --max-redirects, or no http"
            )));
        }
        if status >= 400 && self.options.fail {
            return Err(Problem::status(format!("the server says {status} {reason}")));
        }
        if self.options.resume && !matches!(status, 200 | 206 | 416) {
            return Err(Problem::new(format!("nothing to resume: {status} {reason}")));
        }
        Ok(())
    }

    /// Tells how many bytes of the file stay.
    fn kept(&mut self, head: &ResponseHead<'_>) -> Result<u64, Problem> {
        let Some(part) = self.part.as_ref() else { return Ok(0) };
        let range = head.fields.get_str("content-range").map(resume::content_range);
        match (head.status, range) {
            (206, Some((Some(first), _))) if first == part.len => Ok(first),
            (206, _) => Err(Problem::new("the server sends another part than asked".to_owned())),
            (416, Some((_, Some(all)))) if all == part.len => {
                say("the file is whole already");
                Err(Problem::quiet())
            }
            (416, _) => Err(Problem::new(
                "the file is longer than the server's: get it anew, without --resume".to_owned(),
            )),
            _ => {
                say("the part that is there does not belong to what the server has: got anew");
                Ok(0)
            }
        }
    }

    fn body(&mut self, cx: &mut Cx<'_>, chunk: &[u8]) {
        if self.is_over() {
            cx.abort();
            return;
        }
        let written = self.out.put(chunk);
        self.wrote(written);
        self.stamp();
        if let Some(bar) = &self.bar {
            bar.inc(chunk.len() as u64);
        }
        if self.out.waits() {
            self.paused = Some(cx.id());
            cx.pause(true);
        }
    }
}

/// Makes what shows how far it is, if somebody looks and the body is not shown itself.
fn bar(to_file: bool, kept: u64, all: Option<u64>) -> Option<ProgressBar> {
    if !io::stderr().is_terminal() || (!to_file && io::stdout().is_terminal()) {
        return None;
    }
    let bar = ProgressBar::with_draw_target(all, ProgressDrawTarget::stderr());
    let template = if all.is_some() {
        "{bytes}/{total_bytes} [{wide_bar}] {bytes_per_sec}, {eta} left"
    } else {
        "{bytes} {bytes_per_sec}, {elapsed}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_position(kept);
    bar.reset_eta();
    Some(bar)
}

fn written(head: &ResponseHead<'_>) -> Vec<u8> {
    let version = if head.version == Version::Http2 { "HTTP/2" } else { "HTTP/1.1" };
    let mut text = format!("{version} {} ", head.status).into_bytes();
    text.extend_from_slice(head.reason);
    for (name, value) in head.fields.iter() {
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
    }
    text.extend_from_slice(b"\r\n\r\n");
    text
}

/// Why output was not taken. A reader that has enough is no failure.
fn refused(path: Option<&PathBuf>, e: &io::Error) -> Problem {
    match path {
        Some(path) => Problem::new(format!("cannot write {}: {e}", path.display())),
        None if e.kind() == io::ErrorKind::BrokenPipe => Problem::quiet(),
        None => Problem::new(format!("cannot write to standard output: {e}")),
    }
}

/// The request under way.
pub(super) struct Get {
    state: Rc<RefCell<State>>,
    /// The body to be sent, and how much is left of it.
    body: Option<(File, u64)>,
    buffer: Vec<u8>,
}

impl Get {
    pub(super) fn new(state: Rc<RefCell<State>>, body: Option<(File, u64)>) -> Self {
        Self { state, body, buffer: Vec::new() }
    }

    /// Reads a piece of the body into the buffer.
    fn read(&mut self) -> io::Result<()> {
        let Some((file, left)) = &mut self.body else { return Ok(()) };
        let most = (*left).min(PIECE as u64);
        let n = file.take(most).read_to_end(&mut self.buffer)? as u64;
        if n < most {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *left -= n;
        Ok(())
    }
}

impl Fetch for Get {
    fn head(&mut self, _cx: &mut Cx<'_>, head: &ResponseHead<'_>) {
        if head.status < 200 {
            return;
        }
        let mut state = self.state.borrow_mut();
        if let Err(problem) = state.head(head) {
            state.fail(problem);
        }
    }

    fn body(&mut self, cx: &mut Cx<'_>, chunk: &[u8]) {
        self.state.borrow_mut().body(cx, chunk);
    }

    fn writable(&mut self, cx: &mut Cx<'_>, _room: usize) {
        loop {
            if self.buffer.is_empty()
                && let Err(e) = self.read()
            {
                let problem = Problem::new(format!("cannot read the body: {e}"));
                self.state.borrow_mut().fail(problem);
                return;
            }
            if self.buffer.is_empty() {
                break;
            }
            match cx.write(&self.buffer) {
                Ok(()) => self.buffer.clear(),
                Err(SendError::Full { .. }) => {
                    cx.want_write();
                    return;
                }
                // It has ended, which is told by `closed`.
                Err(_) => return,
            }
        }
        // As above.
        let _ = cx.finish();
    }

    fn closed(&mut self, _h: &Handle, outcome: Result<Timing, Failure>) {
        let outcome = outcome.map(drop).map_err(|failure| told(&failure, &self.state.borrow()));
        self.state.borrow_mut().outcome.get_or_insert(outcome);
    }
}

fn told(failure: &Failure, state: &State) -> Problem {
    let partly = failure.stage == Stage::Body && state.time.is_some();
    let advice = if partly { " (go on with --resume)" } else { "" };
    let timing = failure.timing;
    Problem::new(format!("{}: {failure}{advice} ({timing})", state.options.url))
}
