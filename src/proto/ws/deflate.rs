//! permessage-deflate: what a route asks of it, and how two ends agree. RFC 7692, sections 5 and 7.
//!
//! In: the values of `Sec-WebSocket-Extensions`. Out: what was agreed on, and the value to answer
//! or offer with.

use alloc::vec::Vec;

use super::Extensions;

const NAME: &[u8] = b"permessage-deflate";
/// The largest window, which is meant where none is named.
const WINDOW_MAX: u8 = 15;
/// The smallest window that is compressed with here. The protocol's smallest is 8.
const WINDOW_MIN: u8 = 9;

/// How the messages of a route or client are compressed, if the other end agrees.
///
/// By default a connection keeps nothing between its messages: every message is compressed on its
/// own, with engines that all connections of a loop share.
///
/// Do not compress messages that mix a secret with what a stranger can choose: their length then
/// tells about the secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deflate {
    least: usize,
    takeover: bool,
    level: u8,
    ratio: u32,
}

impl Default for Deflate {
    fn default() -> Self {
        Self { least: 256, takeover: false, level: 1, ratio: 200 }
    }
}

impl Deflate {
    /// Compresses messages from 256 bytes on, each on its own, at level 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets from which length on a message is compressed, in bytes; for one that is sent in chunks
    /// its first chunk decides. At least 1. A message that would not become shorter is sent as it
    /// is.
    #[must_use]
    pub fn least(mut self, bytes: usize) -> Self {
        self.least = bytes.max(1);
        self
    }

    /// Allows messages to refer to those before (context takeover), in both directions. Short
    /// messages that resemble each other become much shorter, but each connection then keeps up to
    /// 374 KiB to send and 48 KiB to receive. When the memory for that (`limits.io.engines`) is used
    /// up, connections are agreed on without.
    #[must_use]
    pub fn takeover(mut self, on: bool) -> Self {
        self.takeover = on;
        self
    }

    /// Sets how much time is spent for shorter messages: 1, the least, to 9.
    #[must_use]
    pub fn level(mut self, level: u8) -> Self {
        self.level = level.clamp(1, 9);
        self
    }

    /// Sets how many times its length a message may become when it is expanded; more is 1009. It
    /// is looked at from 64 KiB on. At least 1.
    #[must_use]
    pub fn ratio(mut self, times: u32) -> Self {
        self.ratio = times.max(1);
        self
    }

    pub(super) fn compresses(&self, len: usize) -> bool {
        len >= self.least
    }

    pub(super) fn compression_level(&self) -> u8 {
        self.level
    }

    pub(super) fn max_ratio(&self) -> u64 {
        u64::from(self.ratio)
    }
}

/// What a server answers an offer with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Agreed {
    pub(super) extensions: Extensions,
    /// The offer named a window for us, so the answer does.
    names_window: bool,
}

impl Agreed {
    /// Gives it up that messages refer to those before.
    pub(super) fn without_takeover(self) -> Self {
        Self { extensions: self.extensions.without_takeover(), ..self }
    }

    /// Appends the field's value: RFC 7692, section 7.1.
    pub(super) fn put_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME);
        if !self.extensions.keeps_out() {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if !self.extensions.keeps_in() {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        if let (true, Some(window)) = (self.names_window, self.extensions.window()) {
            out.extend_from_slice(b"; server_max_window_bits=");
            put_number(out, window);
        }
    }
}

/// Chooses among the offers of a request, of which the first that can be met is taken. An offer
/// with a parameter that is unknown, there twice or has a wrong value is declined, as is one that
/// leaves us a window of 8 bits. `None` declines them all.
pub(super) fn choose<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    config: &Deflate,
) -> Option<Agreed> {
    offers(lines).find_map(|offer| agree(&Params::read(offer)?, config))
}

fn agree(offer: &Params, config: &Deflate) -> Option<Agreed> {
    let window = match offer.server_window {
        None => WINDOW_MAX,
        Some(Some(bits @ WINDOW_MIN..=WINDOW_MAX)) => bits,
        Some(_) => return None,
    };
    let extensions = Extensions::deflate(window)
        .keep_out(config.takeover && !offer.server_alone)
        .keep_in(config.takeover && !offer.client_alone);
    Some(Agreed { extensions, names_window: offer.server_window.is_some() })
}

/// Appends what a client offers: any window to send with, and takeover if `config` allows it.
pub(super) fn put_offer(out: &mut Vec<u8>, config: &Deflate) {
    out.extend_from_slice(NAME);
    out.extend_from_slice(b"; client_max_window_bits");
    if !config.takeover {
        out.extend_from_slice(b"; server_no_context_takeover; client_no_context_takeover");
    }
}

/// Checks what a server answered to [`put_offer`]. With a window of 8 bits for us nothing is sent
/// compressed, which is always allowed.
///
/// # Errors
///
/// The rule that the answer breaks.
pub(super) fn check_answer<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    config: &Deflate,
) -> Result<Extensions, &'static str> {
    let mut all = lines.flat_map(|line| split(line, b','));
    let (Some(answer), None) = (all.next(), all.next()) else {
        return Err("RFC 7692, 5.2: one extension was offered, and one is answered");
    };
    let named = split(answer, b';').next().is_some_and(is_ours);
    let Some(answer) = Some(answer).filter(|_| named) else {
        return Err("RFC 6455, 4.1: an extension that was not asked for");
    };
    let Some(params) = Params::read(answer) else {
        return Err("RFC 7692, 7.1: a parameter is known, there once, and has a fitting value");
    };
    if !config.takeover && !params.server_alone {
        return Err("RFC 7692, 7.1.1.1: the answer has server_no_context_takeover as offered");
    }
    let window = match (params.client_window, params.server_window) {
        (Some(None), _) | (_, Some(None)) => {
            return Err("RFC 7692, 7.1.2: a window in an answer has a size");
        }
        (Some(Some(8)), _) => 0,
        (Some(Some(bits)), _) => bits,
        (None, _) => WINDOW_MAX,
    };
    Ok(Extensions::deflate(window)
        .keep_out(config.takeover && !params.client_alone)
        .keep_in(!params.server_alone))
}

/// What stands behind the name: RFC 7692, section 7.1. `alone` is no_context_takeover. A window is
/// there or not, and has a size or not.
#[derive(Default)]
struct Params {
    server_alone: bool,
    client_alone: bool,
    server_window: Option<Option<u8>>,
    client_window: Option<Option<u8>>,
}

impl Params {
    /// Reads one offer or answer; `None` if a parameter is unknown, there twice, or has a value
    /// that it cannot have.
    fn read(offer: &[u8]) -> Option<Self> {
        let mut params = Self::default();
        for param in split(offer, b';').skip(1) {
            let mut halves = param.splitn(2, |&b| b == b'=').map(<[u8]>::trim_ascii);
            let name = halves.next().unwrap_or_default();
            params.add(name, halves.next())?;
        }
        Some(params)
    }

    fn add(&mut self, name: &[u8], value: Option<&[u8]>) -> Option<()> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"server_no_context_takeover") {
            return set_flag(&mut self.server_alone, value);
        }
        if is(b"client_no_context_takeover") {
            return set_flag(&mut self.client_alone, value);
        }
        let size = match value {
            None => None,
            Some(value) => Some(read_window(value)?),
        };
        let window = if is(b"server_max_window_bits") {
            &mut self.server_window
        } else if is(b"client_max_window_bits") {
            &mut self.client_window
        } else {
            return None;
        };
        window.replace(size).is_none().then_some(())
    }
}

fn set_flag(flag: &mut bool, value: Option<&[u8]>) -> Option<()> {
    let once = !core::mem::replace(flag, true);
    (once && value.is_none()).then_some(())
}

/// Reads 8 to 15, without leading zeros, perhaps in quotes (RFC 6455, section 9.1).
fn read_window(value: &[u8]) -> Option<u8> {
    let inner = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
    match inner.unwrap_or(value) {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Appends 9 to 15.
fn put_number(out: &mut Vec<u8>, n: u8) {
    if n >= 10 {
        out.push(b'1');
    }
    out.push(b'0' + n % 10);
}

/// Gives the elements of the lists that are ours.
fn offers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines
        .flat_map(|line| split(line, b','))
        .filter(|offer| split(offer, b';').next().is_some_and(is_ours))
}

fn is_ours(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(NAME)
}

/// Splits at `at` where it is not inside quotes, and trims. Empty pieces are left out.
fn split(value: &[u8], at: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let pieces = value.split(move |&b| {
        quoted ^= b == b'"';
        b == at && !quoted
    });
    pieces.map(<[u8]>::trim_ascii).filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests;
