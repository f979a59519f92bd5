use std::vec::Vec;

use core::time::Duration;

use super::super::{Properties, Property, PropertyList, Publish};
use super::*;

fn item(qos: Qos, tag: u64) -> Item {
    let publish = Publish {
        dup: false,
        qos,
        retain: false,
        topic: "t",
        id: 1,
        properties: Properties::NONE,
        payload: &[u8::try_from(tag).unwrap()],
        rest: 0,
    };
    let message = Rc::new(Message::copy(&publish, Micros::ZERO));
    Item { message, qos, retain: false, subscriptions: Box::default(), tag }
}

fn peer(receive_maximum: u16) -> Peer {
    Peer { receive_maximum, ..Peer::default() }
}

fn limits() -> MqttLimits {
    MqttLimits { queued: 3, ..MqttLimits::default() }
}

/// What `next` gives until it ends: P with the tag, D with DUP, R with the identifier.
fn all(session: &mut Session) -> Vec<(char, u64)> {
    let mut sent = Vec::new();
    while let Some(next) = session.next_out() {
        sent.push(match next {
            Next::Publish { item, dup: false, .. } => ('P', item.tag),
            Next::Publish { item, dup: true, .. } => ('D', item.tag),
            Next::Release(id) => ('R', u64::from(id)),
        });
    }
    sent
}

#[test]
fn the_window_of_the_peer_is_kept_and_the_rest_waits() {
    let mut session = Session::new();
    session.begin(peer(2), &limits());
    let offers: Vec<_> =
        (0..6).map(|tag| session.offer(item(Qos::AtLeastOnce, tag), true, &limits())).collect();

    assert_eq!(
        offers,
        [Offer::Send(1), Offer::Send(2), Offer::Queued, Offer::Queued, Offer::Queued, Offer::Full]
    );
    assert!(session.next_out().is_none());
    assert!(matches!(session.acked(AckKind::PubAck, 1, Code::SUCCESS), Acked::Done(0)));
    assert_eq!(all(&mut session), [('P', 2)]);
}

#[test]
fn what_was_in_flight_is_sent_again_in_order_before_what_waits() {
    let mut session = Session::new();
    session.begin(peer(4), &limits());
    for tag in 0..4 {
        session.offer(
            item(if tag == 1 { Qos::ExactlyOnce } else { Qos::AtLeastOnce }, tag),
            true,
            &limits(),
        );
    }
    session.acked(AckKind::PubRec, 2, Code::SUCCESS);
    session.acked(AckKind::PubAck, 1, Code::SUCCESS);
    session.end();
    assert_eq!(session.offer(item(Qos::AtLeastOnce, 9), true, &limits()), Offer::Queued);

    session.begin(peer(2), &limits());
    assert_eq!(all(&mut session), [('R', 2), ('D', 2)], "the window is smaller now");
    assert!(matches!(session.acked(AckKind::PubComp, 2, Code::SUCCESS), Acked::Done(1)));
    assert_eq!(all(&mut session), [('D', 3)]);
    assert!(matches!(session.acked(AckKind::PubAck, 3, Code::SUCCESS), Acked::Done(2)));
    assert_eq!(all(&mut session), [('P', 9)]);
}

/// Section 4.3.3.
#[test]
fn qos_2_goes_through_its_stages_and_oddities_change_nothing() {
    let mut session = Session::new();
    session.begin(peer(9), &limits());
    session.offer(item(Qos::ExactlyOnce, 7), true, &limits());

    assert!(matches!(session.acked(AckKind::PubAck, 1, Code::SUCCESS), Acked::Unknown));
    assert!(matches!(session.acked(AckKind::PubComp, 1, Code::SUCCESS), Acked::Unknown));
    assert!(matches!(session.acked(AckKind::PubRec, 5, Code::SUCCESS), Acked::Unknown));
    assert!(matches!(session.acked(AckKind::PubRec, 1, Code::SUCCESS), Acked::Release));
    assert!(matches!(session.acked(AckKind::PubRec, 1, Code::SUCCESS), Acked::Release));
    assert!(matches!(session.acked(AckKind::PubComp, 1, Code::SUCCESS), Acked::Done(7)));
    assert!(matches!(session.acked(AckKind::PubComp, 1, Code::SUCCESS), Acked::Unknown));

    session.offer(item(Qos::ExactlyOnce, 8), true, &limits());
    assert!(matches!(session.acked(AckKind::PubRec, 2, Code::QUOTA_EXCEEDED), Acked::Done(8)));
    assert!(session.is_empty());
}

#[test]
fn what_was_received_with_qos_2_is_handed_on_once_until_it_is_released() {
    let mut session = Session::new();

    assert!(session.receive(3));
    assert!(!session.receive(3));
    assert!(session.release(3));
    assert!(!session.release(3));
    assert!(session.receive(3));
    assert_eq!(session.unreleased(), 1);
}

#[test]
fn what_expires_while_it_waits_is_not_sent() {
    let mut list = PropertyList::new();
    list.push(Property::MessageExpiry(1)).unwrap();
    let publish = Publish {
        dup: false,
        qos: Qos::AtLeastOnce,
        retain: false,
        topic: "t",
        id: 1,
        properties: list.view(),
        payload: b"",
        rest: 0,
    };
    let message = Rc::new(Message::copy(&publish, Micros::ZERO));
    let mut session = Session::new();
    session.offer(Item { message, ..item(Qos::AtLeastOnce, 1) }, false, &limits());

    assert!(session.pop_expired(Micros::ZERO).is_none());
    assert!(session.pop_expired(Micros::ZERO + Duration::from_secs(1)).is_some());
    assert_eq!((session.queued(), session.queued_bytes()), (0, 0));
}

#[test]
fn a_session_comes_back_as_it_was() {
    let mut session = Session::new();
    session.restore_queued(item(Qos::AtLeastOnce, 1));
    session.restore_queued(item(Qos::ExactlyOnce, 2));
    session.restore_queued(item(Qos::AtLeastOnce, 3));
    session.restore_sent(5);
    session.restore_sent(6);
    session.restore_acked(6, false);
    session.begin(peer(9), &limits());

    assert_eq!(all(&mut session), [('D', 1), ('R', 6), ('P', 3)]);
    session.restore_acked(5, true);
    assert_eq!(session.in_flight(), 2);
}

/// Any order of acknowledgements: nothing is lost, no identifier is live twice.
#[test]
fn acknowledgements_in_any_order_finish_everything() {
    let mut session = Session::new();
    let limits = MqttLimits { queued: 1000, ..MqttLimits::default() };
    session.begin(peer(50), &limits);
    let (mut live, mut done, mut seed) = (Vec::new(), 0, 7_u32);
    let mut offered = 0_u64;
    while done < 500 {
        if offered < 500 {
            match session.offer(item(Qos::AtLeastOnce, offered % 256), true, &limits) {
                Offer::Send(id) => live.push(id),
                Offer::Queued => {}
                Offer::Full => panic!("there is room"),
            }
            offered += 1;
        }
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if seed >> 31 == 0 || offered == 500 {
            let at = (seed >> 8) as usize % live.len();
            let id = live.swap_remove(at);
            assert!(matches!(session.acked(AckKind::PubAck, id, Code::SUCCESS), Acked::Done(_)));
            done += 1;
        }
        while let Some(Next::Publish { id, .. }) = session.next_out() {
            assert!(!live.contains(&id));
            live.push(id);
        }
    }
    assert!(session.is_empty());
}
