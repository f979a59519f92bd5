//! The contract between `lodger` and an event loop.
//!
//! A *backend* is what a loop offers to its guest: it watches sources, keeps one deadline and can
//! be woken. A *driver* is a backend that owns one pollable kernel queue, so that it runs alone or
//! nested in any host that can watch one descriptor. A *net* is the system calls that the guest
//! makes. This crate holds the types and traits, and under the feature `suite` the conformance
//! kit that every backend passes.
//!
//! # The readiness contract
//!
//! 1. A report ([`Event`]) is a **hint**. It may be spurious, repeated or stale; the guest finds
//!    the truth by trying. Hang-up and error are reported as both directions ready with
//!    [`Ready::HUP`], so that the next calls surface them.
//! 2. After [`Backend::watch`] or [`Backend::rearm`] each direction asked for is reported at least
//!    once if it is ready or becomes ready. Nothing more is promised.
//! 3. How often it is reported is the backend's [`Trigger`]: level (while it lasts), edge (once a
//!    change) or oneshot (once, then nothing until the next `rearm`).
//! 4. `rearm(NONE)` silences hang-up and error too.
//! 5. A backend never calls the guest from inside `watch`, `rearm`, `release`, `set_deadline` or
//!    `request_turn`.
//! 6. [`Backend::release`] owns the close: it stops watching first.
//!
//! # The laws of a guest
//!
//! What every host may rely on, whatever it embeds; the suite has a test for each.
//!
//! 1. Idle means zero wakeups.
//! 2. A dispatch is bounded by its [`Budget`]; what is left asks for another turn.
//! 3. A callback may run the host's loop again (a modal dialog): everybody else is served.
//! 4. Detaching leaves the loop running and unchanged, completes by a callback, is legal inside a
//!    callback, and attaching again works.
//! 5. A cancelled timer never runs, even if it was due in this turn; a delay of 0 is the next turn.
//! 6. A timer of 250 µs is late by tens of µs, not by a millisecond.
//! 7. A waker works from any thread, coalesces, and is harmless after detach.
//! 8. A descriptor number reused inside one batch never gets another's event.
//! 9. A paused reader costs no CPU.
//! 10. No thread, signal handler or global is added and no signal is raised.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
#[cfg_attr(feature = "suite", macro_use)]
extern crate std;

mod time;
mod turn;
mod watch;

#[cfg(feature = "std")]
mod backend;
#[cfg(feature = "std")]
mod file;
#[cfg(feature = "std")]
mod journal;
#[cfg(feature = "std")]
mod nested;
#[cfg(feature = "std")]
mod net;
#[cfg(feature = "suite")]
pub mod suite;

pub use time::Micros;
pub use turn::{Budget, Caps, Turn, Waker};
pub use watch::{Event, Interest, Ready, Token, Trigger};

#[cfg(feature = "std")]
pub use backend::{Backend, Driver};
#[cfg(feature = "std")]
pub use file::{File, Meta};
#[cfg(feature = "std")]
pub use journal::Journal;
#[cfg(feature = "std")]
pub use nested::{Attached, Host, Nested, Pending};
#[cfg(feature = "std")]
pub use net::{Addr, Net, Sock, Source, SystemText};
