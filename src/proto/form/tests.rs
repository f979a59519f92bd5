use std::string::String;
use std::vec::Vec;

use super::fuzz::{Entry, Read, fuzz_form, read};
use super::{Pairs, boundary, decode, decode_path, media_type};
use crate::proto::split::assert_same_for_any_cut;
use crate::{Blame, FormLimits, Wire};

/// Reads a body whole, and checks that it is the same for any cut.
fn form(body: &[u8], limits: FormLimits) -> Read {
    assert_same_for_any_cut(body, 3, |pieces| read("XX", limits, pieces));
    read("XX", limits, &[body])
}

fn part(name: &str, data: &[u8]) -> Entry {
    Entry { name: name.into(), data: data.into(), complete: true, ..Entry::default() }
}

/// A body of one part with this head and data.
fn one(head: &str, data: &str) -> String {
    std::format!("--XX\r\n{head}\r\n\r\n{data}\r\n--XX--\r\n")
}

fn status(body: &str, limits: FormLimits) -> Option<u16> {
    let error = form(body.as_bytes(), limits).1.err()?;
    assert_eq!(error.blame(), Blame::Peer);
    match error.wire() {
        Wire::H1(status) => Some(status),
        _ => None,
    }
}

const A: &str = "Content-Disposition: form-data; name=\"a\"";

#[test]
fn a_form_as_browsers_send_it() {
    let body = "--XX\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\nworld\r\n\
                --XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a %22b%22.txt\"\r\n\
                Content-Type: text/plain; charset=utf-8\r\n\r\n\r\n-\r\n--X\r\n--\r\nX\r\r\n\r\n\
                --XX\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--XX--\r\n";

    let (entries, end) = form(body.as_bytes(), FormLimits::default());

    let file = Entry {
        filename: Some("a \"b\".txt".into()),
        content_type: Some("text/plain; charset=utf-8".into()),
        ..part("file", b"\r\n-\r\n--X\r\n--\r\nX\r\r\n")
    };
    assert_eq!(entries, [part("text", b"hello\r\nworld"), file, part("empty", b"")]);
    assert_eq!(end, Ok(()));
}

#[test]
fn what_stands_before_behind_and_between_is_ignored() {
    let body = std::format!(
        "preamble\r\n--X\r\n--XX \t\r\n{A}\r\n\r\n1\r\n--XX--  \r\nepilogue\r\n--XX\r\n"
    );

    assert_eq!(form(body.as_bytes(), FormLimits::default()), (std::vec![part("a", b"1")], Ok(())));
}

#[test]
fn every_beginning_of_a_delimiter_is_data_again() {
    for data in [
        "\r",
        "\r\n",
        "\r\n-",
        "\r\n--",
        "\r\n--X",
        "\r\r\n--X",
        "\r\n--X\r\n--XY",
        "--X",
        "-",
        "\n--XX",
    ] {
        let data = data.replace("XY", "Y");
        let body = one(A, &data);

        let (entries, end) = form(body.as_bytes(), FormLimits::default());

        assert_eq!((entries, end), (std::vec![part("a", data.as_bytes())], Ok(())), "{data:?}");
    }
}

#[test]
fn a_part_may_have_no_body_at_all() {
    let body = std::format!("--XX\r\n{A}\r\n\r\n--XX\r\n{A}\r\n\r\n--XX--");

    let (entries, end) = form(body.as_bytes(), FormLimits::default());

    assert_eq!((entries, end), (std::vec![part("a", b""), part("a", b"")], Ok(())));
}

#[test]
fn names_are_read_as_browsers_write_them() {
    for (head, name, filename) in [
        (r#"content-disposition:form-data;name="a";filename="b""#, "a", Some("b")),
        (r#"Content-Disposition: Form-Data; NAME=a; FileName=b"#, "a", Some("b")),
        (r#"Content-Disposition: form-data; filename="x;name=y"; name="a""#, "a", Some("x;name=y")),
        (r#"Content-Disposition: form-data; name="a%0D%0Ab%22%41""#, "a\r\nb\"%41", None),
        (
            r#"Content-Disposition: form-data; name="a\"b"; filename="C:\x\y""#,
            "a\"b",
            Some(r"C:\x\y"),
        ),
        (r#"Content-Disposition: form-data; name=""; filename="""#, "", Some("")),
        ("Content-Disposition: form-data; name=\"\u{fc}\"", "\u{fc}", None),
        (r#"Content-Disposition: form-data; name="a"; filename*=UTF-8''evil"#, "a", None),
    ] {
        let (entries, end) = form(one(head, "1").as_bytes(), FormLimits::default());

        assert_eq!(end, Ok(()), "{head}");
        assert_eq!((&*entries[0].name, entries[0].filename.as_deref()), (name, filename), "{head}");
    }
}

#[test]
fn each_malformed_body_is_a_400() {
    let default = FormLimits::default();
    for body in [
        String::new(),
        "--XX".into(),
        "--XX--".replace("--XX--", "--XX-"),
        std::format!("--XX\r\n{A}\r\n\r\n1"),
        std::format!("--XX\r\n{A}\r\n\r\n1\r\n--XX\r\n"),
        std::format!("--XXY\r\n{A}\r\n\r\n1\r\n--XX--"),
        std::format!("--XX\n{A}\r\n\r\n1\r\n--XX--"),
        std::format!("--XX-\r\n{A}\r\n\r\n1\r\n--XX--"),
        one("Content-Type: text/plain", "1"),
        one("Content-Disposition: attachment; name=\"a\"", "1"),
        one("Content-Disposition: form-data", "1"),
        one("Content-Disposition: form-data; filename=\"a\"", "1"),
        one("Content-Disposition: form-data; name=\"a", "1"),
        one("no colon", "1"),
        one(&std::format!("{A}\r\nX: a\nb"), "1"),
        one(&std::format!("{A}\0"), "1"),
        "--XX\r\n\r\n1\r\n--XX--".into(),
    ] {
        assert_eq!(status(&body, default), Some(400), "{body:?}");
    }
    let latin = b"--XX\r\nContent-Disposition: form-data; name=\"\xfc\"\r\n\r\n1\r\n--XX--";
    assert!(form(latin, default).1.is_err());
}

#[test]
fn each_limit_is_a_413_at_its_edge() {
    let mut limits = FormLimits { parts: 2, head: A.len() + 4, part: 5, bytes: 1000 };
    let two = std::format!("--XX\r\n{A}\r\n\r\n12345\r\n--XX\r\n{A}\r\n\r\n12345\r\n--XX--");
    assert_eq!(status(&two, limits), None);

    limits.bytes = two.len() as u64 - 1;
    assert_eq!(status(&two, limits), Some(413));
    limits.bytes += 1;
    assert_eq!(status(&two, limits), None);
    limits.part = 4;
    assert_eq!(status(&two, limits), Some(413));
    limits.part = 5;
    limits.head -= 1;
    assert_eq!(status(&two, limits), Some(413));
    limits.head += 1;
    limits.parts = 1;
    assert_eq!(status(&two, limits), Some(413));
    // What looks like a delimiter counts when it is none.
    limits.parts = 2;
    assert_eq!(status(&one(A, "1\r\n--X"), limits), Some(413));
    assert_eq!(status(&one(A, "\r\n--X"), limits), None);
}

#[test]
fn a_boundary_is_found_where_it_may_be() {
    for (value, wanted) in [
        ("multipart/form-data; boundary=abc", Some("abc")),
        (
            "Multipart/Form-Data;charset=utf-8 ; BOUNDARY=\"a b'()+_,-./:=?c\"",
            Some("a b'()+_,-./:=?c"),
        ),
        ("multipart/form-data; x=\"; boundary=no\"; boundary=yes", Some("yes")),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=\"\"", None),
        ("multipart/form-data; boundary=\"a", None),
        ("multipart/form-data; boundary=\"a \"", None),
        ("multipart/form-data; boundary=a\u{fc}", None),
        ("multipart/form-data; boundary=a\rb", None),
        ("multipart/mixed; boundary=abc", None),
        ("text/plain; boundary=abc", None),
    ] {
        assert_eq!(boundary(value).as_deref(), wanted, "{value}");
    }
    let long = "a".repeat(71);
    assert!(boundary(&std::format!("multipart/form-data; boundary={long}")).is_none());
    assert!(boundary(&std::format!("multipart/form-data; boundary={}", &long[1..])).is_some());
    assert_eq!(media_type(" Text/HTML ;charset=x"), "Text/HTML");
}

#[test]
fn pairs_are_decoded_as_browsers_encode_them() {
    for (text, wanted) in [
        ("", &[][..]),
        ("&&", &[]),
        ("a=1&b=2", &[("a", "1"), ("b", "2")]),
        ("a", &[("a", "")]),
        ("=1&=", &[("", "1"), ("", "")]),
        ("a=b=c&a=d", &[("a", "b=c"), ("a", "d")]),
        ("a+b=c+%2B%26%3D", &[("a b", "c +&=")]),
        ("%C3%BC=%fc&%c3%BC", &[("\u{fc}", "\u{fffd}"), ("\u{fc}", "")]),
        ("a=%&b=%4&c=%zz&d=%2", &[("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "%2")]),
        ("a=%00%0d%0A", &[("a", "\0\r\n")]),
    ] {
        let pairs: Vec<_> = Pairs::new(text.as_bytes()).collect();
        assert_eq!(pairs.len(), wanted.len(), "{text}");
        assert!(pairs.iter().zip(wanted).all(|((n, v), (m, w))| n == m && v == w), "{text}");
    }
    let pairs = Pairs::new(b"a=1&%61=2&b=x+y");
    assert_eq!(pairs.get("a").as_deref(), Some("1"));
    assert_eq!(pairs.get("b").as_deref(), Some("x y"));
    assert_eq!(pairs.get("c"), None);
    assert_eq!((&*decode(b"a+b%20c"), &*decode_path(b"a+b%20c")), ("a b c", "a+b c"));
    assert!(matches!(decode(b"plain"), std::borrow::Cow::Borrowed("plain")));
}

#[test]
fn random_bytes_out_of_a_forms_alphabet_break_nothing() {
    let words: [&[u8]; 14] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"-",
        b"--",
        b"X",
        b"--X",
        b"\r\n--X",
        b"\r\n--X--",
        b" ",
        b"a",
        b":",
        b"Content-Disposition: form-data; name=\"a\"\r\n\r\n",
        b"%2&=",
    ];
    let mut random = 7u64;
    for _ in 0..3000 {
        let mut body = Vec::new();
        for _ in 0..(random >> 40) % 30 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11);
            body.extend_from_slice(words[(random >> 33) as usize % words.len()]);
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11);
        fuzz_form(&body);
    }
}

/// The seeds of the fuzz target.
#[test]
fn the_corpus_holds() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/form");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        fuzz_form(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 5);
}
