//! Close frames: RFC 6455, sections 5.5.1 and 7.4.

use super::frame::CONTROL_MAX;

/// The peer's or the handler's work is done.
pub const NORMAL: u16 = 1000;
/// A server shuts down, a page was left.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// Data of a kind that is not taken here.
pub const UNSUPPORTED: u16 = 1003;
/// Never sent: the peer's Close frame has no code.
pub const NO_CODE: u16 = 1005;
/// Never sent: the connection ended without a Close frame.
pub const ABNORMAL: u16 = 1006;
/// Text that is not UTF-8.
pub const INVALID_DATA: u16 = 1007;
/// A limit that no other code names.
pub const POLICY: u16 = 1008;
/// A message larger than is taken here.
pub const TOO_BIG: u16 = 1009;
/// The server failed.
pub const INTERNAL: u16 = 1011;
/// The server has too much to do.
pub const TRY_AGAIN: u16 = 1013;

/// The most that a reason is, in bytes: a control frame without the code.
pub const REASON_MAX: usize = CONTROL_MAX - 2;

/// Tells whether a Close frame may carry `code`: RFC 6455, section 7.4, and the codes that IANA
/// has registered since (1012 to 1014).
pub const fn is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// What a Close frame says.
pub(super) type Reason<'a> = (Option<u16>, &'a str);

/// Reads a Close frame's payload.
///
/// # Errors
///
/// The code to fail with, and the rule that was broken.
pub(super) fn parse(payload: &[u8]) -> Result<Reason<'_>, (u16, &'static str)> {
    if payload.is_empty() {
        return Ok((None, ""));
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Err((PROTOCOL_ERROR, "RFC 6455, 5.5.1: a Close frame of one byte"));
    };
    let code = u16::from_be_bytes(*code);
    if !is_valid(code) {
        return Err((PROTOCOL_ERROR, "RFC 6455, 7.4: a code that no Close frame may carry"));
    }
    match core::str::from_utf8(reason) {
        Ok(reason) => Ok((Some(code), reason)),
        Err(_) => Err((INVALID_DATA, "RFC 6455, 5.5.1: the reason is not UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    /// RFC 6455, 7.4.1 and 7.4.2, at every edge.
    #[test]
    fn the_codes_of_the_wire() {
        for (range, valid) in [
            (0..=999, false),
            (1000..=1003, true),
            (1004..=1006, false),
            (1007..=1014, true),
            (1015..=2999, false),
            (3000..=4999, true),
            (5000..=u16::MAX, false),
        ] {
            assert!(range.clone().all(|code| is_valid(code) == valid), "{range:?}");
        }
    }
}
