//! lodger's own loop: a [`Driver`](lodger_backend::Driver) on mio, and the operating system's
//! sockets as a [`Net`](lodger_backend::Net).
//!
//! [`MioDriver`] owns one kernel queue. Sockets are registered in it once, edge-triggered for both
//! directions; on Linux the deadline is a timerfd in the same queue, so that a timer of 250 µs is
//! late by tens of microseconds and a host needs to watch nothing but
//! [`Driver::fd`](lodger_backend::Driver::fd). Elsewhere the deadline bounds the wait, in whole
//! milliseconds, and the driver stands alone.
//!
//! [`OsNet`] makes the system calls. Any backend may use it, not only this one.
//!
//! ```
//! use lodger_backend::{Addr, Backend, Driver, Interest, Net, Token};
//! use lodger_mio::{MioDriver, OsNet};
//!
//! # fn main() -> std::io::Result<()> {
//! let net = OsNet::new()?;
//! let mut driver = MioDriver::new()?;
//! let listener = net.listen(&Addr::parse("127.0.0.1:0")?)?;
//! let source = net.source(listener).ok_or(std::io::ErrorKind::NotConnected)?;
//! driver.watch(source, Token::new(0, 1), Interest::BOTH)?;
//!
//! net.connect(&net.local_addr(listener)?)?;
//! let mut events = Vec::new();
//! driver.poll(None, &mut events)?;
//!
//! assert_eq!(events[0].token, Token::new(0, 1));
//! assert!(net.accept(listener).is_ok());
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![cfg(unix)]

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "alarm/timerfd.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "alarm/timeout.rs")]
mod alarm;
mod driver;
#[cfg(unix)]
mod journal;
mod net;

pub use driver::MioDriver;
#[cfg(unix)]
pub use journal::FileJournal;
pub use net::OsNet;
