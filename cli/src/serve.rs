//! `lodger serve`: routes, listeners, and the lines that say where they are.

use std::io;

use lodger::live::Live;
use lodger::mqtt::{Broker, BrokerConfig};
use lodger::{Addr, Handle, ListenerId, Runtime, Serve, Service, http, tls, ws};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::report::{self, Problem};
use crate::signal;
use crate::{args, mqtt};

/// Serves until a signal says goodbye.
///
/// # Errors
///
/// A listener or the loop could not be made, or the loop failed.
pub(crate) fn run(options: &args::Serve) -> Result<(), Problem> {
    raise_file_limit();
    let rt = Runtime::standalone_with(options.limits()).map_err(|e| refused("start", &e))?;
    signal::goodbye(&rt, options.grace).map_err(|e| refused("hear signals", &e))?;
    let broker = (!options.mqtt.is_empty()).then(|| Broker::new(&rt, BrokerConfig::new()));
    let mut server = routes(options, broker.as_ref());
    if let Some(broker) = &broker {
        server = mqtt::broker::websockets(server, broker, &options.limits().mqtt);
    }
    server.prepare(&rt).map_err(|e| {
        Problem::new(format!("cannot serve {e}: name a directory that may be read"))
    })?;
    let tls = options.secure.config()?;
    let service = match &tls {
        Some(config) => tls::Server::new(config, server).into_service(),
        None => server.into_service(),
    };
    let listeners: Vec<ListenerId> =
        options.listen.iter().map(|addr| listen(&rt, addr, &service)).collect::<Result<_, _>>()?;
    for listener in listeners {
        announce(&rt, listener, tls.is_some());
    }
    if let Some(broker) = broker {
        let service = broker.into_service();
        for addr in &options.mqtt {
            let listener = listen(&rt, addr, &service)?;
            mqtt::broker::announce(&rt, listener, "mqtt", "");
        }
    }
    rt.run().map_err(|e| refused("go on", &e))
}

fn routes(options: &args::Serve, broker: Option<&Broker>) -> http::Server {
    let live =
        Live::new("/_lodger").stall(std::thread::sleep).controls_for_all(options.live_controls);
    let live = broker.map_or(live.clone(), |broker| live.broker(broker));
    if let Some(dir) = &options.dir {
        let files = http::Files::new(dir);
        let files = match &options.cache_control {
            Some(value) => files.cache_control(value),
            None => files,
        };
        return live.mount(http::Server::new().files("/", files));
    }
    let (max_body, echo) = (options.max_body, echo_config(options));
    if options.h2_only {
        return over_http2(max_body, echo);
    }
    let server = http::Server::new()
        .get("/plaintext", |_, response| response.text("Hello, World!"))
        .post("/echo", move |_, response| {
            response.read_body_up_to(max_body, |body, response| {
                response.bytes("application/octet-stream", body)
            })
        })
        .ws_with("/echo", echo, |_| Ok(Echo));
    live.also("/").mount(server)
}

/// What suites ask: every request has its body read before it is answered.
fn over_http2(max_body: u64, echo: ws::Config) -> http::Server {
    let whole = move |response: http::Response<'_>| {
        response.read_body_up_to(max_body, |_, response| response.text("Hello, World!"))
    };
    http::Server::new()
        .only_http2()
        .get("/", move |_, response| whole(response))
        .post("/", move |_, response| whole(response))
        .get("/plaintext", |_, response| response.text("Hello, World!"))
        .post("/echo", move |_, response| {
            response.read_body_up_to(max_body, |body, response| {
                response.bytes("application/octet-stream", body)
            })
        })
        .ws_with("/ws", echo, |_| Ok(Echo))
}

fn echo_config(options: &args::Serve) -> ws::Config {
    let config = ws::Config::from(&options.limits().ws);
    if options.deflate { config.deflate(ws::Deflate::new()) } else { config }
}

/// Sends every message back.
struct Echo;

impl ws::Handler for Echo {
    fn message(&mut self, cx: &mut ws::Cx<'_>, message: ws::Message<'_>) {
        if cx.send(message).is_err() {
            cx.close(1011);
        }
    }
}

pub(crate) fn listen(rt: &Runtime, addr: &Addr, service: &Service) -> Result<ListenerId, Problem> {
    rt.listen(&addr.to_string(), service.clone()).map_err(|refused| not_here(addr, &refused.error))
}

/// Says where a listener is, to whoever reads standard output; else to whoever reads the errors.
fn announce(h: &Handle, listener: ListenerId, tls: bool) {
    let Some(addr) = h.local_addr(listener) else { return };
    let s = if tls { "s" } else { "" };
    let line = match addr {
        Addr::Tcp(addr) => format!("lodger serves http{s}://{addr}/"),
        other => format!("lodger serves {other}"),
    };
    if report::print(&format!("{line}\n")).is_err() {
        report::say(format_args!("standard output takes nothing, so it is said here: {line}"));
    }
}

/// As many descriptors as the system allows; with fewer the program runs as well.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Why an address cannot be listened on, and what to do.
fn not_here(addr: &Addr, e: &io::Error) -> Problem {
    let unix = matches!(addr, Addr::Unix(_));
    match e.kind() {
        io::ErrorKind::InvalidInput => Problem::usage(format!("{addr}: {e}; choose a shorter one")),
        io::ErrorKind::AddrInUse if is_no_socket(addr) => Problem::new(format!(
            "{addr} is a file but no socket, and is left alone: remove it or choose another path"
        )),
        io::ErrorKind::AddrInUse => Problem::new(format!(
            "{addr} is in use: stop the program that listens there, or choose another --listen"
        )),
        io::ErrorKind::AddrNotAvailable => Problem::new(format!(
            "{addr} is no address of this machine: try 127.0.0.1, or 0.0.0.0 for all of them"
        )),
        io::ErrorKind::PermissionDenied if unix => Problem::new(format!(
            "{addr} may not be made: choose a directory that you may write to"
        )),
        io::ErrorKind::PermissionDenied => Problem::new(format!(
            "{addr} needs a privilege, as ports below 1024 do: choose a higher one"
        )),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Problem::new(format!("{addr} is in no directory: make it first"))
        }
        _ => refused(&format!("listen on {addr}"), e),
    }
}

fn is_no_socket(addr: &Addr) -> bool {
    use std::os::unix::fs::FileTypeExt;
    match addr {
        Addr::Unix(path) => {
            std::fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket())
        }
        _ => false,
    }
}

/// What the system refuses otherwise.
pub(crate) fn refused(what: &str, e: &io::Error) -> Problem {
    let too_many = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    let advice = if too_many.iter().any(|errno| e.raw_os_error() == Some(errno.raw_os_error())) {
        ": raise the limit of open files (ulimit -n)"
    } else {
        ""
    };
    Problem::new(format!("cannot {what}: {e}{advice}"))
}
