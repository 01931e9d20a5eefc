//! A connection of our own to the display, to notice its death.
//!
//! FFmpeg's shared-memory capture goes on delivering the last picture for ever after the server is gone, so it is
//! asked for a sign of life once a second. The question is the root window's geometry, whose answer is of use too:
//! x11grab keeps to the size it started with. A change of that is told at once, so that it can be followed.

use std::time::{Duration, Instant};

use x11rb::{
    NONE,
    connection::Connection as _,
    errors::{ConnectError, ConnectionError, ReplyError},
    protocol::{
        Event,
        damage::{ConnectionExt as _, Damage, ReportLevel},
        xfixes::{ConnectionExt as _, CursorNotifyMask},
        xproto::{ChangeWindowAttributesAux, Colormap, ConnectionExt as _, EventMask, Window},
    },
    rust_connection::RustConnection,
};

const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Bits of a pixel that FFmpeg captures.
const DEPTHS: [u8; 5] = [8, 15, 16, 24, 32];

/// A display that can be asked whether it is there.
#[derive(Debug)]
pub(crate) struct Display {
    connection: RustConnection,
    root: Window,
    /// Of the screen, as it is captured.
    size: (u16, u16),
    /// Of the screen, as the server told last.
    told: (u16, u16),
    asked: Instant,
    /// The colours that pixels of eight bits stand for, and where they are listed.
    palette: Option<(Colormap, Box<[u32; 256]>)>,
    /// Tells what is drawn, where the server can.
    damage: Option<Damage>,
    /// Where the pointer was last, which is drawn into the pictures without being drawn on the screen.
    pointer: (i16, i16),
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
    /// Its pixels are of a kind that is not captured.
    #[error("display {name} has {depth} bits a pixel, which can't be captured: start its server with 24")]
    Depth {
        /// The display.
        name: String,
        /// Bits of a pixel.
        depth: u8,
    },
}

/// A display's name with the way to it. Without a host, TCP would be tried where there is no socket, and its refusal told in
/// place of that.
pub(crate) fn by_socket(name: &str) -> String {
    if name.starts_with(':') {
        format!("unix/{name}")
    } else {
        name.to_owned()
    }
}

impl Display {
    /// Connects to `name`, e.g. `:0`.
    pub(crate) fn connect(name: &str) -> Result<Self, DisplayError> {
        let (connection, screen) = RustConnection::connect(Some(&by_socket(name))).map_err(DisplayError::Connect)?;
        let screen = &connection.setup().roots[screen];
        let (root, size) = (screen.root, (screen.width_in_pixels, screen.height_in_pixels));
        let (depth, colormap) = (screen.root_depth, screen.default_colormap);
        if !DEPTHS.contains(&depth) {
            let name = name.to_owned();
            return Err(DisplayError::Depth { name, depth });
        }
        let mut display = Self {
            connection,
            root,
            size,
            told: size,
            asked: Instant::now(),
            palette: (depth == 8).then(|| (colormap, Box::new([0; 256]))),
            damage: None,
            pointer: (0, 0),
        };
        display.read_palette()?;
        if display.is_xwayland().unwrap_or_default() {
            tracing::warn!("display {name} is Xwayland: of its desktop only X programs are seen");
        }
        display.watch_size()?;
        // Without these extensions every picture is taken, and compared.
        display.damage = display.watch_drawing().ok();
        Ok(display)
    }

    fn watch_size(&self) -> Result<(), DisplayError> {
        let wanted = ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
        let asked = self.connection.change_window_attributes(self.root, &wanted);
        asked.map_err(DisplayError::Gone)?.check().map_err(DisplayError::Reply)
    }

    /// Whether it shows the windows of X programs on another kind of desktop, and nothing else of that.
    pub(crate) fn is_xwayland(&self) -> Result<bool, DisplayError> {
        let question = self
            .connection
            .query_extension(b"XWAYLAND")
            .map_err(DisplayError::Gone)?;
        question
            .reply()
            .map(|answer| answer.present)
            .map_err(DisplayError::Reply)
    }

    fn watch_drawing(&self) -> Result<Damage, ReplyError> {
        let connection = &self.connection;
        connection.xfixes_query_version(5, 0)?.reply()?;
        connection.damage_query_version(1, 1)?.reply()?;
        let damage = connection
            .generate_id()
            .map_err(|_none| ConnectionError::UnknownError)?;
        connection
            .damage_create(damage, self.root, ReportLevel::NON_EMPTY)?
            .check()?;
        connection
            .xfixes_select_cursor_input(self.root, CursorNotifyMask::DISPLAY_CURSOR)?
            .check()?;
        Ok(damage)
    }

    /// Whether anything was drawn, or the pointer moved, since this was last asked. `true` where the server can't tell.
    pub(crate) fn has_changed(&mut self) -> Result<bool, DisplayError> {
        let Some(damage) = self.damage else {
            return Ok(true);
        };
        let question = self.connection.query_pointer(self.root).map_err(DisplayError::Gone)?;
        let answer = question.reply().map_err(DisplayError::Reply)?;
        let pointer = (answer.root_x, answer.root_y);
        let mut changed = std::mem::replace(&mut self.pointer, pointer) != pointer;
        changed |= self.take_events()?;
        if changed {
            // Before the picture is taken: what is drawn from now on is told anew.
            let told = self.connection.damage_subtract(damage, NONE, NONE);
            told.map_err(DisplayError::Gone)?;
            self.connection.flush().map_err(DisplayError::Gone)?;
        }
        Ok(changed)
    }

    /// Takes what the server has told; whether something was drawn, or the pointer has another shape.
    fn take_events(&mut self) -> Result<bool, DisplayError> {
        let mut drawn = false;
        while let Some(event) = self.connection.poll_for_event().map_err(DisplayError::Gone)? {
            if let Event::ConfigureNotify(now) = event {
                self.told = (now.width, now.height);
            } else {
                drawn = true;
            }
        }
        Ok(drawn)
    }

    /// Whether the screen has another size than what is captured of it: from now on that one is.
    pub(crate) fn has_new_size(&mut self) -> Result<bool, DisplayError> {
        if self.damage.is_none() {
            self.take_events()?;
        }
        let size = std::mem::replace(&mut self.size, self.told);
        Ok(size != self.told)
    }

    /// The same, asked of the server: what is captured has failed, which may be why.
    pub(crate) fn has_new_size_now(&mut self) -> Result<bool, DisplayError> {
        self.ask_size()?;
        self.has_new_size()
    }

    fn ask_size(&mut self) -> Result<(), DisplayError> {
        let question = self.connection.get_geometry(self.root).map_err(DisplayError::Gone)?;
        let answer = question.reply().map_err(DisplayError::Reply)?;
        self.told = (answer.width, answer.height);
        Ok(())
    }

    /// The colours that pixels of eight bits stand for: 0xAARRGGBB, opaque.
    pub(crate) fn palette(&self) -> Option<&[u32; 256]> {
        self.palette.as_ref().map(|(_, palette)| &**palette)
    }

    /// Programs may change it at any time.
    fn read_palette(&mut self) -> Result<(), DisplayError> {
        let Some((colormap, palette)) = &mut self.palette else {
            return Ok(());
        };
        let pixels: Vec<u32> = (0..256).collect();
        let question = self
            .connection
            .query_colors(*colormap, &pixels)
            .map_err(DisplayError::Gone)?;
        let answer = question.reply().map_err(DisplayError::Reply)?;
        for (entry, colour) in palette.iter_mut().zip(&answer.colors) {
            let byte = |part: u16| u32::from(part >> 8);
            *entry = 0xff00_0000 | byte(colour.red) << 16 | byte(colour.green) << 8 | byte(colour.blue);
        }
        Ok(())
    }

    /// Asks for a sign of life if the last one is a second old. A server that is stopped blocks this for ever.
    pub(crate) fn ping_if_due(&mut self, now: Instant) -> Result<(), DisplayError> {
        if now.saturating_duration_since(self.asked) < PING_INTERVAL {
            return Ok(());
        }
        self.asked = now;
        self.ask_size()?;
        self.read_palette()
    }
}
