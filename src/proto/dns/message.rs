//! Queries and answers: RFC 1035, section 4; EDNS0: RFC 6891, section 6.1.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::Name;

/// The largest datagram that we say we take; it crosses networks in one piece.
pub(super) const DATAGRAM: u16 = 1232;
/// Aliases that are followed in one answer, and queries that follow one another.
pub(super) const ALIASES: usize = 8;
/// Addresses that are taken of one answer.
const ADDRESSES: usize = 16;
/// Records of an answer that are looked at.
const RECORDS: usize = 256;

const CNAME: u16 = 5;
const SOA: u16 = 6;
const OPT: u16 = 41;
const INTERNET: u16 = 1;

const HEAD: usize = 12;
const RESPONSE: u16 = 1 << 15;
const OPCODE: u16 = 0xf << 11;
const TRUNCATED: u16 = 1 << 9;
const RECURSION: u16 = 1 << 8;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    A,
    Aaaa,
}

impl Kind {
    const fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
        }
    }

    /// Reads an address of this kind.
    fn address(self, data: &[u8]) -> Option<IpAddr> {
        match self {
            Self::A => <[u8; 4]>::try_from(data).ok().map(|ip| Ipv4Addr::from(ip).into()),
            Self::Aaaa => <[u8; 16]>::try_from(data).ok().map(|ip| Ipv6Addr::from(ip).into()),
        }
    }
}

/// A question as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) id: u16,
    /// In the case that was drawn.
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) edns: bool,
}

impl Query {
    /// Gives the wire form.
    pub(super) fn message(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.name.wire().len() + 15);
        let more = u16::from(self.edns);
        for word in [self.id, RECURSION, 1, 0, 0, more] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(self.name.wire());
        out.extend_from_slice(&self.kind.code().to_be_bytes());
        out.extend_from_slice(&INTERNET.to_be_bytes());
        if self.edns {
            // The root, OPT, our size, nothing extended, no data.
            out.push(0);
            out.extend_from_slice(&OPT.to_be_bytes());
            out.extend_from_slice(&DATAGRAM.to_be_bytes());
            out.extend_from_slice(&[0; 6]);
        }
        out
    }

    /// Judges a message that came in answer, on a stream or as a datagram.
    pub(super) fn judge(&self, message: &[u8], stream: bool) -> Verdict {
        let Some(head) = Head::read(message) else { return Verdict::NotOurs };
        if head.id != self.id || head.flags & RESPONSE == 0 || head.flags & OPCODE != 0 {
            return Verdict::NotOurs;
        }
        let rcode = head.flags & 0xf;
        // A server that knows no EDNS0 may send back its head alone.
        if rcode == 1 && self.edns && (stream || message.len() == HEAD) {
            return Verdict::NoEdns;
        }
        let Some((name, at)) = self.question(message, &head) else { return Verdict::NotOurs };
        if !stream && message.len() > usize::from(DATAGRAM) {
            return Verdict::TakeStream;
        }
        if name != self.name {
            // It may be a server that changes the case, or somebody who guesses.
            return if stream { self.records(message, at, &head) } else { Verdict::TakeStream };
        }
        match rcode {
            1 | 4 if self.edns => Verdict::NoEdns,
            0 | 3 if head.flags & TRUNCATED != 0 && !stream => Verdict::TakeStream,
            0 | 3 => self.records(message, at, &head),
            _ => Verdict::Failed,
        }
    }

    /// Reads the question, which must be ours but for the case; gives it and where it ends.
    fn question(&self, message: &[u8], head: &Head) -> Option<(Name, usize)> {
        let (name, at) = Name::read(message, HEAD).filter(|_| head.questions == 1)?;
        let ours = word(message, at)? == self.kind.code() && word(message, at + 2)? == INTERNET;
        (ours && name.is(&self.name)).then_some((name, at + 4))
    }

    /// Finds what is about the name asked for.
    fn records(&self, message: &[u8], at: usize, head: &Head) -> Verdict {
        let rcode = head.flags & 0xf;
        if rcode != 0 && rcode != 3 {
            return Verdict::Failed;
        }
        self.find(message, at, head, rcode == 3).unwrap_or(Verdict::Failed)
    }

    /// `None`: it is malformed.
    fn find(&self, message: &[u8], at: usize, head: &Head, absent: bool) -> Option<Verdict> {
        let (answers, at) = section(message, at, head.answers)?;
        let (mut name, mut ttl) = (self.name.clone(), u32::MAX);
        for _ in 0..ALIASES {
            let ours = || answers.iter().filter(|record| record.owner.is(&name));
            let found = ours().filter(|record| record.kind == self.kind.code()).take(ADDRESSES);
            let addresses: Vec<IpAddr> = found
                .clone()
                .filter_map(|record| self.kind.address(record.data(message)?))
                .collect();
            if !addresses.is_empty() {
                let ttl = found.map(|record| record.ttl).fold(ttl, u32::min);
                return Some(Verdict::Found { addresses, ttl });
            }
            let Some(alias) = ours().find(|record| record.kind == CNAME) else { break };
            ttl = ttl.min(alias.ttl);
            let (target, end) = Name::read(message, alias.begin)?;
            if end != alias.end {
                return None;
            }
            name = target;
        }
        if !absent && !name.is(&self.name) {
            return Some(Verdict::Alias { name, ttl });
        }
        let (authority, _) = section(message, at, head.authorities)?;
        let soa = authority.iter().find(|r| r.kind == SOA && name.is_in(&r.owner));
        // Without it nobody knows for how long: RFC 2308, section 5.
        let ttl = soa.and_then(|soa| Some(soa.ttl.min(soa.minimum(message)?)));
        Some(Verdict::Nothing { ttl })
    }
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is no answer to the query.
    NotOurs,
    /// It was cut, or is too doubtful: the question has to be asked on a stream.
    TakeStream,
    /// The server knows no EDNS0.
    NoEdns,
    /// The server cannot say, or what it says is malformed.
    Failed,
    Found {
        addresses: Vec<IpAddr>,
        /// In seconds.
        ttl: u32,
    },
    /// The name is another's alias, and no address of that was given.
    Alias { name: Name, ttl: u32 },
    /// There is no such name, or no address of this kind; `ttl` is for how long that is known.
    Nothing { ttl: Option<u32> },
}

struct Head {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
}

impl Head {
    fn read(message: &[u8]) -> Option<Self> {
        Some(Self {
            id: word(message, 0)?,
            flags: word(message, 2)?,
            questions: word(message, 4)?,
            answers: word(message, 6)?,
            authorities: word(message, 8)?,
        })
        .filter(|_| message.len() >= HEAD)
    }
}

/// One record, of class IN.
struct Record {
    owner: Name,
    kind: u16,
    ttl: u32,
    /// Where its data begins and ends.
    begin: usize,
    end: usize,
}

impl Record {
    fn data<'a>(&self, message: &'a [u8]) -> Option<&'a [u8]> {
        message.get(self.begin..self.end)
    }

    /// Gives the last field of an SOA: RFC 2308, section 4.
    fn minimum(&self, message: &[u8]) -> Option<u32> {
        let (_, at) = Name::read(message, self.begin)?;
        let (_, at) = Name::read(message, at)?;
        (at + 20 == self.end).then(|| long(message, at + 16)).flatten()
    }
}

/// Reads the records of a section; gives those of class IN, and where the section ends.
fn section(message: &[u8], mut at: usize, count: u16) -> Option<(Vec<Record>, usize)> {
    let mut records = Vec::new();
    for _ in 0..count {
        let (owner, fields) = Name::read(message, at)?;
        let (kind, class) = (word(message, fields)?, word(message, fields + 2)?);
        let ttl = long(message, fields + 4)?;
        let begin = fields + 10;
        let end = begin + usize::from(word(message, fields + 8)?);
        if end > message.len() {
            return None;
        }
        at = end;
        if class == INTERNET && records.len() < RECORDS {
            // RFC 2181, section 8: one with its highest bit set is 0.
            let ttl = if ttl >> 31 == 1 { 0 } else { ttl };
            records.push(Record { owner, kind, ttl, begin, end });
        }
    }
    Some((records, at))
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn long(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
