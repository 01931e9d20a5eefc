//! One fuzzer for all targets; `FRAMEBRIDGE_FUZZ_TARGET` names the one that it searches. `cargo xtask fuzz` builds and
//! starts it.
#![no_main]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FRAMEBRIDGE_FUZZ_TARGET").expect("FRAMEBRIDGE_FUZZ_TARGET names a target");
    targets::named(&name).expect("FRAMEBRIDGE_FUZZ_TARGET names a target that there is")
});

fuzz_target!(|input: &[u8]| (*TARGET)(input));
