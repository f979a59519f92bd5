//! An echo under faults: every byte, in order, whoever reports and whatever goes wrong.

use super::super::faults::Rng;
use super::super::{Faults, Injected, Wire, World};
use super::*;

const TRIGGERS: [Trigger; 3] = [Trigger::Edge, Trigger::Level, Trigger::Oneshot];

/// A scripted client, what it has sent and what came back.
struct Client {
    wire: Wire,
    sent: Vec<u8>,
    back: Vec<u8>,
}

/// Every other guest waits by itself, the others are embedded.
fn run_either(seed: u64, world: &World, guest: &mut Guest) {
    if seed.is_multiple_of(2) { run(world, guest) } else { run_alone(guest) }
}

/// Runs 4 clients that send 40 blocks each, end, and read to the end.
fn play(seed: u64, trigger: Trigger, faults: Faults) -> (World, Guest, Vec<Client>) {
    let world = World::with(seed, faults);
    let mut rng = Rng::new(seed ^ 0xff);
    let mut guest = Guest::echo(&world, trigger);
    let connect = |_| world.connect(&addr()).ok();
    let new = |wire| Client { wire, sent: Vec::new(), back: Vec::new() };
    let mut clients: Vec<Client> = (0..4).filter_map(connect).map(new).collect();
    for _ in 0..40 {
        for client in &mut clients {
            let block: Vec<u8> = (0..rng.below(6_000)).map(|_| byte(rng.below(256))).collect();
            client.wire.set_window(rng.below(20_000));
            client.wire.write(&block);
            client.sent.extend(block);
        }
        run_either(seed, &world, &mut guest);
        for client in &mut clients {
            client.back.extend(client.wire.read());
        }
    }
    for client in &clients {
        client.wire.set_window(1 << 20);
        client.wire.close();
    }
    run_either(seed, &world, &mut guest);
    for client in &mut clients {
        client.back.extend(client.wire.read());
    }
    // What was released last is closed by this poll, and its FIN takes its time.
    guest.driver.poll(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    world.advance(Duration::from_secs(1));
    assert_eq!(world.misuse(), [""; 0]);
    (world, guest, clients)
}

fn byte(n: usize) -> u8 {
    u8::try_from(n % 256).unwrap()
}

#[test]
fn without_losses_every_byte_comes_back() {
    for trigger in TRIGGERS {
        for (seed, faults) in (0..20).flat_map(|s| [(s, Faults::none()), (s, Faults::lossless())]) {
            let (world, _guest, clients) = play(seed, trigger, faults);

            assert_eq!(clients.len(), 4);
            for client in &clients {
                assert!(client.back == client.sent, "seed {seed} {trigger:?} {faults:?}");
                assert!(client.wire.is_eof() && !client.wire.is_reset(), "seed {seed}");
            }
            assert_eq!((world.open(), world.watched()), (1, 1), "only the listener is left");
        }
    }
}

#[test]
fn with_losses_what_comes_back_is_a_beginning_and_every_fault_was_injected() {
    let mut sum = Injected::default();
    for trigger in TRIGGERS {
        for seed in 0..30 {
            let (world, _guest, clients) = play(seed, trigger, Faults::all());

            for client in &clients {
                assert!(client.sent.starts_with(&client.back), "seed {seed} {trigger:?}");
                let all = client.back.len() == client.sent.len();
                assert!(all || client.wire.is_reset() || client.wire.is_eof(), "seed {seed}");
            }
            assert_eq!(world.watched(), 1, "only the listener is left");
            sum += world.injected();
        }
    }
    let never: Vec<_> = sum.iter().filter(|(_, n)| *n == 0).map(|(name, _)| name).collect();
    // Nobody connects from inside, or sends datagrams.
    assert_eq!(never, ["unanswered", "lost"], "{sum:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_another() {
    let trace = |seed| play(seed, Trigger::Edge, Faults::all()).0.trace();

    assert_eq!(trace(11), trace(11));
    assert_ne!(trace(11), trace(12));
}

#[test]
fn the_trace_tells_which_bytes_and_can_be_read() {
    let trace = |bytes: &[u8]| {
        let world = World::new(1);
        world.record();
        let (_sock, wire) = world.pair();
        wire.write(bytes);
        (world.trace(), world.take_lines())
    };

    let (a, lines) = trace(b"a");

    assert_ne!(a, trace(b"b").0);
    assert_eq!(lines, ["0us send #2 1", "0us arrived #1 1"]);
}

#[test]
fn two_guests_share_a_world() {
    let world = World::with(4, Faults::lossless());
    let mut server = Guest::echo(&world, Trigger::Oneshot);
    let (net, mut client) = (world.net(), world.driver());
    let sock = net.connect(&addr()).unwrap();
    client.watch(net.source(sock).unwrap(), Token::new(9, 9), Interest::BOTH).unwrap();

    let (mut sent, mut back) = (0, Vec::new());
    while back.len() < 100_000 {
        world.advance_to(world.next_event().unwrap());
        server.turn(Some(Duration::ZERO));
        client.poll(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        while sent < 100_000 {
            match net.send(sock, &[io::IoSlice::new(&[byte(sent)])]) {
                Ok(n) => sent += n,
                Err(_) => break,
            }
        }
        let mut buf = [0; 9_999];
        while let Ok(n) = net.recv(sock, &mut buf) {
            back.extend_from_slice(&buf[..n]);
        }
    }

    assert!(back.iter().enumerate().all(|(i, got)| *got == byte(i)));
}
