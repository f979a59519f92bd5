//! Names: no answer panics, and every lookup comes to its end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lodger::proto::dns::fuzz_dns(data));
