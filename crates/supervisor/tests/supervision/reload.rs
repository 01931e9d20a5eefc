//! Streams that come, change and go while everything runs, and configurations that make no sense.

use framebridge_ipc::RequestError;
use framebridge_proto::{
    RefusalKind,
    status::Status,
    supervisor::{Reloaded, SupervisorAnswer, SupervisorRequest},
};
use rustix::process::Signal;

use crate::bench::{self, Bench};

const TEST: &str = "[streams.test]\nsource = \"test:\"\n";
const DOOR: &str = "[streams.door]\nsource = \"test:\"\n";
/// Line 3 of it is wrong.
const TYPO: &str = "[streams.test]\nsource = \"test:\"\nfps = \"many\"\n";

async fn reload(bench: &Bench) -> Result<Reloaded, RequestError> {
    let answer = bench.ask(SupervisorRequest::Reload).await?;
    let SupervisorAnswer::Reloaded(reloaded) = answer else {
        panic!("another answer: {answer:?}")
    };
    Ok(reloaded)
}

fn pid(status: &Status, name: &str) -> Option<u32> {
    let mut rows = status.processes.iter();
    rows.find(|row| row.name == name).and_then(|row| row.pid)
}

fn fps(status: &Status, stream: &str) -> Option<u32> {
    let mut streams = status.streams.iter();
    streams.find(|row| row.name == stream).map(|row| row.fps)
}

/// The pids of what a change of `door` concerns nothing of.
fn others(status: &Status) -> [Option<u32>; 3] {
    ["supervisor", "signaling", "encoder-test"].map(|name| pid(status, name))
}

#[tokio::test]
async fn streams_come_change_and_go_and_the_encoders_of_others_are_left_alone() {
    let bench = Bench::start("");
    let before = bench.healthy().await;

    bench.configure(&format!("{TEST}{DOOR}fps = 15\n"));
    let supervisor = pid(&before, "supervisor").expect("it runs");
    bench::signal(supervisor, Signal::HUP);
    bench
        .until("a new encoder", |status| fps(status, "door") == Some(15))
        .await;
    let door = pid(&bench.healthy().await, "encoder-door").expect("it runs");

    bench.configure(&format!("{TEST}{DOOR}fps = 20\n"));
    let changed = reload(&bench).await.expect("taken");
    assert_eq!(changed.to_string(), "changed: door; restarted: bridge");
    bench
        .until("the encoder with its new settings", |status| {
            fps(status, "door") == Some(20) && pid(status, "encoder-door").is_some_and(|pid| pid != door)
        })
        .await;
    let again = bench.healthy().await;
    assert_eq!(
        reload(&bench).await.expect("taken"),
        Reloaded::default(),
        "nothing has changed"
    );
    let door = pid(&again, "encoder-door").expect("it runs");

    bench.configure(TEST);
    let removed = reload(&bench).await.expect("taken");
    assert_eq!(removed.to_string(), "removed: door; restarted: bridge");
    bench::wait("its encoder to go", || !bench::is_alive(door)).await;
    let after = bench.healthy().await;
    assert_eq!((after.streams.len(), pid(&after, "encoder-door")), (1, None));
    assert_eq!(others(&before), others(&after), "nobody else was restarted");

    // What was there before can come back, and so can another in its place.
    bench.configure(&format!("{TEST}[streams.yard]\nsource = \"test:\"\n{DOOR}"));
    assert_eq!(reload(&bench).await.expect("taken").added.len(), 2);
    let status = bench.until("both", |status| status.streams.len() == 3).await;
    assert_eq!(others(&before), others(&status));
    bench.healthy().await;
}

#[tokio::test]
async fn configuration_that_makes_no_sense_changes_nothing_and_darkens_nothing_that_dies_later() {
    let mut bench = Bench::start("");
    bench.healthy().await;
    bench.configure(TYPO);
    let Err(RequestError::Refused(refusal)) = reload(&bench).await else {
        panic!("it was taken")
    };
    assert_eq!(refusal.kind, RefusalKind::Invalid);
    assert!(refusal.message.contains("framebridge.toml:3"), "{refusal}");
    let events = bench.events().await;
    let told = events.iter().find(|event| event.what == "configuration refused");
    assert!(
        told.is_some_and(|event| event.verdict.contains("framebridge.toml:3")),
        "{events:?}"
    );
    for name in ["signaling", "encoder-test", "bridge"] {
        let pid = pid(&bench.status().await, name).expect("it runs");
        bench::signal(pid, Signal::KILL);
        bench
            .until(&format!("{name} is back"), |status| {
                bench::row(status, name).restarts == 1
            })
            .await;
        bench.healthy().await;
    }

    // Nor does the supervisor's own death: what lives goes on by what it held.
    bench.kill_supervisor().await;
    bench.start_supervisor();
    let status = bench.healthy().await;
    let reason = bench::row(&status, "supervisor")
        .last_reason
        .clone()
        .unwrap_or_default();
    assert!(reason.contains("framebridge.toml:3"), "{reason}");
    let encoder = pid(&status, "encoder-test").expect("it runs");
    bench::signal(encoder, Signal::KILL);
    bench
        .until("it is back", |status| {
            pid(status, "encoder-test").is_some_and(|pid| pid != encoder)
        })
        .await;

    bench.configure(&format!("{TEST}fps = 12\n"));
    assert_eq!(reload(&bench).await.expect("taken").changed.len(), 1);
    let status = bench.until("the change", |status| status.streams[0].fps == 12).await;
    assert_eq!(bench::row(&status, "supervisor").last_reason, None);
}

#[tokio::test]
async fn supervisor_that_follows_a_killed_one_takes_up_what_has_changed() {
    let mut bench = Bench::start("");
    let before = bench.healthy().await;
    bench.kill_supervisor().await;
    bench.configure(&format!("{TEST}fps = 12\n"));
    bench.start_supervisor();
    let after = bench.until("the change", |status| status.streams[0].fps == 12).await;
    assert_ne!(pid(&before, "encoder-test"), pid(&after, "encoder-test"));
    assert_eq!(pid(&before, "signaling"), pid(&after, "signaling"));
}

#[tokio::test]
async fn settings_of_viewers_restart_signaling_and_those_of_the_supervisor_wait() {
    let bench = Bench::start("");
    let before = bench.healthy().await;
    bench.configure(&format!(
        "{TEST}[webrtc]\nmax_viewers_per_stream = 7\n[supervisor]\nbackoff_ms = 70\n[log]\nfilter = \"debug\"\n"
    ));
    assert_eq!(
        reload(&bench).await.expect("taken").to_string(),
        "restarted: signaling, bridge; from the next start on: log.filter, supervisor.backoff_ms"
    );
    let after = bench
        .until("another signaling", |status| {
            pid(status, "signaling").is_some_and(|now| Some(now) != pid(&before, "signaling"))
        })
        .await;
    assert_eq!(pid(&before, "encoder-test"), pid(&after, "encoder-test"));
}

#[tokio::test]
async fn hangup_that_was_ignored_at_the_start_stays_ignored() {
    let mut bench = Bench::prepare("");
    bench.start_ignoring(Signal::HUP);
    let status = bench.healthy().await;
    bench.configure(&format!("{TEST}{DOOR}"));
    let supervisor = pid(&status, "supervisor").expect("it runs");
    bench::signal(supervisor, Signal::HUP);
    assert_eq!(
        reload(&bench).await.expect("taken").added.len(),
        1,
        "it was not taken up before"
    );
}
