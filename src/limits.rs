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
    /// WebSocket, unless its route says otherwise.
    pub ws: WsLimits,
    /// Forms, unless their route says otherwise.
    pub form: FormLimits,
    /// Clients.
    pub client: ClientLimits,
}

/// Clients: how long each stage may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientLimits {
    /// From the start of an attempt to the first address of its name. Default 20 s.
    pub name: Duration,
    /// From there to the connection. Default 10 s.
    pub connect: Duration,
    /// From a request to the head of its response, or of a WebSocket's. Default 30 s.
    pub first_byte: Duration,
    /// Between two pieces of a response's body. Default 30 s.
    pub body: Duration,
    /// How long a connection is kept for another request. Default 10 s.
    pub idle: Duration,
    /// Connections kept for one origin. Default 8.
    pub idle_connections: usize,
    /// Interim responses (1xx) to one request. Default 16.
    pub interim: u32,
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
