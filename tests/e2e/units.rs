//! Under a real systemd, installed as the handbook says: it starts, the supervisor judges, viewers keep their session.

use std::time::SystemTime;

use framebridge_proto::status::{Overall, ProcessState, StreamState};
use framebridge_tests::{
    browser::{Browser, Page},
    machine::Machine,
    wait::{self, PATIENCE},
};

const SUPERVISOR: &str = "framebridge-supervisor.service";
const SIGNALING: &str = "framebridge-signaling.service";
const ENCODER: &str = "framebridge-encoder@test.service";
const BRIDGE: &str = "framebridge-bridge.service";
const ALL: [&str; 4] = [SUPERVISOR, SIGNALING, ENCODER, BRIDGE];

/// A machine on which somebody watches. `None`: only root may have one.
fn watched(further: &str) -> Option<(Machine, Page)> {
    let machine = Machine::boot(further).unwrap()?;
    until_healthy(&machine);
    let page = Browser::start().unwrap().open(&machine.url("/s/test")).unwrap();
    page.until_live().unwrap();
    Some((machine, page))
}

#[track_caller]
fn until_healthy(machine: &Machine) {
    wait::until_true("all to be well", PATIENCE, || {
        Ok(machine.status()?.overall == Overall::Healthy)
    })
    .unwrap();
}

/// The page goes on by itself, in the session it had.
#[track_caller]
fn assert_goes_on(page: &Page, session: &[String]) {
    page.until_shows_later_than(SystemTime::now()).unwrap();
    page.until_live().unwrap();
    assert_eq!(page.sessions().unwrap(), session);
}

/// Waits until systemd has started a unit's process again so many times.
#[track_caller]
fn until_restarted(machine: &Machine, unit: &str, times: u32) {
    let again = || Ok(machine.property(unit, "NRestarts")?.parse::<u32>()? >= times);
    wait::until_true(&format!("{unit} to be started again"), PATIENCE, again).unwrap();
}

#[test]
fn installed_units_come_up_at_once_and_tell_systemd_how_it_goes() {
    let Some((machine, _page)) = watched("") else { return };
    for unit in ALL {
        let property = |name| machine.property(unit, name).unwrap();
        assert_eq!(property("ActiveState"), "active", "{unit}");
        assert_eq!(property("NRestarts"), "0", "{unit}");
        assert_eq!(property("WatchdogUSec"), "10s", "{unit}");
        assert_ne!(property("StatusText"), "", "{unit}");
    }
    for process in machine.status().unwrap().processes {
        assert_eq!((process.restarts, process.last_reason), (0, None), "{}", process.name);
        let unit = ALL.iter().find(|unit| {
            let name = unit.trim_start_matches("framebridge-").trim_end_matches(".service");
            name.replace('@', "-") == process.name
        });
        let pid = machine.property(unit.unwrap(), "MainPID").unwrap();
        assert_eq!(process.pid.unwrap().to_string(), pid, "{}", process.name);
    }
    // That a busy machine's encoder leaves pictures out is no fault of a unit.
    let warnings = machine
        .run(
            "journalctl --no-pager --output=cat --unit='framebridge-*' | grep -E 'WARN|ERROR' \
             | grep -v 'left out: the encoder' || true",
        )
        .unwrap();
    assert_eq!(warnings, "");
    // The page can show a picture before the heartbeat that says so has reached the supervisor.
    wait::until_true("`why` to say that the stream is live", PATIENCE, || {
        Ok(machine.bridgectl("why test")?.contains("live"))
    })
    .unwrap();
}

#[test]
fn viewers_keep_their_session_whatever_systemd_starts_again() {
    let Some((machine, page)) = watched("") else { return };
    let session = page.sessions().unwrap();
    for unit in ALL {
        machine.signal("KILL", &[unit]).unwrap();
        until_restarted(&machine, unit, 1);
        assert_goes_on(&page, &session);
        until_healthy(&machine);
    }
    // What signaling left is in systemd's own store then.
    machine.signal("KILL", &[SUPERVISOR, SIGNALING]).unwrap();
    until_restarted(&machine, SUPERVISOR, 2);
    until_restarted(&machine, SIGNALING, 2);
    assert_goes_on(&page, &session);
    until_healthy(&machine);
}

#[test]
fn what_stands_still_is_found_by_the_supervisor_and_the_supervisor_by_systemd() {
    let Some((machine, page)) = watched("") else { return };
    let session = page.sessions().unwrap();
    for (name, unit) in [("encoder-test", ENCODER), ("signaling", SIGNALING), ("bridge", BRIDGE)] {
        machine.signal("STOP", &[unit]).unwrap();
        until_restarted(&machine, unit, 1);
        assert_goes_on(&page, &session);
        until_healthy(&machine);
        let why = machine.process(name).unwrap().last_reason.unwrap();
        assert!(why.contains("heartbeats missed"), "{name}: {why}");
    }
    machine.signal("STOP", &[SUPERVISOR]).unwrap();
    until_restarted(&machine, SUPERVISOR, 1);
    until_healthy(&machine);
    assert_goes_on(&page, &session);
    for unit in [ENCODER, SIGNALING, BRIDGE] {
        assert_eq!(machine.property(unit, "NRestarts").unwrap(), "1", "{unit} was adopted");
    }
}

#[test]
fn configuration_that_makes_no_sense_is_refused_by_name_and_darkens_nothing() {
    let Some((machine, page)) = watched("") else { return };
    let session = page.sessions().unwrap();
    let file = "/etc/framebridge/framebridge.toml";
    machine
        .run(&format!("cp {file} /root/good.toml; echo '[htpp]' >> {file}"))
        .unwrap();
    let reload = || machine.run("systemctl reload framebridge-supervisor");
    assert!(reload().is_err(), "it was taken");
    let told = || machine.process("supervisor").unwrap().last_reason;
    assert!(told().is_some_and(|told| told.contains("htpp")), "{:?}", told());
    // What is started again runs by what held before, whoever starts it.
    machine.bridgectl("restart bridge").unwrap();
    machine.signal("KILL", &[ENCODER]).unwrap();
    until_restarted(&machine, ENCODER, 1);
    until_healthy(&machine);
    assert_goes_on(&page, &session);
    machine.run(&format!("cp /root/good.toml {file}")).unwrap();
    reload().unwrap();
    assert_eq!(told(), None);
}

#[test]
fn what_fails_too_often_is_run_with_less_and_then_left_alone_by_systemd_too() {
    let further = "[supervisor]\ncrash_loop_failures = 2\n[video]\nencoder = \"software\"\nlongest_edge = 640\n";
    let Some((machine, page)) = watched(further) else {
        return;
    };
    let session = page.sessions().unwrap();
    let kill = |name: &str, unit| {
        let before = machine.process(name).unwrap().pid;
        machine.signal("KILL", &[unit]).unwrap();
        before
    };
    let until_another = |name: &str, before: Option<u32>| {
        wait::until_true(&format!("another {name}"), PATIENCE, || {
            let now = machine.process(name)?;
            Ok(now.state == ProcessState::Running && now.pid.is_some() && now.pid != before)
        })
        .unwrap();
    };
    for _death in 0..2 {
        until_another("encoder-test", kill("encoder-test", ENCODER));
    }
    let state = || Ok(machine.status()?.streams[0].state == StreamState::Slate);
    wait::until_true("the slate", PATIENCE, state).unwrap();
    page.until_holds("document.body.dataset.state === 'slate'").unwrap();
    assert_eq!(page.sessions().unwrap(), session);
    machine.bridgectl("resume encoder-test").unwrap();
    assert_goes_on(&page, &session);

    until_another("bridge", kill("bridge", BRIDGE));
    kill("bridge", BRIDGE);
    let is = |wanted: &'static str| {
        let look = || Ok(machine.property(BRIDGE, "ActiveState")? == wanted);
        wait::until_true(&format!("the bridge's unit to be {wanted}"), PATIENCE, look).unwrap();
    };
    is("inactive");
    assert_eq!(machine.process("bridge").unwrap().state, ProcessState::Parked);
    machine.bridgectl("resume bridge").unwrap();
    is("active");
    until_healthy(&machine);
}
