//! From a name to a connection: addresses as they are found, attempts side by side, the first that
//! is there wins. RFC 8305.
//!
//! ```text
//! Named --turn--> Asked --an address--> Racing --connected--> an open connection
//! ```
//!
//! The sockets of a race are watched under tokens of their own, which differ from the slot's in
//! the upper bits of the generation: its *lane*. The winner keeps its lane, for a token cannot be
//! changed while its socket is watched.

use std::boxed::Box;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lodger_backend::{Addr, Interest, Micros, Ready, Sock, Token, Trigger};

use super::Handle;
use super::core::Core;
use super::id::{ConnId, Reason};
use super::names::NameError;
use super::slot::{Flags, Slot, State};
use crate::limits::ClientLimits;

/// Attempts side by side, as many as there are lanes.
const LANES: usize = 7;
/// The bits of a generation, and of a slot's flags, that tell the lane; 0 is a connection that was
/// not raced for.
const LANE_SHIFT: u32 = 29;
const LANE_BITS: u32 = 7 << LANE_SHIFT;
/// Addresses of one name; more are left out.
const ADDRESSES: usize = 16;
/// RFC 8305, section 5: how long an attempt is alone before the next address is tried as well.
const STAGGER: Duration = Duration::from_millis(250);

/// One attempt to reach a name.
#[derive(Debug)]
pub(crate) struct Race {
    /// To be asked for by the next turn.
    name: Option<Box<str>>,
    port: u16,
    /// Found and not yet tried, in order.
    waiting: VecDeque<SocketAddr>,
    /// Being tried, by lane.
    lanes: [Option<Sock>; LANES],
    /// When the next address is tried though nothing has failed.
    next: Micros,
    found: usize,
    /// The family that was tried last is IPv6.
    last_was_v6: bool,
    /// No more addresses will come.
    complete: bool,
    /// Why the last attempt failed, or why there is no address.
    why: Reason,
}

impl Race {
    pub(crate) fn new(name: &str, port: u16) -> Self {
        Self {
            name: Some(name.into()),
            port,
            waiting: VecDeque::new(),
            lanes: [None; LANES],
            next: Micros::ZERO,
            found: 0,
            last_was_v6: false,
            complete: false,
            why: Reason::Name(NameError::NotFound),
        }
    }

    /// Adds addresses. Those that wait take turns by family, the other one than was tried last
    /// first, IPv6 if none was: RFC 8305, section 4.
    fn add(&mut self, found: &[IpAddr]) {
        let room = ADDRESSES.saturating_sub(self.found);
        let fresh = found.iter().take(room).map(|ip| SocketAddr::new(*ip, self.port));
        let all: Vec<SocketAddr> = self.waiting.drain(..).chain(fresh).collect();
        self.found += found.len().min(room);
        let (mut v6, mut v4): (VecDeque<_>, VecDeque<_>) =
            all.into_iter().partition(SocketAddr::is_ipv6);
        let mut six = !self.last_was_v6;
        while !v6.is_empty() || !v4.is_empty() {
            let next = if six { v6.pop_front() } else { v4.pop_front() };
            self.waiting.extend(next);
            six = !six;
        }
    }

    /// Takes the next address to be tried at this time, and the lane for it.
    fn begin(&mut self, now: Micros) -> Option<(usize, SocketAddr)> {
        let lane = self.lanes.iter().position(Option::is_none)?;
        if now < self.next && self.runs() {
            return None;
        }
        let addr = self.waiting.pop_front()?;
        self.last_was_v6 = addr.is_ipv6();
        self.next = now + STAGGER;
        Some((lane, addr))
    }

    /// Whether anything is being tried.
    fn runs(&self) -> bool {
        self.lanes.iter().any(Option::is_some)
    }

    /// Whether nothing more can come of it.
    fn is_lost(&self) -> bool {
        self.complete && self.waiting.is_empty() && !self.runs()
    }

    /// When something is to be done though nothing has happened.
    pub(crate) fn due(&self, since: Micros, limits: &ClientLimits) -> Micros {
        if self.found == 0 {
            return since + limits.name;
        }
        let ends = since + limits.connect;
        let staggers = !self.waiting.is_empty() && self.lanes.iter().any(Option::is_none);
        if staggers { ends.min(self.next) } else { ends }
    }
}

/// Gives the generation under which a slot's socket is watched.
#[inline]
pub(super) fn watched_as(slot: &Slot) -> u32 {
    slot.generation ^ (slot.flags.0 & LANE_BITS)
}

/// Tells whether a report under this generation, which is not the slot's own, is about a socket of
/// it: the one that it has, or one of a race under way.
#[cold]
pub(super) fn is_lane(slot: &Slot, generation: u32) -> bool {
    let lane = slot.generation ^ generation;
    let races = slot.flags.has(Flags::CONNECTING);
    lane & !LANE_BITS == 0 && (races || lane == slot.flags.0 & LANE_BITS)
}

fn token(id: ConnId, lane: usize) -> Token {
    let lane = u32::try_from(lane + 1).unwrap_or(0) << LANE_SHIFT;
    Token::new(id.index, id.generation ^ lane)
}

impl Core {
    /// Has a race looked at by the next turn.
    pub(super) fn stir(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.ready |= Ready::WRITE;
            self.queue(index);
        }
    }

    fn race(&mut self, id: ConnId) -> Option<&mut Race> {
        let slot = self.named(id).filter(|slot| slot.state == State::Open)?;
        slot.extra.as_mut()?.race.as_deref_mut()
    }

    /// Gives the sockets of a race that is over to the graveyard.
    #[cold]
    pub(super) fn end_race(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let id = ConnId { index, generation: slot.generation };
        let Some(race) = slot.extra.as_mut().and_then(|extra| extra.race.take()) else { return };
        let open = race.lanes.iter().enumerate();
        self.graveyard.extend(open.filter_map(|(lane, sock)| Some((token(id, lane), (*sock)?))));
    }

    /// Sees what has become of the attempts: the winner's lane, if one is there.
    fn look(&mut self, net: &dyn lodger_backend::Net, id: ConnId) -> Option<usize> {
        let mut failed = Vec::new();
        let race = self.race(id)?;
        let mut won = None;
        for (lane, place) in race.lanes.iter_mut().enumerate() {
            let Some(sock) = *place else { continue };
            match state(net, sock) {
                Ok(true) => won = won.or(Some(lane)),
                Ok(false) => {}
                Err(e) => {
                    race.why = Reason::Io(e.kind());
                    failed.push((token(id, lane), sock));
                    *place = None;
                }
            }
        }
        if !failed.is_empty() {
            // What is next need not wait.
            race.next = Micros::ZERO;
        }
        self.graveyard.extend(failed);
        won
    }

    /// Makes the winner the slot's socket, and lets the others go.
    fn win(&mut self, id: ConnId, lane: usize) {
        let Some(race) = self.race(id) else { return };
        let sock = race.lanes.get_mut(lane).and_then(Option::take);
        self.end_race(id.index);
        let edge = self.trigger == Trigger::Edge;
        let level = self.trigger == Trigger::Level;
        let Some(slot) = self.slots.get_mut(id.index) else { return };
        slot.sock = sock;
        slot.flags.0 |= u32::try_from(lane + 1).unwrap_or(0) << LANE_SHIFT;
        slot.armed = match (edge, level) {
            (true, _) => Interest::BOTH,
            (_, true) => Interest::WRITE,
            _ => Interest::NONE,
        };
        // What was reported of it is among what was reported of all.
        slot.ready |= Ready::BOTH;
        self.drop_empty_extra(id.index);
    }
}

impl Core {
    /// Looks what it means that a connection that is being made has met its time.
    #[cold]
    pub(super) fn connecting_due(&mut self, index: u32) {
        let now = self.now;
        let Some(slot) = self.slots.get(index) else { return };
        let limits = &self.limits.client;
        let (ends, why) = match slot.race() {
            Some(race) if race.found == 0 => {
                (slot.since + limits.name, Reason::Name(NameError::Timeout))
            }
            Some(_) | None => (slot.since + limits.connect, Reason::ConnectTimeout),
        };
        let races = slot.race().is_some();
        match now >= ends {
            true => self.abort(index, why),
            false if races => self.stir(index),
            false => self.arm_deadline(index),
        }
    }
}

/// Tells whether a socket is connected by now.
fn state(net: &dyn lodger_backend::Net, sock: Sock) -> io::Result<bool> {
    if let Some(e) = net.take_error(sock)? {
        return Err(e);
    }
    match net.peer_addr(sock) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(e) => Err(e),
    }
}

impl Handle {
    /// Hears of addresses of a name that was asked for; `over` is the last it hears.
    pub(crate) fn named(&self, id: ConnId, found: &[IpAddr], over: Option<Result<(), NameError>>) {
        let mut core = self.core();
        let core = &mut *core;
        let now = self.time(core);
        let Some(race) = core.race(id) else { return };
        let first = race.found == 0 && !found.is_empty();
        race.add(found);
        if let Some(result) = over {
            race.complete = true;
            if race.found == 0
                && let Err(e) = result
            {
                race.why = Reason::Name(e);
            }
        }
        if first {
            core.note_named(id, now);
        }
        core.stir(id.index);
        core.arm_deadline(id.index);
        self.ask(core);
    }

    /// Takes a race a step further. `true` once its slot has a connection.
    pub(super) fn race_on(&self, index: u32) -> bool {
        let (id, name) = {
            let mut core = self.core();
            let Some(slot) = core.slots.get_mut(index) else { return false };
            let id = ConnId { index, generation: slot.generation };
            let Some(race) = core.race(id) else { return true };
            (id, race.name.take())
        };
        if let Some(name) = name {
            self.ask_for(id, &name);
        }
        let mut core = self.core();
        let core = &mut *core;
        if let Some(lane) = core.look(&*self.0.net, id) {
            core.win(id, lane);
            return true;
        }
        self.begin_attempts(core, id);
        let lost = core.race(id).filter(|race| race.is_lost()).map(|race| race.why);
        if let Some(why) = lost {
            core.abort(index, why);
        } else if core.trigger == Trigger::Oneshot {
            self.watch_again(core, id);
        }
        if let Some(slot) = core.slots.get_mut(index) {
            slot.ready = slot.ready & Ready::HUP;
        }
        core.arm_deadline(index);
        false
    }

    /// Tries what is to be tried by now.
    fn begin_attempts(&self, core: &mut Core, id: ConnId) {
        let now = core.now;
        let edge = core.trigger == Trigger::Edge;
        let want = if edge { Interest::BOTH } else { Interest::WRITE };
        while let Some((lane, addr)) = core.race(id).and_then(|race| race.begin(now)) {
            let opened = self.0.net.connect(&Addr::Tcp(addr)).and_then(|sock| {
                let source = self.0.net.source(sock).ok_or(io::ErrorKind::NotConnected)?;
                let watched = self.0.driver.borrow_mut().watch(source, token(id, lane), want);
                watched.inspect_err(|_| self.0.net.close(sock))?;
                Ok(sock)
            });
            let Some(race) = core.race(id) else { return };
            match opened {
                Ok(sock) => race.lanes.iter_mut().skip(lane).take(1).for_each(|l| *l = Some(sock)),
                Err(e) => {
                    race.why = Reason::Io(e.kind());
                    race.next = Micros::ZERO;
                }
            }
        }
    }

    /// Has a oneshot loop report again what it may just have reported.
    fn watch_again(&self, core: &mut Core, id: ConnId) {
        let Some(race) = core.race(id) else { return };
        let lanes = race.lanes;
        for (lane, sock) in lanes.iter().enumerate() {
            let Some(source) = sock.and_then(|sock| self.0.net.source(sock)) else { continue };
            let again = self.0.driver.borrow_mut().rearm(source, token(id, lane), Interest::WRITE);
            if let Err(e) = again {
                return core.abort(id.index, Reason::Io(e.kind()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use super::*;

    fn race(found: &[&str]) -> Race {
        let mut race = Race::new("x", 80);
        let found: Vec<IpAddr> = found.iter().map(|ip| ip.parse().unwrap()).collect();
        race.add(&found);
        race
    }

    fn order(race: &Race) -> Vec<String> {
        race.waiting.iter().map(|addr| addr.ip().to_string()).collect()
    }

    #[test]
    fn families_take_turns_and_ipv6_begins() {
        let race = race(&["1.1.1.1", "1.1.1.2", "1.1.1.3", "::1", "::2"]);

        assert_eq!(order(&race), ["::1", "1.1.1.1", "::2", "1.1.1.2", "1.1.1.3"]);
    }

    #[test]
    fn what_is_found_later_goes_by_what_was_tried_last() {
        let mut race = race(&["::1", "::2"]);

        assert_eq!(race.begin(Micros::new(1)).unwrap().1.ip(), "::1".parse::<IpAddr>().unwrap());
        race.add(&["1.1.1.1".parse().unwrap()]);

        assert_eq!(order(&race), ["1.1.1.1", "::2"]);
    }

    #[test]
    fn the_next_is_tried_after_250_ms_or_when_nothing_runs() {
        let mut race = race(&["::1", "::2", "::3"]);
        let now = Micros::new(1);

        let (lane, _) = race.begin(now).unwrap();
        race.lanes[lane] = Some(Sock::from_bits(1));
        assert!(race.begin(now).is_none());
        assert_eq!(race.begin(now + STAGGER).unwrap().0, 1);
        race.lanes[0] = None;

        assert_eq!(race.begin(now).unwrap().0, 0);
    }

    #[test]
    fn addresses_of_a_name_are_bounded() {
        let many: Vec<IpAddr> = (0..100u8).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let mut race = Race::new("x", 80);

        race.add(&many);
        race.add(&many);

        assert_eq!(race.waiting.len(), ADDRESSES);
    }
}
