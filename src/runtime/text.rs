//! Short texts made without allocation.

use std::io::Write;

/// Writes "404 Not Found" and a line end into `buf`.
pub(crate) fn error_line(buf: &mut [u8; 64], status: u16) -> &[u8] {
    let mut rest = buf.as_mut_slice();
    // It fails only when a reason does not fit, and is cut then.
    let _ = writeln!(rest, "{status} {}", crate::proto::h1::reason(status));
    let left = rest.len();
    let len = buf.len() - left;
    buf.get(..len).unwrap_or_default()
}
