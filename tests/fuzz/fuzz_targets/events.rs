//! Server-sent events: no input panics, and none is read differently for how it was cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lodger::proto::events::fuzz_events(data));
