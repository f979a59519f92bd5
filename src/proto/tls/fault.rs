//! What rustls finds wrong, as our [`Error`]: which rule, and which alert says it to the peer
//! (RFC 8446, section 6.2).

use crate::{Error, Wire};

/// The stream ended without close_notify where only its end tells that it is whole.
pub(crate) const CUT: Error =
    Error::peer(Wire::None, "RFC 8446, 6.1: the stream was cut off without close_notify");
/// A handshake that did not come to its end in time.
pub(crate) const SLOW: Error = Error::peer(Wire::None, "RFC 8446, 4: the handshake took too long");

#[cfg(feature = "tls")]
pub(super) use of_rustls::{MAY_NOT_WRITE, TOO_LONG, of};

#[cfg(feature = "tls")]
mod of_rustls {
    use rustls::{
        AlertDescription, CertificateError as Cert, Error as Tls, PeerIncompatible as Cannot,
    };

    use crate::{Error, Wire};

    /// More waits for its end than any handshake needs.
    pub(in super::super) const TOO_LONG: Error =
        tls(10, "RFC 8446, 5.1: a record or handshake message too long");
    /// Called before the handshake is complete, or after so much that the keys are worn out.
    pub(in super::super) const MAY_NOT_WRITE: Error =
        Error::host("RFC 8446, 5.5: nothing more can be sealed");

    const fn tls(alert: u8, rule: &'static str) -> Error {
        Error::peer(Wire::Tls(alert), rule)
    }

    /// Names what went wrong.
    pub(in super::super) fn of(e: Tls) -> Error {
        match e {
            Tls::InvalidCertificate(e) => certificate(&e),
            Tls::NoCertificatesPresented => {
                tls(116, "RFC 8446, 4.4.2: a certificate is required, and none was shown")
            }
            Tls::NoApplicationProtocol => {
                tls(120, "RFC 7301, 3.2: no application protocol (ALPN) in common")
            }
            Tls::PeerIncompatible(
                Cannot::NoCertificateRequestSignatureSchemesInCommon
                | Cannot::NoSignatureSchemesInCommon
                | Cannot::NoCipherSuitesInCommon
                | Cannot::NoKxGroupsInCommon,
            ) => tls(40, "RFC 8446, 4.1.1: no algorithms in common"),
            Tls::PeerIncompatible(
                Cannot::Tls12NotOffered
                | Cannot::Tls12NotOfferedOrEnabled
                | Cannot::Tls13RequiredForQuic
                | Cannot::SupportedVersionsExtensionRequired
                | Cannot::ServerDoesNotSupportTls12Or13
                | Cannot::ServerTlsVersionIsDisabledByOurConfig,
            ) => tls(70, "RFC 8446, 4.2.1: no version in common: TLS 1.2 or 1.3 is needed"),
            Tls::PeerIncompatible(_) => tls(40, "RFC 8446, 4.1: nothing that both sides can do"),
            Tls::DecryptError => tls(20, "RFC 8446, 5.2: a record that is not authentic"),
            Tls::PeerSentOversizedRecord => tls(22, "RFC 8446, 5.2: a record over 2^14 bytes"),
            Tls::InvalidMessage(rustls::InvalidMessage::MessageTooLarge) => {
                tls(22, "RFC 8446, 5.1: a record over its greatest length")
            }
            Tls::InvalidMessage(_) => tls(50, "RFC 8446, 5.1: what arrived is no TLS"),
            Tls::InappropriateMessage { .. } | Tls::InappropriateHandshakeMessage { .. } => {
                tls(10, "RFC 8446, 4: a message out of its turn")
            }
            Tls::PeerMisbehaved(_) => tls(47, "RFC 8446: a message that may not be"),
            Tls::AlertReceived(alert) => Error::peer(Wire::None, told(alert)),
            Tls::FailedToGetCurrentTime => Error::host("the time of day is not to be had"),
            Tls::FailedToGetRandomBytes => Error::host("random bytes are not to be had"),
            Tls::EncryptError => Error::host("RFC 8446, 5.2: a record could not be sealed"),
            _ => tls(80, "RFC 8446: the connection cannot go on"),
        }
    }

    /// Names what is wrong with a peer's certificate.
    fn certificate(e: &Cert) -> Error {
        match e {
            Cert::Expired | Cert::ExpiredContext { .. } => {
                tls(45, "RFC 5280, 4.1.2.5: the certificate has expired")
            }
            Cert::NotValidYet | Cert::NotValidYetContext { .. } => {
                tls(45, "RFC 5280, 4.1.2.5: the certificate is not valid yet")
            }
            Cert::NotValidForName | Cert::NotValidForNameContext { .. } => {
                tls(42, "RFC 9525, 6: the certificate is for another name")
            }
            Cert::UnknownIssuer => tls(
                48,
                "RFC 5280, 6.1: the certificate is self-signed or its issuer is not trusted",
            ),
            Cert::Revoked => tls(44, "RFC 5280, 6.3: the certificate has been revoked"),
            Cert::UnknownRevocationStatus
            | Cert::ExpiredRevocationList
            | Cert::ExpiredRevocationListContext { .. } => {
                tls(46, "RFC 5280, 6.3: whether the certificate has been revoked is not known")
            }
            Cert::InvalidPurpose | Cert::InvalidPurposeContext { .. } => {
                tls(43, "RFC 5280, 4.2.1.12: the certificate is for another purpose")
            }
            Cert::BadSignature => tls(51, "RFC 5280, 6.1: a signature in the certificate is wrong"),
            Cert::BadEncoding => tls(42, "RFC 5280, 4.1: the certificate cannot be read"),
            Cert::Other(e) if std::format!("{e:?}").contains("CaUsedAsEndEntity") => {
                tls(42, "RFC 5280, 4.2.1.9: the certificate is an authority's, self-signed perhaps")
            }
            _ => tls(42, "RFC 5280, 6: the certificate is not accepted"),
        }
    }

    /// Names what the peer says is wrong: RFC 8446, section 6.2.
    fn told(alert: AlertDescription) -> &'static str {
        match alert {
            AlertDescription::HandshakeFailure => "RFC 8446, 6.2: its alert is handshake_failure",
            AlertDescription::BadCertificate => "RFC 8446, 6.2: its alert is bad_certificate",
            AlertDescription::UnsupportedCertificate => {
                "RFC 8446, 6.2: its alert is unsupported_certificate"
            }
            AlertDescription::CertificateRevoked => {
                "RFC 8446, 6.2: its alert is certificate_revoked"
            }
            AlertDescription::CertificateExpired => {
                "RFC 8446, 6.2: its alert is certificate_expired"
            }
            AlertDescription::CertificateUnknown => {
                "RFC 8446, 6.2: its alert is certificate_unknown"
            }
            AlertDescription::IllegalParameter => "RFC 8446, 6.2: its alert is illegal_parameter",
            AlertDescription::UnknownCA => "RFC 8446, 6.2: its alert is unknown_ca",
            AlertDescription::AccessDenied => "RFC 8446, 6.2: its alert is access_denied",
            AlertDescription::DecodeError => "RFC 8446, 6.2: its alert is decode_error",
            AlertDescription::DecryptError => "RFC 8446, 6.2: its alert is decrypt_error",
            AlertDescription::ProtocolVersion => "RFC 8446, 6.2: its alert is protocol_version",
            AlertDescription::InternalError => "RFC 8446, 6.2: its alert is internal_error",
            AlertDescription::UserCanceled => "RFC 8446, 6.2: its alert is user_canceled",
            AlertDescription::UnrecognisedName => "RFC 8446, 6.2: its alert is unrecognized_name",
            AlertDescription::CertificateRequired => {
                "RFC 8446, 6.2: its alert is certificate_required"
            }
            AlertDescription::NoApplicationProtocol => {
                "RFC 8446, 6.2: its alert is no_application_protocol"
            }
            AlertDescription::UnexpectedMessage => "RFC 8446, 6.2: its alert is unexpected_message",
            AlertDescription::BadRecordMac => "RFC 8446, 6.2: its alert is bad_record_mac",
            AlertDescription::RecordOverflow => "RFC 8446, 6.2: its alert is record_overflow",
            _ => "RFC 8446, 6.2: it ended with an alert",
        }
    }
}
