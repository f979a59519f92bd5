//! The seam to rustls: ciphertext in, plaintext out, and back (RFC 8446, RFC 5246).
//!
//! In: records, cut anywhere. Out: plaintext, records to send, and how the handshake went.
//!
//! rustls wants all that it has not discarded again, also when it is asked to seal: it remembers
//! offsets into it. So the engine keeps what is left of the input, and is the only one to hand
//! bytes to rustls. Nothing else of the crate names rustls but `config.rs`.
//!
//! Time and randomness are rustls's own: of all protocols this one alone reads the clock (validity
//! of certificates, age of tickets) and draws its secrets itself.

use std::boxed::Box;
use std::rc::Rc;
use std::sync::Arc;
use std::vec::Vec;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus, WriteTraffic,
};

use super::config::Accept;
use super::{Session, fault};
use crate::Error;
use crate::io::Tx;

/// The most that is kept of a peer: a handshake message of the greatest length that rustls takes,
/// and a record that is not whole.
const KEPT: usize = (64 << 10) + RECORD;
/// The longest record there is: RFC 8446, section 5.2, and its header.
const RECORD: usize = (16 << 10) + 256 + 5;
/// Plaintext in one record at most: RFC 8446, section 5.1.
const PLAIN: usize = 16 << 10;
/// What a record adds to its plaintext at most: RFC 5246 with AES-GCM adds 29.
const ADDED: usize = 40;

/// One end of a TLS connection.
pub(crate) struct Engine {
    side: Side,
    /// What rustls has not discarded of the input.
    kept: Vec<u8>,
    closed: bool,
    /// Invariant: rustls is not called again once it has failed, except for its alert.
    failed: bool,
    /// The name that the client asked for.
    sni: Option<Box<str>>,
    /// Who hears that name, until the handshake is complete.
    accept: Option<Rc<Accept>>,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What some input came to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Fed {
    /// The handshake is complete: both sides may speak.
    pub(crate) ready: bool,
    /// The peer has said that nothing more comes (close_notify): RFC 8446, section 6.1.
    pub(crate) closed: bool,
}

/// What rustls wants next.
enum Next {
    Again,
    Enough,
    Closed,
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Begins the server's side.
    pub(crate) fn server(accept: &Rc<Accept>) -> Result<Self, Error> {
        let begun = UnbufferedServerConnection::new(Arc::clone(&accept.config));
        let engine = begun.map(Side::Server).map(Self::new).map_err(fault::of)?;
        Ok(Self { accept: Some(Rc::clone(accept)), ..engine })
    }

    /// Begins the client's side, to a server of this name.
    pub(crate) fn client(
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        let begun = UnbufferedClientConnection::new(config, name);
        begun.map(Side::Client).map(Self::new).map_err(fault::of)
    }

    fn new(side: Side) -> Self {
        Self { side, kept: Vec::new(), closed: false, failed: false, sni: None, accept: None }
    }

    /// Gives what is kept of the input: it comes first in the next [`feed`](Self::feed).
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Whether the handshake goes on.
    pub(crate) fn is_handshaking(&self) -> bool {
        match &self.side {
            Side::Server(conn) => conn.is_handshaking(),
            Side::Client(conn) => conn.is_handshaking(),
        }
    }

    /// Takes ciphertext: what was kept, then what arrived since. Each piece of plaintext goes to
    /// `plain`; together they are never longer than `input`. What is to be sent goes to `tx`.
    ///
    /// # Errors
    ///
    /// The connection is over; the alert that says so is in `tx`. Nothing may be fed or sealed any
    /// more.
    pub(crate) fn feed(
        &mut self,
        input: &mut [u8],
        plain: &mut dyn FnMut(&[u8]),
        tx: &mut Tx<'_>,
    ) -> Result<Fed, Error> {
        let mut used = 0;
        self.kept.clear();
        let fed = self.run(input, &mut used, plain, tx);
        let ready = !self.is_handshaking();
        self.note_name(ready);
        if let Err(e) = fed {
            self.failed = true;
            self.say_alert(tx);
            return Err(fault::of(e));
        }
        // Nothing that stands behind a close_notify means anything.
        if !self.closed {
            self.kept.extend_from_slice(input.get(used..).unwrap_or_default());
        }
        if self.kept.is_empty() {
            self.kept = Vec::new();
        } else if self.kept.len() > KEPT {
            self.failed = true;
            return Err(fault::TOO_LONG);
        }
        Ok(Fed { ready, closed: self.closed })
    }

    /// Notes the name that the client asked for, which rustls tells to nobody but whoever chooses
    /// the certificate.
    fn note_name(&mut self, ready: bool) {
        if let Some(name) = self.accept.as_ref().and_then(|accept| accept.take_name()) {
            self.sni = Some(name);
        }
        if ready {
            self.accept = None;
        }
    }

    fn run(
        &mut self,
        input: &mut [u8],
        used: &mut usize,
        plain: &mut dyn FnMut(&[u8]),
        tx: &mut Tx<'_>,
    ) -> Result<(), rustls::Error> {
        while !self.closed && !self.failed {
            let input = input.get_mut(*used..).unwrap_or_default();
            match self.side.step(input, used, plain, tx)? {
                Next::Again => {}
                Next::Enough => return Ok(()),
                Next::Closed => self.closed = true,
            }
        }
        Ok(())
    }

    /// Puts the alert of an error into the output. rustls must not look at the input again.
    fn say_alert(&mut self, tx: &mut Tx<'_>) {
        while self.side.wants_write() {
            if !matches!(self.side.step(&mut [], &mut 0, &mut |_| {}, tx), Ok(Next::Again)) {
                return;
            }
        }
    }

    /// Seals plaintext into records. Everything is taken.
    ///
    /// # Errors
    ///
    /// The handshake is not complete, or the keys are worn out.
    pub(crate) fn seal(&mut self, plain: &[u8], tx: &mut Tx<'_>) -> Result<(), Error> {
        self.write(tx, |traffic, tx| {
            let records = plain.len().div_ceil(PLAIN);
            grow(tx, plain.len() + records * ADDED, |buf| {
                traffic.encrypt(plain, buf).map_err(|e| match e {
                    EncryptError::InsufficientSize(e) => Some(e),
                    EncryptError::EncryptExhausted => None,
                })
            })
        })
    }

    /// Says that nothing more comes: RFC 8446, section 6.1.
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal).
    pub(crate) fn close(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        self.write(tx, |traffic, tx| {
            grow(tx, 2 + ADDED, |buf| {
                traffic.queue_close_notify(buf).map_err(|e| match e {
                    EncryptError::InsufficientSize(e) => Some(e),
                    EncryptError::EncryptExhausted => None,
                })
            })
        })
    }

    /// Runs `f` when rustls lets us write, which it does in the middle of reading alone.
    fn write(
        &mut self,
        tx: &mut Tx<'_>,
        f: impl FnOnce(&mut dyn Traffic, &mut Tx<'_>) -> Option<()>,
    ) -> Result<(), Error> {
        let Self { side, kept, failed, .. } = self;
        if *failed {
            return Err(fault::MAY_NOT_WRITE);
        }
        let mut f = Some(f);
        let mut done = None;
        let mut write = |traffic: &mut dyn Traffic, tx: &mut Tx<'_>| {
            done = f.take().and_then(|f| f(traffic, tx));
        };
        loop {
            let (used, next) = match side {
                Side::Server(c) => writes(c.process_tls_records(kept), tx, &mut write),
                Side::Client(c) => writes(c.process_tls_records(kept), tx, &mut write),
            };
            kept.drain(..used.min(kept.len()));
            match next {
                Ok(true) => {}
                Ok(false) => return done.ok_or(fault::MAY_NOT_WRITE),
                Err(e) => {
                    *failed = true;
                    return Err(fault::of(e));
                }
            }
        }
    }

    /// Tells what was agreed on, once the handshake is complete.
    pub(crate) fn session(&self) -> Session {
        match &self.side {
            Side::Server(conn) => Session::of(conn, self.sni.as_deref()),
            Side::Client(conn) => Session::of(conn, None),
        }
    }
}

impl Side {
    fn wants_write(&self) -> bool {
        match self {
            Self::Server(conn) => conn.wants_write(),
            Self::Client(conn) => conn.wants_write(),
        }
    }

    fn step(
        &mut self,
        input: &mut [u8],
        used: &mut usize,
        plain: &mut dyn FnMut(&[u8]),
        tx: &mut Tx<'_>,
    ) -> Result<Next, rustls::Error> {
        match self {
            Self::Server(conn) => handle(conn.process_tls_records(input), used, plain, tx),
            Self::Client(conn) => handle(conn.process_tls_records(input), used, plain, tx),
        }
    }
}

/// Does what one status asks for, and counts what may be forgotten of the input.
fn handle<D>(
    status: UnbufferedStatus<'_, '_, D>,
    used: &mut usize,
    plain: &mut dyn FnMut(&[u8]),
    tx: &mut Tx<'_>,
) -> Result<Next, rustls::Error> {
    let UnbufferedStatus { mut discard, state, .. } = status;
    let next = match state? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                plain(record.payload);
            }
            Next::Again
        }
        ConnectionState::EncodeTlsData(data) => encode(data, tx),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Next::Again
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => Next::Closed,
        // Early data is turned off in every configuration.
        _ => Next::Enough,
    };
    *used += discard;
    Ok(next)
}

/// As [`handle`], to write: gives what is used of the input, and whether to go on.
fn writes<D>(
    status: UnbufferedStatus<'_, '_, D>,
    tx: &mut Tx<'_>,
    f: &mut dyn FnMut(&mut dyn Traffic, &mut Tx<'_>),
) -> (usize, Result<bool, rustls::Error>) {
    let again = status.state.map(|state| match state {
        ConnectionState::WriteTraffic(mut traffic) => {
            f(&mut traffic, tx);
            false
        }
        ConnectionState::EncodeTlsData(data) => matches!(encode(data, tx), Next::Again),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            true
        }
        ConnectionState::PeerClosed => true,
        _ => false,
    });
    (status.discard, again)
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, tx: &mut Tx<'_>) -> Next {
    let put = grow(tx, 256, |buf| {
        data.encode(buf).map_err(|e| match e {
            EncodeError::InsufficientSize(e) => Some(e),
            EncodeError::AlreadyEncoded => None,
        })
    });
    if put.is_some() { Next::Again } else { Next::Enough }
}

/// Appends what `f` writes into room of `size` bytes, or of as many as it asks for then.
fn grow(
    tx: &mut Tx<'_>,
    size: usize,
    mut f: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Option<()> {
    let mut size = size;
    let buf = tx.buf(size);
    let end = buf.len();
    for _ in 0..2 {
        buf.resize(end + size, 0);
        match f(buf.get_mut(end..).unwrap_or_default()) {
            Ok(n) => {
                buf.truncate(end + n);
                return Some(());
            }
            Err(Some(more)) => size = more.required_size,
            Err(None) => break,
        }
    }
    buf.truncate(end);
    None
}

/// What both sides write by.
trait Traffic {
    fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError>;
    fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<D> Traffic for WriteTraffic<'_, D> {
    fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::encrypt(self, plain, out)
    }

    fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::queue_close_notify(self, out)
    }
}
