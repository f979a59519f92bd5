//! The text of a hosts file: hosts(5).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// Names and their addresses, by a hosts file.
#[derive(Clone, Debug, Default)]
pub struct Hosts(BTreeMap<String, Vec<IpAddr>>);

impl Hosts {
    /// Reads a text. Lines that make no sense are passed over.
    pub fn parse(text: &str) -> Self {
        let mut names: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(ip) = words.next().and_then(|word| word.parse().ok()) else { continue };
            for name in words {
                let addresses = names.entry(name.to_ascii_lowercase()).or_default();
                if !addresses.contains(&ip) {
                    addresses.push(ip);
                }
            }
        }
        Self(names)
    }

    /// Gives the addresses of a name in the order of the file; none if it is not there.
    pub fn get(&self, name: &str) -> &[IpAddr] {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.0.get(&name.to_ascii_lowercase()).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_name_has_the_addresses_of_its_lines() {
        let text =
            "# comment\n127.0.0.1 localhost me\n::1\tME # me too\nbad me\n10.0.0.1 other\n\n::1 me";
        let hosts = Hosts::parse(text);

        let found: Vec<String> = hosts.get("Me.").iter().map(IpAddr::to_string).collect();

        assert_eq!(found, ["127.0.0.1", "::1"]);
        assert!(hosts.get("comment").is_empty() && hosts.get("").is_empty());
    }
}
