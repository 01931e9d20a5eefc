//! Whatever is broken, in whatever order: it mends itself.

use std::time::Duration;

use framebridge_tests::chaos::{self, report::Report};

/// A minute of one plan, always the same; `cargo xtask chaos` tries others, and for longer.
const MINUTE: chaos::Options = chaos::Options {
    duration: Duration::from_secs(60),
    seed: 1,
    viewers: 4,
};

#[test]
fn minute_of_chaos_mends_itself() {
    let drilled = chaos::run(MINUTE, |_| {}).unwrap();
    let report = Report::of(MINUTE, drilled);
    assert!(report.is_good(), "{report}\n{}", report.log().unwrap_or_default());
}
