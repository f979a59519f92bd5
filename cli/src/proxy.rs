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
        self.or_else(of_web)
    }

    /// As [`proxies`](Self::proxies), for a protocol whose proxies ALL_PROXY alone names: those of
    /// the web seldom let others through.
    ///
    /// # Errors
    ///
    /// As [`proxies`](Self::proxies).
    pub(crate) fn not_of_web(&self) -> Result<Proxies, Problem> {
        self.or_else(of_all)
    }

    fn or_else(&self, env: fn(Var<'_>) -> Result<Proxies, Problem>) -> Result<Proxies, Problem> {
        match self.proxy.as_deref() {
            Some("") => Ok(Proxies::default()),
            Some(url) => Ok(Proxies::all(&read("--proxy", url)?)),
            None => env(&|name| std::env::var(name).ok()),
        }
    }
}

/// Reads a variable of the environment.
type Var<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment's, for http and ws, https and wss.
fn of_web(var: Var<'_>) -> Result<Proxies, Problem> {
    // In a CGI program HTTP_PROXY is what a client sent in a field named Proxy.
    let cgi = var("REQUEST_METHOD").is_some();
    let http =
        if cgi { var("http_proxy").filter(|v| !v.is_empty()) } else { either(var, "HTTP_PROXY") };
    let one = |name, value: Option<String>| -> Result<Option<Proxy>, Problem> {
        let all = || either(var, "ALL_PROXY").map(|value| ("ALL_PROXY", value));
        let found = value.map(|value| (name, value)).or_else(all);
        found.map(|(name, value)| read(name, &value)).transpose()
    };
    let plain = one("HTTP_PROXY", http)?;
    let secure = one("HTTPS_PROXY", either(var, "HTTPS_PROXY"))?;
    Ok(except(var, Proxies::default().plain(plain.as_ref()).secure(secure.as_ref())))
}

/// The environment's for everything.
fn of_all(var: Var<'_>) -> Result<Proxies, Problem> {
    let all = either(var, "ALL_PROXY").map(|value| read("ALL_PROXY", &value)).transpose()?;
    Ok(all.map_or_else(Proxies::default, |all| except(var, Proxies::all(&all))))
}

/// A name in lower case comes before the same in upper case.
fn either(var: Var<'_>, name: &'static str) -> Option<String> {
    let value = var(&name.to_lowercase()).or_else(|| var(name));
    value.filter(|value| !value.is_empty())
}

/// This machine itself is reached directly, and what NO_PROXY says.
fn except(var: Var<'_>, proxies: Proxies) -> Proxies {
    let proxies = proxies.except("localhost 127.0.0.0/8 ::1");
    proxies.except(&either(var, "NO_PROXY").unwrap_or_default())
}

/// Reads one; what it says is not repeated, since a password may be in it.
fn read(name: &str, url: &str) -> Result<Proxy, Problem> {
    Proxy::parse(url).map_err(|e| Problem::usage(format!("{name}: {}", e.rule())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(env: fn(Var<'_>) -> Result<Proxies, Problem>, vars: &[(&str, &str)]) -> String {
        let find = |name: &str| {
            vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        env(&find).map_or_else(|_| String::from("wrong"), |proxies| format!("{proxies:?}"))
    }

    fn shown(vars: &[(&str, &str)]) -> String {
        text(of_web, vars)
    }

    #[test]
    fn what_is_not_of_the_web_goes_by_all_proxy_alone() {
        let vars = [("HTTP_PROXY", "http://a:1"), ("https_proxy", "http://a:1"), ("NO_PROXY", "x")];
        assert_eq!(text(of_all, &vars), text(of_all, &[]));
        let through = text(of_all, &[("all_proxy", "socks5://b:2"), ("NO_PROXY", "x")]);
        assert!(through.contains("\"b\"") && through.contains("\"x\""), "{through}");
        assert_eq!(text(of_all, &[("ALL_PROXY", "gopher://a")]), "wrong");
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
