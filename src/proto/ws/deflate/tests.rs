use proptest::prelude::{any, prop, proptest};

use super::super::fuzz_deflate::fuzz_deflate;
use super::{Deflate, check_answer, choose, put_offer};

fn answer(offers: &[&str], config: &Deflate) -> Option<String> {
    let agreed = choose(offers.iter().map(|line| line.as_bytes()), config)?;
    let mut out = Vec::new();
    agreed.put_value(&mut out);
    Some(String::from_utf8(out).unwrap())
}

const ALONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// RFC 7692, 5 and 7.1: what is taken, and how it is answered.
#[test]
fn an_offer_that_can_be_met_is_answered() {
    let keeps = Deflate::new().takeover(true);
    let window = |bits| format!("{ALONE}; server_max_window_bits={bits}");
    let cases: [(&[&str], Option<String>); 13] = [
        (&["permessage-deflate"], Some(ALONE.into())),
        (&["Permessage-Deflate ;client_max_window_bits"], Some(ALONE.into())),
        (&["permessage-deflate; client_max_window_bits=8"], Some(ALONE.into())),
        (&["permessage-deflate; server_max_window_bits=15"], Some(window(15))),
        (&["permessage-deflate; server_max_window_bits=9"], Some(window(9))),
        (&["permessage-deflate; server_max_window_bits=\"10\""], Some(window(10))),
        (&["x; a=\"permessage-deflate\", permessage-deflate"], Some(ALONE.into())),
        (&["x; a=\", permessage-deflate\""], None),
        (&["x-webkit-deflate-frame", "permessage-deflate"], Some(ALONE.into())),
        (&["permessage-deflate; server_max_window_bits=8, permessage-deflate"], Some(ALONE.into())),
        (&["permessage-bzip2"], None),
        (&[""], None),
        (&[], None),
    ];
    for (offers, expected) in cases {
        assert_eq!(answer(offers, &Deflate::new()), expected, "{offers:?}");
    }
    let cases = [
        ("permessage-deflate", "permessage-deflate"),
        (
            "permessage-deflate; client_no_context_takeover",
            "permessage-deflate; client_no_context_takeover",
        ),
        (
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover",
        ),
    ];
    for (offer, expected) in cases {
        assert_eq!(answer(&[offer], &keeps).as_deref(), Some(expected), "{offer}");
    }
}

/// RFC 7692, 7.1: unknown, twice, or a value that cannot be.
#[test]
fn a_wrong_parameter_is_declined_and_by_a_client_refused() {
    let params = [
        "x",
        "x=1",
        "server_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=09",
        "server_max_window_bits=\"9",
        "server_max_window_bits=9; server_max_window_bits=9",
        "client_max_window_bits=x",
        "client_max_window_bits=",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits=100",
    ];
    for param in params {
        let offer = format!("permessage-deflate; {param}");
        assert_eq!(answer(&[&offer], &Deflate::new()), None, "{param}");
        let keeps = Deflate::new().takeover(true);
        assert!(check_answer([offer.as_bytes()].into_iter(), &keeps).is_err(), "{param}");
    }
    assert_eq!(answer(&["permessage-deflate; server_max_window_bits=8"], &Deflate::new()), None);
}

#[test]
fn a_client_offers_and_checks_the_answer() {
    let offer = |config: &Deflate| {
        let mut out = Vec::new();
        put_offer(&mut out, config);
        String::from_utf8(out).unwrap()
    };
    let keeps = Deflate::new().takeover(true);
    let check = |line: &str, config: &Deflate| {
        let agreed = check_answer([line.as_bytes()].into_iter(), config).ok()?;
        Some((agreed.window(), agreed.keeps_in(), agreed.keeps_out()))
    };

    assert_eq!(offer(&keeps), "permessage-deflate; client_max_window_bits");
    assert!(offer(&Deflate::new()).ends_with(&ALONE["permessage-deflate".len()..]));

    assert_eq!(check(ALONE, &Deflate::new()), Some((Some(15), false, false)));
    let none = "permessage-deflate; server_no_context_takeover";
    assert_eq!(check(none, &Deflate::new()), Some((Some(15), false, false)));
    assert_eq!(check("permessage-deflate", &Deflate::new()), None, "7.1.1.1: as offered");
    assert_eq!(check("permessage-deflate", &keeps), Some((Some(15), true, true)));
    let small = format!("{ALONE}; client_max_window_bits=9; server_max_window_bits=8");
    assert_eq!(check(&small, &keeps), Some((Some(9), false, false)));
    let least = "permessage-deflate; client_max_window_bits=8";
    assert_eq!(check(least, &keeps), Some((None, true, true)), "it sends nothing compressed");
    for wrong in ["", "x", "permessage-deflate, x", "permessage-deflate, permessage-deflate"] {
        assert_eq!(check(wrong, &keeps), None, "{wrong}");
    }
    assert_eq!(check("permessage-deflate; client_max_window_bits", &keeps), None);
}

#[test]
fn what_is_answered_is_what_a_client_takes() {
    for (ours, theirs) in [(false, false), (false, true), (true, false), (true, true)] {
        let server = Deflate::new().takeover(ours);
        let client = Deflate::new().takeover(theirs);
        let mut offer = Vec::new();
        put_offer(&mut offer, &client);
        let agreed = choose([offer.as_slice()].into_iter(), &server).unwrap();
        let mut answer = Vec::new();
        agreed.put_value(&mut answer);
        let taken = check_answer([answer.as_slice()].into_iter(), &client).unwrap();

        assert_eq!(taken.keeps_in(), agreed.extensions.keeps_out());
        assert_eq!(taken.keeps_out(), agreed.extensions.keeps_in());
        assert_eq!(taken.keeps_in(), ours && theirs);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_borne(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_deflate(&data);
    }

    /// A compressed frame that says how long it is, from a server.
    #[test]
    fn any_payload_is_borne(keeps in 0..2_u8, payload in prop::collection::vec(any::<u8>(), 0..126)) {
        let head = [1, keeps, 7, 0xc2, u8::try_from(payload.len()).unwrap()];
        fuzz_deflate(&[&head[..], &payload].concat());
    }
}

/// The committed corpus of the fuzz target.
#[test]
fn the_corpus_is_borne() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/deflate");
    let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(seeds.len() >= 10, "{} seeds", seeds.len());
    for seed in seeds {
        fuzz_deflate(&std::fs::read(seed.unwrap().path()).unwrap());
    }
}
