//! `lodger mqtt broker`: a broker on a loop of its own.

use std::time::Duration;

use clap::Args;
use lodger::mqtt::{Broker, BrokerConfig, FileJournal, websocket_config};
use lodger::{Addr, Handle, Limits, ListenerId, MqttLimits, Runtime, Serve, Service, http, tls};

use crate::report::{self, Problem};
use crate::{args, serve, signal};

pub(crate) const NOTES: &str = "\
Every client is let in and may publish and subscribe to everything, $SYS excepted: listen where only
those reach it who may. Sessions and messages are in memory, and end with the program, unless there is a
--journal. What a client was told to be taken is in the journal before it hears so: killing the
program loses nothing of it, a power cut the last seconds, and nothing with --fsync.

SIGTERM and SIGINT say goodbye: clients of MQTT 5.0 are told that the server shuts down.";

/// Where and within which limits to serve.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where to listen: IP:PORT or unix:PATH; repeatable; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883", value_parser = Addr::parse)]
    listen: Vec<Addr>,

    /// Where to listen for WebSockets that carry MQTT, at /mqtt; repeatable
    #[arg(long, value_name = "ADDR", value_parser = Addr::parse)]
    ws: Vec<Addr>,

    #[command(flatten)]
    secure: crate::tls::Server,

    /// Refuse subscriptions to this filter, as it stands, with 0x80; repeatable
    #[arg(long, value_name = "FILTER")]
    deny_subscribe: Vec<String>,

    /// Keep-alive of clients of MQTT 5.0, in place of their own
    #[arg(long, value_name = "SECS")]
    server_keep_alive: Option<u16>,

    /// Unacknowledged messages that a client may send
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    receive_maximum: Option<u16>,

    /// Topic aliases that a client may use
    #[arg(long, value_name = "N")]
    topic_alias_maximum: Option<u16>,

    /// Longest packet of a client, else 0x95; at most 256m
    #[arg(long, value_name = "BYTES", value_parser = |s: &str| args::size(s, 256 << 20))]
    maximum_packet_size: Option<u64>,

    /// Keep sessions and messages in this file, and begin with what is there
    #[arg(long, value_name = "FILE")]
    journal: Option<std::path::PathBuf>,

    /// Wait for the disk each time that something is written to the journal
    #[arg(long, requires = "journal")]
    fsync: bool,

    /// How long a goodbye may take
    #[arg(long, value_name = "SECS", default_value = "5", value_parser = args::seconds)]
    grace: Duration,
}

impl Options {
    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let mqtt = &mut limits.mqtt;
        mqtt.receive_maximum = self.receive_maximum.unwrap_or(mqtt.receive_maximum);
        mqtt.aliases = self.topic_alias_maximum.unwrap_or(mqtt.aliases);
        let packet = self.maximum_packet_size.and_then(|bytes| u32::try_from(bytes).ok());
        mqtt.packet = packet.unwrap_or(mqtt.packet);
        limits
    }

    fn config(&self) -> BrokerConfig {
        let denied = self.deny_subscribe.iter();
        let config = denied.fold(BrokerConfig::new(), |config, f| config.deny_subscribe(f));
        match self.server_keep_alive {
            Some(secs) => config.keep_alive(secs),
            None => config,
        }
    }
}

/// Serves until a signal says goodbye.
///
/// # Errors
///
/// A listener or the loop could not be made, or the loop failed.
pub(crate) fn run(options: &Options) -> Result<(), Problem> {
    serve::raise_file_limit();
    let limits = options.limits();
    let mqtt = limits.mqtt.clone();
    let rt = Runtime::standalone_with(limits).map_err(|e| serve::refused("start", &e))?;
    signal::goodbye(&rt, options.grace).map_err(|e| serve::refused("hear signals", &e))?;
    let broker = make(&rt, options)?;
    let secure = options.secure.config()?;
    let service = behind(secure.as_ref(), broker.clone());
    let schemes = if secure.is_some() { ("mqtts", "wss") } else { ("mqtt", "ws") };
    for addr in &options.listen {
        let listener = serve::listen(&rt, addr, &service)?;
        announce(&rt, listener, schemes.0, "");
    }
    let web = behind(secure.as_ref(), websockets(http::Server::new(), &broker, &mqtt));
    for addr in &options.ws {
        let listener = serve::listen(&rt, addr, &web)?;
        announce(&rt, listener, schemes.1, "/mqtt");
    }
    rt.run().map_err(|e| serve::refused("go on", &e))
}

/// Puts TLS before a server, where it is wanted.
fn behind(secure: Option<&tls::ServerConfig>, server: impl Serve) -> Service {
    match secure {
        Some(config) => tls::Server::new(config, server).into_service(),
        None => server.into_service(),
    }
}

fn make(rt: &Runtime, options: &Options) -> Result<Broker, Problem> {
    let Some(path) = &options.journal else { return Ok(Broker::new(rt, options.config())) };
    let opened = FileJournal::open(path, options.fsync)
        .and_then(|journal| Broker::open(rt, options.config(), journal));
    opened.map_err(|e| {
        let damaged = e.kind() == std::io::ErrorKind::InvalidData;
        let text = if damaged { e.to_string() } else { format!("{}: {e}", path.display()) };
        Problem::new(format!("cannot use the journal {text}"))
    })
}

/// Adds the route of WebSockets that carry MQTT.
pub(crate) fn websockets(
    server: http::Server,
    broker: &Broker,
    limits: &MqttLimits,
) -> http::Server {
    let broker = broker.clone();
    server.ws_with("/mqtt", websocket_config(limits), move |_| Ok(broker.websocket()))
}

/// Says where a listener is.
pub(crate) fn announce(h: &Handle, listener: ListenerId, scheme: &str, path: &str) {
    let Some(addr) = h.local_addr(listener) else { return };
    let line = match addr {
        Addr::Tcp(addr) => format!("lodger serves {scheme}://{addr}{path}"),
        other => format!("lodger serves {scheme} at {other}{path}"),
    };
    if report::print(&format!("{line}\n")).is_err() {
        report::say(format_args!("standard output takes nothing, so it is said here: {line}"));
    }
}
