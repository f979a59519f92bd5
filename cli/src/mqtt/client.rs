//! `lodger mqtt pub` and `lodger mqtt sub`.

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use lodger::mqtt::{Client, ClientEvent, Connection, Outgoing, Published, Qos, Version};
use lodger::policy::Retry;
use lodger::{Handle, Runtime};

use crate::report::{self, Problem};
use crate::{args, serve, signal};

pub(crate) const PUB_NOTES: &str = "\
Without --message the payload is standard input, read to its end. Ends when the server has taken the
message: at QoS 0 when it is sent. HTTPS_PROXY and HTTP_PROXY are for wss and ws; mqtt and mqtts go by
ALL_PROXY alone.";

pub(crate) const SUB_NOTES: &str = "\
Writes each payload and a line end, until a signal says goodbye or --count messages have come.
Connects again by itself when the connection is lost. HTTPS_PROXY and HTTP_PROXY are for wss and ws;
mqtt and mqtts go by ALL_PROXY alone.";

/// Which server, and as whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct Server {
    /// Where the server is: mqtt://HOST:PORT, mqtts://..., ws://HOST:PORT/PATH, wss://... or unix:PATH
    #[arg(short, long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    url: String,

    /// Client identifier; one of the server's if there is none
    #[arg(short, long, value_name = "ID", default_value = "")]
    id: String,

    /// Version of the protocol: 5, or 4 for 3.1.1
    #[arg(short = 'V', long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u8).range(4..=5))]
    version: u8,

    /// Name to log in with
    #[arg(long, value_name = "NAME", default_value = "")]
    user: String,

    /// Password to log in with
    #[arg(long, value_name = "PASSWORD", default_value = "", requires = "user")]
    password: String,

    #[command(flatten)]
    trust: crate::tls::Trust,

    #[command(flatten)]
    through: crate::proxy::Through,

    /// Quality of delivery: 0, 1 or 2
    #[arg(short, long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
}

impl Server {
    pub(super) fn client(&self) -> Result<Client, Problem> {
        let version = if self.version == 4 { Version::V4 } else { Version::V5 };
        let web = self.url.starts_with("ws://") || self.url.starts_with("wss://");
        let proxies = if web { self.through.proxies() } else { self.through.not_of_web() }?;
        let mut client = Client::new(&self.url).id(&self.id).version(version).proxies(&proxies);
        if let Some(config) = self.trust.config()? {
            client = client.tls(&config);
        }
        let login = !self.user.is_empty();
        Ok(if login { client.login(&self.user, self.password.as_bytes()) } else { client })
    }

    pub(super) fn qos(&self) -> Qos {
        Qos::from_bits(self.qos).unwrap_or_default()
    }
}

/// What to publish.
#[derive(Args, Clone, Debug)]
pub(crate) struct Publish {
    #[command(flatten)]
    server: Server,

    /// Where to publish
    topic: String,

    /// Payload, instead of standard input
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Have the server keep it
    #[arg(short, long)]
    retain: bool,

    /// How long that may take
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = args::seconds)]
    within: Duration,
}

/// What to subscribe to.
#[derive(Args, Clone, Debug)]
pub(crate) struct Subscribe {
    #[command(flatten)]
    server: Server,

    /// Filters
    #[arg(required = true)]
    filters: Vec<String>,

    /// End after so many messages
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,

    /// Write the topic in front of the payload
    #[arg(short, long)]
    topics: bool,

    /// Keep the session for so long after the connection has ended, and go on with it
    #[arg(long, value_name = "SECS", value_parser = args::seconds, requires = "id")]
    session: Option<Duration>,
}

type Failure = Rc<RefCell<Option<Problem>>>;

fn fail(h: &Handle, failure: &Failure, text: String) {
    *failure.borrow_mut() = Some(Problem::new(text));
    h.shutdown(Duration::from_secs(1));
}

/// Publishes one message.
///
/// # Errors
///
/// The server cannot be reached, or refuses it.
pub(crate) fn publish(options: &Publish) -> Result<(), Problem> {
    let rt = Runtime::standalone().map_err(|e| serve::refused("start", &e))?;
    let mut payload = Vec::new();
    match &options.message {
        Some(text) => payload.extend_from_slice(text.as_bytes()),
        None => {
            let read = std::io::stdin().lock().read_to_end(&mut payload);
            read.map_err(|e| serve::refused("read standard input", &e))?;
        }
    }
    let failure = Failure::default();
    let (told, wanted) = (Rc::clone(&failure), options.clone());
    let slot: Rc<RefCell<Option<Connection>>> = Rc::default();
    let reach = Rc::clone(&slot);
    let client = options.server.client()?.on_event(move |h, event| match event {
        ClientEvent::Connected { .. } => {
            let Some(connection) = reach.borrow().clone() else { return };
            send(h, &connection, &wanted, &payload, &told);
        }
        ClientEvent::Refused(code) => fail(h, &told, format!("the server refuses: {code}")),
        ClientEvent::Disconnected { why, .. } if told.borrow().is_none() => {
            fail(h, &told, format!("cannot reach {}: {why}", wanted.server.url));
        }
        _ => {}
    });
    let connection = client.connect(&rt).map_err(|e| Problem::usage(e.rule().to_owned()))?;
    *slot.borrow_mut() = Some(connection);
    rt.run().map_err(|e| serve::refused("go on", &e))?;
    let problem = failure.borrow_mut().take();
    problem.filter(|problem| !problem.is_quiet()).map_or(Ok(()), Err)
}

fn send(h: &Handle, to: &Connection, options: &Publish, payload: &[u8], failure: &Failure) {
    let message = Outgoing::new(&options.topic, payload)
        .qos(options.server.qos())
        .retain(options.retain)
        .within(options.within);
    let (told, connection) = (Rc::clone(failure), to.clone());
    let sent = to.publish_then(message, move |h, end| match end {
        Published::Acknowledged => {
            *told.borrow_mut() = Some(Problem::quiet());
            connection.close();
            h.shutdown(Duration::from_secs(5));
        }
        Published::Refused(code) => fail(h, &told, format!("the server refuses: {code}")),
        _ => fail(h, &told, "the server does not answer".into()),
    });
    if let Err(e) = sent {
        fail(h, failure, format!("cannot publish: {e}"));
    }
}

/// Writes what comes.
///
/// # Errors
///
/// The server cannot be reached, or refuses.
pub(crate) fn subscribe(options: &Subscribe) -> Result<(), Problem> {
    let rt = Runtime::standalone().map_err(|e| serve::refused("start", &e))?;
    signal::goodbye(&rt, Duration::from_secs(5)).map_err(|e| serve::refused("hear signals", &e))?;
    let failure = Failure::default();
    let (told, url) = (Rc::clone(&failure), options.server.url.clone());
    let began = Cell::new(false);
    let mut client = options.server.client()?.retry(Retry::default());
    if let Some(time) = options.session {
        client = client.session(time);
    }
    let client = client.on_event(move |h, event| match event {
        ClientEvent::Connected { .. } => began.set(true),
        ClientEvent::Refused(code) => fail(h, &told, format!("the server refuses: {code}")),
        ClientEvent::Subscribed { filter, code } if code.is_error() => {
            fail(h, &told, format!("the server refuses {filter}: {code}"));
        }
        ClientEvent::Disconnected { why, .. } if !began.get() => {
            fail(h, &told, format!("cannot reach {url}: {why}"));
        }
        _ => {}
    });
    let connection = client.connect(&rt).map_err(|e| Problem::usage(e.rule().to_owned()))?;
    let mut heard = Vec::new();
    let left = Rc::new(Cell::new(options.count));
    for filter in &options.filters {
        let (left, to, topics) = (Rc::clone(&left), connection.clone(), options.topics);
        let sub = connection.subscribe(filter, options.server.qos(), move |h, message| {
            if left.get() == Some(0) {
                return;
            }
            let mut line = Vec::new();
            if topics {
                line.extend_from_slice(message.topic.as_bytes());
                line.push(b' ');
            }
            line.extend_from_slice(message.payload);
            line.push(b'\n');
            left.set(left.get().map(|n| n - 1));
            let written = report::print_bytes(&line);
            if written.is_err() || left.get() == Some(0) {
                to.close();
                h.shutdown(Duration::from_secs(5));
            }
        });
        heard.push(sub.map_err(|e| Problem::usage(format!("{filter}: {}", e.rule())))?);
    }
    rt.run().map_err(|e| serve::refused("go on", &e))?;
    drop(heard);
    let problem = failure.borrow_mut().take();
    problem.map_or(Ok(()), Err)
}
