//! One tree of limits: every size, count and rate that a peer controls is checked against one of
//! these before memory is taken for it.

use core::time::Duration;

use lodger_backend::Micros;

/// What peers may make us hold, do and wait for. Start from `Limits::default()`, change fields.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Limits {
    /// Connections, buffers and queues.
    pub io: IoLimits,
    /// HTTP/1.
    pub h1: H1Limits,
    /// HTTP/2.
    #[cfg(feature = "h2")]
    pub h2: H2Limits,
    /// WebSocket, unless its route says otherwise.
    pub ws: WsLimits,
    /// MQTT.
    #[cfg(feature = "mqtt")]
    pub mqtt: MqttLimits,
    /// Forms, unless their route says otherwise.
    pub form: FormLimits,
    /// Clients.
    pub client: ClientLimits,
    /// TLS.
    pub tls: TlsLimits,
}

/// TLS, both ends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsLimits {
    /// From the connection to the end of its handshake, on a server's side and on a client's.
    /// Default 8 s.
    pub handshake: Duration,
    /// Handshakes that servers begin in one turn, since each is a long computation; the others
    /// wait for the next. Default 5.
    pub starts: u32,
}

impl Default for TlsLimits {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(8), starts: 5 }
    }
}

/// Clients: how long each stage may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientLimits {
    /// From the start of an attempt to the first address of its name. Default 20 s.
    pub name: Duration,
    /// From there to the connection, and from that to a proxy to the tunnel. Default 10 s.
    pub connect: Duration,
    /// From the last byte of a request to the head of its response, or of a WebSocket's. Time in
    /// which input is paused does not count. Default 30 s.
    pub first_byte: Duration,
    /// Between two pieces of a response's body. Time in which input is paused, or a part of the
    /// request waits to be sent, does not count. Default 30 s.
    pub body: Duration,
    /// How long a connection is kept for another request. Default 10 s.
    pub idle: Duration,
    /// Connections kept for one origin. Default 8.
    pub idle_connections: usize,
    /// Interim responses (1xx) to one request. Default 16.
    pub interim: u32,
    /// Requests under way on one connection, where pipelining is asked for. Default 16.
    pub pipeline: usize,
    /// One server-sent event, in bytes. Default 1 MiB.
    pub event: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            name: Duration::from_secs(20),
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(10),
            idle_connections: 8,
            interim: 16,
            pipeline: 16,
            event: 1 << 20,
        }
    }
}

/// Connections, buffers and queues.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IoLimits {
    /// Connections open at once; at the limit accepting pauses. Default 65,536.
    pub connections: usize,
    /// The receive buffer of a turn, in bytes; one per depth of re-entry. Default 64 KiB.
    pub receive: usize,
    /// Queued output, in bytes, above which a connection takes no further message and is not read
    /// from. Default 256 KiB.
    pub queue_high: usize,
    /// Queued output, in bytes, below which a connection counts as writable. Default 16 KiB.
    pub queue_low: usize,
    /// The largest single message taken for sending, in bytes. Default 64 MiB.
    pub send: usize,
    /// Unconsumed input kept for all connections together, in bytes. Default 64 MiB.
    pub stash: usize,
    /// What all that compresses and expands messages may hold together, in bytes. Beyond it
    /// messages are sent as they are, and a compressed one that needs more ends its connection
    /// with 1013. Default 64 MiB.
    #[cfg(feature = "deflate")]
    pub engines: usize,
    /// Output that makes no progress for this long ends the connection. Default 30 s.
    pub write_stall: Duration,
    /// How long a closing connection waits for the peer's last bytes. Default 2 s.
    pub linger: Duration,
    /// How many bytes a closing connection reads away meanwhile. Default 64 KiB.
    pub linger_bytes: usize,
    /// How long accepting pauses when the system is out of descriptors or memory. Default 100 ms.
    pub accept_pause: Duration,
}

impl Default for IoLimits {
    fn default() -> Self {
        Self {
            connections: 65_536,
            receive: 64 << 10,
            queue_high: 256 << 10,
            queue_low: 16 << 10,
            send: 64 << 20,
            stash: 64 << 20,
            #[cfg(feature = "deflate")]
            engines: 64 << 20,
            write_stall: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            linger_bytes: 64 << 10,
            accept_pause: Duration::from_millis(100),
        }
    }
}

/// HTTP/1.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct H1Limits {
    /// The request line, in bytes, else 414. Default 8 KiB.
    pub line: usize,
    /// One field line, in bytes, else 431. Default 8 KiB.
    pub field: usize,
    /// The whole head, in bytes, else 431. Default 16 KiB.
    pub head: usize,
    /// Field lines in a head, else 431. Default 100.
    pub fields: usize,
    /// Chunk extensions of one message, in bytes, else 400. Default 256.
    pub chunk_extensions: usize,
    /// The trailer section, in bytes, else 431. Default 4 KiB.
    pub trailers: usize,
    /// Field lines in a trailer section, else 431. Default 32.
    pub trailer_fields: usize,
    /// A request body where the handler asks for the whole, in bytes, else 413. Default 1 MiB.
    pub body: u64,
    /// From the first byte of a head to its last, else 408. Default 10 s.
    pub head_time: Duration,
    /// Before a body's rate is looked at. Default 5 s.
    pub body_grace: Duration,
    /// The least rate of a body, in bytes a second, averaged over `body_window`. Default 1 KiB.
    pub body_rate: u32,
    /// The time over which the rate of a body is averaged. Default 10 s.
    pub body_window: Duration,
    /// Between two requests on a connection. Default 15 s.
    pub idle: Duration,
    /// Requests on one connection; 0 is unlimited. Default 0.
    pub requests: u32,
}

impl Default for H1Limits {
    fn default() -> Self {
        Self {
            line: 8 << 10,
            field: 8 << 10,
            head: 16 << 10,
            fields: 100,
            chunk_extensions: 256,
            trailers: 4 << 10,
            trailer_fields: 32,
            body: 1 << 20,
            head_time: Duration::from_secs(10),
            body_grace: Duration::from_secs(5),
            body_rate: 1 << 10,
            body_window: Duration::from_secs(10),
            idle: Duration::from_secs(15),
            requests: 0,
        }
    }
}

/// HTTP/2: RFC 9113, section 10.5. Rates are a burst and how many a second after it; beyond one
/// the connection ends with ENHANCE_YOUR_CALM.
#[cfg(feature = "h2")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct H2Limits {
    /// Streams that the peer may have open at once; more are refused one by one. Default 100.
    pub streams: u32,
    /// What may arrive on a stream before it is read, in bytes. Default 65,535.
    pub window: u32,
    /// What may be on its way on all streams together, in bytes. Default 1 MiB.
    pub connection_window: u32,
    /// One field block as it arrives, in bytes, else ENHANCE_YOUR_CALM. Default 16 KiB.
    pub block: usize,
    /// CONTINUATION frames of one block. Default 8.
    pub continuations: u32,
    /// The fields of one block, names and values and 32 for each, in bytes, else 431. Default
    /// 16 KiB.
    pub list: usize,
    /// Fields in a block, else 431. Default 100.
    pub fields: usize,
    /// Pieces of a cookie in a block, else 431. Default 32.
    pub cookies: usize,
    /// Streams that the peer opens and resets, answered ones too. Default 200, 33 a second.
    pub resets: (u32, u32),
    /// Streams that we refuse or reset because of what the peer did. Default 200, 10 a second.
    pub faults: (u32, u32),
    /// What costs us and moves nothing: empty frames, tiny ones, unknown ones, padding. Default
    /// 10,000, 330 a second.
    pub glitches: (u32, u32),
    /// SETTINGS frames. Default 100, 10 a second.
    pub settings: (u32, u32),
    /// PING frames. Default 100, 10 a second.
    pub pings: (u32, u32),
    /// Control frames that wait to be sent. Default 5,000.
    pub control: u32,
    /// From our SETTINGS to their acknowledgement, else SETTINGS_TIMEOUT. Default 10 s.
    pub settings_time: Duration,
    /// From the first frame of a block to its last. Default 10 s.
    pub block_time: Duration,
    /// Without any stream. Default 15 s.
    pub idle: Duration,
    /// Silence with streams open, after which the peer is pinged. Default 30 s.
    pub ping_after: Duration,
    /// From that PING to giving the peer up. Default 10 s.
    pub pong_within: Duration,
}

#[cfg(feature = "h2")]
impl Default for H2Limits {
    fn default() -> Self {
        Self {
            streams: 100,
            window: 65_535,
            connection_window: 1 << 20,
            block: 16 << 10,
            continuations: 8,
            list: 16 << 10,
            fields: 100,
            cookies: 32,
            resets: (200, 33),
            faults: (200, 10),
            glitches: (10_000, 330),
            settings: (100, 10),
            pings: (100, 10),
            control: 5_000,
            settings_time: Duration::from_secs(10),
            block_time: Duration::from_secs(10),
            idle: Duration::from_secs(15),
            ping_after: Duration::from_secs(30),
            pong_within: Duration::from_secs(10),
        }
    }
}

/// WebSocket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WsLimits {
    /// One frame's payload, in bytes, else 1009. Nothing is reserved from it. Default 1 MiB.
    pub frame: u64,
    /// One message, in bytes, else 1009. Default 1 MiB.
    pub message: u64,
    /// Frames of one message, else 1008. Default 1,024.
    pub fragments: u32,
    /// Pings and empty fragments before 1008. Default a burst of 50, 10 a second.
    pub glitches: (u32, u32),
    /// Silence after which the peer is pinged. Default 30 s.
    pub ping_after: Duration,
    /// From that ping to giving the peer up. Default 10 s.
    pub pong_within: Duration,
    /// From our Close frame to the peer's. Default 2 s.
    pub close_within: Duration,
}

impl Default for WsLimits {
    fn default() -> Self {
        Self {
            frame: 1 << 20,
            message: 1 << 20,
            fragments: 1024,
            glitches: (50, 10),
            ping_after: Duration::from_secs(30),
            pong_within: Duration::from_secs(10),
            close_within: Duration::from_secs(2),
        }
    }
}

/// MQTT. What stands under "of a broker" and "of a session" bounds what outlives a connection.
#[cfg(feature = "mqtt")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MqttLimits {
    /// A CONNECT, in bytes: what a peer may send before it is known. Default 16 KiB.
    pub connect: usize,
    /// One packet of a peer, in bytes, else 0x95. Nothing is reserved from it. Default 256 KiB.
    pub packet: u32,
    /// The topic and properties of a PUBLISH, in bytes, else 0x95; a longer packet than this is
    /// handed on in parts. Default 16 KiB.
    pub head: usize,
    /// A topic or filter, in bytes, else 0x90 or 0x8F. Default 4 KiB.
    pub topic: usize,
    /// Levels of a topic or filter, else 0x90 or 0x8F. Default 128.
    pub levels: usize,
    /// A user name, in bytes, else 0x86. Default 1 KiB.
    pub username: usize,
    /// A password, in bytes, else 0x86. Default 4 KiB.
    pub password: usize,
    /// User properties of one packet, else 0x97. Default 32.
    pub user_properties: usize,
    /// User properties of one packet, in bytes, else 0x97. Default 4 KiB.
    pub user_bytes: usize,
    /// Unacknowledged publishes of a peer, else 0x93; MQTT 5.0 only. At least 1. Default 32.
    pub receive_maximum: u16,
    /// Topic aliases of a peer, else 0x94. Default 10.
    pub aliases: u16,
    /// From the transport to CONNECT, and to its answer. Default 5 s.
    pub connect_within: Duration,
    /// From a PINGREQ to giving the server up. Default 10 s.
    pub pong_within: Duration,
    /// Of a session: messages sent and not acknowledged, where its client allows more. Default 256.
    pub in_flight: u16,
    /// Of a session: messages that wait. Default 1,000.
    pub queued: usize,
    /// Of a session: bytes of messages that wait. Default 1 MiB.
    pub queued_bytes: usize,
    /// Of a session: how long it outlives its connection at most. Default 1 h.
    pub session_expiry: Duration,
    /// Of a session: subscriptions, else 0x97. Default 100.
    pub subscriptions: usize,
    /// Of a broker: filters of one SUBSCRIBE, else 0x97 for those beyond. Default 32.
    pub filters: usize,
    /// Of a broker: sessions, those without a connection among them, else 0x97. Default 100,000.
    pub sessions: usize,
    /// Of a broker: messages that it keeps. Default 100,000.
    pub retained: usize,
    /// Of a broker: bytes of messages that it keeps. Default 64 MiB.
    pub retained_bytes: usize,
}

#[cfg(feature = "mqtt")]
impl Default for MqttLimits {
    fn default() -> Self {
        Self {
            connect: 16 << 10,
            packet: 256 << 10,
            head: 16 << 10,
            topic: 4 << 10,
            levels: 128,
            username: 1 << 10,
            password: 4 << 10,
            user_properties: 32,
            user_bytes: 4 << 10,
            receive_maximum: 32,
            aliases: 10,
            connect_within: Duration::from_secs(5),
            pong_within: Duration::from_secs(10),
            in_flight: 256,
            queued: 1000,
            queued_bytes: 1 << 20,
            session_expiry: Duration::from_secs(3600),
            subscriptions: 100,
            filters: 32,
            sessions: 100_000,
            retained: 100_000,
            retained_bytes: 64 << 20,
        }
    }
}

/// Forms that are read from request bodies.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FormLimits {
    /// Pairs of an urlencoded form, or parts of a multipart one, else 413. Default 1,000.
    pub parts: usize,
    /// The head of one part, in bytes, else 413. Default 4 KiB.
    pub head: usize,
    /// The data of one part of a streamed form, in bytes, else 413. Default 16 MiB.
    pub part: u64,
    /// All of a streamed form, in bytes, else 413. One that is read whole has the limit
    /// [`H1Limits::body`]. Default 64 MiB.
    pub bytes: u64,
}

impl Default for FormLimits {
    fn default() -> Self {
        Self { parts: 1000, head: 4 << 10, part: 16 << 20, bytes: 64 << 20 }
    }
}

/// The one rate limiter: `burst` at once, `per_second` in the long run. Refilled when spent from,
/// so an idle one costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    burst: u32,
    per_second: u32,
    /// In millionths of a token, so that refilling by the microsecond loses nothing.
    level: u64,
    last: Micros,
}

const WHOLE: u64 = 1_000_000;

impl TokenBucket {
    /// Makes a full bucket.
    pub const fn new(burst: u32, per_second: u32, now: Micros) -> Self {
        Self { burst, per_second, level: burst as u64 * WHOLE, last: now }
    }

    /// Takes `n` tokens; `false`, and none taken, if there are fewer.
    pub fn spend(&mut self, now: Micros, n: u32) -> bool {
        let passed = now.get().saturating_sub(self.last.get());
        let refill = passed.saturating_mul(u64::from(self.per_second));
        let full = u64::from(self.burst) * WHOLE;
        self.level = self.level.saturating_add(refill).min(full);
        self.last = self.last.max(now);
        let price = u64::from(n) * WHOLE;
        let enough = self.level >= price;
        if enough {
            self.level -= price;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let t0 = Micros::new(5_000_000);
        let mut bucket = TokenBucket::new(3, 2, t0);

        assert!((0..3).all(|_| bucket.spend(t0, 1)));
        assert!(!bucket.spend(t0, 1));
        assert!(!bucket.spend(t0 + Duration::from_millis(499), 1));
        assert!(bucket.spend(t0 + Duration::from_millis(500), 1));
        assert!(bucket.spend(t0 + Duration::from_secs(1000), 3));
        assert!(!bucket.spend(t0 + Duration::from_secs(1000), 1));
    }

    #[test]
    fn a_clock_that_steps_back_refills_nothing() {
        let t0 = Micros::new(5_000_000);
        let mut bucket = TokenBucket::new(1, 1, t0);

        assert!(bucket.spend(t0, 1));
        assert!(!bucket.spend(Micros::ZERO, 1));
        assert!(!bucket.spend(t0, 1));
    }
}
