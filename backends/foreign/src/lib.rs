//! lodger in a loop that offers more, or less, than to watch one descriptor.
//!
//! Most loops want neither of these: watching [`Nested::fd`](lodger_backend::Nested::fd) is less
//! code and costs less.
//!
//! # The table of operations
//!
//! A host that must see each descriptor itself implements [`Ops`] and gives it to a [`Table`],
//! which is the guest's backend: level-triggered, edge-triggered or oneshot, as the host's own loop
//! is.
//!
//! ```no_run
//! use std::rc::Rc;
//!
//! use lodger::{Limits, Runtime};
//! use lodger_backend::{Host, Ready, Token};
//! use lodger_foreign::{Ops, Table};
//! use lodger_mio::OsNet;
//!
//! # fn main() -> std::io::Result<()> {
//! # fn my_loop() -> Box<dyn Ops> { panic!() }
//! # fn wait_for_events() -> Vec<Event> { Vec::new() }
//! # enum Event { Ready(Token, Ready), Timer, TurnRequested }
//! let table = Table::new(my_loop());
//! let rt = Runtime::with(table.driver(), Rc::new(OsNet::new()?), Limits::default());
//! let _guest = table.attach(Rc::new(rt.handle()))?;
//! loop {
//!     for event in wait_for_events() {
//!         match event {
//!             Event::Ready(token, ready) => table.report(token, ready),
//!             Event::Timer => table.fired(),
//!             Event::TurnRequested => {}
//!         }
//!     }
//!     table.turn()?; // once for the whole batch
//! }
//! # }
//! ```
//!
//! # The pump
//!
//! A game, or another program that is called once a frame and never waits, calls
//! [`Pump::turn`] with its own time.
//!
//! ```no_run
//! use lodger::{Micros, Runtime};
//! use lodger_foreign::Pump;
//!
//! # fn main() -> std::io::Result<()> {
//! # fn frame() -> Option<Micros> { None }
//! let rt = Runtime::standalone()?;
//! let pump = Pump::new(rt.handle(), "my game");
//! while let Some(now) = frame() {
//!     pump.turn(now)?;
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![cfg(unix)]

mod driver;
mod ops;
mod pump;
mod table;

pub use ops::Ops;
pub use pump::Pump;
pub use table::{Attached, Table};
