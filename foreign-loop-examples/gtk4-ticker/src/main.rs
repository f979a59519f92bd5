//! A GTK window with a live chart, and a web server, in one thread.
//!
//! `LODGER_FEED=ws://127.0.0.1:PORT/` names a feed of prices, one number a message.

#![forbid(unsafe_code)]

mod feed;
mod window;

use std::env;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use gtk4::glib::{ControlFlow, MainContext, MainLoop, ThreadPool, timeout_add_local};
use lodger_backend::Host as _;
use lodger_example_guest::Guest;
use lodger_glib::Context;

use window::Window;

/// GTK draws at 120, and what goes before that may keep frames waiting: a guest under load does.
const BELOW_DRAWING: i32 = 130;

fn main() -> Result<(), Box<dyn Error>> {
    // GIO keeps the thread that loads icons for 15 s, and now for good: so the checker can count.
    ThreadPool::set_max_idle_time(0);
    gtk4::init()?;
    let context = MainContext::default();
    let main_loop = MainLoop::new(Some(&context), false);

    // The guest: what it serves and whom it listens to. It lives in GTK's loop until `stay` drops.
    let guest = Guest::new()?;
    let stay = Context::new(&context).priority(BELOW_DRAWING).attach(guest.nested())?;
    guest.on_detach(move || drop(stay));
    let version = (gtk4::major_version(), gtk4::minor_version(), gtk4::micro_version());
    guest.handle().set_host(&format!("GTK {}.{}.{}", version.0, version.1, version.2));

    let window = Rc::new(Window::new());
    if let Ok(url) = env::var("LODGER_FEED") {
        feed::subscribe(&guest.handle(), &url, &window)?;
    }
    window.show(&main_loop);

    let quit = main_loop.clone();
    timeout_add_local(Duration::from_millis(10), move || {
        window.tick();
        // Nobody reads what is said at the end: then it ends all the same.
        if guest.tick().unwrap_or(true) {
            quit.quit();
            return ControlFlow::Break;
        }
        ControlFlow::Continue
    });
    main_loop.run();
    Ok(())
}
