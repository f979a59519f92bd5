//! What a handshake agreed on.

use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

/// What a handshake agreed on.
#[derive(Clone, Debug)]
pub struct Session {
    protocol: &'static str,
    cipher: &'static str,
    alpn: Option<Box<[u8]>>,
    sni: Option<Box<str>>,
    peer: Vec<Box<[u8]>>,
    resumed: bool,
}

impl Session {
    pub(crate) fn of(conn: &rustls::CommonState, sni: Option<&str>) -> Self {
        let protocol = match conn.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let suite = conn.negotiated_cipher_suite();
        let certificates = conn.peer_certificates().unwrap_or_default();
        Self {
            protocol,
            cipher: suite.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown"),
            alpn: conn.alpn_protocol().map(Box::from),
            sni: sni.map(Box::from),
            peer: certificates.iter().map(|der| Box::from(&**der)).collect(),
            resumed: conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }

    /// Gives the version: `TLSv1.3` or `TLSv1.2`.
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// Gives the cipher suite, as its registry names it: `TLS13_AES_256_GCM_SHA384`.
    pub fn cipher(&self) -> &'static str {
        self.cipher
    }

    /// Gives the protocol that both sides agreed to speak: RFC 7301. `None` if neither asked.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Gives the name that the client asked for: RFC 6066, section 3. Always `None` on the client's
    /// own side.
    pub fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// Gives the peer's certificates in DER, its own first; empty if it showed none. They have been
    /// verified by whatever the configuration says.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.peer.iter().map(|der| &**der)
    }

    /// Tells whether an earlier session was resumed: RFC 8446, section 2.2.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Gives one line for people to read: `TLSv1.3 TLS13_AES_256_GCM_SHA384 alpn http/1.1`.
    pub fn summary(&self) -> String {
        let alpn = self.alpn().map_or("-".into(), String::from_utf8_lossy);
        let resumed = if self.resumed { " resumed" } else { "" };
        std::format!("{} {} alpn {alpn}{resumed}", self.protocol, self.cipher)
    }
}
