//! A connection of our own to the display, to notice its death.
//!
//! FFmpeg's shared-memory capture goes on delivering the last picture for ever after the server is gone, so it is
//! asked for a sign of life once a second. The question is the root window's geometry, whose answer is of use too:
//! x11grab keeps to the size it started with.

use std::time::{Duration, Instant};

use x11rb::{
    connection::Connection as _,
    errors::{ConnectError, ConnectionError, ReplyError},
    protocol::xproto::{ConnectionExt as _, Window},
    rust_connection::RustConnection,
};

const PING_INTERVAL: Duration = Duration::from_secs(1);

/// A display that can be asked whether it is there.
#[derive(Debug)]
pub(crate) struct Display {
    connection: RustConnection,
    root: Window,
    size: (u16, u16),
    asked: Instant,
}

/// What is wrong with a display.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// No connection came about.
    #[error("can't connect to the display")]
    Connect(#[source] ConnectError),
    /// The connection broke.
    #[error("the display server is gone")]
    Gone(#[source] ConnectionError),
    /// It answered with an error, or not at all.
    #[error("the display server did not answer")]
    Reply(#[source] ReplyError),
    /// The screen is not the size it was when capture began.
    #[error("the screen changed its size from {}x{} to {}x{}", from.0, from.1, to.0, to.1)]
    Resized {
        /// Size at the start.
        from: (u16, u16),
        /// Size now.
        to: (u16, u16),
    },
}

impl Display {
    /// Connects to `name`, e.g. `:0`.
    pub(crate) fn connect(name: &str) -> Result<Self, DisplayError> {
        let (connection, screen) = RustConnection::connect(Some(name)).map_err(DisplayError::Connect)?;
        let screen = &connection.setup().roots[screen];
        let (root, size) = (screen.root, (screen.width_in_pixels, screen.height_in_pixels));
        Ok(Self {
            connection,
            root,
            size,
            asked: Instant::now(),
        })
    }

    /// Asks for a sign of life if the last one is a second old. A server that is stopped blocks this for ever.
    pub(crate) fn ping_if_due(&mut self, now: Instant) -> Result<(), DisplayError> {
        if now.saturating_duration_since(self.asked) < PING_INTERVAL {
            return Ok(());
        }
        self.asked = now;
        let question = self.connection.get_geometry(self.root).map_err(DisplayError::Gone)?;
        let answer = question.reply().map_err(DisplayError::Reply)?;
        let size = (answer.width, answer.height);
        if size == self.size {
            Ok(())
        } else {
            Err(DisplayError::Resized {
                from: self.size,
                to: size,
            })
        }
    }
}
