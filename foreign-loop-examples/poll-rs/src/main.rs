//! lodger in a loop of one's own: the program polls its descriptors, and the guest's is one more.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger_example_guest::Guest;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn main() -> Result<(), Box<dyn Error>> {
    let guest = Guest::new()?;
    let nested = guest.nested();
    nested.host("poll(2)");
    let queue = nested.fd()?;
    let here = Rc::new(Cell::new(true));
    let leave = Rc::clone(&here);
    guest.on_detach(move || leave.set(false));

    let mut next_tick = Instant::now();
    loop {
        if next_tick <= Instant::now() {
            next_tick += Duration::from_millis(10);
            if guest.tick()? {
                return Ok(());
            }
        }
        let wait = Timespec::try_from(next_tick.saturating_duration_since(Instant::now()))?;
        let mut watched = [PollFd::new(&queue, PollFlags::IN)];
        // A guest that has left is not polled: its descriptor may stay readable for ever.
        let watched = if here.get() { &mut watched[..] } else { &mut [] };
        if poll(watched, Some(&wait))? > 0 {
            nested.dispatch()?;
        }
    }
}
