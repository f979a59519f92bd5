//! What one route or client asks of its connections.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

#[cfg(feature = "deflate")]
use super::Deflate;
use crate::WsLimits;
use crate::policy::Validity;

/// Limits, times and handshake rules of WebSocket connections; shared by all of a route.
///
/// Begins with the limits it is made from; [`Config::default`] has the defaults of [`WsLimits`].
#[derive(Clone, Debug)]
pub struct Config {
    frame: u64,
    message: u64,
    fragments: u32,
    glitches: (u32, u32),
    validity: Validity,
    close_within: Duration,
    chunks: bool,
    protocols: Vec<String>,
    origin: OriginRule,
    #[cfg(feature = "deflate")]
    deflate: Option<Deflate>,
}

impl Default for Config {
    fn default() -> Self {
        Self::from(&WsLimits::default())
    }
}

impl From<&WsLimits> for Config {
    fn from(limits: &WsLimits) -> Self {
        Self {
            frame: limits.frame,
            message: limits.message,
            fragments: limits.fragments,
            glitches: limits.glitches,
            validity: Validity::new(
                limits.ping_after,
                limits.ping_after.saturating_add(limits.pong_within),
            ),
            close_within: limits.close_within,
            chunks: false,
            protocols: Vec::new(),
            origin: OriginRule::SameHost,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }
}

impl Config {
    /// Sets the most payload of one frame, in bytes; more is 1009. Nothing is reserved from it.
    #[must_use]
    pub fn frame(mut self, bytes: u64) -> Self {
        self.frame = bytes;
        self
    }

    /// Sets the most payload of one message, in bytes; more is 1009.
    #[must_use]
    pub fn message(mut self, bytes: u64) -> Self {
        self.message = bytes;
        self
    }

    /// Sets the most frames of one message, those without payload left out; more is 1008. 0 counts
    /// as 1.
    #[must_use]
    pub fn fragments(mut self, frames: u32) -> Self {
        self.fragments = frames;
        self
    }

    /// Sets how many oddities, at once and a second, are borne before 1008: empty fragments, and
    /// pings of a peer that does not read the answers.
    #[must_use]
    pub fn glitches(mut self, burst: u32, per_second: u32) -> Self {
        self.glitches = (burst, per_second);
        self
    }

    /// Sets when a silent peer is pinged, when it is given up, and what proves that it is there.
    #[must_use]
    pub fn validity(mut self, policy: Validity) -> Self {
        self.validity = policy;
        self
    }

    /// Sets the time from our Close frame to giving up on the peer's.
    #[must_use]
    pub fn close_within(mut self, time: Duration) -> Self {
        self.close_within = time;
        self
    }

    /// Sets whether messages are handed on in the parts they arrive in, rather than whole.
    #[must_use]
    pub fn chunks(mut self, on: bool) -> Self {
        self.chunks = on;
        self
    }

    /// Sets the subprotocols: a server's in the order it prefers them, a client's in the order it
    /// offers them. A server never chooses one that is not a token (RFC 9110, section 5.6.2); a
    /// client refuses to offer it.
    #[must_use]
    pub fn protocols(mut self, names: &[&str]) -> Self {
        self.protocols = names.iter().map(|&name| String::from(name)).collect();
        self
    }

    /// Sets which pages may connect. Default [`OriginRule::SameHost`].
    #[must_use]
    pub fn origin(mut self, rule: OriginRule) -> Self {
        self.origin = rule;
        self
    }

    /// Compresses messages where the other end agrees (RFC 7692). Off unless set.
    ///
    /// The limit of a message then holds for what it expands to; its frames may be a quarter longer
    /// than the limits say, for payload that does not compress.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(mut self, rules: Deflate) -> Self {
        self.deflate = Some(rules);
        self
    }

    /// Gives how messages are compressed.
    #[cfg(feature = "deflate")]
    pub fn deflate_rules(&self) -> Option<Deflate> {
        self.deflate
    }

    /// Gives the most payload of one frame, in bytes.
    pub fn max_frame(&self) -> u64 {
        self.frame
    }

    /// Gives the most payload of one message, in bytes.
    pub fn max_message(&self) -> u64 {
        self.message
    }

    /// Gives the most frames of one message, those without payload left out.
    pub fn max_fragments(&self) -> u32 {
        self.fragments.max(1)
    }

    /// Gives the oddities that are borne: at once, and a second.
    pub fn glitch_rate(&self) -> (u32, u32) {
        self.glitches
    }

    /// Gives when a silent peer is pinged and given up.
    pub fn validity_policy(&self) -> &Validity {
        &self.validity
    }

    /// Gives the time from our Close frame to giving up on the peer's.
    pub fn close_time(&self) -> Duration {
        self.close_within
    }

    /// Tells whether messages are handed on in parts.
    pub fn is_chunked(&self) -> bool {
        self.chunks
    }

    /// Gives the subprotocols, the preferred first.
    pub fn subprotocols(&self) -> &[String] {
        &self.protocols
    }

    /// Gives the rule for pages.
    pub fn origin_rule(&self) -> &OriginRule {
        &self.origin
    }
}

/// Which pages may connect: RFC 6455, section 10.2. A request without `Origin` comes from no
/// browser and is let in by every rule.
#[derive(Clone)]
#[non_exhaustive]
pub enum OriginRule {
    /// Pages of the host and port that the request names in `Host`.
    SameHost,
    /// All pages. Cookies then let any page act as its visitor.
    Any,
    /// These origins, as browsers write them (`https://example.org`), compared without case.
    Allow(Vec<String>),
    /// Those for which the function says yes. It is given the value of `Origin`.
    Hook(Rc<dyn Fn(&str) -> bool>),
}

impl fmt::Debug for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameHost => f.write_str("SameHost"),
            Self::Any => f.write_str("Any"),
            Self::Allow(list) => f.debug_tuple("Allow").field(list).finish(),
            Self::Hook(_) => f.write_str("Hook"),
        }
    }
}
