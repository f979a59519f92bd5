#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lodger::proto::mqtt::fuzz_mqtt(data));
