//! What viewers are shown, and what they can do: by doing the thing.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use framebridge_proto::status::StreamState;
use framebridge_tests::{
    axe,
    browser::{Browser, Page},
    http::Request,
    node,
    process::signal,
    system::System,
    wait::{self, PATIENCE},
};
use rustix::process::Signal;
use tempfile::TempDir;

/// They read the pages' scripts as browsers and people do. Pinned, as what they find changes with each version.
const READERS: [&str; 2] = ["typescript@5.9.3", "acorn@8.15.0"];

/// From a viewer's end to its page saying so.
const END: Duration = Duration::from_secs(2);

/// What latency may be off by and still be told as it is.
const LATENCY_OFF_MS: i64 = 100;

/// A browser of 2019 with its last updates: what came later is not there.
const OLD_BROWSER: &str = "delete AbortSignal.timeout; delete AbortSignal.any; delete Array.prototype.at; delete String.prototype.at;
    delete String.prototype.replaceAll; delete Object.hasOwn; delete Promise.any; delete window.structuredClone;
    delete window.BroadcastChannel; delete HTMLDialogElement.prototype.showModal; delete Crypto.prototype.randomUUID;
    delete Navigator.prototype.wakeLock; delete Element.prototype.replaceChildren; delete Element.prototype.checkVisibility;
    delete String.prototype.matchAll; delete RTCPeerConnection.prototype.connectionState; delete window.ResizeObserver;
    delete ReadableStream.prototype[Symbol.asyncIterator];";

/// A browser that keeps from pages what could tell who visits them, and ends what listens.
const STRICT_BROWSER: &str = "for (const name of ['BroadcastChannel', 'EventSource'])
        window[name] = class { constructor() { throw new DOMException('no', 'SecurityError'); } };
    for (const name of ['localStorage', 'sessionStorage'])
        Object.defineProperty(window, name, { get() { throw new DOMException('no', 'SecurityError'); } });";

/// The same as other systems of a test's, with a source that can't be opened among them.
const THREE: [(&str, &str); 3] = [
    ("desk", "test:"),
    ("door", "lavfi:testsrc2=size=640x360:rate=30"),
    ("yard", "rtsp://127.0.0.1:1/nothing"),
];

fn pages() -> [PathBuf; 2] {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    ["signaling/page", "studio/page"].map(|folder| crates.join(folder))
}

/// A page that has loaded, at a path.
fn open(system: &System, path: &str) -> Page {
    Browser::start().unwrap().open(&system.url(path)).unwrap()
}

#[track_caller]
fn assert_no_errors(page: &Page) {
    assert_eq!(page.evaluate("probe.errors.join('\\n')").unwrap(), "");
}

fn bridgectl(system: &System, arguments: &[&str]) -> String {
    let output = system.bridgectl(arguments).unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A system that asks for tokens, and the folder of their file.
fn guarded(streams: &[(&str, &str)]) -> (System, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let auth = format!(
        "[http.auth]\nmode = \"token\"\ntokens = {:?}\n",
        folder.path().join("tokens.toml")
    );
    (System::start_with(streams, &auth).unwrap(), folder)
}

/// Somebody who may watch, at a path.
fn visitor(system: &System, path: &str) -> Page {
    let link = bridgectl(system, &["link", "--at", &system.url("")]);
    let page = Browser::start().unwrap().open(&link).unwrap();
    page.until_holds("location.pathname !== '/login'").unwrap();
    page.evaluate(&format!("location.assign({path:?})")).unwrap();
    page.until_holds(&format!(
        "location.pathname === {path:?} && document.readyState === 'complete'"
    ))
    .unwrap();
    page
}

/// Does something while a process stands still, and its supervisor with it, which would replace it.
fn while_stopped(system: &System, process: &str, then: impl FnOnce()) {
    let pids = [system.pid(process).unwrap(), system.pid("supervisor").unwrap()];
    for pid in pids.iter().rev() {
        signal(*pid, Signal::STOP).unwrap();
    }
    then();
    for pid in pids {
        signal(pid, Signal::CONT).unwrap();
    }
}

#[test]
fn scripts_have_the_types_they_say_and_no_syntax_that_browsers_of_2020_lack() {
    let packages = node::with_packages(&READERS).unwrap();
    let tool = |name: &str| packages.join("node_modules/.bin").join(name).display().to_string();
    for folder in pages() {
        node::run(&folder, &tool("tsc"), &["--project", "."]).unwrap();
        for file in fs::read_dir(&folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".js") && !name.ends_with(".test.js") {
                node::run(&folder, &tool("acorn"), &["--ecma2020", "--module", "--silent", &name]).unwrap();
            }
        }
    }
}

#[test]
fn tablet_of_2019_plays_and_is_told_what_is_true() {
    let system = System::start(&THREE).unwrap();
    let browser = Browser::start().unwrap();
    let old = |path: &str| browser.open_scripted(&system.url(path), OLD_BROWSER).unwrap();
    let page = old("/s/desk");
    page.until_live().unwrap();
    page.press("?").unwrap();
    page.until_reads("Keyboard shortcuts").unwrap();
    let list = old("/");
    list.until_reads("live").unwrap();
    let wall = old("/wall?streams=desk,door");
    wall.until_holds("document.querySelectorAll('.cell[data-state=live]').length === 2")
        .unwrap();
    for page in [page, list, wall] {
        assert_no_errors(&page);
    }
}

#[test]
fn browser_that_keeps_things_from_pages_plays_and_shows_what_changes() {
    let system = System::start(&THREE).unwrap();
    let browser = Browser::start().unwrap();
    let strict = |path: &str| browser.open_scripted(&system.url(path), STRICT_BROWSER).unwrap();
    let page = strict("/s/desk");
    page.until_live().unwrap();
    let list = strict("/");
    list.until_reads("3 streams").unwrap();
    let wall = strict("/wall?streams=desk,door");
    wall.until_holds("document.querySelectorAll('.cell[data-state=live]').length === 2")
        .unwrap();
    // Without events it is asked.
    list.until_reads("2 live").unwrap();
    for page in [page, list, wall] {
        assert_no_errors(&page);
    }
}

#[test]
fn browser_without_webrtc_is_shown_the_film_and_told_why() {
    let system = System::start(&THREE).unwrap();
    let browser = Browser::start().unwrap();
    let page = browser
        .open_scripted(&system.url("/s/door"), "delete window.RTCPeerConnection;")
        .unwrap();
    page.until_reads("by HTTP: this browser has no WebRTC").unwrap();
    assert_eq!(page.state().unwrap(), "live");
    let text = page.text().unwrap();
    assert!(!text.contains("reached") && !text.contains("UDP"), "{text}");
    assert_no_errors(&page);
}

#[test]
fn film_that_a_browser_does_not_play_by_itself_is_not_called_live() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let refuses = "delete window.RTCPeerConnection;
        const play = HTMLMediaElement.prototype.play;
        HTMLMediaElement.prototype.play = function () {
            return window.may ? play.call(this) : Promise.reject(new DOMException('no', 'NotAllowedError'));
        };
        addEventListener('DOMContentLoaded', () => (document.querySelector('video').autoplay = false));";
    let page = Browser::start()
        .unwrap()
        .open_scripted(&system.url("/s/test"), refuses)
        .unwrap();
    page.until_reads("Touch the page").unwrap();
    assert_ne!(page.state().unwrap(), "live");
    page.evaluate("window.may = true").unwrap();
    page.click(300, 300).unwrap();
    page.until_holds("document.body.dataset.state === 'live' && !document.querySelector('video').paused")
        .unwrap();
    assert_no_errors(&page);
}

#[test]
fn browser_without_cookies_is_told_that_logging_in_takes_one() {
    let (system, _folder) = guarded(&[("test", "test:")]);
    let without = "Object.defineProperty(Navigator.prototype, 'cookieEnabled', { get: () => false });";
    let page = Browser::start()
        .unwrap()
        .open_scripted(&system.url("/s/test"), without)
        .unwrap();
    // Its script has begun: without it, the form is sent as forms are.
    page.until_holds("document.activeElement.id === 'token'").unwrap();
    page.evaluate("document.querySelector('#token').value = 'x'; document.querySelector('form').requestSubmit()")
        .unwrap();
    page.until_reads("This browser keeps no cookies").unwrap();
    assert_no_errors(&page);
}

#[test]
fn page_that_can_not_run_in_a_browser_says_so_instead_of_waiting() {
    let system = System::start(&THREE).unwrap();
    let browser = Browser::start().unwrap();
    for (path, waits) in [
        ("/s/desk", "Connecting"),
        ("/?list", "Looking for streams"),
        ("/wall", "Looking for streams"),
    ] {
        let page = browser.open_scripted(&system.url(path), "delete window.URL;").unwrap();
        page.until_reads("can’t run the page").unwrap();
        let text = page.text().unwrap();
        assert!(!text.contains(waits), "{path}: {text}");
    }
}

#[test]
fn machine_that_encodes_too_slowly_is_told_of_on_the_page_and_in_the_status() {
    // What no machine that runs this encodes in time.
    let slow = "[streams.slow]\nsource = \"lavfi:testsrc2=size=4096x2304:rate=60\"\nfps = 60\nlongest_edge = 4096\nlower_rungs = false\n";
    let system = System::start_with(&[], slow).unwrap();
    let page = open(&system, "/s/slow");
    page.until_holds(
        "/the machine encodes \\d+ of \\d+ .*; (fewer|smaller)/.test(document.querySelector('#facts').textContent)",
    )
    .unwrap();
    page.press("i").unwrap();
    page.until_reads("Encoder load").unwrap();
    page.until_holds(
        "/\\d+ %, (nominal|strained|overloaded); encodes/.test(document.querySelector('#stats').innerText)",
    )
    .unwrap();
    wait::until_true("the supervisor to know it, too", PATIENCE, || {
        Ok(bridgectl(&system, &["why", "slow"]).contains("this machine encodes"))
    })
    .unwrap();
    assert_no_errors(&page);
}

#[test]
fn every_page_shows_the_quality_in_force_and_no_old_choice_comes_back() {
    let source = "lavfi:testsrc2=size=640x360:rate=60";
    let system = System::start_breakable(&[("test", source)], "").unwrap();
    let browser = Browser::start().unwrap();
    let pages = [0, 1].map(|_| browser.open(&system.url("/s/test")).unwrap());
    let shows = |page: &Page, profile: &str, fps: u32| {
        page.until_holds(&format!(
            "document.querySelector('#fps').value === '{fps}' && document.querySelector('#profile').value === '{profile}'"
        ))
        .unwrap();
    };
    let choose = |page: &Page, what: &str, value: &str| {
        let choose = format!(
            "{{ const it = document.querySelector('#{what}'); it.value = '{value}'; it.dispatchEvent(new Event('change')); }}"
        );
        page.evaluate(&choose).unwrap();
    };
    for page in &pages {
        page.until_live().unwrap();
        shows(page, "balanced", 30);
    }
    choose(&pages[0], "fps", "15");
    pages.iter().for_each(|page| shows(page, "balanced", 15));
    choose(&pages[1], "profile", "smooth");
    pages.iter().for_each(|page| shows(page, "smooth", 60));
    // Who comes back, comes back to what is in force.
    system.damage("disconnect-webrtc").unwrap();
    wait::until_true("another session", PATIENCE, || Ok(pages[0].sessions()?.len() == 2)).unwrap();
    pages[0].until_live().unwrap();
    pages[0].evaluate("location.reload()").unwrap();
    pages.iter().for_each(|page| shows(page, "smooth", 60));
    // And from elsewhere, also what has no name.
    bridgectl(&system, &["quality", "test", "--fps", "24", "--bitrate", "1M"]);
    pages.iter().for_each(|page| shows(page, "", 24));
    pages[1]
        .until_holds("framebridge.fps > 20 && framebridge.fps < 28")
        .unwrap();
    pages.iter().for_each(assert_no_errors);
}

#[test]
fn one_stream_plays_at_once_and_several_are_cards_that_say_what_is_true() {
    let one = System::start(&[("test", "test:")]).unwrap();
    let page = open(&one, "/");
    page.until_holds("location.pathname === '/s/test'").unwrap();
    page.until_live().unwrap();
    page.until_holds("document.querySelector('#leave').hidden").unwrap();
    drop((page, one));

    let title = "The front door of the house behind the old mill, by night";
    let long = "a-name-of-thirty-two-letters-abc";
    let further = format!(
        "[streams.door]\nsource = \"lavfi:testsrc2=size=640x360:rate=30\"\ntitle = {title:?}\nlinger_ms = 100\n\
         [streams.{long}]\nsource = \"file:/nowhere/secret/gone.mp4\"\n"
    );
    let system = System::start_with(&[("desk", "test:")], &further).unwrap();
    let list = open(&system, "/");
    list.until_reads(title).unwrap();
    list.until_reads("Starts when you watch").unwrap();
    // What was watched leaves a still behind.
    let watching = open(&system, "/s/door");
    watching.until_live().unwrap();
    wait::until_true("a still to be kept", PATIENCE, || {
        Ok(system.get("/api/v1/streams/door")?.json()?["still_age_ms"].is_u64())
    })
    .unwrap();
    watching.close().unwrap();
    wait::until_true("the source to be closed", PATIENCE, || {
        Ok(system.stream("door")?.state == StreamState::Idle)
    })
    .unwrap();
    list.until_reads("Starts when you watch · seen").unwrap();
    list.until_holds("[...document.images].some(image => image.src.includes('kept=true') && image.naturalWidth > 0 && !image.hidden)")
        .unwrap();
    // A source that is gone is not like one that rests.
    system.get(&format!("/api/v1/streams/{long}/snapshot.jpg")).unwrap();
    list.until_holds("document.querySelector('li[data-condition=dark] .state').textContent === 'No picture'")
        .unwrap();
    for width in [320, 1280, 3840] {
        list.resize(width, 900).unwrap();
        list.until_holds("document.documentElement.scrollWidth <= innerWidth")
            .unwrap();
        list.until_holds(
            "[...document.querySelectorAll('.stream')].every(card => [...card.children].every(part =>
                part.getBoundingClientRect().right <= card.getBoundingClientRect().right))",
        )
        .unwrap();
    }
    assert_no_errors(&list);

    while_stopped(&system, "signaling", || {
        list.until_holds("document.querySelectorAll('li[data-state=unknown]').length === 3")
            .unwrap();
        list.until_reads("can't be reached").unwrap();
    });
    list.until_holds("document.querySelectorAll('li[data-state=unknown]').length === 0")
        .unwrap();
}

#[test]
fn who_may_only_watch_is_shown_nothing_else_and_told_when_it_is_sent_away() {
    let (system, _folder) = guarded(&THREE);
    let list = visitor(&system, "/");
    list.until_reads("yard").unwrap();
    let tried = list
        .evaluate("fetch('api/v1/streams/yard/snapshot.jpg').then((it) => it.text())")
        .unwrap();
    list.until_reads("can't be reached").unwrap();
    let told = list
        .evaluate("fetch('api/v1/streams').then((it) => it.text())")
        .unwrap();
    let shown = format!("{} {told} {tried}", list.text().unwrap());
    for secret in ["127.0.0.1:1", "testsrc2", "refused"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    drop(list);

    let page = visitor(&system, "/s/desk");
    page.until_live().unwrap();
    page.until_holds("document.querySelector('#rights').textContent.includes('You may watch')")
        .unwrap();
    for hidden in ["quality", "clip"] {
        assert_eq!(
            page.evaluate(&format!("document.querySelector('#{hidden}').hidden"))
                .unwrap(),
            true
        );
    }
    // A picture that stops has nothing asked that it may not.
    while_stopped(&system, "encoder-desk", || {
        wait::until_true("the stop to be seen", PATIENCE, || Ok(page.state()? != "live")).unwrap();
    });
    page.until_live().unwrap();

    let viewers = bridgectl(&system, &["viewers"]);
    let session = page.sessions().unwrap().pop().unwrap();
    let id = session.rsplit('/').next().unwrap().get(..8).unwrap().to_owned();
    assert!(viewers.contains(&id), "{viewers}");
    bridgectl(&system, &["kick", &id]);
    wait::until_true("the page to say so", END, || {
        Ok(page.text()?.contains("has ended your session"))
    })
    .unwrap();
    assert_eq!(page.state().unwrap(), "ended");
    page.evaluate("document.querySelector('#again').click()").unwrap();
    page.until_live().unwrap();
    assert_no_errors(&page);
}

#[test]
fn controls_do_what_they_say_and_nothing_unseen() {
    let system = System::start(&THREE).unwrap();
    let page = open(&system, "/s/desk");
    page.until_live().unwrap();
    page.press("i").unwrap();
    page.until_holds("/^\\d+ ms$/.test(document.querySelector('#figure-Round-trip').textContent.replace('.', ''))")
        .unwrap();
    // What it says of latency is what the stamps in the pictures say.
    page.until_holds("framebridge.report.latencyMs > 0").unwrap();
    let mut ages: Vec<i64> = page.next_shown(30).unwrap().iter().map(|shown| shown.age_ms).collect();
    ages.sort_unstable();
    let told = page.evaluate("Math.round(framebridge.report.latencyMs)").unwrap();
    let off = told.as_i64().unwrap() - ages[ages.len() / 2];
    assert!(off.abs() < LATENCY_OFF_MS, "{told} ms is {off} ms off of {ages:?}");
    page.press("i").unwrap();

    page.press("+").unwrap();
    page.until_holds("/scale\\(1\\.25\\)/.test(document.querySelector('#picture').style.transform)")
        .unwrap();
    page.press("0").unwrap();
    page.until_holds("document.querySelector('#picture').style.transform === ''")
        .unwrap();
    page.press("l").unwrap();
    page.until_holds("document.body.dataset.layout === 'fill'").unwrap();
    page.press("?").unwrap();
    page.until_holds("document.querySelector('#sheet').open").unwrap();
    page.press("l").unwrap();
    page.press("?").unwrap();
    page.until_holds("!document.querySelector('#sheet').open && document.body.dataset.layout === 'fill'")
        .unwrap();

    // What would be downloaded is kept, and nothing is opened.
    page.evaluate("HTMLAnchorElement.prototype.click = () => {}; URL.createObjectURL = (blob) => ((window.saved = blob), 'data:,')")
        .unwrap();
    page.press("s").unwrap();
    page.until_holds("window.saved && saved.type === 'image/jpeg' && saved.size > 5000")
        .unwrap();
    page.press("c").unwrap();
    page.until_holds("saved.type === 'video/mp4' && saved.size > 5000")
        .unwrap();

    // Controls at rest are not there for the pointer; a first click only shows them.
    page.until_holds("document.body.classList.contains('resting')").unwrap();
    let layout = page
        .evaluate("(({ x, y, width, height }) => [x + width / 2, y + height / 2].map(Math.round))(document.querySelector('#layout').getBoundingClientRect())")
        .unwrap();
    let at = |index: usize| u32::try_from(layout[index].as_u64().unwrap()).unwrap();
    page.click(at(0), at(1)).unwrap();
    assert_eq!(page.evaluate("document.body.dataset.layout").unwrap(), "fill");
    page.until_holds("!document.body.classList.contains('resting')")
        .unwrap();
    page.click(at(0), at(1)).unwrap();
    page.until_holds("document.body.dataset.layout === 'fit'").unwrap();
    // What has the keyboard's focus stays to be seen, for longer than the pointer's rest.
    page.press("Tab").unwrap();
    let seen_after = "new Promise((done) => setTimeout(() => done(document.activeElement.closest('.bar') !== null &&
        getComputedStyle(document.activeElement.closest('.bar')).opacity === '1'), 3500))";
    assert_eq!(page.evaluate(seen_after).unwrap(), true);

    page.press("]").unwrap();
    page.until_holds("location.pathname === '/s/door'").unwrap();
    page.until_live().unwrap();
    assert_no_errors(&page);
    let bare = open(&system, "/s/door?controls=0");
    bare.until_live().unwrap();
    bare.until_holds(
        "[...document.querySelectorAll('.bar')].every((bar) => getComputedStyle(bar).visibility === 'hidden')",
    )
    .unwrap();
}

#[test]
fn wall_has_each_cell_mend_itself_and_its_layout_in_the_address() {
    let system = System::start(&THREE).unwrap();
    let page = open(&system, "/wall?streams=desk,yard,door&cols=2");
    let lives = |count: u32| {
        page.until_holds(&format!(
            "document.querySelectorAll('.cell[data-state=live]').length === {count}"
        ))
        .unwrap();
    };
    lives(2);
    // It has no more pixels than its cell, and is not given fewer.
    page.until_holds("document.querySelector('[data-stream=door] video').videoWidth === 640")
        .unwrap();
    page.until_holds("/Next attempt in|Trying again/.test(document.querySelector('.cell[data-state=unavailable] .retry').textContent)")
        .unwrap();
    let decoded = "Promise.all(probe.peers.map((peer) => peer.getStats())).then((all) =>
        all.reduce((sum, stats) => [...stats.values()].reduce((sum, it) => sum + (it.framesDecoded || 0), sum), 0))";
    let frames = || page.evaluate(decoded).unwrap().as_u64().unwrap_or(0);
    // One stands still: it says so, and its neighbour goes on.
    while_stopped(&system, "encoder-desk", || {
        page.until_holds("document.querySelector('[data-stream=desk]').dataset.state !== 'live'")
            .unwrap();
        let before = frames();
        wait::until_true("the neighbour to go on", PATIENCE, || Ok(frames() > before + 30)).unwrap();
        let neighbour = page.evaluate("document.querySelector('[data-stream=door]').dataset.state");
        assert_eq!(neighbour.unwrap(), "live");
    });
    lives(2);

    page.evaluate("document.querySelector('[data-stream=desk]').focus()")
        .unwrap();
    page.press_with("ArrowRight", true).unwrap();
    page.until_holds("location.search === '?streams=yard,desk,door&cols=2'")
        .unwrap();
    page.press("Enter").unwrap();
    page.until_holds(
        "location.search.endsWith('&big=desk') && document.querySelector('.big').offsetWidth === innerWidth",
    )
    .unwrap();
    page.press("Escape").unwrap();
    page.until_holds("!location.search.includes('big')").unwrap();
    lives(2);
    assert_no_errors(&page);
    page.evaluate("location.reload()").unwrap();
    page.until_holds(
        "[...document.querySelectorAll('.cell')].map((cell) => cell.dataset.stream).join() === 'yard,desk,door'",
    )
    .unwrap();
}

#[test]
fn pages_have_no_faults_of_accessibility_in_any_state() {
    let pictures =
        env::var_os("FRAMEBRIDGE_PICTURES").map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder));
    let further = "[streams.yard]\nsource = \"rtsp://127.0.0.1:1/nothing\"\ntitle = \"Yard\"\n\
        [streams.door]\nsource = \"lavfi:testsrc2=size=640x360:rate=30\"\ntitle = \"Front door\"\nlinger_ms = 100\n\
        [streams.mill]\nsource = \"lavfi:smptehdbars=size=640x360:rate=15\"\ntitle = \"Mill\"\n";
    let system = System::start_with(&[("desk", "test:")], further).unwrap();
    let judge = |page: &Page, name: &str| {
        axe::judge(page).unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Some(folder) = &pictures {
            fs::create_dir_all(folder).unwrap();
            page.screenshot(&folder.join(format!("{name}.png"))).unwrap();
        }
        assert_no_errors(page);
    };
    let browser = Browser::start().unwrap();
    let at = |path: &str| {
        let page = browser.open(&system.url(path)).unwrap();
        page.resize(960, 600).unwrap();
        page
    };
    let watching = at("/s/desk");
    watching.until_live().unwrap();
    judge(&watching, "watch");
    watching.press("i").unwrap();
    watching
        .until_holds("document.querySelector('#curves polyline').points.length > 3")
        .unwrap();
    judge(&watching, "stats");
    watching.press("?").unwrap();
    judge(&watching, "sheet");
    let wall = at("/wall");
    wall.until_holds("document.querySelectorAll('.cell[data-state=live]').length === 3 && document.querySelector('.cell[data-state=unavailable]')")
        .unwrap();
    judge(&wall, "wall");
    wall.close().unwrap();
    let list = at("/");
    list.until_holds("document.images.length === 4 && document.querySelector('[data-state=live] img:not([hidden])') && document.querySelector('[data-condition=dark]')")
        .unwrap();
    judge(&list, "list");
    let unavailable = at("/s/yard");
    unavailable.until_reads("Next attempt in").unwrap();
    judge(&unavailable, "unavailable");
    let unknown = at("/s/nothing");
    unknown.until_reads("There is no such stream").unwrap();
    judge(&unknown, "ended");
    let nothing = at("/nothing/at/all");
    nothing.until_reads("There is nothing here").unwrap();
    judge(&nothing, "nothing");
    let answer = Request::new("GET", "/s/desk/?x=1").send(system.http()).unwrap();
    assert_eq!((answer.status, answer.header("location")), (308, Some("../desk?x=1")));
}
