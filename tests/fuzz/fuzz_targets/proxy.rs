//! Proxies: nothing they send panics, and no cut of it makes a difference.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lodger::proto::proxy::fuzz_proxy(data));
