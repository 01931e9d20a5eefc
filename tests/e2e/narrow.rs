//! The pages in a window that is as small as one enlarged four times (WCAG 1.4.10: 320 by 256 pixels), and with more than fits.

use framebridge_tests::{
    browser::{Browser, Page},
    system::System,
};

/// A window of 1280 by 1024, enlarged four times.
const ENLARGED: (u32, u32) = (320, 256);

/// What is cut off by the window's edges and can't be scrolled to, what scrolls both ways, and which controls something else lies over.
const FAULTS: &str = "(() => {
    const shown = (it) => it.getClientRects().length > 0 && getComputedStyle(it).visibility !== 'hidden' && !it.closest('.unseen');
    const scrolls = (it) => /auto|scroll/.test(getComputedStyle(it).overflowX + getComputedStyle(it).overflowY);
    const holds = (it) => it && (scrolls(it) ? it : holds(it.parentElement));
    const page = document.scrollingElement, faults = [];
    const name = (it) => `${it.tagName} ${it.id || it.className} ${it.textContent.trim().slice(0, 20)}`;
    if (page.scrollWidth > innerWidth) faults.push('the page scrolls sideways');
    for (const it of document.querySelectorAll('body *')) {
        if (!shown(it)) continue;
        const wide = it.scrollWidth > it.clientWidth + 1, high = it.scrollHeight > it.clientHeight + 1;
        if (scrolls(it) && wide && high) faults.push(`scrolls both ways: ${name(it)}`);
        const box = it.getBoundingClientRect();
        if (!it.matches('button, select, a, h1, h2, p, dt, dd, span') || !box.width || holds(it.parentElement)) continue;
        if (box.left < -1 || box.right > innerWidth + 1) faults.push(`cut off: ${name(it)}`);
        if (page.scrollHeight <= innerHeight && (box.top < -1 || box.bottom > innerHeight + 1)) faults.push(`cut off: ${name(it)}`);
    }
    const dialog = document.querySelector('dialog[open]');
    for (const it of (dialog || document).querySelectorAll('button, select, a')) {
        if (!shown(it)) continue;
        it.scrollIntoView({ block: 'nearest', inline: 'nearest' });
        const { left, top, width, height } = it.getBoundingClientRect();
        const there = document.elementFromPoint(left + width / 2, top + height / 2);
        if (!it.contains(there)) faults.push(`under ${there && name(there)}: ${name(it)}`);
    }
    return faults.join('\\n');
})()";

/// 36 streams, as a server would tell of them, none of which has a picture.
const MANY: &str = "const titles = ['الباب الأمامي للمنزل القديم خلف الطاحونة ليلاً', 'W'.repeat(120), 'desk'];
    const streams = Array.from({ length: 36 }, (_, at) => ({ name: `s${at}`, title: titles[at % 3], scope: 'view', source: '', state: 'unavailable',
        condition: 'dark', reason: 'Source unavailable: the camera on the roof of the barn does not answer', retry_in_ms: 9000, encoder: '',
        width: 0, height: 0, fps: 30, viewers: 0, still_age_ms: null, encoder_load: null, quality: { bitrate: 1, fps: 30, longest_edge: 1280 } }));
    const asked = window.fetch;
    window.fetch = async (url, options) => {
        if (String(url).endsWith('api/v1/streams')) return new Response(JSON.stringify({ streams }));
        if (!String(url).includes('/whep/')) return asked(url, options);
        return new Response('{\"detail\": \"Source unavailable: the camera on the roof of the barn does not answer\"}', { status: 503 });
    };
    delete window.EventSource;";

#[track_caller]
fn assert_no_faults(page: &Page, what: &str) {
    assert_eq!(page.evaluate(FAULTS).unwrap(), "", "{what}");
    assert_eq!(page.evaluate("probe.errors.join('\\n')").unwrap(), "", "{what}");
}

#[test]
fn page_enlarged_four_times_has_nothing_cut_off_and_nothing_that_scrolls_both_ways() {
    let further = "[streams.door]\nsource = \"lavfi:testsrc2=size=640x360:rate=10\"\n\
        title = \"The front door of the house behind the old mill, by night\"\n";
    let system = System::start_with(&[("yard", "rtsp://127.0.0.1:1/nothing")], further).unwrap();
    let browser = Browser::start().unwrap();
    let at = |path: &str| {
        let page = browser.open(&system.url(path)).unwrap();
        page.resize(ENLARGED.0, ENLARGED.1).unwrap();
        page
    };
    let watching = at("/s/door");
    watching.until_live().unwrap();
    // What rests is not there to be looked at.
    let awake = "dispatchEvent(new Event('focusin'))";
    for (state, key) in [("live", ""), ("statistics", "i"), ("shortcuts", "?")] {
        if !key.is_empty() {
            watching.press(key).unwrap();
        }
        watching.evaluate(awake).unwrap();
        assert_no_faults(&watching, state);
    }
    let unavailable = at("/s/yard");
    unavailable.until_reads("Next attempt in").unwrap();
    assert_no_faults(&unavailable, "unavailable");
    let list = at("/?list");
    list.until_reads("2 streams").unwrap();
    assert_no_faults(&list, "list");
    let wall = at("/wall");
    wall.until_holds(
        "document.querySelector('.cell[data-state=live]') && document.querySelector('.cell[data-state=unavailable]')",
    )
    .unwrap();
    assert_no_faults(&wall, "wall");
    wall.press("?").unwrap();
    assert_no_faults(&wall, "the wall's shortcuts");
    let nothing = at("/nothing/at/all");
    nothing.until_reads("There is nothing here").unwrap();
    assert_no_faults(&nothing, "nothing");
}

#[test]
fn wall_of_36_is_all_there_in_any_window_and_each_cell_can_be_read() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let browser = Browser::start().unwrap();
    let page = browser.open_scripted(&system.url("/wall"), MANY).unwrap();
    for (width, height) in [ENLARGED, (320, 800), (1280, 256), (1280, 800), (3840, 2160)] {
        page.resize(width, height).unwrap();
        page.until_holds("document.querySelectorAll('.cell[data-state=unavailable]').length > 20")
            .unwrap();
        let last = "(() => { const it = document.querySelector('.cells').lastElementChild; it.scrollIntoView(); return it.getBoundingClientRect(); })()";
        page.until_holds(&format!(
            "{last}.bottom <= innerHeight + 1 && {last}.right <= innerWidth + 1"
        ))
        .unwrap();
        // Its first word is there, and the rest is scrolled to; no two texts lie over each other.
        let read = "[...document.querySelectorAll('.cell[data-state=unavailable]')].every((cell) => {
            const [card, title, caption, again] = ['.card', 'h2', '.caption', '.again'].map((one) => cell.querySelector(one));
            card.scrollTop = 0;
            const box = (it) => it.getBoundingClientRect();
            const begins = box(title).top >= box(card).top - 1 && box(card).bottom <= box(caption).top + 1;
            card.scrollTop = card.scrollHeight;
            return begins && (again.hidden || box(again).bottom <= box(card).bottom + 1);
        })";
        assert_eq!(page.evaluate(read).unwrap(), true, "{width}x{height}");
    }
    // A title is read from its own beginning, whichever way it is written.
    let begins = "[...document.querySelectorAll('.cell .name')].slice(0, 3).every((name) => {
        const [range, box] = [document.createRange(), name.getBoundingClientRect()];
        range.setStart(name.firstChild, 0);
        range.setEnd(name.firstChild, 2);
        const { left, right } = range.getBoundingClientRect();
        return left >= box.left - 1 && right <= box.right + 1;
    })";
    page.resize(640, 800).unwrap();
    assert_eq!(page.evaluate(begins).unwrap(), true);
    assert_eq!(page.evaluate("probe.errors.join('\\n')").unwrap(), "");
}
