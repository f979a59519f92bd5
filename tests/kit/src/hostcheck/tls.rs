//! One flow over TLS: the same program, started with a certificate that is made for it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Res;
use crate::check::{Wanted, message, same_threads};
use crate::feed::Feed;
use crate::program::Program;
use crate::web::{self, Scheme, Stream};
use crate::ws::Client;

/// Messages that are echoed: each form of the length, and more than one record.
const MESSAGES: [usize; 6] = [0, 1, 2, 99, 129, 999];

/// A certificate for 127.0.0.1, and its key, in files that go with the value.
pub(crate) struct Certificate {
    folder: PathBuf,
    config: Arc<ClientConfig>,
}

impl Certificate {
    fn make() -> Res<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let folder = std::env::temp_dir().join(format!("hostcheck-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let made_files = Self { folder, config: Arc::new(config) };
        fs::write(made_files.certificate(), made.cert.pem())?;
        fs::write(made_files.key(), made.signing_key.serialize_pem())?;
        Ok(made_files)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    /// Opens a connection; the handshake is made with the first byte.
    fn connect(&self, port: u16) -> Res<Box<dyn Stream>> {
        let name = ServerName::try_from("127.0.0.1")?;
        let tls = ClientConnection::new(Arc::clone(&self.config), name)?;
        Ok(Box::new(StreamOwned::new(tls, web::connect(port)?)))
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // What is left lies among the temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts the program over TLS: a page and a WebSocket, verified by name; no thread comes.
pub(crate) fn check(wanted: &Wanted, command: &[String]) -> Res {
    let (feed, files) = (Feed::start(0)?, Certificate::make()?);
    let mut program = Program::start(command, feed.port(), Some(&files))?;
    let port = program.port();
    let ticks = web::get_over(files.connect(port)?, port, "/ticks")?;
    ticks.trim().parse::<u64>().map_err(|_| format!("/ticks says {ticks:?}"))?;
    let mut client = Client::open_over(files.connect(port)?, (Scheme::Https, port), "/echo")?;
    for number in MESSAGES {
        let (opcode, payload) = message(number);
        client.send(opcode, &payload)?;
        if client.receive()? != (opcode, payload) {
            return Err(format!("message {number} came back changed").into());
        }
    }
    same_threads(program.threads()?, wanted.threads)?;
    program.kill()
}
