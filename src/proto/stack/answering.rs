//! Answering a request, whichever protocol it came by.

#[cfg(feature = "h2")]
use lodger_backend::Micros;

use crate::Error;
#[cfg(feature = "h2")]
use crate::io::Out;
use crate::io::Tx;
use crate::proto::h1;
#[cfg(feature = "h2")]
use crate::proto::h1::Length;
#[cfg(feature = "h2")]
use crate::proto::h2;

/// The answer of one exchange.
pub(crate) enum Answering<'a> {
    H1(&'a mut h1::Server),
    #[cfg(feature = "h2")]
    H2(OnStream<'a>),
}

/// An exchange on a stream, and the connection that its head goes out on. What is of the body goes
/// into the stream's own output, unless it fits the windows at once.
#[cfg(feature = "h2")]
pub(crate) struct OnStream<'a> {
    pub(crate) exchange: &'a mut h2::Exchange,
    pub(crate) connection: &'a mut h2::Connection,
    /// The output of the connection.
    pub(crate) out: &'a mut Out,
    pub(crate) stream: u32,
    pub(crate) now: Micros,
}

/// Output of a connection, in bytes, above which a body waits for its stream's turn.
#[cfg(feature = "h2")]
const DIRECT: usize = 32 << 10;

impl Answering<'_> {
    /// See [`h1::Server::respond`].
    pub(crate) fn respond(
        &mut self,
        tx: &mut Tx<'_>,
        head: &h1::Response<'_>,
    ) -> Result<(), Error> {
        match self {
            Self::H1(http) => http.respond(tx, head),
            #[cfg(feature = "h2")]
            Self::H2(on) => on.respond(tx, head),
        }
    }

    /// See [`h1::Server::respond_whole`].
    pub(crate) fn respond_whole(
        &mut self,
        tx: &mut Tx<'_>,
        head: &h1::Response<'_>,
        body: &[u8],
    ) -> Result<(), Error> {
        match self {
            Self::H1(http) => http.respond_whole(tx, head, body),
            #[cfg(feature = "h2")]
            Self::H2(on) => on.respond_whole(tx, head, body),
        }
    }

    /// See [`h1::Server::body`].
    pub(crate) fn body(&mut self, tx: &mut Tx<'_>, data: &[u8]) -> Result<(), Error> {
        match self {
            Self::H1(http) => http.body(tx, data),
            #[cfg(feature = "h2")]
            Self::H2(on) => {
                if on.exchange.count(data.len() as u64)? {
                    on.put(tx, data, false);
                }
                Ok(())
            }
        }
    }

    /// See [`h1::Server::lend`].
    pub(crate) fn lend(&mut self, n: u64) -> Result<bool, Error> {
        match self {
            Self::H1(http) => http.lend(n),
            #[cfg(feature = "h2")]
            Self::H2(on) => on.exchange.count(n),
        }
    }

    /// See [`h1::Server::finish`].
    pub(crate) fn finish(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        self.finish_with(tx, &[])
    }

    /// See [`h1::Server::finish_with`].
    pub(crate) fn finish_with(&mut self, tx: &mut Tx<'_>, trailers: &[u8]) -> Result<(), Error> {
        match self {
            Self::H1(http) => http.finish_with(tx, trailers),
            // Its stream ends once its output has gone.
            #[cfg(feature = "h2")]
            Self::H2(on) => on.exchange.finish_with(trailers),
        }
    }

    /// See [`h1::Server::interim`].
    pub(crate) fn interim(
        &mut self,
        tx: &mut Tx<'_>,
        status: u16,
        fields: &[u8],
    ) -> Result<(), Error> {
        match self {
            Self::H1(http) => http.interim(tx, status, fields),
            #[cfg(feature = "h2")]
            Self::H2(on) => {
                on.exchange.interim(status)?;
                on.answer(tx, status, fields, None, None, false);
                Ok(())
            }
        }
    }

    /// See [`h1::Server::want_body`].
    #[cfg(feature = "h2")]
    pub(crate) fn want_body(&mut self, tx: &mut Tx<'_>) {
        match self {
            Self::H1(http) => http.want_body(tx),
            #[cfg(feature = "h2")]
            Self::H2(on) => {
                if on.exchange.want_body() {
                    on.answer(tx, 100, b"", None, None, false);
                }
            }
        }
    }

    /// Grants the upgrade to WebSocket: see [`h1::Server::switch`] and RFC 8441, section 5.
    #[cfg(feature = "ws")]
    pub(crate) fn switch(&mut self, tx: &mut Tx<'_>, fields: &[u8]) -> Result<(), Error> {
        match self {
            Self::H1(http) => http.switch(tx, fields),
            #[cfg(feature = "h2")]
            Self::H2(on) => {
                if !on.exchange.may_switch() {
                    return Err(Error::misuse("this request cannot be upgraded"));
                }
                on.answer(tx, 200, fields, None, None, false);
                Ok(())
            }
        }
    }

    /// See [`h1::Server::drops_body`].
    pub(crate) fn drops_body(&self) -> bool {
        match self {
            Self::H1(http) => http.drops_body(),
            #[cfg(feature = "h2")]
            Self::H2(on) => on.exchange.drops_body(),
        }
    }

    /// See [`h1::Server::sends_body`].
    pub(crate) fn sends_body(&self) -> bool {
        match self {
            Self::H1(http) => http.sends_body(),
            #[cfg(feature = "h2")]
            Self::H2(on) => on.exchange.sends_body(),
        }
    }
}

#[cfg(feature = "h2")]
impl OnStream<'_> {
    fn respond(&mut self, tx: &mut Tx<'_>, head: &h1::Response<'_>) -> Result<(), Error> {
        let ends = self.exchange.head(head.status, head.length)?;
        let length = match head.length {
            Length::Known(n) if !matches!(head.status, 204 | 304) => Some(n),
            Length::None if !matches!(head.status, 204 | 304) => Some(0),
            Length::None | Length::Known(_) | Length::Unknown => None,
        };
        self.answer(tx, head.status, head.fields, length, head.date, ends);
        Ok(())
    }

    fn respond_whole(
        &mut self,
        tx: &mut Tx<'_>,
        head: &h1::Response<'_>,
        body: &[u8],
    ) -> Result<(), Error> {
        let length = body.len() as u64;
        let known = Length::Known(length);
        self.exchange.head(head.status, known)?;
        let ends = self.exchange.is_full();
        let said = (!matches!(head.status, 204 | 304)).then_some(length);
        self.answer(tx, head.status, head.fields, said, head.date, ends);
        if !ends && self.exchange.count(length)? {
            self.put(tx, body, true);
        }
        self.exchange.finish()
    }

    fn answer(
        &mut self,
        tx: &mut Tx<'_>,
        status: u16,
        fields: &[u8],
        length: Option<u64>,
        date: Option<&[u8; 29]>,
        ends: bool,
    ) {
        let answer = h2::Answer { status, fields, length, date, ends };
        self.connection.answer(self.now, self.stream, &answer, &mut tx.onto(self.out));
    }

    /// Sends a part of the body at once where nothing waits and it fits; else it waits.
    fn put(&mut self, tx: &mut Tx<'_>, data: &[u8], ends: bool) {
        let fits = tx.queued() == 0
            && self.out.len() < DIRECT
            && data.len() <= self.connection.room(self.stream);
        if fits {
            self.connection.data(self.now, self.stream, data, ends, &mut tx.onto(self.out));
        } else {
            tx.put(data);
        }
    }
}
