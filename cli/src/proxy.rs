//! Proxies on the command line and in the environment.

use clap::Args;
use lodger::http::{Proxies, Proxy};

use crate::report::Problem;

/// What clients go through.
#[derive(Args, Clone, Debug)]
pub(crate) struct Through {
    /// Go through this proxy: http://[NAME:PASSWORD@]HOST:PORT, https://... or socks5://...; "" for none, whatever
    /// HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY (names, addresses, networks as 10.0.0.0/8) say
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
}

impl Through {
    /// Gives the proxies to use: those of the option, else those of the environment.
    ///
    /// # Errors
    ///
    /// One of them is none.
    pub(crate) fn proxies(&self) -> Result<Proxies, Problem> {
        match self.proxy.as_deref() {
            Some("") => Ok(Proxies::default()),
            Some(url) => Ok(Proxies::all(&read("--proxy", url)?)),
            None => from(&|name| std::env::var(name).ok()),
        }
    }
}

/// Reads the environment. A name in lower case comes before the same in upper case. This machine
/// itself is reached directly.
fn from(var: &dyn Fn(&str) -> Option<String>) -> Result<Proxies, Problem> {
    let either = |name: &'static str| {
        let value = var(&name.to_lowercase()).or_else(|| var(name));
        value.filter(|value| !value.is_empty())
    };
    // In a CGI program HTTP_PROXY is what a client sent in a field named Proxy.
    let cgi = var("REQUEST_METHOD").is_some();
    let plain =
        if cgi { var("http_proxy").filter(|v| !v.is_empty()) } else { either("HTTP_PROXY") };
    let one = |name, value: Option<String>| -> Result<Option<Proxy>, Problem> {
        let all = || either("ALL_PROXY").map(|value| ("ALL_PROXY", value));
        let found = value.map(|value| (name, value)).or_else(all);
        found.map(|(name, value)| read(name, &value)).transpose()
    };
    let plain = one("HTTP_PROXY", plain)?;
    let secure = one("HTTPS_PROXY", either("HTTPS_PROXY"))?;
    let proxies = Proxies::default().plain(plain.as_ref()).secure(secure.as_ref());
    let proxies = proxies.except("localhost 127.0.0.0/8 ::1");
    Ok(proxies.except(&either("NO_PROXY").unwrap_or_default()))
}

/// Reads one; what it says is not repeated, since a password may be in it.
fn read(name: &str, url: &str) -> Result<Proxy, Problem> {
    Proxy::parse(url).map_err(|e| Problem::usage(format!("{name}: {}", e.rule())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(vars: &[(&str, &str)]) -> String {
        let find = |name: &str| {
            vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        from(&find).map_or_else(|_| String::from("wrong"), |proxies| format!("{proxies:?}"))
    }

    #[test]
    fn the_environment_names_proxies_in_either_case() {
        let both = shown(&[("all_proxy", "socks5://a:1"), ("HTTPS_PROXY", "http://b:2")]);
        assert!(both.contains("\"a\"") && both.contains("\"b\""), "{both}");
        let lower = shown(&[("HTTP_PROXY", "c:1"), ("http_proxy", "d:1"), ("NO_PROXY", "x,y")]);
        assert!(lower.contains("\"d\"") && !lower.contains("\"c\"") && lower.contains("\"y\""));
        assert_eq!(shown(&[("HTTP_PROXY", "c:1"), ("REQUEST_METHOD", "GET")]), shown(&[]));
        assert_eq!(shown(&[("HTTP_PROXY", "")]), shown(&[]));
        assert_eq!(shown(&[("HTTPS_PROXY", "gopher://a")]), "wrong");
    }
}
