//! What `cargo xtask soak` does for hours, for less than a minute: it is all done, and it is all written down.

use std::time::Duration;

use framebridge_tests::soak::{self, Options, RECORD, chart, measure::Measure, record::Record, report::Report};

#[test]
fn day_with_a_fault_is_lived_and_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        length: Duration::from_secs(45),
        seed: 2,
        folder: folder.path().to_owned(),
    };
    soak::run(&options, |_| {}).unwrap();
    let record = Record::read(&folder.path().join(RECORD)).unwrap();
    let told = Report::of(&record).to_string();
    let done = |is_fault| record.events.iter().filter(|event| event.is_fault == is_fault).count();
    assert!(done(true) > 0 && done(false) > 0, "{told}");
    assert!(record.events.iter().all(|event| event.failed.is_none()), "{told}");
    assert!(record.is_whole && record.watched.visits > 0, "{told}");
    let processes = [
        "supervisor",
        "signaling",
        "bridge",
        "encoder-test",
        "encoder-desk",
        "encoder-camera",
        "studio",
    ];
    let measures = processes.map(|process| (process, Measure::Memory)).into_iter().chain([
        ("signaling", Measure::Tasks),
        ("page", Measure::LatencyTail),
        ("box", Measure::Disk),
    ]);
    for (subject, measure) in measures {
        assert!(
            !record.lives(subject, measure).is_empty(),
            "{subject} has no {measure:?}: {told}"
        );
    }
    assert!(chart::svg(&record).contains("encoder-camera"));
}
