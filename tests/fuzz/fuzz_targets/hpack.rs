//! HPACK in both directions: no block panics, and what is read is read again once written.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lodger::proto::hpack::fuzz_hpack(data));
