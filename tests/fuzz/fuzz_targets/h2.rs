//! HTTP/2, both ends: no input panics, none is read differently for how it was cut, and no window
//! is lost.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lodger::proto::h2::fuzz_h2(data));
