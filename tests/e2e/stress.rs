//! Who watches does not notice who comes and goes, and nothing of those who went is left.

use std::time::Duration;

use framebridge_tests::{
    stress::{self, Options},
    wait::PATIENCE,
};

#[test]
fn crowd_and_a_wall_cost_steady_viewers_nothing_and_leave_nothing_behind() {
    let report = stress::run(&Options {
        length: Duration::from_secs(5),
        // Builds may be on the same machine: `cargo xtask stress` asks for more.
        back_within: PATIENCE,
        most_gap: Duration::from_secs(1),
    });
    let report = report.unwrap();
    assert!(report.is_good(), "{report}");
}
