//! What the page shows, as one JSON text.

use std::string::String;

use super::json::Json;
use crate::{ConnInfo, Handle, Stats};

/// Of the format. A page that finds another one asks to be loaded again.
const VERSION: u64 = 1;
/// Connections listed at most; `open` tells how many there are.
const SHOWN: usize = 100;

/// Writes the runtime as it is now.
pub(super) fn write(h: &Handle, out: &mut String) {
    let (stats, conns) = (h.stats(), h.connections(SHOWN));
    Json::new(out).object(|j| {
        j.key("v").number(VERSION);
        j.key("host").text(&h.host_name());
        j.key("version").text(env!("CARGO_PKG_VERSION"));
        j.key("uptime_us").number(h.now().get());
        counters(j, &stats);
        j.key("shown").number(conns.len() as u64);
        j.key("conns").array(|j| conns.iter().for_each(|conn| connection(j, conn)));
    });
}

fn counters(j: &mut Json<'_>, stats: &Stats) {
    let numbers = [
        ("turns", stats.turns),
        ("wakes", stats.wakes),
        ("requests", stats.requests),
        ("messages", stats.messages),
        ("open", stats.open),
        ("accepted", stats.accepted),
        ("rx", stats.received),
        ("tx", stats.sent),
        ("timers", stats.timers),
        ("nested", stats.nested),
    ];
    for (name, n) in numbers {
        j.key(name).number(n);
    }
    for (name, log2) in [("late", &stats.late), ("turn", &stats.turn)] {
        j.key(name).array(|j| log2.buckets().iter().for_each(|&n| j.number(n)));
    }
}

fn connection(j: &mut Json<'_>, conn: &ConnInfo) {
    j.object(|j| {
        j.key("id").text(&std::format!("{}", conn.id));
        j.key("proto").text(short(conn.protocol));
        j.key("path").text(&conn.path);
        j.key("peer").text(&conn.peer);
        j.key("rx").number(conn.received);
        j.key("tx").number(conn.sent);
        j.key("age_us").number(u64::try_from(conn.age.as_micros()).unwrap_or(u64::MAX));
        j.key("state").text(conn.state);
    });
}

/// A narrow column has room for this.
fn short(protocol: &str) -> &str {
    match protocol {
        "websocket" => "ws",
        other => other,
    }
}
