//! Making a field block: RFC 7541, section 6.

use alloc::vec::Vec;

use super::table::Table;
use super::{TABLE_SIZE, huffman, integer, statics};

/// Makes the field blocks of one direction of a connection, in order.
///
/// Fields that hold secrets are never put into a table (RFC 7541, section 7.1), and of the others
/// those that differ from message to message are not.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// The least that the table was set to since the last block, to be announced by the next:
    /// RFC 7541, section 4.2.
    least: Option<usize>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// Makes one with the table that both ends begin with.
    pub fn new() -> Self {
        Self { table: Table::new(TABLE_SIZE), least: None }
    }

    /// Sets what the peer lets the table grow to; not more than 4 KiB of it are used.
    pub fn set_max(&mut self, max: usize) {
        let max = max.min(TABLE_SIZE);
        if max == self.table.max() && self.least.is_none() {
            return;
        }
        self.least = Some(self.least.map_or(max, |least| least.min(max)));
        self.table.set_max(max);
    }

    /// Begins a block. To be called before its first field.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(least) = self.least.take() {
            if least < self.table.max() {
                integer::put(out, 0x20, 5, least);
            }
            integer::put(out, 0x20, 5, self.table.max());
        }
    }

    /// Appends `:status`.
    pub fn status(&mut self, out: &mut Vec<u8>, status: u16) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digit = |n: u16| b'0' + (n % 10).to_le_bytes()[0];
                let text = [digit(status / 100), digit(status / 10), digit(status)];
                self.field(out, b":status", &text);
                return;
            }
        };
        out.push(0x80 | index);
    }

    /// Appends a field. Its name is in lower case.
    pub fn field(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        let how = How::of(name, value);
        let named = statics::find(name);
        if let Some(first) = named
            && let Some(index) = statics::find_value(first, name, value)
        {
            integer::put(out, 0x80, 7, index);
            return;
        }
        if how == How::Indexed
            && let Some(index) = self.table.find(name, value)
        {
            integer::put(out, 0x80, 7, statics::COUNT + 1 + index);
            return;
        }
        let named = named.or_else(|| Some(statics::COUNT + 1 + self.table.find_name(name)?));
        let (first, bits) = match how {
            How::Indexed => (0x40, 6),
            How::Plain => (0x00, 4),
            How::Never => (0x10, 4),
        };
        integer::put(out, first, bits, named.unwrap_or(0));
        if named.is_none() {
            put_string(out, name);
        }
        put_string(out, value);
        if how == How::Indexed {
            self.table.insert(name, value, 0);
        }
    }
}

/// What becomes of a field that is in no table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// It is put into the table.
    Indexed,
    /// It is not: another value is likely, or it would take the place of many.
    Plain,
    /// It is a secret, also for whoever forwards it.
    Never,
}

/// A larger one is not put into a table of 4 KiB.
const INDEXED_MAX: usize = 512;
/// A shorter secret could be guessed by how well a guess compresses.
const COOKIE_MIN: usize = 20;

impl How {
    fn of(name: &[u8], value: &[u8]) -> Self {
        match name {
            b"authorization" | b"proxy-authorization" | b"set-cookie" => Self::Never,
            b"cookie" if value.len() < COOKIE_MIN => Self::Never,
            b":path" | b"content-length" | b"etag" | b"location" | b"age" | b"content-range"
            | b"if-modified-since" | b"if-none-match" | b"last-modified" => Self::Plain,
            _ if name.len() + value.len() > INDEXED_MAX => Self::Plain,
            _ => Self::Indexed,
        }
    }
}

/// Appends a string, in whichever form is shorter.
fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    let coded = huffman::len(text);
    if coded < text.len() {
        integer::put(out, 0x80, 7, coded);
        huffman::encode(text, out);
    } else {
        integer::put(out, 0, 7, text.len());
        out.extend_from_slice(text);
    }
}
