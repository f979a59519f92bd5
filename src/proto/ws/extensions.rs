//! What two ends agreed on beyond RFC 6455, in one byte.

/// What the two ends of a connection agreed on in the handshake, beyond RFC 6455: nothing, or
/// permessage-deflate (RFC 7692). Given by [`Accept::extensions`] to a server and by
/// [`Answered::extensions`] to a client, for [`Ws::with_extensions`].
///
/// [`Accept::extensions`]: super::handshake::Accept::extensions
/// [`Answered::extensions`]: super::handshake::Answered::extensions
/// [`Ws::with_extensions`]: super::Ws::with_extensions
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extensions(u8);

impl Extensions {
    const DEFLATE: u8 = 0x10;

    /// Tells whether permessage-deflate was agreed on.
    pub const fn has_deflate(self) -> bool {
        self.0 & Self::DEFLATE != 0
    }
}

#[cfg(feature = "deflate")]
impl Extensions {
    const WINDOW: u8 = 0x0f;
    const KEEPS_IN: u8 = 0x20;
    const KEEPS_OUT: u8 = 0x40;

    /// What a deflate that sends with a window of `window` bits is; 0 sends nothing compressed.
    pub(super) const fn deflate(window: u8) -> Self {
        Self(Self::DEFLATE | window & Self::WINDOW)
    }

    /// Sets whether the messages that we send may refer to those before.
    pub(super) const fn keep_out(self, on: bool) -> Self {
        Self(if on { self.0 | Self::KEEPS_OUT } else { self.0 & !Self::KEEPS_OUT })
    }

    /// Sets whether the peer's messages may refer to those before.
    pub(super) const fn keep_in(self, on: bool) -> Self {
        Self(if on { self.0 | Self::KEEPS_IN } else { self.0 & !Self::KEEPS_IN })
    }

    /// The bits of our window; `None` if nothing is sent compressed.
    pub(super) const fn window(self) -> Option<u8> {
        match self.0 & Self::WINDOW {
            0 => None,
            bits => Some(bits),
        }
    }

    pub(super) const fn keeps_out(self) -> bool {
        self.0 & Self::KEEPS_OUT != 0
    }

    pub(super) const fn keeps_in(self) -> bool {
        self.0 & Self::KEEPS_IN != 0
    }

    /// Tells whether a connection keeps an engine between its messages.
    pub(crate) const fn keeps_any(self) -> bool {
        self.0 & (Self::KEEPS_IN | Self::KEEPS_OUT) != 0
    }

    pub(super) const fn without_takeover(self) -> Self {
        self.keep_in(false).keep_out(false)
    }
}
