//! The real supervisor over processes that do as a test says: die, hang, fall silent, ignore what they are told.

mod bench;
mod child;
mod hooks;
mod reload;
mod systemd;

use std::{
    fs::{self, File},
    os::fd::AsFd as _,
    time::Duration,
};

use bench::Bench;
use framebridge_ipc::{Identity, RuntimeDir, fetch_fds, store_fds};
use framebridge_proto::{
    Role,
    status::{Overall, ProcessState, StreamState},
    supervisor::{SupervisorAnswer, SupervisorRequest},
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use tokio::time::sleep;

const ALL: [&str; 4] = ["supervisor", "signaling", "encoder-test", "bridge"];

#[tokio::test]
async fn everything_runs_and_status_tells_the_truth_about_it() {
    let bench = Bench::start("");
    let status = bench.healthy().await;
    let names: Vec<_> = status.processes.iter().map(|process| process.name.as_str()).collect();
    assert_eq!(names, ALL);
    for process in &status.processes {
        let pid = process.pid.expect("it runs");
        assert!(bench::is_alive(pid), "{} is said to be pid {pid}", process.name);
        assert_eq!(
            (process.state, process.restarts, &process.last_reason),
            (ProcessState::Running, 0, &None)
        );
    }
    for child in &status.processes[1..] {
        let pid = child.pid.expect("it runs");
        assert_eq!(bench::group(pid), pid, "{} leads no group of its own", child.name);
    }
    assert!(status.http.is_some());
    assert_eq!(status.streams.len(), 1);
}

#[tokio::test]
async fn whatever_is_killed_is_back_under_another_pid_with_the_reason_kept() {
    let bench = Bench::start("");
    for name in &ALL[1..] {
        let before = bench.healthy().await;
        let pid = bench::row(&before, name).pid.expect("it runs");
        bench::signal(pid, Signal::KILL);
        let after = bench
            .until(&format!("{name} is back"), |status| {
                bench::row(status, name).restarts == 1
            })
            .await;
        let row = bench::row(&after, name);
        assert_eq!(row.last_reason.as_deref(), Some("killed by signal 9"));
        assert_ne!(row.pid, Some(pid));
        assert!(!bench::exists(pid), "a zombie is left");
    }
    bench.healthy().await;
}

#[tokio::test]
async fn reason_that_a_process_gives_itself_is_repeated() {
    let bench = Bench::start("");
    bench.healthy().await;
    bench.play("encoder", "exit 75 the camera is gone").await;
    let reason = Some("exit code 75: the camera is gone");
    bench
        .until("the reason", |status| {
            bench::row(status, "encoder-test").last_reason.as_deref() == reason
        })
        .await;
}

#[tokio::test]
async fn memory_limit_that_ends_a_process_is_named_as_that() {
    /// More than all of them have together, so that who takes all the rest is the largest.
    const LIMIT_MIB: u64 = 256;
    let Some(group) = bench::Cgroup::limited_to(LIMIT_MIB << 20) else {
        return;
    };
    let bench = Bench::start("");
    let supervisor = bench::row(&bench.healthy().await, "supervisor").pid;
    // What it starts from here on is born there.
    group.take(supervisor.expect("it runs"));
    bench.play("encoder", "eat").await;
    let reason = format!("killed for want of memory: it may have {LIMIT_MIB} MiB");
    bench
        .until("the reason", |status| {
            bench::row(status, "encoder-test").last_reason.as_ref() == Some(&reason)
        })
        .await;
    bench.set("encoder", "well");
    bench.healthy().await;
}

#[tokio::test]
async fn wrong_configuration_parks_until_somebody_resumes() {
    let bench = Bench::start("");
    bench.healthy().await;
    bench.play("bridge", "exit 78 framebridge.toml:3: studio.url").await;
    let status = bench
        .until("a park", |status| {
            bench::row(status, "bridge").state == ProcessState::Parked
        })
        .await;
    assert_eq!(status.overall, Overall::Degraded);
    bench.set("bridge", "well");
    bench
        .ask(SupervisorRequest::Resume {
            process: "bridge".into(),
        })
        .await
        .expect("resumed");
    bench.healthy().await;
}

#[tokio::test]
async fn frozen_process_is_replaced_though_it_never_exits() {
    let bench = Bench::start("");
    let pid = bench::row(&bench.healthy().await, "encoder-test").pid.expect("it runs");
    bench::signal(pid, Signal::STOP);
    bench
        .until("a replacement", |status| {
            bench::row(status, "encoder-test").restarts == 1
        })
        .await;
    let status = bench.healthy().await;
    assert_eq!(
        bench::row(&status, "encoder-test").last_reason.as_deref(),
        Some("3 heartbeats missed")
    );
    assert!(!bench::exists(pid));
}

/// A process plays its part badly, and well from its next life on: it is replaced, for a reason that says `verdict`.
async fn is_replaced(role: &str, process: &str, part: &str, verdict: &str) {
    let bench = Bench::start("");
    bench.healthy().await;
    bench.play(role, part).await;
    bench.set(role, "well");
    let status = bench
        .until("a verdict", |status| {
            let reason = bench::row(status, process).last_reason.as_deref();
            reason.is_some_and(|reason| reason.contains(verdict))
        })
        .await;
    assert_ne!(status.overall, Overall::Healthy);
    bench.healthy().await;
}

#[tokio::test]
async fn signaling_whose_http_is_dead_under_a_fresh_heartbeat_is_replaced() {
    is_replaced("signaling", "signaling", "mute", "unanswered under a fresh heartbeat").await;
}

#[tokio::test]
async fn signaling_that_gets_pictures_and_sends_none_is_replaced() {
    is_replaced("signaling", "signaling", "still", "no RTP goes out").await;
}

#[tokio::test]
async fn ingest_that_hangs_between_two_that_look_well_has_both_ends_replaced() {
    let bench = Bench::start("");
    bench.healthy().await;
    bench.play("signaling", "severed").await;
    bench.set("signaling", "well");
    let lost = "pictures of `test` have not reached signaling";
    for name in ["encoder-test", "signaling"] {
        bench
            .until(&format!("{name}'s turn"), |status| {
                let reason = bench::row(status, name).last_reason.as_deref();
                reason.is_some_and(|reason| reason.contains(lost))
            })
            .await;
    }
    let status = bench.healthy().await;
    assert_eq!(
        bench::row(&status, "encoder-test").restarts,
        1,
        "each end is blamed once"
    );
}

#[tokio::test]
async fn encoder_that_takes_pictures_and_gives_none_is_replaced() {
    is_replaced("encoder", "encoder-test", "wedged", "encoder wedged").await;
}

#[tokio::test]
async fn sockets_that_somebody_deletes_come_back() {
    let bench = Bench::start("");
    bench.healthy().await;
    fs::remove_file(bench.runtime_dir().join("supervisor.sock")).expect("there");
    bench.healthy().await;
    let encoder = bench.runtime_dir().join("encoder-test.sock");
    fs::remove_file(&encoder).expect("there");
    bench::wait("the encoder's socket", || encoder.exists()).await;
    let status = bench.healthy().await;
    let reason = bench::row(&status, "encoder-test").last_reason.as_deref();
    assert!(
        reason.is_some_and(|reason| reason.contains("socket is gone")),
        "{reason:?}"
    );
}

#[tokio::test]
async fn unavailable_source_is_shown_also_while_it_is_tried_and_nobody_is_restarted_for_it() {
    let bench = Bench::start("");
    bench.healthy().await;
    bench.play("encoder", "unavailable").await;
    let status = bench
        .until("the verdict", |status| {
            status.streams[0].state == StreamState::Unavailable
        })
        .await;
    assert!(
        status.streams[0].verdict.contains("no such device"),
        "{}",
        status.streams[0].verdict
    );
    let restarts = bench::row(&status, "encoder-test").restarts;
    bench
        .for_a_while(Duration::from_secs(4), |status| {
            status.overall == Overall::Down
                && status.streams[0].verdict.contains("source unavailable")
                && bench::row(status, "encoder-test").restarts == restarts
        })
        .await;
    let events = bench.events().await;
    let changes = events.iter().filter(|event| event.what.starts_with("stream "));
    assert_eq!(changes.count(), 1, "{events:?}");
}

#[tokio::test]
async fn stop_leaves_nothing_behind_even_of_a_process_that_ignores_it() {
    let mut bench = Bench::start("");
    bench.healthy().await;
    bench.play("encoder", "deaf").await;
    let pids: Vec<_> = bench
        .healthy()
        .await
        .processes
        .iter()
        .filter_map(|process| process.pid)
        .collect();
    let took = bench.stop().await;
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert!(!pids.iter().any(|pid| bench::is_alive(*pid)), "an orphan is left");
    let files: Vec<_> = fs::read_dir(bench.runtime_dir())
        .expect("there")
        .map(|file| file.expect("there").file_name())
        .collect();
    assert_eq!(files, ["journal.jsonl"]);
}

#[tokio::test]
async fn killed_supervisors_children_go_on_and_the_next_one_adopts_them() {
    let mut bench = Bench::start("");
    let before = bench.healthy().await;
    bench.kill_supervisor().await;
    for child in &before.processes[1..] {
        assert!(
            bench::is_alive(child.pid.expect("it runs")),
            "{} died with its supervisor",
            child.name
        );
    }
    bench.start_supervisor();
    let after = bench.healthy().await;
    for (was, is) in before.processes.iter().zip(&after.processes).skip(1) {
        assert_eq!((is.pid, is.restarts), (was.pid, 0), "{} was not adopted", is.name);
        assert!(is.uptime_s >= was.uptime_s);
    }
    let pid = bench::row(&after, "encoder-test").pid.expect("it runs");
    bench::signal(pid, Signal::KILL);
    bench
        .until("a replacement", |status| {
            bench::row(status, "encoder-test").restarts == 1
        })
        .await;
    bench.healthy().await;
    bench.stop().await;
    assert!(
        !after
            .processes
            .iter()
            .filter_map(|process| process.pid)
            .any(bench::is_alive)
    );
}

#[tokio::test]
async fn adopted_process_that_gives_up_for_good_is_parked_like_any_other() {
    let mut bench = Bench::prepare("");
    bench.set("bridge", "resign 77 the studio wants another box");
    bench.start_supervisor();
    let pid = bench::row(&bench.healthy().await, "bridge").pid.expect("it runs");
    bench.kill_supervisor().await;
    bench.start_supervisor();
    bench.healthy().await;
    bench::signal(pid, Signal::USR1);
    let status = bench
        .until("a park", |status| {
            bench::row(status, "bridge").state == ProcessState::Parked
        })
        .await;
    assert_eq!(
        bench::row(&status, "bridge").last_reason.as_deref(),
        Some("exit code 77: the studio wants another box")
    );
}

#[tokio::test]
async fn program_that_took_a_childs_process_over_is_not_mistaken_for_it() {
    let mut bench = Bench::start("");
    let before = bench.healthy().await;
    bench.kill_supervisor().await;
    let ledger = bench.runtime_dir().join("processes.json");
    let mut entries: serde_json::Value = serde_json::from_slice(&fs::read(&ledger).expect("there")).expect("JSON");
    for entry in entries.as_array_mut().expect("a list") {
        assert!(entry["known"]["binary"].is_array(), "{entry}");
        entry["known"]["instance"][0] = (entry["known"]["instance"][0].as_u64().expect("a byte") ^ 1).into();
    }
    fs::write(&ledger, entries.to_string()).expect("writable");
    bench.start_supervisor();
    for role in ["signaling", "encoder-test", "bridge"] {
        let reason = bench
            .until(&format!("another {role}"), |status| {
                bench::row(status, role).restarts == 1
            })
            .await;
        let row = bench::row(&reason, role);
        assert!(
            row.last_reason
                .as_deref()
                .is_some_and(|reason| reason.contains("another program")),
            "{row:?}"
        );
        assert_ne!(row.pid, bench::row(&before, role).pid);
    }
    bench.healthy().await;
}

#[tokio::test]
async fn child_that_froze_while_nobody_watched_is_found_and_replaced() {
    let mut bench = Bench::start("");
    let pid = bench::row(&bench.healthy().await, "encoder-test").pid.expect("it runs");
    bench.kill_supervisor().await;
    bench::signal(pid, Signal::STOP);
    bench.start_supervisor();
    let reason = Some("3 heartbeats missed");
    bench
        .until("a verdict", |status| {
            bench::row(status, "encoder-test").last_reason.as_deref() == reason
        })
        .await;
    bench.healthy().await;
    assert!(!bench::is_alive(pid));
}

#[tokio::test]
async fn child_that_nobody_wrote_down_is_adopted_or_ended_but_never_doubled() {
    let mut bench = Bench::start("");
    let before = bench.healthy().await;
    bench.kill_supervisor().await;
    fs::remove_file(bench.runtime_dir().join("processes.json")).expect("there");
    bench.start_supervisor();
    let after = bench.healthy().await;
    for (was, is) in before.processes.iter().zip(&after.processes).skip(1) {
        let (was, is) = (was.pid.expect("it ran"), is.pid.expect("it runs"));
        bench::wait(&format!("one of {was} and {is} to go"), || {
            was == is || !bench::is_alive(was)
        })
        .await;
    }
}

#[tokio::test]
async fn children_that_nobody_can_find_any_more_end_by_themselves() {
    let mut bench = Bench::start("");
    let before = bench.healthy().await;
    bench.kill_supervisor().await;
    fs::remove_dir_all(bench.runtime_dir()).expect("removed");
    for child in &before.processes[1..] {
        let pid = child.pid.expect("it ran");
        bench::wait(&format!("{} to end", child.name), || !bench::is_alive(pid)).await;
    }
}

#[tokio::test]
async fn child_that_is_configured_no_more_is_ended() {
    let mut bench = Bench::start("");
    let pid = bench::row(&bench.healthy().await, "encoder-test").pid.expect("it runs");
    bench.kill_supervisor().await;
    bench.configure("[streams.other]\nsource = \"test:\"\n");
    bench.start_supervisor();
    bench::wait("the old encoder to go", || !bench::is_alive(pid)).await;
    let status = bench.healthy().await;
    assert!(status.processes.iter().all(|process| process.name != "encoder-test"));
}

#[tokio::test]
async fn second_supervisor_is_refused_and_names_the_first() {
    let bench = Bench::start("");
    let pid = bench::row(&bench.healthy().await, "supervisor").pid.expect("it runs");
    let second = bench.supervisor().output().await.expect("it starts");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&format!("pid {pid}")), "{said}");
    assert_eq!(bench.healthy().await.processes[0].pid, Some(pid));
}

#[tokio::test]
async fn crash_loop_gives_quality_up_then_parks_and_is_resumed_by_hand() {
    let bench = Bench::start("[supervisor]\ncrash_loop_failures = 2\nbackoff_ms = 10\ncooldown_ms = 600000\n");
    bench.healthy().await;
    bench.play("encoder", "exit 70 panicked").await;
    let status = bench
        .until("a park", |status| {
            bench::row(status, "encoder-test").state == ProcessState::Parked
        })
        .await;
    assert_eq!(status.overall, Overall::Down);

    let what = bench.started_with().await;
    let steps = [
        "software encoding",
        "a lower resolution",
        "a slate instead of the source",
    ];
    let order: Vec<_> = steps
        .iter()
        .map(|step| what.iter().position(|action| action.ends_with(step)))
        .collect();
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{what:?}");

    let stream = "test".parse().expect("a name");
    let SupervisorAnswer::Why(why) = bench.ask(SupervisorRequest::Why { stream }).await.expect("known") else {
        panic!("another answer");
    };
    assert!(
        !why.well && why.sentence.contains("next try in") && why.sentence.contains("panicked"),
        "{why:?}"
    );

    bench.set("encoder", "well");
    bench
        .ask(SupervisorRequest::Resume {
            process: "encoder-test".into(),
        })
        .await
        .expect("resumed");
    let status = bench
        .until("it runs", |status| {
            bench::row(status, "encoder-test").state == ProcessState::Running
        })
        .await;
    assert_eq!(status.overall, Overall::Down, "a slate is no picture");
    let recovered = bench
        .events()
        .await
        .into_iter()
        .rfind(|event| event.recovery_ms.is_some());
    assert_eq!(recovered.map(|event| event.process).as_deref(), Some("encoder-test"));
}

#[tokio::test]
async fn signaling_is_started_soon_however_often_it_dies_and_without_what_it_left_before_it_is_parked() {
    let bench = Bench::start("[supervisor]\ncrash_loop_failures = 3\nbackoff_ms = 900\n");
    bench.healthy().await;
    let (dir, signaling) = (RuntimeDir::at(bench.runtime_dir()), Identity::new(Role::Signaling));
    let left = File::open("/dev/null").expect("a file");
    store_fds(&dir, &signaling, &[("viewers", left.as_fd())])
        .await
        .expect("kept");
    for death in 1..=3 {
        let pid = bench::row(&bench.healthy().await, "signaling").pid.expect("it runs");
        let still = fetch_fds(&dir, &signaling).await.expect("an answer");
        assert_eq!(still.len(), 1, "before death {death}");
        bench::signal(pid, Signal::KILL);
        bench
            .until("another one", |status| {
                let row = bench::row(status, "signaling");
                row.state == ProcessState::Running && row.pid != Some(pid)
            })
            .await;
    }
    let still = fetch_fds(&dir, &signaling).await.expect("an answer");
    assert!(still.is_empty(), "{still:?}");
    // And so with each death from then on, as long as it is run so.
    store_fds(&dir, &signaling, &[("viewers", left.as_fd())])
        .await
        .expect("kept");
    let pid = bench::row(&bench.healthy().await, "signaling").pid.expect("it runs");
    bench::signal(pid, Signal::KILL);
    bench
        .until("another one", |status| bench::row(status, "signaling").restarts == 4)
        .await;
    let still = fetch_fds(&dir, &signaling).await.expect("an answer");
    assert!(still.is_empty(), "{still:?}");
    assert_eq!(
        bench.started_with().await,
        ["started with none of the viewers before"; 2]
    );

    let waits: Vec<f64> = bench
        .events()
        .await
        .iter()
        .filter_map(|event| event.action.strip_prefix("restarts in ")?.strip_suffix(" s"))
        .map(|seconds| seconds.parse().expect("seconds"))
        .collect();
    assert!(waits.len() == 4 && waits.iter().all(|wait| *wait <= 1.0), "{waits:?}");
}

#[tokio::test]
async fn what_the_supervisor_lacks_itself_is_no_fault_of_signaling() {
    /// More than enough for three probes to fail.
    const WHILE: Duration = Duration::from_secs(6);
    let bench = Bench::start("");
    let supervisor = bench::row(&bench.healthy().await, "supervisor").pid.expect("it runs");
    let supervisor = Pid::from_raw(supervisor.try_into().expect("a pid"));
    let limit = |current| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        prlimit(supervisor, Resource::Nofile, Rlimit { current, maximum }).expect("limited")
    };
    let before = limit(Some(3));
    sleep(WHILE).await;
    limit(before.current);
    let status = bench.healthy().await;
    assert!(
        status.processes.iter().all(|process| process.restarts == 0),
        "{status:#?}"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_refused_with_what_does() {
    let bench = Bench::start("");
    bench.healthy().await;
    let process = String::from("encoder-tset");
    for request in [
        SupervisorRequest::Restart {
            process: process.clone(),
        },
        SupervisorRequest::Resume {
            process: process.clone(),
        },
    ] {
        let refusal = bench.ask(request).await.expect_err("unknown").to_string();
        assert!(refusal.contains("encoder-test"), "{refusal}");
    }
    let stream = "tset".parse().expect("a name");
    bench.ask(SupervisorRequest::Why { stream }).await.expect_err("unknown");
}

#[tokio::test]
async fn log_that_nobody_reads_holds_up_nothing() {
    let mut bench = Bench::start_unread();
    for restarts in 1..=3 {
        let pid = bench::row(&bench.healthy().await, "encoder-test").pid.expect("it runs");
        bench::signal(pid, Signal::STOP);
        bench
            .until("a replacement", |status| {
                bench::row(status, "encoder-test").restarts == restarts
            })
            .await;
    }
    bench.healthy().await;
    assert!(bench.stop().await < Duration::from_secs(5));
}

#[tokio::test]
async fn children_outlive_the_reader_of_their_output() {
    let mut bench = Bench::start_piped();
    let before = bench.healthy().await;
    bench.hang_up();
    bench.play("encoder", "chatty").await;
    let pid = bench::row(&bench.healthy().await, "encoder-test").pid;
    bench
        .for_a_while(Duration::from_secs(3), |status| {
            bench::row(status, "encoder-test").pid == pid
                && bench::row(status, "supervisor").pid == bench::row(&before, "supervisor").pid
        })
        .await;
}
