//! Hands on a desktop: real input in a real browser, and a real X program that says what it got.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use framebridge_tests::{
    browser::{Browser, Page},
    display::Display,
    process::{command, signal},
    recorder::{CONTROL, Heard, ORIGIN, Recorder, SHIFT, Stamp, held, typed},
    shaped::{Shape, ShapedLink},
    system::System,
    wait::{self, PATIENCE},
};
use rustix::process::Signal;

/// Everything held is let go within this, whatever else has died: the X server's own stamp says when, however late the test looks.
const RELEASE: Duration = Duration::from_secs(1);

/// Where the encoder itself was killed, the next one lets go as the first thing it does: 0.4 s later, and 0.96 s where the machine has
/// three times as much to do as it can.
const RELEASE_BY_THE_NEXT: Duration = Duration::from_millis(1500);

/// A line that is lost is there again within this, as the page itself has noted.
const AGAIN: Duration = Duration::from_secs(2);

/// Has a page note when it began to steer, and when it no longer did.
const NOTE: &str = "window.turns = []; new MutationObserver(() => turns.push([document.body.dataset.desk, Date.now()]))
    .observe(document.body, { attributes: true, attributeFilter: ['data-desk'] })";

/// Somebody who types fast.
const BETWEEN_KEYS: Duration = Duration::from_millis(80);

/// What three layouts have on their keys, and what none has.
const PRINTABLE: &str =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const BEYOND: &str = "äöüÄÖÜß§°éèçàùâêîôûëïœ€µ²³日本語😀λЖ";

/// A desktop with a program on it, that may be steered.
struct World {
    display: Display,
    system: System,
    recorder: Recorder,
}

impl World {
    fn new() -> Self {
        let mut display = Display::start().unwrap();
        display.paint().unwrap();
        let system = System::start_with(&[], &desk(&display)).unwrap();
        Self::on(display, system)
    }

    fn on(display: Display, system: System) -> Self {
        let recorder = Recorder::start(display.name(), system.scratch()).unwrap();
        Self {
            display,
            system,
            recorder,
        }
    }

    fn page(&self) -> Page {
        let page = Browser::start().unwrap().open(&self.system.url("/s/desk")).unwrap();
        page.until_live().unwrap();
        page.until_holds("!document.getElementById('control').hidden").unwrap();
        page
    }

    fn count(&self) -> usize {
        self.recorder.heard().unwrap().len()
    }

    fn layout(&self, name: &str) {
        let set = command("setxkbmap")
            .args(["-display", self.display.name(), name])
            .status();
        assert!(set.unwrap().success(), "{name}");
    }

    fn until_nothing_is_held(&self, since: usize) {
        let look = || Ok(held(&self.recorder.heard()?.split_off(since)).is_empty());
        wait::until_true("nothing to be held", PATIENCE, look).unwrap();
    }

    /// What was pressed since event number `since` is let go of soon after `then`, because of `what`.
    fn let_go(&self, since: usize, then: Stamp, within: Duration, what: &str) {
        let looked = wait::until(what, PATIENCE, || self.recorder.let_go_at(since));
        let took = looked.unwrap().since(then);
        assert!(took <= within, "{what}: let go after {took:?}");
    }
}

/// The stream of a display that may be steered.
fn desk(display: &Display) -> String {
    let name = display.name();
    format!("[streams.desk]\nsource = \"x11:{name}\"\ncontrol = true\nfps = 30\n")
}

fn ask(page: &Page) {
    page.evaluate("document.getElementById('control').click()").unwrap();
}

fn until_steering(page: &Page) {
    page.until_holds("document.body.dataset.desk === 'on'").unwrap();
}

/// How long after `then` a page steers for good, as it has noted itself; nothing where it went on steering.
fn steers_again_after(page: &Page, then: SystemTime) -> Duration {
    let begun = page.evaluate("turns.filter(([state]) => state === 'on').pop()?.[1] ?? 0");
    let begun = Duration::from_millis(begun.unwrap().as_u64().unwrap());
    begun.saturating_sub(then.duration_since(UNIX_EPOCH).unwrap())
}

/// Where a pixel of the screen is in the window of a page.
fn on(page: &Page, (x, y): (i32, i32)) -> (f64, f64) {
    let place = page
        .evaluate(&format!(
            "(() => {{ const v = document.getElementById('picture'), b = v.getBoundingClientRect();
             const s = Math.min(b.width / v.videoWidth, b.height / v.videoHeight);
             const at = (p, of, start, room, length) => start + (room - length * s) / 2 + (p + 0.5) / of * length * s;
             return [at({x}, 1280, b.left, b.width, v.videoWidth), at({y}, 720, b.top, b.height, v.videoHeight)]; }})()"
        ))
        .unwrap();
    (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
}

fn is_near((x, y): (i32, i32), (a, b): (i32, i32)) -> bool {
    (x - a).abs() <= 1 && (y - b).abs() <= 1
}

fn press(page: &Page, key: &str, code: &str, modifiers: u32) {
    page.key(true, key, code, modifiers).unwrap();
    page.key(false, key, code, modifiers).unwrap();
}

#[test]
fn pointer_wheel_and_buttons_arrive_where_they_were_meant() {
    let world = World::new();
    let page = world.page();
    ask(&page);
    until_steering(&page);
    let (from, to) = ((200, 500), (900, 650));
    assert!(from.1 > ORIGIN.1);
    page.mouse("mouseMoved", on(&page, from), "none", 0).unwrap();
    let moved =
        |place| move |heard: &[Heard]| matches!(heard.last(), Some(Heard::Motion { at, .. }) if is_near(*at, place));
    world.recorder.until("the pointer to be there", 0, moved(from)).unwrap();

    let since = world.count();
    page.mouse("mousePressed", on(&page, from), "left", 1).unwrap();
    page.mouse("mouseMoved", on(&page, (500, 600)), "left", 0).unwrap();
    page.mouse("mouseMoved", on(&page, to), "left", 0).unwrap();
    page.mouse("mouseReleased", on(&page, to), "left", 1).unwrap();
    let dragged = world.recorder.until("a drag", since, |heard| {
        heard.iter().any(|one| matches!(one, Heard::Button { down: false, .. }))
    });
    let buttons: Vec<Heard> = dragged
        .unwrap()
        .into_iter()
        .filter(|one| matches!(one, Heard::Button { .. }))
        .collect();
    let [
        Heard::Button {
            down: true,
            button: 1,
            at: start,
        },
        Heard::Button {
            down: false,
            button: 1,
            at: end,
        },
    ] = buttons[..]
    else {
        panic!("{buttons:?}");
    };
    assert!(is_near(start, from) && is_near(end, to), "{start:?} {end:?}");

    for (button, number) in [("left", 1), ("right", 3), ("middle", 2)] {
        let since = world.count();
        for clicks in [1, 2] {
            page.mouse("mousePressed", on(&page, to), button, clicks).unwrap();
            page.mouse("mouseReleased", on(&page, to), button, clicks).unwrap();
        }
        let is_down = |one: &Heard| matches!(one, Heard::Button { down: true, button, .. } if *button == number);
        world
            .recorder
            .until("a double click", since, |heard| {
                heard.iter().filter(|one| is_down(one)).count() == 2
            })
            .unwrap();
        world.until_nothing_is_held(since);
    }

    let since = world.count();
    for (dx, dy) in [(0.0, 100.0), (0.0, 100.0), (0.0, -100.0), (50.0, 0.0), (50.0, 0.0)] {
        page.wheel(on(&page, to), (dx, dy)).unwrap();
    }
    let turned = |heard: &[Heard]| {
        let wheel = heard.iter().filter_map(|one| match one {
            Heard::Button { down: true, button, .. } => Some(*button),
            Heard::Key { .. } | Heard::Button { .. } | Heard::Motion { .. } => None,
        });
        wheel.collect::<Vec<u32>>()
    };
    world
        .recorder
        .until("the wheel", since, |heard| turned(heard) == [5, 5, 4, 7])
        .unwrap();
}

#[test]
fn every_character_arrives_on_every_layout_and_shortcuts_are_shortcuts() {
    let world = World::new();
    let page = world.page();
    ask(&page);
    until_steering(&page);
    page.mouse("mouseMoved", on(&page, (300, 500)), "none", 0).unwrap();
    let text = format!("{PRINTABLE}{BEYOND}");
    for layout in ["us", "de", "fr"] {
        world.layout(layout);
        let since = world.count();
        for character in text.chars() {
            press(&page, &character.to_string(), "", 0);
        }
        world
            .recorder
            .until(&format!("all of it on {layout}"), since, |heard| typed(heard) == text)
            .unwrap();
        world.until_nothing_is_held(since);
    }
    // With Shift held the way it is on the controller's own keyboard.
    let arrow = |heard: &[Heard]| {
        heard.iter().find_map(|one| match one {
            Heard::Key {
                down: true,
                keysym: 0xff51,
                state,
                ..
            } => Some(*state),
            Heard::Key { .. } | Heard::Button { .. } | Heard::Motion { .. } => None,
        })
    };
    let since = world.count();
    page.key(true, "Shift", "ShiftLeft", 8).unwrap();
    for character in ["A", "1", "/", "ArrowLeft"] {
        press(&page, character, "", 8);
    }
    page.key(false, "Shift", "ShiftLeft", 0).unwrap();
    let heard = world
        .recorder
        .until("Shift and what came with it", since, |heard| {
            typed(heard) == "A1/" && arrow(heard).is_some()
        })
        .unwrap();
    let arrow = arrow(&heard);
    assert_eq!(
        arrow.map(|state| state & SHIFT),
        Some(SHIFT),
        "Shift stays where it means something: {heard:?}"
    );

    world.layout("us");
    let since = world.count();
    page.key(true, "Control", "ControlLeft", 2).unwrap();
    press(&page, "c", "KeyC", 2);
    page.key(false, "Control", "ControlLeft", 0).unwrap();
    let is_shortcut =
        |one: &Heard| matches!(one, Heard::Key { down: true, keysym: 0x63, state, .. } if state & CONTROL != 0);
    world
        .recorder
        .until("Control and c", since, |heard| heard.iter().any(is_shortcut))
        .unwrap();

    // Text that no key made, as from an input method or a phone.
    let since = world.count();
    page.evaluate("(() => { const t = document.getElementById('typing'); t.value = 'ñ 漢字'; t.dispatchEvent(new InputEvent('input', { inputType: 'insertText' })); })()").unwrap();
    world
        .recorder
        .until("a text", since, |heard| typed(heard) == "ñ 漢字")
        .unwrap();

    let since = world.count();
    page.evaluate("(() => { const d = new DataTransfer(); d.setData('text/plain', 'pasted'); document.getElementById('typing').dispatchEvent(new ClipboardEvent('paste', { clipboardData: d, bubbles: true, cancelable: true })); })()").unwrap();
    world
        .recorder
        .until("v, for what is pasted", since, |heard| typed(heard) == "v")
        .unwrap();
    assert_eq!(page.evaluate("probe.errors.join('\\n')").unwrap(), "");
}

#[test]
fn nothing_stays_held_whatever_dies_and_the_line_is_made_anew() {
    let world = World::new();
    let page = world.page();
    ask(&page);
    until_steering(&page);
    page.mouse("mouseMoved", on(&page, (300, 500)), "none", 0).unwrap();
    let before = page.sessions().unwrap();
    let hold = |since| {
        page.key(true, "Shift", "ShiftLeft", 8).unwrap();
        page.key(true, "a", "KeyA", 8).unwrap();
        page.mouse("mousePressed", on(&page, (300, 500)), "left", 1).unwrap();
        world
            .recorder
            .until("three to be held", since, |heard| held(heard).len() == 3)
            .unwrap();
    };
    let let_go = || {
        page.mouse("mouseReleased", on(&page, (300, 500)), "left", 1).unwrap();
        page.key(false, "a", "KeyA", 0).unwrap();
        page.key(false, "Shift", "ShiftLeft", 0).unwrap();
    };

    let since = world.count();
    hold(since);
    // The page says when: what the browser takes to be asked is not the release.
    let blur = "(() => { const at = Date.now(); window.dispatchEvent(new Event('blur')); return at; })()";
    let at = Duration::from_millis(page.evaluate(blur).unwrap().as_u64().unwrap());
    let then = Stamp::at(UNIX_EPOCH + at);
    world.let_go(since, then, RELEASE, "a page without the focus");
    let_go();
    page.evaluate(NOTE).unwrap();

    for (process, within) in [("signaling", RELEASE), ("encoder-desk", RELEASE_BY_THE_NEXT)] {
        let since = world.count();
        hold(since);
        let killed = world.system.pid(process).unwrap();
        let (then, now) = (Stamp::now(), SystemTime::now());
        signal(killed, Signal::KILL).unwrap();
        world.let_go(since, then, within, &format!("{process} killed"));
        let_go();
        wait::until_true(&format!("the line to be there after {process}"), PATIENCE, || {
            let since = world.count();
            press(&page, "b", "KeyB", 0);
            let heard = world.recorder.heard()?.split_off(since);
            Ok(page.evaluate("document.body.dataset.desk")? == "on" && !heard.is_empty())
        })
        .unwrap();
        let took = steers_again_after(&page, now);
        assert!(took <= AGAIN, "{process} killed: it steers again after {took:?}");
    }
    assert_eq!(
        page.sessions().unwrap(),
        before,
        "the picture's session is another matter"
    );

    // Nothing that was done meanwhile is done later, and nothing twice.
    let since = world.count();
    press(&page, "x", "KeyX", 0);
    world
        .recorder
        .until("one x", since, |heard| typed(heard).contains('x'))
        .unwrap();
    assert_eq!(typed(&world.recorder.heard().unwrap()).matches('x').count(), 1);
    page.evaluate("document.getElementById('stop').click()").unwrap();
    page.until_holds("document.body.dataset.desk === 'off'").unwrap();
    assert_eq!(page.evaluate("probe.errors.join('\\n')").unwrap(), "");
}

#[test]
fn one_steers_at_a_time_and_all_know_who() {
    let world = World::new();
    let (one, other) = (world.page(), world.page());
    ask(&one);
    until_steering(&one);
    other.until_reads("local steers").unwrap();
    ask(&other);
    one.until_reads("asks for the desktop").unwrap();
    let since = world.count();
    other.mouse("mouseMoved", on(&other, (700, 600)), "none", 0).unwrap();
    one.mouse("mouseMoved", on(&one, (300, 500)), "none", 0).unwrap();
    let heard = world
        .recorder
        .until("the one who steers", since, |heard| !heard.is_empty())
        .unwrap();
    assert!(
        heard
            .iter()
            .all(|one| matches!(one, Heard::Motion { at, .. } if is_near(*at, (300, 500)))),
        "{heard:?}"
    );
    one.evaluate("document.getElementById('keep').click()").unwrap();
    other.until_holds("document.body.dataset.desk === 'off'").unwrap();
    other.until_reads("wants to keep it").unwrap();
    ask(&other);
    one.until_reads("asks for the desktop").unwrap();
    one.evaluate("document.getElementById('yield').click()").unwrap();
    until_steering(&other);
    one.until_holds("document.body.dataset.desk === 'off'").unwrap();
    let log = world.system.log().unwrap();
    assert!(
        log.contains("steers the desktop") && log.contains("handed_over"),
        "grants are audited"
    );
}

#[test]
fn what_is_done_over_a_link_that_loses_packets_comes_in_order_and_once_and_nothing_stays_held() {
    let Some(mut link) = ShapedLink::build(Shape::GOOD).unwrap() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut display = Display::start().unwrap();
    display.paint().unwrap();
    let tokens = folder.path().join("tokens.toml");
    let auth = format!("[http.auth]\nmode = \"token\"\ntokens = {tokens:?}\n");
    let system = System::start_public(&[], &(auth + &desk(&display))).unwrap();
    let world = World::on(display, system);
    let token = world.system.bridgectl(&["token", "new", "hands", "--scope", "control"]);
    let token = String::from_utf8(token.unwrap().stdout).unwrap();
    let url = format!("http://{}:{}/s/desk", ShapedLink::HERE, world.system.http().port());
    let page = link.there(|| Browser::start()?.open(&url)).unwrap();
    page.until_holds("document.querySelector('form#login') !== null && document.readyState === 'complete'")
        .unwrap();
    let log_in = format!(
        "document.querySelector('#token').value = '{}'; document.querySelector('form').requestSubmit()",
        token.trim()
    );
    page.evaluate(&log_in).unwrap();
    page.until_holds("document.querySelector('video') !== null").unwrap();
    page.until_live().unwrap();
    page.until_holds("!document.getElementById('control').hidden").unwrap();
    ask(&page);
    until_steering(&page);

    let bad = Shape {
        delay_ms: 50,
        loss_percent: 5,
        loss_back_percent: 5,
        ..Shape::GOOD
    };
    link.set(bad).unwrap();
    let since = world.count();
    for (step, character) in ('a'..='z').cycle().take(104).enumerate() {
        let x = 200 + i32::try_from(step).unwrap() * 5;
        page.mouse("mouseMoved", on(&page, (x, 500)), "none", 0).unwrap();
        press(&page, &character.to_string(), "", 0);
        wait::pause(BETWEEN_KEYS).unwrap();
    }
    let end = (900, 650);
    // The last move may be lost; the one after it is not, for long.
    let is_there = |heard: &[Heard]| matches!(heard.last(), Some(Heard::Motion { at, .. }) if is_near(*at, end));
    wait::until_true("the pointer to be where it was last moved to", PATIENCE, || {
        page.mouse("mouseMoved", on(&page, end), "none", 0)?;
        wait::pause(BETWEEN_KEYS)?;
        Ok(is_there(&world.recorder.heard()?.split_off(since)))
    })
    .unwrap();
    world.until_nothing_is_held(since);
    let heard = typed(&world.recorder.heard().unwrap().split_off(since));
    let mut meant = ('a'..='z').cycle().take(104);
    assert!(
        heard.chars().all(|one| meant.any(|next| next == one)),
        "out of order or twice: {heard}"
    );
    // What is lost twice comes later than half a second, is not done any more, and that is said.
    assert!(heard.len() >= 80, "{} of 104: {heard}", heard.len());
    let lines = world
        .system
        .log()
        .unwrap()
        .matches("a line to steer by was opened")
        .count();
    assert!(lines <= 2, "the line was given up {} times", lines - 1);
    link.set(Shape::GOOD).unwrap();
    let since = world.count();
    press(&page, "x", "KeyX", 0);
    world
        .recorder
        .until("one x", since, |heard| typed(heard) == "x")
        .unwrap();
}

#[test]
fn a_stream_is_for_looking_only_unless_it_says_otherwise() {
    let mut display = Display::start().unwrap();
    display.paint().unwrap();
    let system = System::start(&[("desk", &format!("x11:{}", display.name()))]).unwrap();
    let page = Browser::start().unwrap().open(&system.url("/s/desk")).unwrap();
    page.until_live().unwrap();
    assert_eq!(
        page.evaluate("document.getElementById('control').hidden").unwrap(),
        true
    );
}
