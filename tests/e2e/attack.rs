//! Strangers who flood, hold, forge and amplify cost viewers nothing that they would notice.

use std::time::Duration;

use framebridge_tests::attack::{self, Options};

#[test]
fn what_strangers_do_for_a_second_each_is_borne() {
    let options = Options {
        span: Duration::from_secs(1),
        // Other tests' builds may be on the same machine: a viewer would say that a second stood still.
        most_gap: Duration::from_secs(1),
        ..Options::default()
    };
    let Some(report) = attack::run(&options, |_| {}).unwrap() else {
        return;
    };
    assert!(
        report.is_good(),
        "{report}\n{}",
        report.log.as_deref().unwrap_or_default()
    );
}
