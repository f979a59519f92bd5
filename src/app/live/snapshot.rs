//! What the page shows, as one JSON text.

use core::time::Duration;
use std::string::{String, ToString};

use super::feed;
use super::json::Json;
use super::probe::Probe;
use crate::ws::StreamInfo;
use crate::{ConnInfo, Handle, Stats, TimerId, TimerInfo};

/// Of the format. A page that finds another one asks to be loaded again.
const VERSION: u64 = 2;
/// Connections listed at most; `open` tells how many there are.
const SHOWN: usize = 100;
/// Timers and streams listed at most, of each.
const LISTED: usize = 50;

/// What the feed itself adds to the picture.
pub(super) struct Own<'a> {
    pub(super) probe: &'a Probe,
    /// Of the feed, of the probe.
    pub(super) timers: Option<[TimerId; 2]>,
    #[cfg(feature = "mqtt")]
    pub(super) broker: Option<crate::mqtt::BrokerStats>,
}

/// Writes what one viewer is told first: what it may do, a JSON array.
pub(super) fn may(offered: &str) -> String {
    std::format!(r#"{{"v":{VERSION},"may":{offered}}}"#)
}

/// Writes the runtime as it is now.
pub(super) fn write(h: &Handle, own: &Own<'_>, out: &mut String) {
    let (stats, conns) = (h.stats(), h.connections(SHOWN));
    Json::new(out).object(|j| {
        j.key("v").number(VERSION);
        j.key("host").text(&h.host_name());
        j.key("version").text(env!("CARGO_PKG_VERSION"));
        j.key("uptime_us").number(h.now().get());
        counters(j, &stats);
        #[cfg(feature = "mqtt")]
        if let Some(stats) = &own.broker {
            j.key("broker").object(|j| broker(j, stats));
        }
        let mut bars = 0;
        j.key("worst_us").array(|j| bars = own.probe.bars(|d| j.number(micros(d))));
        j.key("bars").number(bars);
        j.key("list").array(|j| h.timers(LISTED).iter().for_each(|t| timer(j, t, own)));
        j.key("streams").array(|j| h.streams(LISTED).iter().for_each(|s| stream(j, s)));
        j.key("shown").number(conns.len() as u64);
        j.key("conns").array(|j| conns.iter().for_each(|conn| connection(j, conn)));
    });
}

/// The feed's own is running, as it is what shows this: its next time is a period away.
fn timer(j: &mut Json<'_>, timer: &TimerInfo, own: &Own<'_>) {
    let [is_feed, is_probe] = own.timers.map_or([false; 2], |own| own.map(|id| id == timer.id));
    let (kind, due_in, period) = if is_feed {
        ("every", feed::PERIOD, Some(feed::PERIOD))
    } else {
        (timer.kind, timer.due_in, timer.period)
    };
    j.object(|j| {
        j.key("id").text(&timer.id.to_string());
        j.key("kind").text(kind);
        j.key("due_us").number(micros(due_in));
        if let Some(period) = period {
            j.key("period_us").number(micros(period));
        }
        if is_feed || is_probe {
            j.key("of").text(if is_feed { "this page's feed" } else { "this page's probe" });
        }
    });
}

fn stream(j: &mut Json<'_>, stream: &StreamInfo) {
    j.object(|j| {
        j.key("url").text(&stream.url);
        j.key("state").text(stream.state);
        j.key("failures").number(stream.failures.into());
        if let (Some(left), Some(delay)) = (stream.retry_in, stream.delay) {
            j.key("due_us").number(micros(left));
            j.key("delay_us").number(micros(delay));
        }
    });
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
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

#[cfg(feature = "mqtt")]
fn broker(j: &mut Json<'_>, stats: &crate::mqtt::BrokerStats) {
    let numbers = [
        ("sessions", stats.sessions),
        ("connected", stats.connected),
        ("subscriptions", stats.subscriptions),
        ("retained", stats.retained),
        ("received", stats.received),
        ("sent", stats.sent),
        ("dropped", stats.dropped),
        ("in_flight", stats.in_flight),
        ("queued", stats.queued),
    ];
    for (name, n) in numbers {
        j.key(name).number(n);
    }
}

fn connection(j: &mut Json<'_>, conn: &ConnInfo) {
    j.object(|j| {
        j.key("id").text(&std::format!("{}", conn.id));
        j.key("proto").text(short(conn.protocol));
        j.key("path").text(&conn.path);
        j.key("peer").text(&conn.peer);
        if !conn.tls.is_empty() {
            j.key("tls").text(&conn.tls);
        }
        j.key("rx").number(conn.received);
        j.key("tx").number(conn.sent);
        j.key("age_us").number(micros(conn.age));
        j.key("state").text(conn.state);
    });
}

/// A narrow column has room for this.
fn short(protocol: &str) -> &str {
    match protocol {
        "websocket" => "ws",
        "http/2" => "h2",
        "http/2 stream" | "http/2 stream of a client" => "h2 stream",
        other => other,
    }
}
