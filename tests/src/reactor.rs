//! A window that answers each press of a button with another picture, at once, and notes when it heard of it.

use std::{
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use x11rb::{
    connection::Connection as _,
    protocol::{
        Event,
        xproto::{ChangeWindowAttributesAux, ConnectionExt as _, EventMask},
    },
};

use crate::display::Canvas;

/// Presses that nobody has asked about yet; then the window waits.
const PRESSES: usize = 4096;

/// A press that was heard.
#[derive(Debug, Clone, Copy)]
pub struct Press {
    /// When, in ms since the Unix epoch.
    pub at_ms: f64,
}

/// Covers the screen of a display with such a window. Its stamp is the number of presses; it ends with the display.
///
/// # Errors
/// The display can't be reached.
pub fn react(display: &str) -> anyhow::Result<Receiver<Press>> {
    let canvas = Canvas::open(display)?;
    let events = ChangeWindowAttributesAux::new().event_mask(EventMask::BUTTON_PRESS);
    canvas
        .connection
        .change_window_attributes(canvas.window, &events)?
        .check()?;
    canvas.paint(0)?;
    let (told, presses) = sync_channel(PRESSES);
    thread::spawn(move || {
        let mut count = 0;
        while let Ok(event) = canvas.connection.wait_for_event() {
            if !matches!(event, Event::ButtonPress(_)) {
                continue;
            }
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            count += 1;
            let at_ms = since_epoch.as_secs_f64() * 1e3;
            if canvas.paint(count).is_err() || told.send(Press { at_ms }).is_err() {
                break;
            }
        }
    });
    Ok(presses)
}
