//! lodger in tokio: the guest is one task of a LocalSet, on the one thread of the runtime.

#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use lodger_example_guest::Guest;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::interval;

fn main() -> io::Result<()> {
    let tokio = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&tokio, async {
        let guest = Guest::new()?;
        let stay = lodger_tokio::attach(guest.handle(), |task| drop(spawn_local(task)))?;
        guest.on_detach(move || drop(stay));

        let mut timer = interval(Duration::from_millis(10));
        while !guest.tick()? {
            timer.tick().await;
        }
        Ok(())
    })
}
