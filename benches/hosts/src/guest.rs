//! What is measured: a server that echoes, and a chain of short timers.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use lodger::policy::Validity;
use lodger::{Handle, Nested, Runtime, http, ws};

/// Has a runtime listen on a free port, and says which.
///
/// # Errors
///
/// There is no free port, or nobody to say it to.
pub fn open(rt: Runtime) -> io::Result<Runtime> {
    // The loader answers no pings, and the first may wait until the last is connected.
    let patient = Validity::new(Duration::from_secs(300), Duration::from_secs(400));
    let config = ws::Config::default().validity(patient);
    let server = http::Server::new().ws_with("/echo", config, |_| Ok(Echo));
    let listener = rt.listen("127.0.0.1:0", server).map_err(|refused| refused.error)?;
    if let Some(addr) = rt.local_addr(listener).and_then(|addr| addr.tcp()) {
        println!("listening on http://{addr}");
        io::stdout().flush()?;
    }
    Ok(rt)
}

struct Echo;

impl ws::Handler for Echo {
    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        if cx.send(message).is_err() {
            cx.close(1011);
        }
    }
}

/// How late each was, in nanoseconds; what was early is negative.
pub type Lateness = Rc<RefCell<Vec<i64>>>;

/// Asks for 250 µs, again and again. They count from the time of the turn that asks.
pub fn short_timers(h: &Handle, left: u32, late: &Lateness) {
    const ASKED: u64 = 250;
    let (asked, late) = (h.now(), Rc::clone(late));
    h.after(Duration::from_micros(ASKED), move |h| {
        // The clock itself, not the turn's time.
        let fired = Nested::now(h).get();
        let took = i64::try_from(fired.saturating_sub(asked.get())).unwrap_or(i64::MAX);
        late.borrow_mut().push(took.saturating_sub_unsigned(ASKED).saturating_mul(1_000));
        if left > 1 {
            short_timers(h, left - 1, &late);
        }
    });
}
