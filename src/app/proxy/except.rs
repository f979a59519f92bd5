//! Which servers are reached without a proxy: what environments name in NO_PROXY.

use core::net::{IpAddr, Ipv6Addr};
use std::boxed::Box;

/// Servers that are reached directly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    All,
    /// A name in lower case, and those within it.
    Name(Box<str>, Option<u16>),
    /// An address, or with a length a network (RFC 4632, section 3.1; RFC 4291, section 2.3).
    Network(IpAddr, u8, Option<u16>),
}

impl Rule {
    /// Reads one entry of a list; `None` for one that means nothing.
    pub(super) fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        let (host, port) = split_port(entry)?;
        if let Some((address, len)) = host.split_once('/') {
            let address = address_of(address)?;
            let len = len.parse().ok().filter(|len| *len <= width(address))?;
            return Some(Self::Network(address, len, port));
        }
        if let Some(address) = address_of(host) {
            return Some(Self::Network(address, width(address), port));
        }
        let name = host.strip_prefix("*.").unwrap_or(host).trim_matches('.');
        (!name.is_empty()).then(|| Self::Name(name.to_ascii_lowercase().into(), port))
    }

    /// Whether it stands for this server: a name or an address, in brackets where it is of IPv6.
    pub(super) fn is_for(&self, host: &str, port: u16) -> bool {
        let is_here = |of: &Option<u16>| of.is_none_or(|of| of == port);
        match (self, address_of(host)) {
            (Self::All, _) => true,
            (Self::Name(name, of), None) => is_here(of) && is_within(host, name),
            (Self::Network(network, len, of), Some(address)) => {
                is_here(of) && same_front(*network, address, *len)
            }
            (Self::Name(..), Some(_)) | (Self::Network(..), None) => false,
        }
    }
}

/// Splits a port off. `None`: what is behind the colon is none.
fn split_port(entry: &str) -> Option<(&str, Option<u16>)> {
    match entry.rsplit_once(':') {
        // Colons within an address are no ports.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            Some((host, Some(port.parse().ok()?)))
        }
        _ => Some((entry, None)),
    }
}

fn address_of(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.trim_end_matches('.').parse().ok(),
    }
}

/// Whether a host is of this name, or of one that ends in it behind a dot.
fn is_within(host: &str, name: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let front = host.strip_suffix(name);
    front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Whether two addresses are of one family, and the same in their first `len` bits.
fn same_front(one: IpAddr, other: IpAddr, len: u8) -> bool {
    let differ = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()) << 96,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= u32::from(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_for(rule: &str, host: &str) -> bool {
        Rule::parse(rule).is_some_and(|rule| rule.is_for(host, 80))
    }

    #[test]
    fn a_name_stands_for_those_within_it() {
        for rule in
            ["example.org", ".example.org", "*.example.org", "EXAMPLE.org.", "example.org:80"]
        {
            assert!(is_for(rule, "example.org") && is_for(rule, "a.B.Example.ORG."), "{rule}");
            assert!(!is_for(rule, "anexample.org") && !is_for(rule, "example.org.uk"), "{rule}");
        }
        assert!(!is_for("example.org:81", "example.org"));
        assert!(is_for("*", "anything") && is_for("*", "[::1]"));
    }

    #[test]
    fn an_address_is_compared_as_a_number() {
        assert!(is_for("127.0.0.1", "127.0.0.1") && is_for("127.0.0.1:80", "127.0.0.1"));
        assert!(!is_for("127.0.0.1:81", "127.0.0.1"));
        for rule in ["::1", "[::1]", "0:0:0:0::1", "[::1]:80"] {
            assert!(is_for(rule, "[::1]") && is_for(rule, "[0:0::0:1]"), "{rule}");
            assert!(!is_for(rule, "[::2]") && !is_for(rule, "[::1:1]"), "{rule}");
        }
        // A part of an address is no name that it ends in.
        assert!(!is_for("0.0.1", "127.0.0.1") && !is_for("1", "127.0.0.1"));
        assert!(!is_for("127.0.0.1", "a.127.0.0.1.example.org"));
    }

    /// RFC 4632, section 3.1.
    #[test]
    fn a_network_stands_for_its_addresses() {
        for (rule, within, beyond) in [
            ("10.0.0.0/8", "10.255.3.4", "11.0.0.0"),
            ("10.9.9.9/8", "10.0.0.0", "9.255.255.255"),
            ("192.168.8.0/21", "192.168.15.255", "192.168.16.0"),
            ("10.1.2.3/32", "10.1.2.3", "10.1.2.2"),
            ("0.0.0.0/0", "255.1.2.3", "[::]"),
            ("fd00::/8", "[fdff::1]", "[fe00::1]"),
            ("[fd00::]/8", "[fd00:1::]", "[fc00::]"),
            ("2001:db8::/33", "[2001:db8:7fff::1]", "[2001:db8:8000::1]"),
            ("::1/128", "[::1]", "[::]"),
            ("::/0", "[ff02::1]", "1.2.3.4"),
        ] {
            assert!(is_for(rule, within), "{rule} {within}");
            assert!(!is_for(rule, beyond), "{rule} {beyond}");
            assert!(!is_for(rule, "example.org"), "{rule}");
        }
    }

    #[test]
    fn what_means_nothing_stands_for_nothing() {
        for entry in [
            "",
            ".",
            "*.",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/",
            "10.0.0.0/x",
            "10.0/8",
            "a/8",
            "a:b",
            "a:99999",
            "[::1]:",
            "[::1]x:1",
        ] {
            let rule = Rule::parse(entry);
            let means = rule.is_some_and(|rule| {
                ["10.0.0.1", "[fd00::1]", "[::1]", "a"].iter().any(|host| rule.is_for(host, 80))
            });
            assert!(!means, "{entry}");
        }
    }
}
