//! From an input event in a page to XTEST, and to the changed picture in the page.

use anyhow::{Context as _, ensure};
use clap::Args;
use framebridge_proto::stamp;
use framebridge_tests::{browser::Browser, display::Display, reactor::react, sample::Sample, system::System};
use serde_json::Value;

use crate::report::Report;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Frames per second of the desktop
    #[arg(long, default_value_t = 60)]
    fps: u32,
    /// Presses
    #[arg(long, default_value_t = 200)]
    presses: u32,
}

/// Presses a button, and waits each time until the picture that the program makes of it is presented.
const CLICK: &str = "async (columns, rows, cellsPerWidth) => {
    const video = probe.video(), box = video.getBoundingClientRect();
    const at = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, pointerType: 'mouse', bubbles: true, cancelable: true };
    const before = probe.cells(columns, rows, cellsPerWidth);
    const began = performance.now();
    video.dispatchEvent(new PointerEvent('pointerdown', { ...at, buttons: 1 }));
    video.dispatchEvent(new PointerEvent('pointerup', { ...at, buttons: 0 }));
    for (;;) {
        const shown = await new Promise((done) => video.requestVideoFrameCallback((now, { expectedDisplayTime }) => done(expectedDisplayTime)));
        if (probe.cells(columns, rows, cellsPerWidth) !== before) return [performance.timeOrigin + began, shown - began];
    }
}";

/// Starts a display, a program on it and a system of its own, and measures in it.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Report> {
    let display = Display::start()?;
    let heard = react(display.name())?;
    let source = format!(
        "source = \"x11:{}\"\ncontrol = true\nfps = {}\n",
        display.name(),
        options.fps
    );
    let system = System::start_with(&[], &format!("[streams.desk]\n{source}"))?;
    let page = Browser::start()?.open(&system.url("/s/desk"))?;
    page.until_holds("!document.getElementById('control').hidden")?;
    page.until_holds("probe.video().videoWidth > 0")?;
    page.evaluate("document.getElementById('control').click()")?;
    page.until_holds("document.body.dataset.desk === 'on'")?;
    // A pointer that is captured has to be there.
    page.evaluate("probe.video().setPointerCapture = () => {}")?;
    let layout = format!("{}, {}, {}", stamp::COLUMNS, stamp::ROWS, stamp::CELLS_PER_WIDTH);
    let (mut to_display, mut to_picture) = (Vec::new(), Vec::new());
    for number in 0..options.presses {
        let told = page.evaluate(&format!("({CLICK})({layout})"))?;
        let figure = |at: usize| told.get(at).and_then(Value::as_f64).context("no figure");
        let (began, took) = (figure(0)?, figure(1)?);
        let press = heard.recv()?;
        // The first ones are of a path that is still warming up.
        if number >= 10 {
            to_display.push(press.at_ms - began);
            to_picture.push(took);
        }
    }
    ensure!(!to_picture.is_empty(), "ask for more than ten presses");
    let mut report = Report::default();
    report.add_percentiles("event_to_program", &Sample::of(to_display), &[50, 95, 99], "ms");
    report.add_percentiles("event_to_picture", &Sample::of(to_picture), &[50, 95, 99], "ms");
    Ok(report)
}
