//! A desktop that is steered: pointer, keys and clipboard of an X display, by XTEST and XFIXES.
//!
//! A server that is stopped blocks every call for as long as it is: this belongs on a thread of its own.

mod clipboard;
mod keyboard;
mod keymap;

use std::os::fd::{AsFd, BorrowedFd};

use framebridge_config::Region;
use framebridge_proto::control::{Act, Place};
use x11rb::{
    connection::Connection as _,
    errors::{ConnectError, ConnectionError, ReplyError, ReplyOrIdError},
    protocol::{
        Event,
        xproto::{self, ChangeWindowAttributesAux, ConnectionExt as _, EventMask, Window},
        xtest::ConnectionExt as _,
    },
    rust_connection::RustConnection,
};

use clipboard::Clipboard;
use keyboard::Keyboard;

use crate::x11;

/// Wheels are buttons to X.
const WHEEL_UP: u8 = 4;
const WHEEL_DOWN: u8 = 5;
const WHEEL_LEFT: u8 = 6;
const WHEEL_RIGHT: u8 = 7;

/// Every button that may be pressed: five that are held, and the wheel's.
const BUTTONS: std::ops::RangeInclusive<u8> = 1..=9;

/// Why a desktop can't be steered.
#[derive(Debug, thiserror::Error)]
pub enum DesktopError {
    /// No connection came about.
    #[error("can't connect to the display")]
    Connect(#[source] ConnectError),
    /// The connection broke.
    #[error("the display server is gone")]
    Gone(#[from] ConnectionError),
    /// It answered with an error, or not at all.
    #[error("the display server refused a request")]
    Reply(#[from] ReplyError),
    /// It has no room for a window.
    #[error("the display server gives no window")]
    Window(#[from] ReplyOrIdError),
    /// No key has this symbol, and none is spare.
    #[error("the display has no key for {0:?}, and no spare one")]
    NoKey(char),
}

impl DesktopError {
    /// Whether the connection is of use still.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::NoKey(_))
    }
}

/// A connection by which a display is steered.
#[derive(Debug)]
pub struct Desktop {
    connection: RustConnection,
    root: Window,
    /// The part that is shown; `None` is all.
    region: Option<Region>,
    size: (u16, u16),
    keyboard: Keyboard,
    clipboard: Clipboard,
}

impl Desktop {
    /// Connects to `display`, of which `region` is shown.
    ///
    /// # Errors
    /// It is not there, or has no XTEST or XFIXES.
    pub fn connect(display: &str, region: Option<Region>) -> Result<Self, DesktopError> {
        let (connection, screen) =
            RustConnection::connect(Some(&x11::by_socket(display))).map_err(DesktopError::Connect)?;
        connection.xtest_get_version(2, 2)?.reply()?;
        let screen = &connection.setup().roots[screen];
        let (root, size) = (screen.root, (screen.width_in_pixels, screen.height_in_pixels));
        let events = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
        connection.change_window_attributes(root, &events)?.check()?;
        Ok(Self {
            keyboard: Keyboard::read(&connection)?,
            clipboard: Clipboard::open(&connection, root)?,
            connection,
            root,
            region,
            size,
        })
    }

    /// Does something. What a press takes is done when this returns.
    ///
    /// # Errors
    /// It can't be done.
    pub fn inject(&mut self, act: &Act) -> Result<(), DesktopError> {
        match act {
            Act::Move(at) => self.point(*at)?,
            Act::Button { button, down, at } => {
                self.point(*at)?;
                self.button(*button, *down)?;
            }
            Act::Wheel { dx, dy, at } => {
                self.point(*at)?;
                for (notches, back, forth) in [(*dx, WHEEL_LEFT, WHEEL_RIGHT), (*dy, WHEEL_UP, WHEEL_DOWN)] {
                    let button = if notches < 0 { back } else { forth };
                    for _ in 0..notches.unsigned_abs() {
                        self.button(button, true)?;
                        self.button(button, false)?;
                    }
                }
            }
            Act::Key { keysym, down: true } => self.keyboard.press(&self.connection, self.root, *keysym)?,
            Act::Key { keysym, down: false } => self.keyboard.let_go(&self.connection, *keysym)?,
            Act::Text(text) => self.keyboard.write(&self.connection, self.root, text)?,
            Act::Clipboard(text) => self.clipboard.set(&self.connection, text)?,
        }
        self.connection.flush()?;
        Ok(())
    }

    /// Lets go of all that is pressed, whoever has pressed it: an earlier process may have died with something held, and the
    /// display goes on holding it.
    ///
    /// # Errors
    /// The connection broke.
    pub fn let_go_of_everything(&mut self) -> Result<(), DesktopError> {
        let pressed = self.connection.query_keymap()?.reply()?.keys;
        for keycode in 8..=u8::MAX {
            if pressed[usize::from(keycode / 8)] & (1 << (keycode % 8)) != 0 {
                fake(&self.connection, xproto::KEY_RELEASE_EVENT, keycode)?;
            }
        }
        let mask = u16::from(self.connection.query_pointer(self.root)?.reply()?.mask);
        for button in BUTTONS.take(5) {
            // Button 1 is bit 8.
            if mask & (1 << (7 + button)) != 0 {
                self.button(button, false)?;
            }
        }
        self.connection.flush()?;
        Ok(())
    }

    /// Takes in what the display has to tell. Returns a text that somebody has copied there, if `wants_text`: else it is not read.
    ///
    /// # Errors
    /// The connection broke.
    pub fn listen(&mut self, wants_text: bool) -> Result<Option<String>, DesktopError> {
        let mut copied = None;
        while let Some(event) = self.connection.poll_for_event()? {
            if let Event::MappingNotify(_) = event {
                self.keyboard.is_stale = true;
            } else if let Event::ConfigureNotify(change) = &event
                && change.window == self.root
            {
                self.size = (change.width, change.height);
            } else {
                let told = self.clipboard.on_event(&self.connection, &event, wants_text)?;
                copied = told.or(copied);
            }
        }
        self.connection.flush()?;
        Ok(copied)
    }

    fn button(&self, button: u8, down: bool) -> Result<(), DesktopError> {
        let kind = if down {
            xproto::BUTTON_PRESS_EVENT
        } else {
            xproto::BUTTON_RELEASE_EVENT
        };
        fake(&self.connection, kind, button)
    }

    fn point(&self, at: Place) -> Result<(), DesktopError> {
        let (x, y) = pixel(at, self.region, self.size);
        self.connection
            .xtest_fake_input(xproto::MOTION_NOTIFY_EVENT, 0, 0, self.root, x, y, 0)?;
        Ok(())
    }
}

impl AsFd for Desktop {
    /// Readable when there is something to [`listen`](Desktop::listen) to.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }
}

/// An event of a key or a button.
fn fake(connection: &RustConnection, kind: u8, detail: u8) -> Result<(), DesktopError> {
    connection.xtest_fake_input(kind, detail, 0, x11rb::NONE, 0, 0, 0)?;
    Ok(())
}

/// Where a place in the picture is on the screen.
fn pixel(at: Place, region: Option<Region>, size: (u16, u16)) -> (i16, i16) {
    let (x, y, width, height) = match region {
        Some(Region { x, y, width, height }) => (x, y, width, height),
        None => (0, 0, size.0.into(), size.1.into()),
    };
    let along = |at: u16, start: u32, length: u32| {
        let most = u64::from(u16::MAX);
        let offset = (u64::from(at) * u64::from(length.saturating_sub(1)) + most / 2) / most;
        i16::try_from(u64::from(start) + offset).unwrap_or(i16::MAX)
    };
    (along(at.x, x, width), along(at.y, y, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_picture_are_pixels_of_what_is_shown() {
        let region = Region {
            x: 100,
            y: 50,
            width: 200,
            height: 101,
        };
        for (x, y, whole, part) in [
            (0, 0, (0, 0), (100, 50)),
            (u16::MAX, u16::MAX, (1279, 719), (299, 150)),
            (32_768, 32_768, (640, 360), (200, 100)),
        ] {
            assert_eq!(pixel(Place { x, y }, None, (1280, 720)), whole);
            assert_eq!(pixel(Place { x, y }, Some(region), (1280, 720)), part);
        }
    }
}
