//! HTTP/1 in both directions: no input panics, and none is read differently for how it was cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lodger::proto::h1::fuzz_h1(data));
