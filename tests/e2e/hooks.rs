//! Hooks of a whole system: who comes and goes, tried by hand, and through the handover of signaling.

use std::{fs, path::Path, time::Duration};

use framebridge_tests::{browser::Browser, process::signal, system::System, wait};
use rustix::process::Signal;
use serde_json::Value;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(40);

/// A hook that adds a line of JSON for each event.
fn diary(file: &Path) -> String {
    let script = format!("cat >> {0}; echo >> {0}", file.display());
    format!(
        "[hooks.diary]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n[hooks.broken]\ncommand = [\"/bin/false\"]\nevents = [\"disk\"]\n"
    )
}

fn told(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn of(file: &Path, event: &str) -> Vec<Value> {
    told(file).into_iter().filter(|told| told["event"] == event).collect()
}

#[test]
fn hook_is_told_who_comes_and_who_goes_and_of_nobody_twice() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("diary");
    let system = System::start_with(&[("test", "test:")], &diary(&file)).unwrap();
    // It outlives its page, which says goodbye when it is closed.
    let browser = Browser::start().unwrap();
    let page = browser.open(&system.url("/s/test")).unwrap();
    page.until_live().unwrap();
    wait::until_true("the viewer to be told of", PATIENCE, || {
        Ok(of(&file, "viewer-joined").len() == 1)
    })
    .unwrap();
    let joined = of(&file, "viewer-joined").remove(0);
    assert_eq!(joined["stream"], "test");
    assert_eq!(joined["address"], "127.0.0.1");

    // Its session outlives signaling: it has neither left nor joined.
    signal(system.pid("signaling").unwrap(), Signal::KILL).unwrap();
    wait::until_true("the restart to be told of", PATIENCE, || {
        Ok(of(&file, "process-restarted")
            .iter()
            .any(|told| told["process"] == "signaling"))
    })
    .unwrap();
    page.until_live().unwrap();
    page.close().unwrap();
    wait::until_true("its leave to be told of", PATIENCE, || {
        Ok(of(&file, "viewer-left").len() == 1)
    })
    .unwrap();
    let left = of(&file, "viewer-left").remove(0);
    assert_eq!(
        (&left["viewer"], &left["stream"]),
        (&joined["viewer"], &joined["stream"])
    );
    assert_eq!(of(&file, "viewer-joined").len(), 1, "{:#?}", told(&file));

    let listed = system.bridgectl(&["hooks", "list", "--json"]).unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let diary = &listed["hooks"][1];
    assert_eq!(
        (&diary["name"], &diary["target"], &diary["lost"]),
        (&"diary".into(), &"/bin/sh".into(), &0.into())
    );
    assert!(diary["delivered"].as_u64() >= Some(3), "{diary}");
}

#[test]
fn hooks_are_tried_by_hand_and_what_comes_of_it_is_said() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("diary");
    let system = System::start_with(&[("test", "test:")], &diary(&file)).unwrap();
    let one = system.bridgectl(&["hooks", "test", "diary"]).unwrap();
    let said = String::from_utf8_lossy(&one.stdout).into_owned();
    assert!(
        one.status.success() && said.starts_with("diary: /bin/sh was told in "),
        "{said}"
    );
    assert_eq!(of(&file, "test").len(), 1);

    let all = system.bridgectl(&["hooks", "test"]).unwrap();
    let said = String::from_utf8_lossy(&all.stdout).into_owned();
    assert_eq!(all.status.code(), Some(1));
    assert!(said.contains("broken: /bin/false ended with exit status: 1"), "{said}");

    let unknown = system.bridgectl(&["hooks", "test", "dairy"]).unwrap();
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("did you mean `diary`?"), "{said}");
}

#[test]
fn killed_supervisor_leaves_no_hook_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("pids");
    // A shell that heeds nothing, and what it has started.
    let script = format!("trap '' TERM; sleep 1000 & echo $$ $! > {}; wait", file.display());
    let hook = format!(
        "[hooks.slow]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\nevents = [\"process-restarted\"]\ntimeout_ms = 60000\n"
    );
    let system = System::start_with(&[("test", "test:")], &hook).unwrap();
    let before = system.pid("signaling").unwrap();
    signal(before, Signal::KILL).unwrap();
    let pids = wait::until("the hook to run", PATIENCE, || {
        let pids = fs::read_to_string(&file).unwrap_or_default();
        Ok(pids.ends_with('\n').then_some(pids))
    })
    .unwrap();
    signal(system.pid("supervisor").unwrap(), Signal::KILL).unwrap();
    // No next supervisor is needed for that.
    for pid in pids.split_whitespace() {
        wait::until_true("what the hook started to end", PATIENCE, || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            Ok(stat.is_empty() || stat.contains(") Z "))
        })
        .unwrap();
    }
}
