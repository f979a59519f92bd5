use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;

const fn us(n: u64) -> Micros {
    Micros::new(n)
}

fn armed_at(sched: &mut Sched<u64>, at: u64) -> Handle {
    let h = sched.add(at);
    assert!(sched.arm(h, us(at), Slack::Precise, Micros::ZERO));
    h
}

fn popped(sched: &mut Sched<u64>, now: u64) -> Vec<Handle> {
    core::iter::from_fn(|| sched.pop(us(now))).collect()
}

#[test]
fn equal_deadlines_fire_in_the_order_they_were_armed() {
    let mut s = Sched::new();
    let entries: Vec<Handle> = (0..100).map(|_| armed_at(&mut s, 7)).collect();

    let mut expected = entries.clone();
    for again in [0, 50, 99, 3] {
        s.arm(entries[again], us(7), Slack::Precise, Micros::ZERO);
        expected.retain(|h| *h != entries[again]);
        expected.push(entries[again]);
    }

    assert_eq!(popped(&mut s, 7), expected);
}

#[test]
fn an_extended_entry_fires_at_its_new_time_and_behind_its_equals() {
    let mut s = Sched::new();
    let extended = armed_at(&mut s, 10);
    let fixed = armed_at(&mut s, 20);

    s.arm(extended, us(20), Slack::Precise, Micros::ZERO);

    assert_eq!((s.next(), s.pop(us(19))), (Some(us(20)), None));
    assert_eq!(popped(&mut s, 20), [fixed, extended]);
}

#[test]
fn a_deadline_moves_out_and_in_again() {
    let mut s = Sched::new();
    let (moved, other) = (armed_at(&mut s, 10), armed_at(&mut s, 30));

    for (at, next) in [(40, 30), (35, 30), (20, 20), (5, 5), (30, 30)] {
        s.arm(moved, us(at), Slack::Precise, Micros::ZERO);
        assert_eq!(s.next(), Some(us(next)));
    }

    assert_eq!(popped(&mut s, 30), [other, moved]);
}

#[test]
fn slack_is_late_by_its_bound_at_most_and_never_early() {
    let mut s = Sched::new();
    let h = s.add(0);
    let intervals = [0, 1, 15, 16, 31, 32, 250, 1_000, 999_999, 15_000_000, 1 << 40];
    type Bound = fn(u64) -> u64;
    let bounds: [(Slack, Bound); 3] = [
        (Slack::Precise, |_| 0),
        (Slack::Normal, |_| 511),
        (Slack::Coarse, |interval| interval / 16),
    ];

    for (slack, bound) in bounds {
        for interval in intervals {
            let now = us(123_456_789);
            let due = now + Duration::from_micros(interval);
            s.cancel(h);
            s.arm(h, due, slack, now);

            let at = s.next().unwrap();

            let late = at.get() - due.get();
            assert!(at >= due && late <= bound(interval), "{slack:?} {interval}: {late}");
            assert_eq!(s.due(h), Some(due));
        }
    }
}

#[test]
fn idle_timeouts_fire_in_few_batches() {
    let mut s = Sched::new();
    for i in 0..10_000 {
        let h = s.add(0);
        let now = us(i * 1_500);
        s.arm(h, now + Duration::from_secs(15), Slack::Coarse, now);
    }

    let mut batches = 0;
    while let Some(at) = s.next() {
        batches += 1;
        while s.pop(at).is_some() {}
    }

    assert!(batches <= 33, "{batches}");
}

#[test]
fn a_stale_handle_does_nothing() {
    let mut s = Sched::new();
    let old = armed_at(&mut s, 5);
    assert_eq!(s.remove(old), Some(5));
    let new = s.add(6);
    assert_eq!(new.index(), old.index());

    s.set_wake_if_suspended(old, true);

    assert!(!s.arm(old, us(1), Slack::Precise, Micros::ZERO));
    assert!(!s.cancel(old) && !s.is_armed(old));
    assert_eq!(s.remove(old), None);
    assert_eq!(s.get_mut(old), None);
    assert_eq!((s.get(old), s.due(old)), (None, None));
    assert_eq!((s.next(), s.len(), s.armed()), (None, 1, 0));
}

#[test]
fn cancel_says_whether_it_prevented_something() {
    let mut s = Sched::new();
    let h = armed_at(&mut s, 5);

    assert!(s.cancel(h) && !s.cancel(h));
    assert_eq!(s.pop(us(100)), None);

    s.arm(h, us(6), Slack::Precise, Micros::ZERO);
    assert_eq!(s.pop(us(6)), Some(h));
    assert!(!s.cancel(h) && s.get(h).is_some());
}

#[test]
fn an_entry_may_be_armed_again_while_it_is_served() {
    let mut s = Sched::new();
    let ticker = armed_at(&mut s, 10);
    let now = us(10);

    assert_eq!(s.pop(now), Some(ticker));
    s.arm(ticker, us(11), Slack::Precise, now);

    assert_eq!((s.pop(now), s.next()), (None, Some(us(11))));
}

#[test]
fn what_wakes_a_suspended_machine_has_its_own_deadline() {
    let mut s = Sched::new();
    let (early, late) = (armed_at(&mut s, 10), armed_at(&mut s, 20));
    assert_eq!(s.next_if_suspended(), None);

    s.set_wake_if_suspended(late, true);
    assert_eq!((s.next(), s.next_if_suspended()), (Some(us(10)), Some(us(20))));
    s.arm(late, us(30), Slack::Precise, Micros::ZERO);
    assert_eq!((s.next_if_suspended(), s.armed()), (Some(us(30)), 2));

    assert_eq!(popped(&mut s, 30), [early, late]);
    s.arm(late, us(40), Slack::Precise, Micros::ZERO);
    assert_eq!(s.next_if_suspended(), Some(us(40)));
    s.set_wake_if_suspended(late, false);
    assert_eq!((s.next(), s.next_if_suspended()), (Some(us(40)), None));
}

#[test]
fn changing_the_class_keeps_the_place_among_equals() {
    let mut s = Sched::new();
    let entries: Vec<Handle> = (0..10).map(|_| armed_at(&mut s, 7)).collect();

    for i in [8, 1, 5] {
        s.set_wake_if_suspended(entries[i], true);
    }

    assert_eq!(popped(&mut s, 7), entries);
}

#[test]
fn any_time_is_fine() {
    let mut s = Sched::new();
    for slack in [Slack::Precise, Slack::Normal, Slack::Coarse] {
        for (at, now) in
            [(0, 0), (u64::MAX, 0), (u64::MAX, u64::MAX), (0, u64::MAX), (u64::MAX - 1, 1)]
        {
            let h = s.add(at);
            assert!(s.arm(h, us(at), slack, us(now)));
            assert!(s.arm(h, us(at), slack, us(now)));
        }
    }

    assert_eq!(popped(&mut s, u64::MAX).len(), 15);
}

#[test]
fn arming_takes_no_memory() {
    let mut s = Sched::new();
    let entries: Vec<Handle> = (0..1_000).map(|i| s.add(i)).collect();
    for h in entries.iter().step_by(3) {
        s.set_wake_if_suspended(*h, true);
    }
    let before = (s.sleeps.capacity(), s.wakes.capacity());

    for (i, h) in (0..).zip(&entries) {
        s.arm(*h, us(i), Slack::Normal, Micros::ZERO);
    }

    assert_eq!((s.sleeps.capacity(), s.wakes.capacity()), before);
    assert_eq!((s.armed(), size_of::<Node>()), (1_000, 24));
}

#[test]
fn the_live_page_sees_every_entry() {
    let mut s = Sched::new();
    let (a, b, c) = (armed_at(&mut s, 10), s.add(20), armed_at(&mut s, 30));
    s.remove(a);

    let seen: Vec<_> = s.iter().collect();

    assert_eq!(seen, [(b, None, &20), (c, Some(us(30)), &30)]);
}

/// What an entry is in the naive scheduler.
#[derive(Clone, Copy, Default)]
struct Entry {
    key: Option<(Micros, u64)>,
    due: Micros,
    wakes: bool,
}

/// The naive twin: a sorted map by (deadline, sequence).
#[derive(Default)]
struct Model {
    entries: BTreeMap<Handle, Entry>,
    queue: BTreeMap<(Micros, u64), Handle>,
    sequence: u64,
}

impl Model {
    fn arm(&mut self, h: Handle, due: Micros, slack: Slack, now: Micros) {
        let grain = 1 << slack.grain(due, now);
        let at = due.get().checked_next_multiple_of(grain).map_or(due, Micros::new);
        self.cancel(h);
        self.sequence += 1;
        let wakes = self.entries[&h].wakes;
        self.entries.insert(h, Entry { key: Some((at, self.sequence)), due, wakes });
        self.queue.insert((at, self.sequence), h);
    }

    fn cancel(&mut self, h: Handle) -> bool {
        let key = self.entries.get_mut(&h).and_then(|entry| entry.key.take());
        key.is_some_and(|key| self.queue.remove(&key).is_some())
    }

    fn next(&self) -> Option<Micros> {
        self.queue.keys().next().map(|key| key.0)
    }

    fn next_if_suspended(&self) -> Option<Micros> {
        self.queue.iter().find(|(_, h)| self.entries[h].wakes).map(|(key, _)| key.0)
    }

    fn pop(&mut self, now: Micros) -> Option<Handle> {
        let (key, h) = self.queue.first_key_value().map(|(key, h)| (*key, *h))?;
        (key.0 <= now).then(|| self.cancel(h)).map(|_| h)
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn any<X: Copy>(&mut self, of: &[X]) -> Option<X> {
        let which = self.below(of.len().max(1) as u64);
        of.get(usize::try_from(which).unwrap()).copied()
    }
}

/// Both schedulers, and every handle ever given: old ones are stale.
struct Twins {
    real: Sched<u64>,
    model: Model,
    handles: Vec<Handle>,
    now: Micros,
    rng: Rng,
}

impl Twins {
    fn step(&mut self) {
        let h = self.rng.any(&self.handles).unwrap_or(Handle::STALE);
        let lives = self.model.entries.contains_key(&h);
        match self.rng.below(100) {
            0..8 => self.add(),
            8..13 => {
                assert_eq!(self.real.remove(h).is_some(), lives);
                self.model.cancel(h);
                self.model.entries.remove(&h);
            }
            13..70 => self.arm(h, lives),
            70..78 => assert_eq!(self.real.cancel(h), self.model.cancel(h)),
            78..82 => {
                let on = self.rng.below(8) == 0;
                self.real.set_wake_if_suspended(h, on);
                self.model.entries.entry(h).and_modify(|entry| entry.wakes = on);
            }
            _ => {
                self.now = self.now + Duration::from_micros(self.rng.below(8));
                assert_eq!(self.real.pop(self.now), self.model.pop(self.now));
            }
        }
        let entry = self.model.entries.get(&h).filter(|entry| entry.key.is_some());
        assert_eq!(self.real.due(h), entry.map(|entry| entry.due));
        assert_eq!(self.real.next(), self.model.next());
    }

    /// Makes an entry; of 2,000 one is forgotten for it.
    fn add(&mut self) {
        let h = self.real.add(0);
        self.model.entries.insert(h, Entry::default());
        self.handles.push(h);
        if self.handles.len() > 2_000 {
            let gone = self.rng.any(&self.handles).unwrap();
            self.handles.retain(|h| *h != gone);
            assert_eq!(self.real.remove(gone).is_some(), self.model.entries.contains_key(&gone));
            self.model.cancel(gone);
            self.model.entries.remove(&gone);
        }
    }

    fn arm(&mut self, h: Handle, lives: bool) {
        let far = self.rng.any(&[2, 64, 5_000, 1 << 40]).unwrap();
        let at = match self.rng.below(200) {
            0 => Micros::MAX,
            1 => Micros::ZERO,
            _ => self.now + Duration::from_micros(self.rng.below(far)),
        };
        let slack = self.rng.any(&[Slack::Precise, Slack::Normal, Slack::Coarse]).unwrap();
        assert_eq!(self.real.arm(h, at, slack, self.now), lives);
        if lives {
            self.model.arm(h, at, slack, self.now);
        }
    }
}

#[test]
fn a_million_random_operations_agree_with_a_sorted_map() {
    let mut twins = Twins {
        real: Sched::new(),
        model: Model::default(),
        handles: Vec::new(),
        now: Micros::ZERO,
        rng: Rng(0x9e37_79b9_7f4a_7c15),
    };

    for i in 0..1_000_000 {
        twins.step();
        if i % 64 == 0 {
            assert_eq!(twins.real.next_if_suspended(), twins.model.next_if_suspended());
            assert_eq!(twins.real.armed(), twins.model.queue.len());
            assert_eq!(twins.real.len(), twins.model.entries.len());
        }
    }

    while let Some(h) = twins.model.pop(Micros::MAX) {
        assert_eq!(twins.real.pop(Micros::MAX), Some(h));
    }
    assert_eq!((twins.real.next(), twins.real.armed()), (None, 0));
}
