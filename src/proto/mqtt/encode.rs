//! Packets to bytes: MQTT 5.0 and 3.1.1, section 3.

use alloc::vec::Vec;

use super::decode::kind;
use super::packet::{Ack, AckKind, ConnAck, Connect, Options, Publish, SubAck};
use super::property::Properties;
use super::wire::{VARINT_MAX, put_binary, put_varint, varint_len};
use super::{Code, Version};

/// Appends a packet whose body `f` appends; the length is put in front of it. `false`, and nothing
/// appended, if it is longer than any packet may be.
fn packet(out: &mut Vec<u8>, first: u8, f: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.push(first);
    // Most packets are short: one byte of length is moved apart only for the others.
    out.push(0);
    f(out);
    let len = out.len() - start - 2;
    let Some(value) = u32::try_from(len).ok().filter(|&n| n <= VARINT_MAX) else {
        out.truncate(start);
        return false;
    };
    let mut varint = [0; 4];
    let digits = write_varint(&mut varint, value);
    let used = varint.get(..digits).unwrap_or_default();
    out.splice(start + 1..start + 2, used.iter().copied());
    true
}

/// Writes a variable byte integer; gives how many bytes it has.
pub(crate) fn write_varint(to: &mut [u8; 4], mut n: u32) -> usize {
    let len = varint_len(n);
    for (i, place) in to.iter_mut().take(len).enumerate() {
        let byte = (n & 0x7F) as u8;
        *place = if i + 1 < len { byte | 0x80 } else { byte };
        n >>= 7;
    }
    len
}

fn put_properties(out: &mut Vec<u8>, version: Version, properties: Properties<'_>) {
    if version == Version::V5 {
        let bytes = properties.bytes();
        put_varint(out, u32::try_from(bytes.len()).unwrap_or(VARINT_MAX));
        out.extend_from_slice(bytes);
    }
}

/// Appends a CONNECT.
pub(crate) fn connect(out: &mut Vec<u8>, c: &Connect<'_>) -> bool {
    let mut flags = u8::from(c.clean) << 1;
    if let Some(will) = &c.will {
        flags |= 4 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
    }
    flags |= u8::from(c.password.is_some()) << 6 | u8::from(c.username.is_some()) << 7;
    packet(out, kind::CONNECT << 4, |out| {
        put_binary(out, b"MQTT");
        out.push(if c.version == Version::V5 { 5 } else { 4 });
        out.push(flags);
        out.extend_from_slice(&c.keep_alive.to_be_bytes());
        put_properties(out, c.version, c.properties);
        put_binary(out, c.client_id.as_bytes());
        if let Some(will) = &c.will {
            put_properties(out, c.version, will.properties);
            put_binary(out, will.topic.as_bytes());
            put_binary(out, will.payload);
        }
        if let Some(name) = c.username {
            put_binary(out, name.as_bytes());
        }
        if let Some(password) = c.password {
            put_binary(out, password);
        }
    })
}

/// Appends a CONNACK.
pub(crate) fn connack(out: &mut Vec<u8>, version: Version, c: &ConnAck<'_>) -> bool {
    packet(out, kind::CONNACK << 4, |out| {
        out.push(u8::from(c.session_present));
        match version {
            Version::V4 => out.push(c.code.connack_v4()),
            Version::V5 => out.push(c.code.0),
        }
        put_properties(out, version, c.properties);
    })
}

/// Gives the first byte of a PUBLISH.
pub(crate) const fn publish_first(p: &Publish<'_>) -> u8 {
    kind::PUBLISH << 4 | (p.dup as u8) << 3 | (p.qos as u8) << 1 | p.retain as u8
}

/// How long a PUBLISH is behind its length, with this topic; `extra` are properties in front of its
/// own. `None` if that is longer than any packet may be.
pub(crate) fn publish_len(version: Version, p: &Publish<'_>, extra: usize) -> Option<u32> {
    let id = if p.id == 0 { 0 } else { 2 };
    let properties = match version {
        Version::V4 => 0,
        Version::V5 => {
            let len = p.properties.bytes().len() + extra;
            varint_len(u32::try_from(len).ok()?) + len
        }
    };
    let len = 2 + p.topic.len() + id + properties + p.payload.len() + p.rest as usize;
    u32::try_from(len).ok().filter(|&n| n <= VARINT_MAX)
}

/// Appends a PUBLISH; `extra` are properties that stand in front of its own. Its payload may be the
/// first part: `rest` bytes are to follow then. `false`, and nothing appended, if it is longer than
/// any packet may be.
pub(crate) fn publish(out: &mut Vec<u8>, version: Version, p: &Publish<'_>, extra: &[u8]) -> bool {
    let Some(len) = publish_len(version, p, extra.len()) else { return false };
    out.push(publish_first(p));
    put_varint(out, len);
    put_binary(out, p.topic.as_bytes());
    if p.id != 0 {
        out.extend_from_slice(&p.id.to_be_bytes());
    }
    if version == Version::V5 {
        let len = p.properties.bytes().len() + extra.len();
        put_varint(out, u32::try_from(len).unwrap_or(VARINT_MAX));
        out.extend_from_slice(extra);
        out.extend_from_slice(p.properties.bytes());
    }
    out.extend_from_slice(p.payload);
    true
}

/// Appends an acknowledgement: as short as its code allows.
pub(crate) fn ack(out: &mut Vec<u8>, version: Version, a: &Ack<'_>) {
    let first = match a.kind {
        AckKind::PubAck => kind::PUBACK << 4,
        AckKind::PubRec => kind::PUBREC << 4,
        AckKind::PubRel => kind::PUBREL << 4 | 2,
        AckKind::PubComp => kind::PUBCOMP << 4,
    };
    let [high, low] = a.id.to_be_bytes();
    if version == Version::V4 || a.code == Code::SUCCESS && a.properties.is_empty() {
        out.extend_from_slice(&[first, 2, high, low]);
    } else if a.properties.is_empty() {
        out.extend_from_slice(&[first, 3, high, low, a.code.0]);
    } else {
        packet(out, first, |out| {
            out.extend_from_slice(&[high, low, a.code.0]);
            put_properties(out, version, a.properties);
        });
    }
}

/// Appends a SUBSCRIBE. `false`, and nothing appended, if it is too long.
pub(crate) fn subscribe<'f>(
    out: &mut Vec<u8>,
    version: Version,
    id: u16,
    properties: Properties<'_>,
    filters: impl Iterator<Item = (&'f str, Options)>,
) -> bool {
    packet(out, kind::SUBSCRIBE << 4 | 2, |out| {
        out.extend_from_slice(&id.to_be_bytes());
        put_properties(out, version, properties);
        for (filter, options) in filters {
            put_binary(out, filter.as_bytes());
            let bits = options.bits();
            out.push(if version == Version::V5 { bits } else { bits & 3 });
        }
    })
}

/// Appends an UNSUBSCRIBE. `false`, and nothing appended, if it is too long.
pub(crate) fn unsubscribe<'f>(
    out: &mut Vec<u8>,
    version: Version,
    id: u16,
    filters: impl Iterator<Item = &'f str>,
) -> bool {
    packet(out, kind::UNSUBSCRIBE << 4 | 2, |out| {
        out.extend_from_slice(&id.to_be_bytes());
        put_properties(out, version, Properties::NONE);
        for filter in filters {
            put_binary(out, filter.as_bytes());
        }
    })
}

/// Appends a SUBACK. MQTT 3.1.1 knows one code for every refusal.
pub(crate) fn suback(out: &mut Vec<u8>, version: Version, s: &SubAck<'_>) -> bool {
    packet(out, kind::SUBACK << 4, |out| {
        out.extend_from_slice(&s.id.to_be_bytes());
        put_properties(out, version, s.properties);
        match version {
            Version::V5 => out.extend_from_slice(s.codes),
            Version::V4 => out.extend(s.codes.iter().map(|&code| code.min(0x80))),
        }
    })
}

/// Appends an UNSUBACK.
pub(crate) fn unsuback(out: &mut Vec<u8>, version: Version, s: &SubAck<'_>) -> bool {
    packet(out, kind::UNSUBACK << 4, |out| {
        out.extend_from_slice(&s.id.to_be_bytes());
        put_properties(out, version, s.properties);
        if version == Version::V5 {
            out.extend_from_slice(s.codes);
        }
    })
}

/// Appends a DISCONNECT: as short as its code allows.
pub(crate) fn disconnect(
    out: &mut Vec<u8>,
    version: Version,
    code: Code,
    properties: Properties<'_>,
) {
    if version == Version::V4 || code == Code::SUCCESS && properties.is_empty() {
        out.extend_from_slice(&[kind::DISCONNECT << 4, 0]);
    } else if properties.is_empty() {
        out.extend_from_slice(&[kind::DISCONNECT << 4, 1, code.0]);
    } else {
        packet(out, kind::DISCONNECT << 4, |out| {
            out.push(code.0);
            put_properties(out, version, properties);
        });
    }
}

/// Appends an AUTH.
pub(crate) fn auth(out: &mut Vec<u8>, code: Code, properties: Properties<'_>) -> bool {
    packet(out, kind::AUTH << 4, |out| {
        out.push(code.0);
        put_properties(out, Version::V5, properties);
    })
}

/// Appends a PINGREQ or PINGRESP.
pub(crate) fn ping(out: &mut Vec<u8>, answer: bool) {
    let kind = if answer { kind::PINGRESP } else { kind::PINGREQ };
    out.extend_from_slice(&[kind << 4, 0]);
}
