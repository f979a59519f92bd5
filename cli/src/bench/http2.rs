//! Requests over HTTP/2, as many streams of one connection as there are requests under way; by TLS
//! over what the server chooses.

use std::rc::Rc;
use std::time::{Duration, Instant};

use lodger::http::{Client, Failure, Fetch, FetchCx, ResponseHead, Timing};
use lodger::tls::ClientConfig;
use lodger::{Error, Handle};

use super::{Count, Options};

/// Between a request that failed and the next.
const PAUSE: Duration = Duration::from_millis(100);

/// What one connection sends.
struct Plan {
    client: Client,
    url: String,
    /// Of a POST.
    body: Option<Vec<u8>>,
    header: Vec<(String, String)>,
    count: Rc<Count>,
}

/// Begins one connection.
pub(super) fn connect(
    h: &Handle,
    options: &Options,
    trust: Option<&ClientConfig>,
    count: &Rc<Count>,
) -> Result<(), Error> {
    let size = options.size.map(|size| usize::try_from(size).unwrap_or(0));
    let client = Client::with_redirects(h, 0);
    if let Some(trust) = trust {
        client.tls(trust);
    }
    let plan = Rc::new(Plan {
        client: if options.http2 { client.http2() } else { client },
        url: options.url.clone(),
        body: size.map(|size| vec![b'x'; size]),
        header: options.header.clone(),
        count: Rc::clone(count),
    });
    (0..options.depth).try_for_each(|_| ask(&plan))
}

fn ask(plan: &Rc<Plan>) -> Result<(), Error> {
    let ask = match &plan.body {
        None => plan.client.get(&plan.url),
        Some(body) => plan.client.post(&plan.url, body),
    };
    let ask = plan.header.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
    ask.send(One { plan: Rc::clone(plan), asked: Instant::now() })
}

/// One request.
struct One {
    plan: Rc<Plan>,
    asked: Instant,
}

impl Fetch for One {
    fn head(&mut self, _cx: &mut FetchCx<'_>, head: &ResponseHead<'_>) {
        if head.status >= 400 {
            self.plan.count.bad.set(self.plan.count.bad.get() + 1);
        }
    }

    fn closed(&mut self, h: &Handle, outcome: Result<Timing, Failure>) {
        let plan = Rc::clone(&self.plan);
        match outcome {
            Ok(_) => {
                plan.count.answer(Some(self.asked), Instant::now());
                // It was right the first time.
                let _ = ask(&plan);
            }
            Err(failure) => {
                plan.count.lose(failure.why);
                h.after(PAUSE, move |_| _ = ask(&plan));
            }
        }
    }
}
