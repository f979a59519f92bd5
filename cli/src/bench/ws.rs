//! Messages that go round.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger::policy::Retry;
use lodger::tls::ClientConfig;
use lodger::{Error, Handle, Reason, ws};

use super::{Count, Options};

/// Begins one connection.
pub(super) fn connect(
    h: &Handle,
    options: &Options,
    trust: Option<&ClientConfig>,
    count: &Rc<Count>,
) -> Result<(), Error> {
    let size = usize::try_from(options.size.unwrap_or(20)).unwrap_or(usize::MAX);
    let round = Round {
        payload: vec![b'x'; size],
        depth: options.depth,
        asked: VecDeque::new(),
        count: Rc::clone(count),
    };
    let again = Retry::new(&[Duration::from_millis(100)]).jitter(0);
    let mut client = ws::Client::new(&options.url).retry(again);
    if let Some(trust) = trust {
        client = client.tls(trust);
    }
    for (name, value) in &options.header {
        client = client.header(name, value);
    }
    client.connect(h, round).map(drop)
}

struct Round {
    payload: Vec<u8>,
    depth: u32,
    asked: VecDeque<Instant>,
    count: Rc<Count>,
}

impl Round {
    /// Keeps as many under way as asked for; what is full now goes on with the next answer.
    fn fill(&mut self, cx: &mut ws::Cx<'_>, now: Instant) {
        while self.asked.len() < self.depth as usize
            && cx.send(ws::Message::Binary(&self.payload)).is_ok()
        {
            self.asked.push_back(now);
        }
    }
}

impl ws::Handler for Round {
    fn open(&mut self, cx: &mut ws::Cx<'_>) {
        self.fill(cx, Instant::now());
    }

    fn message(&mut self, cx: &mut ws::Cx<'_>, _message: ws::Message<'_>) {
        let now = Instant::now();
        self.count.answer(self.asked.pop_front(), now);
        self.fill(cx, now);
    }

    fn closed(&mut self, _cx: &mut ws::Cx<'_>, why: Reason) {
        self.asked.clear();
        self.count.lose(why);
    }
}
