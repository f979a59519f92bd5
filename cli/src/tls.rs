//! TLS on the command line: who the server is, and whom a client trusts.

use std::path::PathBuf;

use clap::Args;
use lodger::tls::{ClientConfig, Identity, Roots, ServerConfig};

use crate::report::{Problem, say};

/// Who the server is.
#[derive(Args, Clone, Debug)]
pub(crate) struct Server {
    /// Serve TLS wherever it listens; with a certificate made on the spot unless --cert names one
    #[arg(long)]
    pub(crate) tls: bool,

    /// Certificate, and those that signed it: a PEM file
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"])]
    cert: Option<PathBuf>,

    /// The certificate's private key: a PEM file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl Server {
    /// Makes the configuration; `None` without --tls.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is none of the kind.
    pub(crate) fn config(&self) -> Result<Option<ServerConfig>, Problem> {
        if !self.tls {
            return Ok(None);
        }
        let made = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => ServerConfig::from_files(cert, key),
            _ => self_signed()?,
        };
        made.map(Some).map_err(|e| Problem::new(format!("cannot serve TLS: {e}")))
    }
}

/// Makes a certificate for this machine's own names, which nobody trusts.
fn self_signed() -> Result<std::io::Result<ServerConfig>, Problem> {
    say(format_args!(
        "WARNING: no --cert, so a self-signed certificate for localhost was made, until the program \
         ends: clients will refuse it unless told not to look (curl -k, lodger fetch --insecure)"
    ));
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|e| Problem::new(format!("cannot make a certificate: {e}")))?;
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    Ok(Identity::from_pem(cert.as_bytes(), key.as_bytes())
        .and_then(|identity| ServerConfig::builder().identity(identity).build()))
}

/// Whom a client trusts.
#[derive(Args, Clone, Debug)]
pub(crate) struct Trust {
    /// Trust the authorities in this PEM file, and not the system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,

    /// Trust anybody: whoever stands between can read and change everything
    #[arg(short = 'k', long)]
    insecure: bool,
}

impl Trust {
    /// Makes the configuration; `None` where nothing was said.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds no certificates.
    pub(crate) fn config(&self) -> Result<Option<ClientConfig>, Problem> {
        let made = match &self.cacert {
            _ if self.insecure => {
                say(format_args!("WARNING: --insecure: nobody's certificate is verified"));
                ClientConfig::insecure()
            }
            Some(file) => Roots::from_file(file).and_then(|roots| ClientConfig::new(&roots)),
            None => return Ok(None),
        };
        made.map(Some).map_err(|e| Problem::new(format!("cannot use TLS: {e}")))
    }
}
