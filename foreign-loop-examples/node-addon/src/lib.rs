//! lodger in Node.js's own loop, as a native addon.
//!
//! `start({ listen, feed, host }) -> { port }`, `tick() -> boolean`, `after(millis, f)` and `stop()`. A
//! state for each environment: a worker that loads the addon has its own.

#![deny(unsafe_code)]

mod ffi;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use lodger_backend::Attached as _;
use lodger_example_guest::Guest;
use lodger_libuv::Attached;

use ffi::{Env, Function, Hook};

/// What JavaScript may say to `start`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Where to listen; a free port of 127.0.0.1 if it is left out.
    listen: Option<String>,
    /// A `ws://` URL to listen to.
    feed: Option<String>,
    /// What the live page calls the host.
    host: Option<String>,
}

/// The guest of one environment.
pub(crate) struct Addon {
    guest: Guest,
    stay: Rc<Stay>,
}

/// The guest's stay in the loop, and what holds the environment's end back until it is over.
#[derive(Default)]
pub(crate) struct Stay(RefCell<Option<(Attached, Hook)>>);

impl Stay {
    /// Takes the guest out, if it is in. The environment may end once libuv has closed the handles.
    pub(crate) fn leave(&self) {
        let taken = self.0.borrow_mut().take();
        if let Some((attached, hook)) = taken {
            attached.detach(Box::new(move || drop(hook)));
        }
    }
}

impl Addon {
    fn start(env: Env, options: &Options) -> io::Result<Self> {
        let listen = options.listen.as_deref().unwrap_or("127.0.0.1:0");
        let guest = Guest::listening(listen, options.feed.as_deref())?;
        let stay = Rc::<Stay>::default();
        let attached = env.attach(guest.handle())?;
        if let Some(name) = &options.host {
            guest.handle().set_host(name);
        }
        let hook = env.at_end(&stay)?;
        *stay.0.borrow_mut() = Some((attached, hook));
        let leaving = Rc::clone(&stay);
        guest.on_detach(move || leaving.leave());
        Ok(Self { guest, stay })
    }

    fn after(&self, millis: u32, f: Function) {
        let delay = Duration::from_millis(millis.into());
        self.guest.handle().after(delay, move |_| f.call());
    }

    fn port(&self) -> u16 {
        self.guest.addr().map_or(0, |addr| addr.port())
    }
}

impl Drop for Addon {
    fn drop(&mut self) {
        self.stay.leave();
    }
}
