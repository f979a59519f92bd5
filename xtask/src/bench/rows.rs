//! What is measured: one row for each kind of load.

use std::path::PathBuf;

use super::{Cores, files};
use crate::load::{BINARY, Exchange};
use crate::server::Server as Process;
use crate::{Res, sh};

/// A kind of load.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) exchange: Exchange,
    pub(super) peers: usize,
    pub(super) protocol: Protocol,
    /// What lodger aims at, as a multiple of the [base](Protocol::base).
    pub(super) aim: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Ws,
    H1,
    /// Files over HTTP/1.1.
    Files,
}

impl Protocol {
    /// What the others are a multiple of.
    pub(super) fn base(self) -> Server {
        match self {
            Self::Ws | Self::H1 => Server::Floor,
            Self::Files => Server::Nginx,
        }
    }
}

/// A program that is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Server {
    Floor,
    Lodger,
    Hyper,
    FastWebsockets,
    Tungstenite,
    Nginx,
}

impl Server {
    /// In the order of the columns.
    pub(super) const ALL: [Self; 6] = [
        Self::Nginx,
        Self::Floor,
        Self::Lodger,
        Self::Hyper,
        Self::FastWebsockets,
        Self::Tungstenite,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Lodger => "lodger",
            Self::Hyper => "hyper",
            Self::FastWebsockets => "fastwebsockets",
            Self::Tungstenite => "tokio-tungstenite",
            Self::Nginx => "nginx",
        }
    }

    /// Starts it on the server's processor.
    pub(super) fn start(self, protocol: Protocol, cores: Cores) -> Res<Process> {
        let run = |program: PathBuf| Process::spawn(&mut cores.server(&program));
        let lodger = ["serve", "--listen", "127.0.0.1:0"];
        match self {
            Self::Nginx => files::nginx(cores),
            Self::Lodger => {
                let mut command = cores.server(&sh::lodger());
                command.args(lodger);
                if protocol == Protocol::Files {
                    command.arg(files::folder()?.join("www"));
                }
                Process::spawn(&mut command)
            }
            Self::Floor => run(floor()),
            Self::Hyper => run(sh::target("peers/release/hyper")),
            Self::FastWebsockets => run(sh::target("peers/release/fastwebsockets")),
            Self::Tungstenite => run(sh::target("peers/release/tungstenite")),
        }
    }

    pub(super) fn speaks(self, protocol: Protocol) -> bool {
        match self {
            Self::Lodger => true,
            Self::Floor => protocol != Protocol::Files,
            Self::Nginx => protocol == Protocol::Files,
            Self::Hyper => protocol == Protocol::H1,
            Self::FastWebsockets | Self::Tungstenite => protocol == Protocol::Ws,
        }
    }

    /// Tells whether it is there: `peers` says whether those that are built apart are.
    pub(super) fn is_here(self, peers: bool) -> bool {
        match self {
            Self::Floor | Self::Lodger => true,
            Self::Nginx => sh::have("nginx"),
            Self::Hyper | Self::FastWebsockets | Self::Tungstenite => peers,
        }
    }
}

/// The program of [`Server::Floor`].
pub(super) fn floor() -> PathBuf {
    sh::target("release/floor")
}

/// A browser's fields for a page: twelve of them, some 650 bytes.
const BROWSER: &str = "\
Host: 127.0.0.1:7681\r\n\
Connection: keep-alive\r\n\
sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/140.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Sec-Fetch-Site: none\r\n\
Sec-Fetch-Mode: navigate\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n";

/// A client's only obligatory field (RFC 9112, section 3.2).
const HOST: &str = "Host: localhost\r\n";

/// Gives all rows, in the order in which they are measured and shown.
pub(super) fn all() -> Vec<Row> {
    let ws = |size, depth| Exchange::echo(BINARY, &vec![b'w'; size]).deep(depth);
    let h1 = |fields, depth| Exchange::plaintext(fields).deep(depth);
    vec![
        row("ws echo 64 B, 100 connections", ws(64, 1), 100, Some(1.05)),
        row("ws echo 64 B, 1,000 connections", ws(64, 1), 1000, None),
        row("ws echo 16 KiB, 100 connections", ws(16 << 10, 1), 100, Some(1.1)),
        row("ws echo 64 B, 32 connections, 16 deep", ws(64, 16), 32, Some(1.5)),
        row("GET /plaintext, 32 connections", h1(HOST, 1), 32, Some(1.15)),
        row("GET /plaintext, 256 connections", h1(HOST, 1), 256, Some(1.15)),
        row("GET /plaintext, 32 connections, 16 deep", h1(HOST, 16), 32, Some(2.5)),
        row("GET /plaintext as a browser, 32 connections", h1(BROWSER, 1), 32, None),
        file("a file of 10 KB, 32 connections", "/small.bin", files::SMALL, 32),
        file("a file of 1 MB, 8 connections", "/large.bin", files::LARGE, 8),
    ]
}

fn file(name: &'static str, path: &str, size: usize, peers: usize) -> Row {
    let exchange = Exchange::get(path, HOST, files::content(size));
    Row { name, exchange, peers, protocol: Protocol::Files, aim: Some(1.1) }
}

fn row(name: &'static str, exchange: Exchange, peers: usize, aim: Option<f64>) -> Row {
    let protocol = if exchange.is_echo() { Protocol::Ws } else { Protocol::H1 };
    Row { name, exchange, peers, protocol, aim }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_sends_twelve_fields() {
        let lines: Vec<&str> = BROWSER.split_terminator("\r\n").collect();

        assert_eq!(lines.len(), 12);
        assert!(lines.iter().all(|line| line.contains(": ")), "{lines:?}");
    }
}
