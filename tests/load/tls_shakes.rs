//! A client that does nothing but TLS handshakes, each with one `GET /plaintext` behind it:
//! `cargo xtask bench tls` measures what they cost a server. Blocking sockets, and rustls alone.
//!
//! usage: `tls_shakes make DIR` (a certificate for localhost: DIR/cert.pem, DIR/key.pem), or
//! `tls_shakes full|resumed PORT N DIR`, which trusts that certificate alone

#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a program that reports to others")]
#![expect(clippy::disallowed_types, reason = "the peer of a real socket")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

type Res<T = ()> = Result<T, Box<dyn std::error::Error>>;

const REQUEST: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["make", dir] => make(Path::new(dir)),
        [kind @ ("full" | "resumed"), port, count, dir] => {
            shake(*kind == "resumed", port, count, Path::new(dir))
        }
        _ => Err("usage: tls_shakes make DIR | full|resumed PORT N DIR".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn make(dir: &Path) -> Res {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("cert.pem"), made.cert.pem())?;
    Ok(std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem())?)
}

/// Makes `count` connections one after the other, and one before them that may be no other.
fn shake(resumed: bool, port: &str, count: &str, dir: &Path) -> Res {
    let (port, count) = (port.parse::<u16>()?, count.parse::<u32>()?);
    let config = Arc::new(config(resumed, dir)?);
    once(&config, port)?;
    let wanted = if resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
    for _ in 0..count {
        let kind = once(&config, port)?;
        if kind != Some(wanted) {
            return Err(format!("the handshake was {kind:?}, not {wanted:?}").into());
        }
    }
    Ok(())
}

fn config(resumed: bool, dir: &Path) -> Res<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("cert.pem"))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if !resumed {
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}

fn once(config: &Arc<ClientConfig>, port: u16) -> Res<Option<HandshakeKind>> {
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
    let mut peer = StreamOwned::new(tls, socket);
    peer.write_all(REQUEST)?;
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.1 200 ") || !answer.ends_with(b"Hello, World!") {
        return Err(format!("answered {:?}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(peer.conn.handshake_kind())
}
