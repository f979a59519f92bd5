//! lodger in a Wayland client: the window's events and the guest share calloop, on one thread.

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::{Duration, Instant};

use lodger_example_guest::Guest;
use smithay_client_toolkit::reexports::calloop::EventLoop;
use smithay_client_toolkit::reexports::calloop::timer::{TimeoutAction, Timer};
use window::Window;

mod window;

fn main() -> Result<(), Box<dyn Error>> {
    let mut event_loop = EventLoop::<Window>::try_new()?;
    let guest = Guest::new()?;
    let stay = lodger_calloop::attach(&event_loop.handle(), guest.handle())?;
    guest.on_detach(move || drop(stay));
    let mut window = Window::open(&event_loop.handle())?;

    let period = Duration::from_millis(10);
    event_loop.handle().insert_source(Timer::from_duration(period), move |due, (), window| {
        match guest.tick() {
            Ok(false) => {
                // What the window shows: how much the guest's WebSocket client has heard.
                window.level = guest.messages();
                TimeoutAction::ToInstant((due + period).max(Instant::now()))
            }
            over => {
                window.closed = over.is_ok();
                window.failed = over.err();
                TimeoutAction::Drop
            }
        }
    })?;
    while !window.closed && window.failed.is_none() {
        event_loop.dispatch(None, &mut window)?;
    }
    window.failed.map_or(Ok(()), |error| Err(error.into()))
}
