//! The one error: whose fault it is, which rule was broken, and what the peer is told.

use core::fmt;

/// The three parties that can be at fault. There is no fourth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum Blame {
    /// The other end broke the protocol or went away. Retrying may help.
    Peer,
    /// The loop or the operating system failed us.
    Host,
    /// A function was called against its contract. Fix the program.
    Caller,
}

/// What the peer is told, in its protocol's own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// Nothing: the connection just ends.
    None,
    /// An HTTP/1 response with this status.
    H1(u16),
    /// An HTTP/2 GOAWAY or RST_STREAM frame with this code.
    H2(u32),
    /// A WebSocket Close frame with this code.
    Ws(u16),
    /// A TLS alert with this description: RFC 8446, section 6.
    Tls(u8),
    /// An MQTT reason code, where the version can say it: MQTT 5.0, section 2.4.
    Mqtt(u8),
}

/// Why something failed. Small, `Copy` and made without allocation, since a peer can cause it.
///
/// When a codec returns one for the whole connection, the goodbye (status line, Close frame) is
/// already in the output. The text is for people and no part of semver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    whose: Whose,
    rule: &'static str,
}

/// Blame, and what only a peer is told: one word, so that an error is three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Peer(Wire),
    Host,
    Caller,
}

impl Error {
    /// The peer broke `rule`, which names the section ("RFC 9112, 5.1: ...").
    pub const fn peer(wire: Wire, rule: &'static str) -> Self {
        Self { whose: Whose::Peer(wire), rule }
    }

    /// A function was called against its contract; nothing was done.
    pub const fn misuse(what: &'static str) -> Self {
        Self { whose: Whose::Caller, rule: what }
    }

    /// The host failed us.
    pub const fn host(what: &'static str) -> Self {
        Self { whose: Whose::Host, rule: what }
    }

    /// Tells whose doing it is.
    pub const fn blame(&self) -> Blame {
        match self.whose {
            Whose::Peer(_) => Blame::Peer,
            Whose::Host => Blame::Host,
            Whose::Caller => Blame::Caller,
        }
    }

    /// Gives what the peer is told.
    pub const fn wire(&self) -> Wire {
        match self.whose {
            Whose::Peer(wire) => wire,
            Whose::Host | Whose::Caller => Wire::None,
        }
    }

    /// Gives the rule that was broken.
    pub const fn rule(&self) -> &'static str {
        self.rule
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.blame() {
            Blame::Peer => write!(f, "peer broke {}", self.rule),
            Blame::Host => write!(f, "host failed: {}", self.rule),
            Blame::Caller => write!(f, "misuse: {}", self.rule),
        }
    }
}

impl core::error::Error for Error {}
