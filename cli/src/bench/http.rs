//! Requests, pipelined: a byte stream with the library's own reader of responses.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger::http::Url;
use lodger::io::{Out, Pool, Rx, Scratch, Tx};
use lodger::proto::h1::{
    Length, RequestHead, ResponseEvent, ResponseReader, put_field, put_request,
};
use lodger::tls::ClientConfig;
use lodger::{Error, Handle, Limits, Reason, raw};

use super::{Count, Options};

/// Between a connection that failed and the next attempt.
const PAUSE: Duration = Duration::from_millis(100);

/// What all connections send.
struct Plan {
    url: Url,
    /// Whom to trust, for https.
    tls: Option<ClientConfig>,
    request: Vec<u8>,
    depth: usize,
    method: &'static str,
    limits: Limits,
    count: Rc<Count>,
}

/// Begins one connection.
pub(super) fn connect(
    h: &Handle,
    options: &Options,
    url: &Url,
    trust: Option<ClientConfig>,
    count: &Rc<Count>,
) -> Result<(), Error> {
    let (request, method) = request(options, url)?;
    let tls = trust.map(|trust| trust.alpn(&["http/1.1"]));
    let plan = Plan {
        url: url.clone(),
        tls,
        request,
        depth: options.depth as usize,
        method,
        limits: Limits::default(),
        count: Rc::clone(count),
    };
    dial(h, Rc::new(plan))
}

fn request(options: &Options, url: &Url) -> Result<(Vec<u8>, &'static str), Error> {
    let mut fields = Vec::new();
    for (name, value) in &options.header {
        put_field(&mut fields, name, value)?;
    }
    let body = vec![b'x'; usize::try_from(options.size.unwrap_or(0)).unwrap_or(0)];
    let (method, length) = match options.size {
        None => ("GET", Length::None),
        Some(size) => ("POST", Length::Known(size)),
    };
    let head = RequestHead {
        method,
        target: url.target(),
        host: url.host(),
        fields: &fields,
        length,
        upgrade: false,
        close: false,
    };
    let (mut out, mut pool) = (Out::new(), Pool::new(0));
    let mut tx = Tx::new(&mut out, &mut pool);
    let mut writer = put_request(&mut tx, &head)?;
    writer.body(&mut tx, &body)?;
    writer.finish(&mut tx)?;
    Ok((out.bytes().to_vec(), method))
}

fn dial(h: &Handle, plan: Rc<Plan>) -> Result<(), Error> {
    let reader = ResponseReader::new(plan.method);
    let asked = VecDeque::with_capacity(plan.depth);
    let line =
        Line { plan: Rc::clone(&plan), asked, reader, input: Vec::new(), scratch: Scratch::new() };
    match &plan.tls {
        Some(trust) => _ = plan.url.connect_tls(h, trust, line)?,
        None => _ = plan.url.connect(h, line),
    }
    Ok(())
}

/// One connection.
struct Line {
    plan: Rc<Plan>,
    asked: VecDeque<Instant>,
    reader: ResponseReader,
    /// What is no whole piece yet.
    input: Vec<u8>,
    scratch: Scratch,
}

impl Line {
    /// Keeps as many under way as asked for; what is full now goes on with the next answer.
    fn fill(&mut self, cx: &mut raw::Cx<'_>, now: Instant) {
        while self.asked.len() < self.plan.depth && cx.send(&self.plan.request).is_ok() {
            self.asked.push_back(now);
        }
    }

    /// Reads responses. `false`: the connection carries no more.
    fn read(&mut self, eof: bool, now: Instant) -> Result<bool, Error> {
        let mut input = std::mem::take(&mut self.input);
        let mut rx = Rx::new(&mut input, eof);
        let mut goes_on = true;
        while !self.asked.is_empty()
            && let Some(event) = self.reader.poll(&self.plan.limits, &mut rx, &mut self.scratch)?
        {
            match event {
                ResponseEvent::Head(head) if head.status >= 400 => {
                    self.plan.count.bad.set(self.plan.count.bad.get() + 1);
                }
                ResponseEvent::End => {
                    self.plan.count.answer(self.asked.pop_front(), now);
                    goes_on = self.reader.is_reusable();
                    if !goes_on {
                        break;
                    }
                    self.reader = ResponseReader::new(self.plan.method);
                }
                _ => {}
            }
        }
        let consumed = rx.consumed();
        input.drain(..consumed);
        self.input = input;
        Ok(goes_on)
    }
}

impl raw::Handler for Line {
    fn open(&mut self, cx: &mut raw::Cx<'_>) {
        self.fill(cx, Instant::now());
    }

    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        let now = Instant::now();
        self.input.extend_from_slice(bytes);
        match self.read(false, now) {
            Ok(true) => self.fill(cx, now),
            // What was asked after the last answer is asked again on another connection.
            Ok(false) => {
                self.asked.clear();
                cx.close();
            }
            Err(_) => cx.abort(),
        }
    }

    fn end(&mut self, cx: &mut raw::Cx<'_>) {
        // A response may end with its connection; one that is cut short counts as lost.
        let _ = self.read(true, Instant::now());
        cx.close();
    }

    fn closed(&mut self, cx: &mut raw::Cx<'_>, why: Reason) {
        let failed = !self.asked.is_empty() || why != Reason::Done;
        if failed {
            self.plan.count.lose(why);
        }
        let plan = Rc::clone(&self.plan);
        let pause = if failed { PAUSE } else { Duration::ZERO };
        // What is wrong with the name, the first connection has told.
        cx.runtime().after(pause, move |h| _ = dial(h, plan));
    }
}
