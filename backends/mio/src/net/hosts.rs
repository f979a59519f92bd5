//! Names that the system's hosts file knows.

use std::net::{IpAddr, SocketAddr};

/// Where it is, on every Unix.
const FILE: &str = "/etc/hosts";
/// More of the file than this is not looked at.
const MOST: u64 = 1 << 20;

/// Gives the addresses of `name` in the hosts file, in its order.
pub(super) fn lookup(name: &str, port: u16) -> Vec<SocketAddr> {
    use std::io::Read;
    let mut text = Vec::new();
    let read = std::fs::File::open(FILE).and_then(|file| file.take(MOST).read_to_end(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    addresses(&String::from_utf8_lossy(&text), name).map(|ip| SocketAddr::new(ip, port)).collect()
}

/// Gives the addresses of `name` in the text of a hosts file (hosts(5)).
fn addresses<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = IpAddr> + 'a {
    let name = name.strip_suffix('.').unwrap_or(name);
    text.lines().filter_map(move |line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let ip = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(ip)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_addresses_of_its_lines() {
        let text = "# comment\n127.0.0.1 localhost me\n::1\tME # me too\nbad me\n10.0.0.1 other\n";

        let found: Vec<String> = addresses(text, "Me").map(|ip| ip.to_string()).collect();

        assert_eq!(found, ["127.0.0.1", "::1"]);
        assert_eq!(addresses(text, "comment").count(), 0);
    }
}
