//! What a controller does with a desktop, on its way to the encoder that owns the display.

use serde::{Deserialize, Serialize};

/// One term of one controller. A later one has a greater number, within one life of signaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Grant(pub u64);

/// A place in the picture: 0 is its left or upper edge, 65,535 its right or lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// From the left.
    pub x: u16,
    /// From the top.
    pub y: u16,
}

/// What a controller does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// The pointer goes there.
    Move(Place),
    /// A button of the pointer, as X counts them: 1 left, 2 middle, 3 right, 8 back, 9 forward.
    Button {
        /// Which.
        button: u8,
        /// Pressed, or let go.
        down: bool,
        /// Where the pointer is then.
        at: Place,
    },
    /// The wheel is turned by so many notches.
    Wheel {
        /// To the right.
        dx: i8,
        /// Down.
        dy: i8,
        /// Where the pointer is then.
        at: Place,
    },
    /// A key, by what it means and not by where it is.
    Key {
        /// Its X key symbol.
        keysym: u32,
        /// Pressed, or let go.
        down: bool,
    },
    /// Text that no key was pressed for, of up to [`MAX_TEXT`](crate::limits::MAX_TEXT) bytes.
    Text(String),
    /// The clipboard's text is this now, up to [`MAX_CLIPBOARD`](crate::limits::MAX_CLIPBOARD) bytes.
    Clipboard(String),
}

/// To an encoder: somebody steers its desktop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Steer {
    /// A controller begins. What is held of another is let go.
    Begin(Grant),
    /// The controller does something.
    Act(Grant, Act),
    /// The controller is there: what it holds, it still holds.
    Alive(Grant),
    /// The controller has ended: what it holds is let go.
    End(Grant),
}

/// From an encoder whose desktop is steered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Desk {
    /// Somebody has copied this text on the desktop.
    Clipboard(Grant, String),
    /// What was held was let go, for the controller was not heard.
    Released(Grant),
    /// Something can't be done, in a sentence for who steers. The term goes on.
    Failed(Grant, String),
    /// The term is over, for the desktop can't be steered: why, in a sentence for who steered it.
    Ended(Grant, String),
}
