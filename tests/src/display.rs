//! A display that nobody sees, with something on it that moves and tells the time.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::Stdio,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow};
use framebridge_proto::stamp;
use x11rb::{
    connection::Connection as _,
    protocol::xproto::{
        ChangeGCAux, ConnectionExt as _, CreateGCAux, CreateWindowAux, Gcontext, Rectangle, Window, WindowClass,
    },
    rust_connection::RustConnection,
    wrapper::ConnectionExt as _,
};

use crate::{
    process::{Process, command},
    wait::{self, PATIENCE},
};

/// Size of the screen, pixels.
const WIDTH: u16 = 1280;
const HEIGHT: u16 = 720;

/// Twice as often as it is captured, so that every picture taken differs from the one before.
const REPAINT: Duration = Duration::from_millis(16);

/// An X server without a screen.
#[derive(Debug)]
pub struct Display {
    name: String,
    server: Process,
    painter: Option<Painter>,
}

#[derive(Debug)]
struct Painter {
    _stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Display {
    /// Starts one, on a number that it finds free itself.
    ///
    /// # Errors
    /// Xvfb is not installed or does not start.
    pub fn start() -> anyhow::Result<Self> {
        let (name, server) = serve(None)?;
        Ok(Self {
            name,
            server,
            painter: None,
        })
    }

    /// Starts it again under the same name, in place of the one there was, which has to be dead. Nothing is painted yet.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop_painting();
        (self.name, self.server) = serve(Some(&self.name))?;
        Ok(())
    }

    /// Its name, as in `$DISPLAY`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The X server's pid.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Paints the time as a stamp in the top-left corner, and a bar that wanders, from now on.
    ///
    /// # Errors
    /// The display can't be reached.
    pub fn paint(&mut self) -> anyhow::Result<()> {
        let canvas = wait::until("the display to be reachable", PATIENCE, || {
            Ok(Some(Canvas::open(&self.name)?))
        })?;
        let (stop, stopped) = sync_channel(0);
        let thread = thread::spawn(move || canvas.paint_until(&stopped));
        self.painter = Some(Painter { _stop: stop, thread });
        Ok(())
    }
}

impl Display {
    fn stop_painting(&mut self) {
        if let Some(Painter { _stop, thread }) = self.painter.take() {
            drop(_stop);
            // It can only have failed because the server is gone.
            _ = thread.join();
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.stop_painting();
    }
}

/// Starts an X server under this name, or under one that is free.
fn serve(name: Option<&str>) -> anyhow::Result<(String, Process)> {
    let mut xvfb = command("Xvfb");
    let screen = format!("{WIDTH}x{HEIGHT}x24");
    xvfb.args(name);
    xvfb.args(["-displayfd", "1", "-screen", "0", &screen, "-nolisten", "tcp"]);
    xvfb.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Process::start_as_is(&mut xvfb)?;
    let mut said = server
        .child()
        .stdout
        .take()
        .ok_or_else(|| anyhow!("Xvfb has no stdout"))?;
    let mut number = String::new();
    let mut byte = [0];
    // It says its number and a newline once it is ready, and closes the pipe if it can't be.
    while said.read(&mut byte)? == 1 && byte != *b"\n" {
        number.push(char::from(byte[0]));
    }
    number.parse::<u16>().context("Xvfb did not start")?;
    Ok((format!(":{number}"), server))
}

/// A window that covers the screen.
pub(crate) struct Canvas {
    pub(crate) connection: RustConnection,
    pub(crate) window: Window,
    pen: Gcontext,
    black: u32,
    white: u32,
}

impl Canvas {
    pub(crate) fn open(display: &str) -> anyhow::Result<Self> {
        let (connection, screen) = x11rb::connect(Some(display))?;
        let screen = connection.setup().roots[screen].clone();
        let (window, pen) = (connection.generate_id()?, connection.generate_id()?);
        let aux = CreateWindowAux::new().background_pixel(screen.black_pixel);
        connection.create_window(
            screen.root_depth,
            window,
            screen.root,
            0,
            0,
            WIDTH,
            HEIGHT,
            0,
            WindowClass::INPUT_OUTPUT,
            0,
            &aux,
        )?;
        connection.map_window(window)?;
        connection.create_gc(pen, window, &CreateGCAux::new())?;
        connection.sync()?;
        Ok(Self {
            connection,
            window,
            pen,
            black: screen.black_pixel,
            white: screen.white_pixel,
        })
    }

    fn paint_until(&self, stopped: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(REPAINT) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            if self.paint(u64::try_from(now.as_millis()).unwrap_or(0)).is_err() {
                break;
            }
        }
    }

    pub(crate) fn paint(&self, now_ms: u64) -> anyhow::Result<()> {
        let cells = stamp::cells(now_ms);
        let all = (0..stamp::ROWS).flat_map(|row| (0..stamp::COLUMNS).map(move |column| (column, row)));
        let (white, black): (Vec<_>, Vec<_>) = all.partition(|&(column, row)| stamp::is_white(cells, column, row));
        let squares = |of: Vec<(u32, u32)>| of.into_iter().map(square).collect::<anyhow::Result<Vec<Rectangle>>>();
        let bar = i16::try_from(now_ms / 4 % u64::from(WIDTH))?;
        let (mut white, mut black) = (squares(white)?, squares(black)?);
        black.push(Rectangle {
            x: 0,
            y: 300,
            width: WIDTH,
            height: 100,
        });
        white.push(Rectangle {
            x: bar,
            y: 300,
            width: 100,
            height: 100,
        });
        // All in one request each, black before white, and nothing in between that a capture could see half of for long.
        for (colour, rectangles) in [(self.black, black), (self.white, white)] {
            self.connection
                .change_gc(self.pen, &ChangeGCAux::new().foreground(colour))?;
            self.connection
                .poly_fill_rectangle(self.window, self.pen, &rectangles)?;
        }
        Ok(self.connection.sync()?)
    }
}

fn square((column, row): (u32, u32)) -> anyhow::Result<Rectangle> {
    let edge = WIDTH / u16::try_from(stamp::CELLS_PER_WIDTH)?;
    let at = |cell: u32| -> anyhow::Result<i16> { Ok(i16::try_from(cell * u32::from(edge))?) };
    Ok(Rectangle {
        x: at(column)?,
        y: at(row)?,
        width: edge,
        height: edge,
    })
}

/// Makes an MP4 file of a moving pattern, a few seconds long.
///
/// # Errors
/// The `ffmpeg` command is not installed or fails.
pub fn record_clip(file: &Path) -> anyhow::Result<()> {
    let mut ffmpeg = command("ffmpeg");
    ffmpeg.args([
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=640x360:rate=30:duration=4",
    ]);
    ffmpeg
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"])
        .arg(file);
    let output = ffmpeg.output().context("starting ffmpeg")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    fs::metadata(file).context(said)?;
    Ok(())
}
