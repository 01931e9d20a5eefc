//! A desktop that is steered from outside.

use std::time::Duration;

use framebridge_tests::{
    browser::{Browser, Page},
    display::Display,
    recorder::{Heard, Recorder},
    studio::Studio,
    system::System,
    wait::{self, PATIENCE},
};

/// From the end of a share to the end of what came by it.
const END: Duration = Duration::from_secs(20);

fn controller(system: &System) -> anyhow::Result<bool> {
    Ok(!system.get("/api/v1/streams/desk")?.json()?["controller"].is_null())
}

fn until_offered(page: &Page, offered: bool) {
    page.until_live().unwrap();
    page.until_holds(&format!("document.getElementById('control').hidden !== {offered}"))
        .unwrap();
}

#[test]
fn share_for_control_steers_until_it_ends_and_another_does_not() {
    let mut display = Display::start().unwrap();
    display.paint().unwrap();
    let studio = Studio::start().unwrap();
    let settings = studio.settings("box").unwrap();
    let stream = format!("[streams.desk]\nsource = \"x11:{}\"\ncontrol = true\n", display.name());
    let system = System::start_with(&[], &format!("{settings}{stream}")).unwrap();
    let recorder = Recorder::start(display.name(), system.scratch()).unwrap();
    let address = studio.address_of(&system).unwrap();
    address.until("ready", PATIENCE).unwrap();
    let share = |arguments: &[&str]| {
        let shared = system.bridgectl(&[&["share"], arguments].concat()).unwrap();
        assert!(shared.status.success(), "{shared:?}");
        address.other(String::from_utf8(shared.stdout).unwrap().lines().next().unwrap())
    };

    let looks = Browser::start().unwrap().open(&share(&[]).url("/s/desk")).unwrap();
    until_offered(&looks, false);
    let page = Browser::start()
        .unwrap()
        .open(&share(&["--control"]).url("/s/desk"))
        .unwrap();
    until_offered(&page, true);
    page.evaluate("document.getElementById('control').click()").unwrap();
    page.until_holds("document.body.dataset.desk === 'on'").unwrap();
    looks.until_reads("share (control) steers").unwrap();
    let (x, y) = (640.0, 600.0);
    page.mouse("mouseMoved", (x, y), "none", 0).unwrap();
    page.mouse("mousePressed", (x, y), "left", 1).unwrap();
    let is_pressed = |one: &Heard| matches!(one, Heard::Button { down: true, .. });
    recorder
        .until("a press from outside", 0, |heard| heard.iter().any(is_pressed))
        .unwrap();

    assert!(system.bridgectl(&["unshare"]).unwrap().status.success());
    wait::until_true("nobody to steer", END, || Ok(!controller(&system)?)).unwrap();
    let is_let_go = |one: &Heard| matches!(one, Heard::Button { down: false, .. });
    recorder
        .until("the button to be let go", 0, |heard| heard.iter().any(is_let_go))
        .unwrap();
}
