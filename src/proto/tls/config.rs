//! Who we are and whom we trust: certificates, roots, and what a handshake may agree on.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::format;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::vec::Vec;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::engine::Engine;
use super::trust::Anybody;
use crate::Error;

/// Sessions that a server remembers for clients which resume by an id and not by a ticket.
const SESSIONS: usize = 1024;

/// What does the arithmetic.
pub(super) fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "tls-aws-lc")]
    return Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(feature = "tls-aws-lc"))]
    Arc::new(rustls::crypto::ring::default_provider())
}

fn tickets() -> Result<Arc<dyn rustls::server::ProducesTickets>, rustls::Error> {
    #[cfg(feature = "tls-aws-lc")]
    return rustls::crypto::aws_lc_rs::Ticketer::new();
    #[cfg(not(feature = "tls-aws-lc"))]
    rustls::crypto::ring::Ticketer::new()
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.into())
}

/// A certificate chain and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    /// Where it is read again from.
    files: Option<(PathBuf, PathBuf)>,
}

impl Identity {
    /// Reads PEM files: the certificate, followed by those that signed it; and its key (PKCS #8,
    /// PKCS #1 or SEC 1, not encrypted).
    ///
    /// # Errors
    ///
    /// A file cannot be read, holds nothing of the kind, or the key is for another certificate; the
    /// text names the file.
    pub fn from_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> io::Result<Self> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let chain = read(certificate)?;
        let secret = read(key)?;
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", key.display()));
        let chain = chain_of(&chain)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", certificate.display())))?;
        let key_pair = certified(chain, &secret).map_err(named)?;
        Ok(Self { key: key_pair, files: Some((certificate.into(), key.into())) })
    }

    /// Takes the same as PEM text in memory.
    ///
    /// # Errors
    ///
    /// There is nothing of the kind in it, or the key is for another certificate.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> io::Result<Self> {
        Ok(Self { key: certified(chain_of(certificate)?, key)?, files: None })
    }

    /// Gives its own certificate, in DER.
    pub fn certificate(&self) -> &[u8] {
        self.key.cert.first().map_or(&[], |der| der)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

fn chain_of(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(invalid("no PEM certificate in it")),
        Ok(chain) => Ok(chain),
        Err(e) => Err(invalid(format!("no PEM certificate: {e}"))),
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> io::Result<Arc<CertifiedKey>> {
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| match e {
        pem::Error::NoItemsFound => invalid("no PEM private key in it"),
        e => invalid(format!("no PEM private key: {e}")),
    })?;
    match CertifiedKey::from_der(chain, key, &provider()) {
        Ok(key) => Ok(Arc::new(key)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(invalid("the private key is not the certificate's"))
        }
        Err(e) => Err(invalid(format!("the certificate and key cannot be used: {e}"))),
    }
}

/// Authorities whose word is taken for who somebody is.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Reads those that this system trusts. Takes some milliseconds and about a megabyte: make it
    /// once.
    ///
    /// # Errors
    ///
    /// There are none, or they cannot be read.
    pub fn platform() -> io::Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        match (store.is_empty(), found.errors.first()) {
            (false, _) => Ok(Self(Arc::new(store))),
            (true, Some(e)) => Err(io::Error::other(format!("the system's certificates: {e}"))),
            (true, None) => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "this system has no certificates of authorities (ca-certificates)",
            )),
        }
    }

    /// Reads a PEM file of certificates.
    ///
    /// # Errors
    ///
    /// It cannot be read, or a certificate in it cannot be used; the text names the file.
    pub fn from_file(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        Self::from_pem(&read(path)?)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
    }

    /// Takes PEM text: one certificate or several.
    ///
    /// # Errors
    ///
    /// There is none in it, or one cannot be used.
    pub fn from_pem(pem: &[u8]) -> io::Result<Self> {
        let mut store = RootCertStore::empty();
        for certificate in chain_of(pem)? {
            store.add(certificate).map_err(|e| invalid(format!("no authority: {e}")))?;
        }
        Ok(Self(Arc::new(store)))
    }
}

/// What a client hears that speaks plain HTTP where TLS is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Plain {
    /// 400.
    #[default]
    Refuse,
    /// 308 to the same place by https, on the port that it came to.
    Redirect,
}

/// Puts a [`ServerConfig`] together.
#[must_use = "nothing is made before `build`"]
#[derive(Debug, Default)]
pub struct ServerBuilder {
    identities: Vec<Identity>,
    alpn: Vec<Vec<u8>>,
    clients: Option<(Roots, bool)>,
    plain: Plain,
    fresh: bool,
}

impl ServerBuilder {
    /// Adds an identity. With several a client is shown the first whose certificate is for the name
    /// that it asks for (RFC 6066, section 3); the first of all if there is none.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identities.push(identity);
        self
    }

    /// Sets which protocols may be agreed on, the preferred one first (RFC 7301). Unless set it is
    /// what the server behind speaks. A client that offers protocols, and none of these, is
    /// refused; one that offers none is not.
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self
    }

    /// Asks clients for a certificate that one of `roots` has signed, and refuses those without.
    pub fn require_clients(mut self, roots: Roots) -> Self {
        self.clients = Some((roots, true));
        self
    }

    /// Asks clients for a certificate that one of `roots` has signed, and takes those without too:
    /// see [`Session::peer_certificates`](super::Session::peer_certificates).
    pub fn ask_clients(mut self, roots: Roots) -> Self {
        self.clients = Some((roots, false));
        self
    }

    /// Sets what plain HTTP is answered; 400 unless set.
    pub fn plain(mut self, plain: Plain) -> Self {
        self.plain = plain;
        self
    }

    /// Has every handshake be a full one. Unless set, sessions are resumed by tickets and by ids.
    pub fn without_resumption(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Makes the configuration.
    ///
    /// # Errors
    ///
    /// There is no identity, or the roots for clients are empty.
    pub fn build(self) -> io::Result<ServerConfig> {
        if self.identities.is_empty() {
            return Err(invalid("a TLS server has a certificate and a key"));
        }
        let keys = self.identities.iter().map(|i| Arc::clone(&i.key)).collect();
        let keys = Arc::new(Identities(RwLock::new(keys)));
        let config = self.rustls(&keys).map_err(|e| invalid(format!("TLS: {e}")))?;
        Ok(ServerConfig(Rc::new(Inner {
            current: RefCell::new(Arc::new(config)),
            version: Cell::new(0),
            plain: Cell::new(self.plain),
            own: Some(Own { keys, identities: self.identities }),
        })))
    }

    fn rustls(
        &self,
        keys: &Arc<Identities>,
    ) -> Result<rustls::ServerConfig, Box<dyn core::error::Error>> {
        let provider = provider();
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some((roots, required)) => {
                let roots = Arc::clone(&roots.0);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = if *required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let keys: Arc<dyn ResolvesServerCert> = Arc::<Identities>::clone(keys);
        let mut config = builder.with_cert_resolver(keys);
        config.alpn_protocols.clone_from(&self.alpn);
        if self.fresh {
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else {
            config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS);
            config.ticketer = tickets()?;
        }
        Ok(config)
    }
}

/// Who a server is, and what it may agree on. Cheap to clone: the clones are one.
#[derive(Clone, Debug)]
pub struct ServerConfig(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    current: RefCell<Arc<rustls::ServerConfig>>,
    /// Counts replacements.
    version: Cell<u32>,
    plain: Cell<Plain>,
    /// `None` for one that was given whole.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    keys: Arc<Identities>,
    identities: Vec<Identity>,
}

impl ServerConfig {
    /// Begins one.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Makes one from a certificate file and a key file: see [`Identity::from_files`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_files(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> io::Result<Self> {
        Self::builder().identity(Identity::from_files(certificate, key)?).build()
    }

    /// Takes a configuration of rustls's as it is, except that early data is turned off (its
    /// requests can be replayed: RFC 8446, section 8), and that the protocols of the server behind
    /// stand in for an empty list.
    pub fn from_rustls(config: Arc<rustls::ServerConfig>) -> Self {
        Self(Rc::new(Inner {
            current: RefCell::new(config),
            version: Cell::new(0),
            plain: Cell::new(Plain::default()),
            own: None,
        }))
    }

    /// Reads the files of its identities again. Connections live on; handshakes from now on show
    /// what was read.
    ///
    /// # Errors
    ///
    /// As [`Identity::from_files`], and nothing has changed; `InvalidInput` for a configuration of
    /// rustls's.
    pub fn reload(&self) -> io::Result<()> {
        let own = self.0.own.as_ref().ok_or_else(|| invalid("it was not read from files"))?;
        let again = own.identities.iter().map(|identity| match &identity.files {
            Some((certificate, key)) => Ok(Identity::from_files(certificate, key)?.key),
            None => Ok(Arc::clone(&identity.key)),
        });
        let again: Vec<_> = again.collect::<io::Result<_>>()?;
        *own.keys.0.write().unwrap_or_else(PoisonError::into_inner) = again;
        Ok(())
    }

    /// Puts another configuration in this one's place, wherever it is used. Connections live on;
    /// handshakes from now on follow the new one, whose sessions are its own.
    pub fn replace(&self, with: &Self) {
        *self.0.current.borrow_mut() = Arc::clone(&with.0.current.borrow());
        self.0.plain.set(with.0.plain.get());
        self.0.version.set(self.0.version.get().wrapping_add(1));
    }

    /// What plain HTTP is answered.
    pub(crate) fn plain(&self) -> Plain {
        self.0.plain.get()
    }

    /// Counts replacements.
    pub(crate) fn version(&self) -> u32 {
        self.0.version.get()
    }

    /// Makes what handshakes begin with, for a server that speaks `alpn`.
    pub(crate) fn accept(&self, alpn: &[&str]) -> Accept {
        let mut config = rustls::ServerConfig::clone(&self.0.current.borrow());
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        }
        config.max_early_data_size = 0;
        let resolver = Arc::clone(&config.cert_resolver);
        let names = Arc::new(Names { resolver, last: Mutex::new(None) });
        config.cert_resolver = Arc::<Names>::clone(&names);
        Accept { config: Arc::new(config), names }
    }
}

/// What a listener's handshakes begin with.
#[derive(Debug)]
pub(crate) struct Accept {
    pub(super) config: Arc<rustls::ServerConfig>,
    names: Arc<Names>,
}

impl Accept {
    /// Takes the name that was asked for last. Never shared with another thread, so that is the one
    /// of the handshake that has just been fed.
    pub(super) fn take_name(&self) -> Option<Box<str>> {
        self.names.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Notes the name that a client asks for, then asks whoever has the certificates.
#[derive(Debug)]
struct Names {
    resolver: Arc<dyn ResolvesServerCert>,
    last: Mutex<Option<Box<str>>>,
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(Box::from);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = name;
        self.resolver.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.resolver.only_raw_public_keys()
    }
}

/// Chooses among several certificates.
#[derive(Debug)]
struct Identities(RwLock<Vec<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name
            .filter(|_| keys.len() > 1)
            .and_then(|name| keys.iter().find(|key| is_for(key, &name)));
        named.or(keys.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    certificate.is_ok_and(|c| rustls::client::verify_server_name(&c, name).is_ok())
}

/// Whom a client trusts, and who it is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientConfig(Arc<rustls::ClientConfig>);

impl ClientConfig {
    /// Trusts the authorities that this system trusts: see [`Roots::platform`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn platform() -> io::Result<Self> {
        Self::new(&Roots::platform()?)
    }

    /// Trusts `roots` alone.
    ///
    /// # Errors
    ///
    /// `Other`: no version of TLS can be spoken with the algorithms there are.
    pub fn new(roots: &Roots) -> io::Result<Self> {
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let roots = Arc::clone(&roots.0);
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Trusts anybody. What is sent can be read and changed by whoever stands between: for tests,
    /// and for finding out why something is refused.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn insecure() -> io::Result<Self> {
        let provider = provider();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let anybody = Arc::new(Anybody(provider));
        let builder = builder.dangerous().with_custom_certificate_verifier(anybody);
        Ok(Self(Arc::new(builder.with_no_client_auth())))
    }

    /// Takes a configuration of rustls's as it is, except that the protocols of the client stand in
    /// for an empty list.
    pub fn from_rustls(config: Arc<rustls::ClientConfig>) -> Self {
        Self(config)
    }

    /// Shows `identity` to servers that ask for a certificate.
    #[must_use]
    pub fn identity(mut self, identity: &Identity) -> Self {
        let key = rustls::sign::SingleCertAndKey::from(Arc::clone(&identity.key));
        Arc::make_mut(&mut self.0).client_auth_cert_resolver = Arc::new(key);
        self
    }

    /// Sets which protocols are offered (RFC 7301). Unless set it is what the client speaks.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::make_mut(&mut self.0).alpn_protocols = protocols;
        self
    }

    /// Has every handshake be a full one.
    #[must_use]
    pub fn without_resumption(mut self) -> Self {
        Arc::make_mut(&mut self.0).resumption = rustls::client::Resumption::disabled();
        self
    }

    /// Gives it for a client that speaks `alpn`.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "for clients alone"))]
    pub(crate) fn speaking(self, alpn: &[&str]) -> Self {
        if self.0.alpn_protocols.is_empty() { self.alpn(alpn) } else { self }
    }

    /// Begins a handshake with the server of this name, which may be an address.
    ///
    /// # Errors
    ///
    /// `Caller`: it is no name.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "for clients alone"))]
    pub(crate) fn begin(&self, name: &str) -> Result<Engine, Error> {
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        // The dot of the root stands in no certificate: RFC 6066, section 3.
        let bare = bare.strip_suffix('.').unwrap_or(bare);
        let name = ServerName::try_from(String::from(bare))
            .map_err(|_| Error::misuse("the server's name can stand in no certificate"))?;
        Engine::client(Arc::clone(&self.0), name)
    }
}
