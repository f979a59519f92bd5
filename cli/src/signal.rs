//! SIGTERM and SIGINT: the first says goodbye, the second ends at once.
//!
//! The signal handler writes a byte into a socket, and the loop reads it like any other: idle
//! means no wakeup, and what follows runs in a turn.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use lodger::{Handle, Serve, raw};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::report;

/// Has both signals end the runtime, politely within `grace`.
///
/// # Errors
///
/// The system gave no descriptor, or took no handler.
pub(crate) fn goodbye(h: &Handle, grace: Duration) -> io::Result<()> {
    let (ours, handlers) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, handlers.try_clone()?)?;
    }
    let service = raw::Server::new(move |_| Some(Bell { grace, rung: false })).into_service();
    h.adopt_aside(ours.into(), &service)?;
    Ok(())
}

/// Hears the signals.
struct Bell {
    grace: Duration,
    rung: bool,
}

impl raw::Handler for Bell {
    fn data(&mut self, cx: &mut raw::Cx<'_>, bytes: &[u8]) {
        for _ in bytes {
            if self.rung {
                cx.runtime().end();
            } else {
                self.rung = true;
                self.first(cx.runtime());
            }
        }
    }
}

impl Bell {
    fn first(&self, h: &Handle) {
        let open = h.stats().open;
        if open > 0 {
            let grace = self.grace.as_secs_f64();
            let s = if open == 1 { "" } else { "s" };
            report::say(format_args!(
                "goodbye to {open} connection{s}, {grace} s at most; a second signal ends at once"
            ));
        }
        h.shutdown(self.grace);
    }
}
