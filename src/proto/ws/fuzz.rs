//! What must hold for any bytes: run over random bytes by the tests, over found ones by a fuzzer.

pub fn fuzz_ws(_data: &[u8]) {}
