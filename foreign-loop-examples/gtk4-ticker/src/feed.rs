//! The feed: a WebSocket client that connects again by itself, and tells the window how it stands.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use lodger::policy::Retry;
use lodger::{Handle, ws};

use crate::window::Window;

/// Connects to `url`, and again by policy whenever it is gone.
pub(crate) fn subscribe(rt: &Handle, url: &str, window: &Rc<Window>) -> io::Result<()> {
    let delays = [100, 200, 400, 800, 1_600, 3_200].map(Duration::from_millis);
    let told = Rc::clone(window);
    ws::Client::new(url)
        .retry(Retry::new(&delays).jitter(10))
        .on_retry(move |_, wait, _| told.gone(wait))
        .connect(rt, Feed(Rc::clone(window)))
        .map(drop)
        .map_err(io::Error::other)
}

struct Feed(Rc<Window>);

impl ws::Handler for Feed {
    fn open(&mut self, _cx: &mut ws::Cx<'_>) {
        self.0.back();
    }

    fn message(&mut self, _cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        if let ws::Message::Text(text) = message
            && let Ok(price) = text.trim().parse()
        {
            self.0.price(price);
        }
    }
}
