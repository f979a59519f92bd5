//! The check itself, from the first line that the program prints to its exit code.

use std::time::{Duration, Instant};

use crate::feed::{self, Feed};
use crate::program::{PATIENCE, Program};
use crate::ws::{BINARY, Client, TEXT};
use crate::{Res, tls, web};

/// What the program is to be like.
pub(crate) struct Wanted {
    /// Threads that it has with the guest, which are those that it has without.
    pub(crate) threads: usize,
    /// What the live page names as the host.
    pub(crate) host: String,
}

const CONNECTIONS: usize = 10;
const MESSAGES: usize = 10_000;

/// Checks the program that `command` starts; gives a line of figures.
pub(crate) fn run(wanted: &Wanted, command: &[String]) -> Res<String> {
    tls::check(wanted, command).map_err(|e| format!("over TLS: {e}"))?;
    let mut server = Feed::start(0)?;
    let mut program = Program::start(command, server.port(), None)?;
    let port = program.port();

    let host = named(port, &wanted.host)?;
    let echo = echo(&program, wanted.threads)?;
    let before = until(port, "a message of the feed", |s| s.connected && s.messages > 0)?;
    let again = server.port();
    drop(server);
    let gone = until(port, "the client waiting while its server is gone", |s| !s.connected)?;
    server = Feed::start(again)?;
    let back = until(port, "the client back and hearing", |s| {
        s.connected && s.messages > gone.messages.max(before.messages)
    })?;
    leave(&mut program, wanted.threads)?;
    drop(server);

    let Echo { took, ticks } = echo;
    Ok(format!(
        "{host}: echoes over TLS; {MESSAGES} messages over {CONNECTIONS} connections in {:.2} s with {ticks} ticks \
         of the host; the feed came back ({} messages); {} {}; left with 100 more ticks",
        took.as_secs_f64(),
        back.messages,
        wanted.threads,
        if wanted.threads == 1 { "thread" } else { "threads" },
    ))
}

/// Reads the live page and its feed as a browser does: they name the host.
fn named(port: u16, host: &str) -> Res<String> {
    let page = web::get(port, "/")?;
    let feed = page.split_once("name=\"feed\" content=\"").and_then(|(_, rest)| {
        let (path, _) = rest.split_once('"')?;
        Some(path.to_owned())
    });
    let feed = feed.ok_or("/ is not the live page: it names no feed")?;
    let mut viewer = Client::open(port, &feed)?;
    // What the page may do comes first, then how things are.
    for _ in 0..10 {
        let frame = String::from_utf8(viewer.receive()?.1)?;
        let said = frame.split_once("\"host\":\"").and_then(|(_, rest)| rest.split_once('"'));
        match said {
            Some((name, _)) if name.contains(host) => return Ok(name.to_owned()),
            Some((name, _)) => return Err(format!("the page names `{name}`, not `{host}`").into()),
            None => {}
        }
    }
    Err("the live page names no host".into())
}

/// What echoing has shown.
struct Echo {
    took: Duration,
    /// Of the host's own timer, meanwhile.
    ticks: u64,
}

/// Sends all messages, one in flight on each connection, and compares what comes back byte for
/// byte. The host's own timer must go on meanwhile, and no thread may have come.
fn echo(program: &Program, threads: usize) -> Res<Echo> {
    let port = program.port();
    let mut clients =
        (0..CONNECTIONS).map(|_| Client::open(port, "/echo")).collect::<Res<Vec<_>>>()?;
    let (first, began) = (ticks(port)?, Instant::now());
    for from in (0..MESSAGES).step_by(CONNECTIONS) {
        round(&mut clients, from)?;
    }
    let took = began.elapsed();
    let mut last = ticks(port)?;
    // A fast machine may need less than a tick for all of it.
    let mut more = MESSAGES;
    while last <= first && began.elapsed() < PATIENCE {
        round(&mut clients, more)?;
        more += CONNECTIONS;
        last = ticks(port)?;
    }
    if last <= first {
        return Err(format!("the host's own timer stands still at {last} ticks").into());
    }
    same_threads(program.threads()?, threads)?;
    Ok(Echo { took, ticks: last - first })
}

fn round(clients: &mut [Client], from: usize) -> Res {
    for (number, client) in (from..).zip(clients.iter_mut()) {
        let (opcode, payload) = message(number);
        client.send(opcode, &payload)?;
    }
    for (number, client) in (from..).zip(clients) {
        if client.receive()? != message(number) {
            return Err(format!("message {number} came back changed").into());
        }
    }
    Ok(())
}

/// A message of its own for each number: text and binary, mostly short, now and then long enough
/// for each form of the length.
pub(crate) fn message(number: usize) -> (u8, Vec<u8>) {
    let length = match number % 1_000 {
        999 => 70_000,
        part if part % 100 == 99 => 1_000 + part,
        part => part % 130,
    };
    let opcode = if number.is_multiple_of(2) { TEXT } else { BINARY };
    let digits = format!("{number} ").into_bytes();
    (opcode, digits.iter().copied().cycle().take(length).collect())
}

fn ticks(port: u16) -> Res<u64> {
    let text = web::get(port, "/ticks")?;
    text.trim().parse().map_err(|_| format!("/ticks says {text:?}").into())
}

/// Waits until the state of the program's client is as it must be.
fn until(port: u16, what: &str, holds: impl Fn(&feed::State) -> bool) -> Res<feed::State> {
    let began = Instant::now();
    loop {
        let state = feed::state(port)?;
        if holds(&state) {
            return Ok(state);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("never seen: {what}; at last {state:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Has the guest leave; the host goes on for 100 ticks of its own and ends by itself.
fn leave(program: &mut Program, threads: usize) -> Res {
    let said = web::get(program.port(), "/detach")?;
    if said.trim() != "bye" {
        return Err(format!("/detach says {said:?}").into());
    }
    let line = program.line_with("100 more ticks, ")?;
    let number = line.split_once("100 more ticks, ").and_then(|(_, rest)| rest.split_once(' '));
    let number = number.and_then(|(number, _)| number.parse().ok());
    same_threads(number.ok_or("no number of threads at the end")?, threads)?;
    let status = program.wait()?;
    if status.success() { Ok(()) } else { Err(format!("ended with {status}").into()) }
}

pub(crate) fn same_threads(found: usize, wanted: usize) -> Res {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{found} threads where the host alone has {wanted}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_differ_and_take_every_form_of_length() {
        let all: Vec<(u8, Vec<u8>)> = (0..2_000).map(message).collect();

        assert_ne!(all[128], all[258]);
        assert!(all.iter().any(|(_, p)| p.is_empty()));
        assert!(all.iter().any(|(_, p)| p.len() > 65_535));
        assert!(all.iter().all(|(_, p)| p.is_ascii()));
    }
}
