//! Who watches does not lose a session to those who come and go, and nothing of those who went is left.

use std::time::Duration;

use framebridge_tests::{
    stress::{self, Options},
    wait::PATIENCE,
};

#[test]
fn crowd_and_a_wall_cost_steady_viewers_no_session_and_leave_nothing_behind() {
    let report = stress::run(&Options {
        length: Duration::from_secs(5),
        // How long things take says more about what else the machine does: `cargo xtask stress` asks for that.
        back_within: PATIENCE,
        most_gap: PATIENCE,
        picture_within: PATIENCE,
    });
    let report = report.unwrap();
    let measured = report.measured();
    assert_eq!(measured.lost, 0, "{report}");
    assert!(matches!(measured.visits, (1.., 0)), "{report}");
    assert!(measured.back.is_ok() && measured.restarted.is_empty(), "{report}");
}
