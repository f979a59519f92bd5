//! A simulated world: driver and net in memory, a clock that a test moves, faults from a seed.
//!
//! A [`World`] gives runtimes their [`Driver`](lodger_backend::Driver) and
//! [`Net`](lodger_backend::Net), and tests a [`Wire`]: the other end of a connection, as bytes.
//! Nothing in it sleeps, opens a port or reads a clock; the same seed and the same calls give the
//! same [`trace`](World::trace), so what it finds once it finds again.
//!
//! # What is like a kernel
//!
//! - Each direction holds 64 KiB, then the sender gets `WouldBlock`.
//! - Closing with unread input, or sending to an end that has closed, is answered by a reset. What
//!   had arrived before a reset can still be read, unless a fault drops it.
//! - Edge reports come with a change only. A FIN that arrives together with the last bytes has no
//!   report of its own.
//! - The deadline fires once, like a timerfd; then it must be set again.
//!
//! # Faults
//!
//! Each is something a kernel or a network may do; so a program that fails under [`Faults::all`]
//! is wrong. A short read or write leaves a new edge behind it, as if the rest had come, or the
//! room had opened, a moment later.
//!
//! ```
//! use lodger::sim::World;
//! use lodger_backend::Addr;
//!
//! let world = World::new(1);
//! let net = world.net();
//! let at = Addr::parse("127.0.0.1:80")?;
//! let listener = net.listen(&at)?;
//!
//! let wire = world.connect(&at)?;
//! wire.write(b"hello");
//!
//! let mut buf = [0; 16];
//! let sock = net.accept(listener)?;
//! assert_eq!(net.recv(sock, &mut buf)?, 5);
//! net.close(sock);
//! assert!(wire.is_eof());
//! # Ok::<(), std::io::Error>(())
//! ```

mod datagram;
mod driver;
mod faults;
mod files;
mod net;
mod queue;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod trace;
mod wire;
mod world;

pub use datagram::Datagrams;
pub use faults::{Faults, Injected};
pub use wire::Wire;
pub use world::World;
