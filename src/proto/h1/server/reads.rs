//! Reading a request's head.

use lodger_backend::Micros;

use super::{
    Answer, BLANK, CLOSE, CONNECT, EXPECT, Event, HEAD, HTTP10, PER_REQUEST, REARM, Reading,
    Server, UPGRADE,
};
use crate::error::Error;
use crate::io::{Rx, Scratch};
use crate::limits::H1Limits;
use crate::proto::h1::body::{Body, BodyReader};
use crate::proto::h1::head::{self, Asks, Request, RequestLine};
use crate::proto::h1::{Fault, Version, bad};

impl Server {
    /// Gives the request once its head is all there.
    pub(super) fn poll_head<'s, 'a: 's>(
        &mut self,
        now: Micros,
        limits: &H1Limits,
        rx: &mut Rx<'a>,
        scratch: &'s mut Scratch,
    ) -> Result<Option<Event<'s>>, Error> {
        let (line, len) = match self.read_head(now, limits, rx, scratch) {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(None),
            Err(fault) => return Err(self.fail(fault)),
        };
        let bytes: &'a [u8] = rx.take(len);
        match head::request(bytes, line, scratch.list()) {
            Ok((request, asks)) => {
                self.begin(&request, asks, now, limits);
                Ok(Some(Event::Request(request)))
            }
            Err(fault) => Err(self.fail(fault)),
        }
    }

    /// Gives the request line of a head that is all there, and the length of the head.
    #[inline(always)]
    fn read_head(
        &mut self,
        now: Micros,
        limits: &H1Limits,
        rx: &mut Rx<'_>,
        scratch: &mut Scratch,
    ) -> Result<Option<(RequestLine, usize)>, Fault> {
        if self.lead(rx)? {
            let text = rx.peek();
            let read = head::read(text, &mut self.progress, limits, scratch, head::request_line)?;
            if read.is_some() {
                return Ok(read);
            }
        }
        self.wait_for_head(now, limits, rx)?;
        Ok(None)
    }

    /// Looks at what comes before a request line: one empty line is skipped (RFC 9112, section
    /// 2.2), and what cannot be HTTP, such as a TLS handshake, is not talked to. Tells whether a
    /// request line may follow.
    fn lead(&mut self, rx: &mut Rx<'_>) -> Result<bool, Fault> {
        if self.progress.scan > 0 {
            return Ok(true);
        }
        loop {
            match rx.peek() {
                [] | [b'\r'] => return Ok(false),
                [b'\r', b'\n', ..] if !self.has(BLANK) => {
                    rx.take(2);
                    // Nothing of a head has arrived yet.
                    self.flags |= BLANK | REARM;
                    self.reading = Reading::Idle;
                }
                [b'\r', ..] => return Err(bad("RFC 9112, 2.2: one empty line before a request")),
                [first, ..] if *first < 0x20 => return Err(NOT_HTTP),
                _ => return Ok(true),
            }
        }
    }

    fn wait_for_head(&mut self, now: Micros, limits: &H1Limits, rx: &Rx<'_>) -> Result<(), Fault> {
        if rx.eof() {
            if !rx.is_empty() {
                return Err(bad("RFC 9112, 8: the connection ended within a head"));
            }
            self.stop();
            return Ok(());
        }
        if !rx.is_empty() && self.reading == Reading::Idle {
            self.reading = Reading::Head;
            self.flags |= REARM;
        }
        if self.has(REARM) {
            self.arm(now, limits);
        }
        Ok(())
    }

    fn begin(&mut self, request: &Request<'_>, asks: Asks, now: Micros, limits: &H1Limits) {
        self.begun = self.begun.saturating_add(1);
        let last = limits.requests != 0 && self.begun >= limits.requests;
        let mut flags = self.flags & !(PER_REQUEST | REARM);
        let mut set = |on: bool, flag: u16| flags |= if on { flag } else { 0 };
        set(request.version == Version::Http10, HTTP10);
        set(request.method == "HEAD", HEAD);
        set(request.method == "CONNECT", CONNECT);
        set(request.upgrade, UPGRADE);
        set(asks.expect, EXPECT);
        set(asks.close || last, CLOSE);
        self.flags = flags;
        self.answer = Answer::Owed;
        self.reading = Reading::Done;
        if request.body != Body::None {
            self.body = BodyReader::request(request.body);
            self.reading = Reading::Body;
            self.arm(now, limits);
        }
    }
}

const NOT_HTTP: Fault = Fault { status: 0, rule: "RFC 9112, 3: the first byte is not HTTP" };
