//! What is known of names, for as long as its servers say: RFC 1035, section 7.4; RFC 2308.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use lodger_backend::Micros;

use super::message::Kind;
use super::name::Name;

/// Entries that are kept.
const MOST: usize = 1_024;
/// No address is kept for longer, whatever its server says.
const LONGEST: u32 = 24 * 3_600;
/// Nor that there is none: RFC 2308, section 5.
const LONGEST_NOTHING: u32 = 3 * 3_600;

/// Addresses by name, in lower case; an entry without one says that there is none.
#[derive(Debug, Default)]
pub(super) struct Cache(BTreeMap<(Name, Kind), Entry>);

#[derive(Debug)]
struct Entry {
    until: Micros,
    addresses: Vec<IpAddr>,
}

impl Cache {
    /// Gives what is known; `None` if nothing is.
    pub(super) fn get(&self, name: &Name, kind: Kind, now: Micros) -> Option<&[IpAddr]> {
        let entry = self.0.get(&(name.clone().lower(), kind))?;
        (now < entry.until).then_some(&*entry.addresses)
    }

    /// Keeps what was found for `ttl` seconds; at the cap what ends first makes room.
    pub(super) fn put(&mut self, name: &Name, kind: Kind, found: &[IpAddr], ttl: u32, now: Micros) {
        let longest = if found.is_empty() { LONGEST_NOTHING } else { LONGEST };
        if ttl == 0 {
            return;
        }
        if self.0.len() >= MOST {
            self.make_room(now);
        }
        let until = now + Duration::from_secs(ttl.min(longest).into());
        self.0.insert((name.clone().lower(), kind), Entry { until, addresses: found.to_vec() });
    }

    fn make_room(&mut self, now: Micros) {
        self.0.retain(|_, entry| now < entry.until);
        if self.0.len() >= MOST
            && let Some(first) = self.0.iter().min_by_key(|(_, e)| e.until).map(|(k, _)| k.clone())
        {
            self.0.remove(&first);
        }
    }

    /// Forgets everything: other servers may say otherwise.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    const IP: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);

    fn name(text: &str) -> Name {
        Name::of_host(text, "").unwrap()
    }

    #[test]
    fn an_entry_lives_its_time() {
        let mut cache = Cache::default();
        let t0 = Micros::new(7);

        cache.put(&name("A.test"), Kind::A, &[IP], 10, t0);
        cache.put(&name("never.test"), Kind::A, &[IP], 0, t0);

        assert_eq!(cache.get(&name("a.TEST"), Kind::A, t0), Some(&[IP][..]));
        assert_eq!(cache.get(&name("a.test"), Kind::Aaaa, t0), None);
        assert_eq!(cache.get(&name("a.test"), Kind::A, t0 + Duration::from_secs(10)), None);
        assert_eq!(cache.get(&name("never.test"), Kind::A, t0), None);
    }

    #[test]
    fn no_time_is_longer_than_a_day_nor_for_nothing_than_three_hours() {
        let mut cache = Cache::default();
        let t0 = Micros::ZERO;
        cache.put(&name("a"), Kind::A, &[IP], u32::MAX, t0);
        cache.put(&name("b"), Kind::A, &[], u32::MAX, t0);

        let hours = |n: u64| t0 + Duration::from_secs(n * 3_600);
        assert!(cache.get(&name("a"), Kind::A, hours(23)).is_some());
        assert!(cache.get(&name("a"), Kind::A, hours(24)).is_none());
        assert_eq!(cache.get(&name("b"), Kind::A, hours(2)), Some(&[][..]));
        assert!(cache.get(&name("b"), Kind::A, hours(3)).is_none());
    }

    #[test]
    fn the_number_of_entries_is_bounded_and_the_first_to_end_goes() {
        let mut cache = Cache::default();
        let t0 = Micros::ZERO;
        for n in 0..2 * u32::try_from(MOST).unwrap() {
            cache.put(&name(&format!("n{n}")), Kind::A, &[IP], 10 + n, t0);
        }

        assert_eq!(cache.0.len(), MOST);
        assert!(cache.get(&name("n0"), Kind::A, t0).is_none());
        assert!(cache.get(&name(&format!("n{}", 2 * MOST - 1)), Kind::A, t0).is_some());
    }
}
