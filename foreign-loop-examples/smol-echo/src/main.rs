//! lodger in smol's local executor: the guest is one task among others.

#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::{Timer, block_on};
use futures_lite::StreamExt;
use lodger_example_guest::Guest;

fn main() -> io::Result<()> {
    let executor = LocalExecutor::new();
    let guest = Guest::new()?;
    let stay = lodger_async_io::attach(guest.handle(), |task| executor.spawn(task).detach())?;
    guest.on_detach(move || drop(stay));

    block_on(executor.run(async {
        let mut timer = Timer::interval(Duration::from_millis(10));
        while timer.next().await.is_some() {
            if guest.tick()? {
                break;
            }
        }
        Ok(())
    }))
}
