//! What may go wrong, how often, and how often it did.

use core::ops::AddAssign;

/// How often each fault is injected. Probabilities are per mille of the occasions named; times
/// are upper bounds in microseconds. Start from [`none`](Self::none) or [`all`](Self::all), change
/// fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Faults {
    /// A `recv` gives fewer bytes than there are.
    pub short_reads: u16,
    /// A `send` takes fewer bytes than there is room for.
    pub short_writes: u16,
    /// A `recv` or `send` says `WouldBlock` first; a report follows.
    pub would_block: u16,
    /// Whatever crosses the network takes up to this long, in µs, and bytes are cut into segments.
    pub delay: u64,
    /// A sending connection is reset: both ends get `ConnectionReset`.
    pub resets: u16,
    /// A reset drops what had arrived and was not read.
    pub reset_drops: u16,
    /// A sending direction ends: the receiver gets all that was sent and the end, the sender
    /// `BrokenPipe` from then on.
    pub half_closes: u16,
    /// A poll reports a source that is not ready.
    pub spurious: u16,
    /// A poll returns before its time with nothing.
    pub early_wakes: u16,
    /// A poll's list is full after one to four reports.
    pub short_lists: u16,
    /// A poll's reports come in another order.
    pub shuffles: u16,
    /// Somebody on another thread uses a waker: while the guest reads the clock, watches, releases
    /// or programs its alarm.
    pub wakes: u16,
    /// A poll finds that up to four hours have passed: the machine was suspended. What was on its
    /// way has arrived, and every timeout on the way is due.
    pub jumps: u16,
    /// A deadline fires up to this much too late, in µs.
    pub late_timers: u64,
    /// Reading the clock takes up to this long, in µs: the guest is slow.
    pub slow_clock: u64,
    /// An `accept` fails: out of descriptors (process, system), buffers or memory. The connection
    /// stays in the queue.
    pub accept_errors: u16,
    /// An `accept` fails: the connection was aborted meanwhile, and is reset.
    pub accept_aborts: u16,
    /// A `connect` is refused although somebody listens.
    pub refused: u16,
    /// A `connect` is never answered.
    pub unanswered: u16,
    /// A datagram is lost.
    pub lost: u16,
    /// A released socket is closed only by the next poll, as by a loop that unregisters late.
    pub late_closes: u16,
}

impl Faults {
    /// Nothing goes wrong.
    pub const fn none() -> Self {
        Self {
            short_reads: 0,
            short_writes: 0,
            would_block: 0,
            delay: 0,
            resets: 0,
            reset_drops: 0,
            half_closes: 0,
            spurious: 0,
            early_wakes: 0,
            short_lists: 0,
            shuffles: 0,
            wakes: 0,
            jumps: 0,
            late_timers: 0,
            slow_clock: 0,
            accept_errors: 0,
            accept_aborts: 0,
            refused: 0,
            unanswered: 0,
            lost: 0,
            late_closes: 0,
        }
    }

    /// Everything that loses no byte and no connection: [`all`](Self::all) without resets, aborts,
    /// half-closes, refused connects and suspension.
    pub const fn lossless() -> Self {
        Self {
            resets: 0,
            reset_drops: 0,
            half_closes: 0,
            accept_aborts: 0,
            refused: 0,
            unanswered: 0,
            jumps: 0,
            ..Self::all()
        }
    }

    /// Everything goes wrong now and then.
    pub const fn all() -> Self {
        Self {
            short_reads: 250,
            short_writes: 250,
            would_block: 50,
            delay: 3_000,
            resets: 3,
            reset_drops: 500,
            half_closes: 3,
            spurious: 50,
            early_wakes: 50,
            short_lists: 100,
            shuffles: 200,
            wakes: 20,
            jumps: 2,
            late_timers: 200,
            slow_clock: 20,
            accept_errors: 100,
            accept_aborts: 20,
            refused: 50,
            unanswered: 20,
            lost: 50,
            late_closes: 300,
        }
    }
}

macro_rules! injected {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How many of each fault were injected. The names are those of [`Faults`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Injected {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Injected {
            /// Gives each fault's name and count.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        impl AddAssign for Injected {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}
injected! {
    /// Reads cut short.
    short_reads,
    /// Writes cut short.
    short_writes,
    /// Calls that had to wait.
    would_block,
    /// Deliveries that took time.
    delay,
    /// Connections reset.
    resets,
    /// Resets that dropped unread bytes.
    reset_drops,
    /// Directions ended.
    half_closes,
    /// Reports of what was not ready.
    spurious,
    /// Polls that returned too early.
    early_wakes,
    /// Lists that came back full.
    short_lists,
    /// Lists in another order.
    shuffles,
    /// Uses of a waker by nobody.
    wakes,
    /// Suspensions.
    jumps,
    /// Deadlines fired late.
    late_timers,
    /// Readings of the clock that took time.
    slow_clock,
    /// Failed accepts, those of [`World::fail_accepts`](super::World::fail_accepts) included.
    accept_errors,
    /// Accepts of what was aborted.
    accept_aborts,
    /// Refused connects, those to nobody included.
    refused,
    /// Connects never answered.
    unanswered,
    /// Datagrams lost.
    lost,
    /// Sockets closed late.
    late_closes,
}

/// Small, fast and predictable: for faults, never for security.
#[derive(Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Gives the next number (splitmix64).
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Gives a number in `0..=max`.
    pub(super) fn up_to(&mut self, max: u64) -> u64 {
        match max.checked_add(1) {
            Some(n) => self.next() % n,
            None => self.next(),
        }
    }

    /// Gives a number in `0..n`; 0 if `n` is 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let max = u64::try_from(n.saturating_sub(1)).unwrap_or(u64::MAX);
        usize::try_from(self.up_to(max)).unwrap_or(0)
    }

    /// Tells whether something of this probability happens. A zero takes no number, so a fault
    /// that is off does not move the others.
    pub(super) fn happens(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.up_to(999) < u64::from(per_mille)
    }
}

/// Spreads every bit over all others.
pub(super) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
