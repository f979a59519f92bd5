//! Names: a stub resolver without I/O. RFC 1034, RFC 1035, RFC 6891 (EDNS0).
//!
//! In: a name and a ticket, datagrams and messages of name servers, the passing of time, random
//! numbers. Out: queries and where to send them, addresses by ticket, a deadline.
//!
//! What makes an answer ours: it comes from the server that was asked, to the port that was asked
//! from (whoever owns the sockets sees to both, with a socket for each query), it has the query's
//! random id, and it repeats the question letter by letter, upper and lower case as they were
//! drawn ("0x20"). Of an answer only the records of the name asked for count, and of the names
//! that it says are its alias; everything else in it is passed over.

#[cfg(feature = "dns")]
mod cache;
#[cfg(feature = "dns")]
mod config;
#[cfg(all(feature = "dns", any(test, fuzzing)))]
mod fuzz;
mod hosts;
#[cfg(feature = "dns")]
mod message;
#[cfg(feature = "dns")]
mod name;
#[cfg(feature = "dns")]
mod stub;

use core::fmt;

#[cfg(feature = "dns")]
pub use config::Config;
#[cfg(all(feature = "dns", any(test, fuzzing)))]
pub use fuzz::fuzz_dns;
pub use hosts::Hosts;
#[cfg(feature = "dns")]
pub use stub::{Event, Stub};

/// Why a name has no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NameError {
    /// There is no such name, or it has no address.
    NotFound,
    /// It is no host's name: RFC 1123, section 2.1. One that is not ASCII has to be given in its
    /// ASCII form (RFC 5890).
    Invalid,
    /// No name server is known, and no file of the system has the name.
    NoServer,
    /// The name servers gave no usable answer.
    Failed,
    /// The name servers did not answer in time.
    Timeout,
    /// Too many names are being looked up.
    Overload,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such name, or it has no address",
            Self::Invalid => "this is no name of a host",
            Self::NoServer => "no name server is known, and the hosts file does not have the name",
            Self::Failed => "the name servers gave no usable answer",
            Self::Timeout => "the name servers did not answer in time",
            Self::Overload => "too many names are being looked up",
        })
    }
}

impl core::error::Error for NameError {}

#[cfg(feature = "dns")]
#[cfg(test)]
mod tests;
