//! Reason codes: MQTT 5.0, section 2.4, and what they are in MQTT 3.1.1.

use core::fmt;

/// Why something was refused, or that it was done: MQTT 5.0, section 2.4.
///
/// A connection of MQTT 3.1.1 has no such codes beyond CONNACK and SUBACK; there they are
/// translated, or the connection ends without one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Code(
    /// The number on the wire.
    pub u8,
);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Gives the name that the specification has for it; empty for an unknown one.
            pub const fn text(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => "",
                }
            }
        }
    };
}

codes! {
    /// Done; in a SUBACK QoS 0; in a DISCONNECT a normal end.
    SUCCESS = 0x00, "success";
    /// A subscription with QoS 1.
    GRANTED_1 = 0x01, "granted QoS 1";
    /// A subscription with QoS 2.
    GRANTED_2 = 0x02, "granted QoS 2";
    /// A client goes and wants its will to be published.
    DISCONNECT_WITH_WILL = 0x04, "disconnect with will message";
    /// Taken, though nobody subscribes to it.
    NO_MATCHING_SUBSCRIBERS = 0x10, "no matching subscribers";
    /// There was no such subscription.
    NO_SUBSCRIPTION_EXISTED = 0x11, "no subscription existed";
    /// The exchange of AUTH goes on.
    CONTINUE_AUTHENTICATION = 0x18, "continue authentication";
    /// A client wants to authenticate again.
    RE_AUTHENTICATE = 0x19, "re-authenticate";
    /// Refused without a reason.
    UNSPECIFIED = 0x80, "unspecified error";
    /// A packet cannot be read.
    MALFORMED_PACKET = 0x81, "malformed packet";
    /// A packet may not come here.
    PROTOCOL_ERROR = 0x82, "protocol error";
    /// Valid, and refused by this implementation.
    IMPLEMENTATION_SPECIFIC = 0x83, "implementation specific error";
    /// The server does not speak this version.
    UNSUPPORTED_VERSION = 0x84, "unsupported protocol version";
    /// The client identifier is not allowed.
    CLIENT_ID_NOT_VALID = 0x85, "client identifier not valid";
    /// The name or the password is wrong.
    BAD_CREDENTIALS = 0x86, "bad user name or password";
    /// This client may not do that.
    NOT_AUTHORIZED = 0x87, "not authorized";
    /// The server is not there now.
    SERVER_UNAVAILABLE = 0x88, "server unavailable";
    /// The server has too much to do.
    SERVER_BUSY = 0x89, "server busy";
    /// The client is banned.
    BANNED = 0x8A, "banned";
    /// The server ends.
    SERVER_SHUTTING_DOWN = 0x8B, "server shutting down";
    /// The authentication method is not known or not the one of the connection.
    BAD_AUTHENTICATION_METHOD = 0x8C, "bad authentication method";
    /// Nothing came within one and a half keep-alives.
    KEEP_ALIVE_TIMEOUT = 0x8D, "keep alive timeout";
    /// Another connection has the same client identifier.
    SESSION_TAKEN_OVER = 0x8E, "session taken over";
    /// The filter is well formed and not accepted.
    TOPIC_FILTER_INVALID = 0x8F, "topic filter invalid";
    /// The topic is well formed and not accepted.
    TOPIC_NAME_INVALID = 0x90, "topic name invalid";
    /// The packet identifier is under way already.
    PACKET_ID_IN_USE = 0x91, "packet identifier in use";
    /// The packet identifier is not known.
    PACKET_ID_NOT_FOUND = 0x92, "packet identifier not found";
    /// More was sent unacknowledged than was allowed.
    RECEIVE_MAXIMUM_EXCEEDED = 0x93, "receive maximum exceeded";
    /// The alias is 0 or over the maximum.
    TOPIC_ALIAS_INVALID = 0x94, "topic alias invalid";
    /// The packet is over the maximum.
    PACKET_TOO_LARGE = 0x95, "packet too large";
    /// Too many messages a second.
    MESSAGE_RATE_TOO_HIGH = 0x96, "message rate too high";
    /// A limit of an administrator is reached.
    QUOTA_EXCEEDED = 0x97, "quota exceeded";
    /// An administrator ended it.
    ADMINISTRATIVE_ACTION = 0x98, "administrative action";
    /// The payload is not what its indicator says.
    PAYLOAD_FORMAT_INVALID = 0x99, "payload format invalid";
    /// The server keeps no messages.
    RETAIN_NOT_SUPPORTED = 0x9A, "retain not supported";
    /// The server does not speak this QoS.
    QOS_NOT_SUPPORTED = 0x9B, "QoS not supported";
    /// For a while another server is to be used.
    USE_ANOTHER_SERVER = 0x9C, "use another server";
    /// For good another server is to be used.
    SERVER_MOVED = 0x9D, "server moved";
    /// The server has no shared subscriptions.
    SHARED_NOT_SUPPORTED = 0x9E, "shared subscriptions not supported";
    /// Too many connections a second.
    CONNECTION_RATE_EXCEEDED = 0x9F, "connection rate exceeded";
    /// The time allowed for this connection is over.
    MAXIMUM_CONNECT_TIME = 0xA0, "maximum connect time";
    /// The server has no subscription identifiers.
    SUBSCRIPTION_IDS_NOT_SUPPORTED = 0xA1, "subscription identifiers not supported";
    /// The server has no wildcards.
    WILDCARDS_NOT_SUPPORTED = 0xA2, "wildcard subscriptions not supported";
}

impl Code {
    /// Tells whether it refuses something: MQTT 5.0, section 2.4.
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// Gives the return code of a CONNACK: MQTT 3.1.1, section 3.2.2.3.
    pub const fn connack_v4(self) -> u8 {
        match self {
            Self::SUCCESS => 0,
            Self::UNSUPPORTED_VERSION => 1,
            Self::CLIENT_ID_NOT_VALID => 2,
            Self::BAD_CREDENTIALS => 4,
            Self::NOT_AUTHORIZED | Self::BANNED | Self::BAD_AUTHENTICATION_METHOD => 5,
            _ => 3,
        }
    }

    /// Reads the return code of a CONNACK of MQTT 3.1.1; `None` for one that is not defined.
    pub const fn from_connack_v4(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::SUCCESS,
            1 => Self::UNSUPPORTED_VERSION,
            2 => Self::CLIENT_ID_NOT_VALID,
            3 => Self::SERVER_UNAVAILABLE,
            4 => Self::BAD_CREDENTIALS,
            5 => Self::NOT_AUTHORIZED,
            _ => return None,
        })
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({:#04x} {})", self.0, self.text())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            "" => write!(f, "reason {:#04x}", self.0),
            text => f.write_str(text),
        }
    }
}
