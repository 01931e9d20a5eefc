//! The configuration is read again while everything runs.

use std::{fs, time::SystemTime};

use framebridge_tests::{
    browser::Browser,
    system::System,
    wait::{self, PATIENCE},
};

/// A viewer who saw nothing new for so long would notice. The machine starts two browsers and some processes meanwhile.
const NOTICED_MS: u64 = 1000;

#[test]
fn streams_come_and_go_and_a_mistake_changes_nothing_while_a_viewer_watches_another() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let (config, reload) = (system.scratch().join("framebridge.toml"), || {
        system.bridgectl(&["reload"]).unwrap()
    });
    let before = fs::read_to_string(&config).unwrap();
    let page = Browser::start().unwrap().open(&system.url("/s/test")).unwrap();
    page.until_live().unwrap();
    let pids = || ["signaling", "encoder-test"].map(|name| system.pid(name).unwrap());
    let (session, running) = (page.sessions().unwrap(), pids());
    page.start_recording().unwrap();

    // A second stream is there to be watched.
    fs::write(&config, format!("{before}[streams.yard]\nsource = \"test:\"\n")).unwrap();
    let added = reload();
    let said = String::from_utf8_lossy(&added.stdout);
    assert!(added.status.success() && said.starts_with("added: yard"), "{added:?}");
    let yard = Browser::start().unwrap().open(&system.url("/s/yard")).unwrap();
    yard.until_live().unwrap();

    // A mistake is named, and what dies meanwhile comes back by what held before.
    fs::write(
        &config,
        format!("{before}[streams.yard]\nsource = \"test:\"\nfps = \"many\"\n"),
    )
    .unwrap();
    let refused = reload();
    let line = before.lines().count() + 3;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    assert!(said.contains(&format!("framebridge.toml:{line}")), "{said}");
    system.kill_and_await("encoder-yard").unwrap();
    yard.until_shows_later_than(SystemTime::now()).unwrap();

    // And it goes, with its viewer.
    fs::write(&config, &before).unwrap();
    let removed = reload();
    assert!(removed.status.success(), "{removed:?}");
    wait::until_true("the stream to be gone", PATIENCE, || {
        let viewers = system.get("/api/v1/viewers")?.json()?;
        Ok(system.get("/api/v1/streams/yard")?.status == 404
            && viewers["viewers"].as_array().is_some_and(|all| all.len() == 1))
    })
    .unwrap();
    assert_eq!(system.status().unwrap().streams.len(), 1);

    let shown = page.take_record().unwrap();
    let gap = shown
        .windows(2)
        .map(|pair| pair[1].0.saturating_sub(pair[0].0))
        .max()
        .unwrap_or_default();
    assert!(
        gap < NOTICED_MS,
        "{gap} ms without a new picture, of {} pictures",
        shown.len()
    );
    assert_eq!(page.sessions().unwrap(), session);
    assert_eq!(pids(), running);
}
