//! Which servers are asked, and how: resolv.conf(5).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

const PORT: u16 = 53;
/// More servers than this are left out, as by other resolvers.
const SERVERS: usize = 3;
/// More domains to search than this are left out.
const SEARCH: usize = 16;

/// Which name servers are asked, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    pub(super) ndots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        }
    }
}

impl Config {
    /// Asks these servers, in this order; no domain is searched, each try has 5 s, and each server
    /// is tried twice.
    pub fn new(servers: &[SocketAddr]) -> Self {
        Self { servers: servers.to_vec(), ..Self::default() }
    }

    /// Sets the domains that a short name is looked for in, in this order.
    pub fn search(mut self, domains: &[&str]) -> Self {
        self.search = domains.iter().take(SEARCH).map(|d| (*d).to_owned()).collect();
        self
    }

    /// Sets how many dots a name must have to be asked for as it is, before the domains.
    pub fn ndots(mut self, dots: usize) -> Self {
        self.ndots = dots;
        self
    }

    /// Sets how long each try may take.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// Sets how often each server is tried, at least once.
    pub fn attempts(mut self, attempts: usize) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Reads a resolv.conf: `nameserver`, `search`, `domain`, and the options `ndots`, `timeout`
    /// and `attempts`. What is not understood is passed over. Without a `nameserver` there is none.
    pub fn parse(text: &str) -> Self {
        let mut config = Self::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let ip = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    if config.servers.len() < SERVERS {
                        config.servers.extend(ip.map(|ip| SocketAddr::new(ip, PORT)));
                    }
                }
                Some("search") => {
                    config.search = words.take(SEARCH).map(ToOwned::to_owned).collect();
                }
                Some("domain") => {
                    config.search = words.take(1).map(ToOwned::to_owned).collect();
                }
                Some("options") => words.for_each(|word| config.option(word)),
                Some(_) | None => {}
            }
        }
        config
    }

    /// Reads one option; numbers beyond resolv.conf(5)'s own bounds are brought back to them.
    fn option(&mut self, word: &str) {
        let Some((name, value)) = word.split_once(':') else { return };
        let Ok(n) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.ndots = n.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(n.clamp(1, 30).into()),
            "attempts" => self.attempts = n.clamp(1, 5) as usize,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read() {
        let config = Config::parse(
            "# a comment\n; another\nnameserver 10.0.0.1\nnameserver nonsense\n  nameserver ::1\n\
             domain old.test\nsearch a.test b.test\noptions ndots:3 rotate timeout:9 attempts:99\n",
        );

        let servers = ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
        let expected = Config::new(&servers)
            .search(&["a.test", "b.test"])
            .ndots(3)
            .timeout(Duration::from_secs(9))
            .attempts(5);
        assert_eq!(config, expected);
    }

    #[test]
    fn an_empty_file_names_no_server() {
        assert_eq!(Config::parse(""), Config::default());
        assert!(Config::default().servers.is_empty());
    }

    #[test]
    fn a_fourth_server_is_left_out() {
        let config = Config::parse(&"nameserver 1.1.1.1\n".repeat(9));

        assert_eq!(config.servers.len(), 3);
    }
}
