//! What goes to many connections: encoded once, since a server's frames and chunks are the same
//! for every peer.

use alloc::vec::Vec;
use core::ops::Range;

use super::Stack;
use crate::io::Tx;
use crate::proto::Cx;
use crate::proto::h1;
#[cfg(feature = "ws")]
use crate::proto::ws;

/// What a parcel is in its protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cargo {
    /// A part of a response's body.
    Piece,
    #[cfg(feature = "ws")]
    Message(ws::Kind),
}

/// A payload, bare and as most connections send it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parcel<'p> {
    pub(crate) wire: &'p [u8],
    pub(crate) payload: &'p [u8],
    pub(crate) cargo: Cargo,
}

/// A parcel that is kept.
#[derive(Debug)]
pub(crate) struct Shared {
    wire: Vec<u8>,
    payload: Range<usize>,
    cargo: Cargo,
}

impl Shared {
    /// Encodes a part of a response's body, into the memory of `wire`.
    pub(crate) fn piece(wire: Vec<u8>, data: &[u8]) -> Self {
        let mut shared = Self { wire, payload: 0..0, cargo: Cargo::Piece };
        shared.set_piece(data);
        shared
    }

    /// Encodes another part in place of what it was.
    pub(crate) fn set_piece(&mut self, data: &[u8]) {
        self.wire.clear();
        h1::put_chunk(&mut self.wire, data);
        // CR LF follow the data.
        let end = self.wire.len().saturating_sub(2);
        self.payload = end.saturating_sub(data.len())..end;
        self.cargo = Cargo::Piece;
    }

    /// Encodes a message, into the memory of `wire`.
    #[cfg(feature = "ws")]
    pub(crate) fn message(mut wire: Vec<u8>, message: ws::Message<'_>) -> Self {
        wire.clear();
        ws::put_message(&mut wire, message);
        let start = wire.len().saturating_sub(message.bytes().len());
        Self { payload: start..wire.len(), wire, cargo: Cargo::Message(message.kind()) }
    }

    pub(crate) fn parcel(&self) -> Parcel<'_> {
        let payload = self.payload.clone();
        let payload = self.wire.get(payload).unwrap_or_default();
        Parcel { wire: &self.wire, payload, cargo: self.cargo }
    }

    /// Gives its length on the wire.
    pub(crate) fn len(&self) -> usize {
        self.wire.len()
    }

    /// Gives the memory back.
    pub(crate) fn into_memory(self) -> Vec<u8> {
        self.wire
    }
}

/// Whether a connection takes a parcel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Takes {
    Yes,
    /// Not in the middle of what it is sending.
    Busy,
    /// Never again, or it does not speak this.
    Never,
}

impl Stack {
    /// Whether a parcel of this kind can be put now.
    pub(crate) fn takes(&self, cargo: Cargo) -> Takes {
        match (self, cargo) {
            (Self::H1(http), Cargo::Piece) if http.sends_body() => Takes::Yes,
            #[cfg(feature = "h2")]
            (Self::Exchange(exchange), Cargo::Piece) if exchange.sends_body() => Takes::Yes,
            #[cfg(feature = "ws")]
            (Self::Ws(ws), Cargo::Message(_)) => match ws.takes_message() {
                Ok(true) => Takes::Yes,
                Ok(false) => Takes::Busy,
                Err(_) => Takes::Never,
            },
            _ => Takes::Never,
        }
    }

    /// Gives the bytes that a parcel is on this connection, to be sent by the caller; `None` if it
    /// must be encoded for it alone, by [`put_parcel`](Self::put_parcel).
    ///
    /// To be called where [`takes`](Self::takes) says so.
    pub(crate) fn share<'p>(&mut self, parcel: &Parcel<'p>) -> Option<&'p [u8]> {
        match self {
            Self::H1(http) => http.share(parcel.wire, parcel.payload).ok(),
            #[cfg(feature = "h2")]
            Self::Exchange(exchange) => {
                let taken = exchange.count(parcel.payload.len() as u64).ok()?;
                Some(if taken { parcel.payload } else { &[] })
            }
            #[cfg(feature = "ws")]
            Self::Ws(ws) if ws.role() == ws::Role::Server => Some(parcel.wire),
            _ => None,
        }
    }

    /// Appends a parcel, if it is taken.
    pub(crate) fn put_parcel(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, parcel: &Parcel<'_>) {
        if self.takes(parcel.cargo) != Takes::Yes {
            return;
        }
        if let Some(bytes) = self.share(parcel) {
            tx.put(bytes);
            return;
        }
        self.put_alone(cx, tx, parcel);
    }

    /// A client masks with a key of its own for each frame: RFC 6455, section 5.3.
    #[cfg_attr(not(feature = "ws"), expect(unused_variables, reason = "only frames are masked"))]
    #[cold]
    fn put_alone(&mut self, cx: &mut Cx<'_>, tx: &mut Tx<'_>, parcel: &Parcel<'_>) {
        #[cfg(feature = "ws")]
        if let (Self::Ws(ws), Cargo::Message(kind)) = (self, parcel.cargo) {
            let message = match (kind, core::str::from_utf8(parcel.payload)) {
                (ws::Kind::Text, Ok(text)) => ws::Message::Text(text),
                _ => ws::Message::Binary(parcel.payload),
            };
            // It was asked whether it takes a message.
            let _ = ws.send(cx, tx, message);
        }
    }
}
