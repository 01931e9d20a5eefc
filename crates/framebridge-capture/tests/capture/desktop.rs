//! A desktop that is steered, on a real X server. What programs get of it, end-to-end tests say (`tests/e2e/hands.rs`).

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use framebridge_capture::{Desktop, DesktopError, image};
use framebridge_proto::{
    control::{Act, Place},
    encoder::ImageFormat,
};
use x11rb::{
    connection::Connection as _,
    protocol::xproto::{ChangeWindowAttributesAux, ConnectionExt as _},
    rust_connection::RustConnection,
};

use crate::{film::colours, next, open};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    child: Child,
    name: String,
}

impl Server {
    fn start() -> Self {
        Self::of_depth(24)
    }

    /// With so many bits a pixel.
    fn of_depth(bits: u32) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the server under the desktop")]
        let mut command = Command::new("Xvfb");
        let mut child = command
            .args([
                "-displayfd",
                "1",
                "-screen",
                "0",
                &format!("640x480x{bits}"),
                "-nolisten",
                "tcp",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed");
        let mut said = child.stdout.take().unwrap();
        let (mut number, mut byte) = (String::new(), [0]);
        while said.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            number.push(char::from(byte[0]));
        }
        let name = format!(":{number}");
        Self { child, name }
    }

    fn desktop(&self) -> Desktop {
        Desktop::connect(&self.name, None).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Paints all of a screen, for as long as the result lives.
fn paint(server: &Server, colour: [u8; 3]) -> RustConnection {
    let (connection, screen) = RustConnection::connect(Some(&server.name)).unwrap();
    let screen = connection.setup().roots[screen].clone();
    let [red, green, blue] = colour.map(|part| u16::from(part) * 257);
    let asked = connection
        .alloc_color(screen.default_colormap, red, green, blue)
        .unwrap();
    let wanted = ChangeWindowAttributesAux::new().background_pixel(asked.reply().unwrap().pixel);
    let changed = connection.change_window_attributes(screen.root, &wanted).unwrap();
    changed.check().unwrap();
    connection
        .clear_area(false, screen.root, 0, 0, 0, 0)
        .unwrap()
        .check()
        .unwrap();
    connection
}

#[test]
fn painted_desktop_arrives_whatever_the_bits_of_a_pixel() {
    for bits in [8, 15, 16, 24] {
        let server = Server::of_depth(bits);
        let _keeps_it_from_its_reset = RustConnection::connect(Some(&server.name)).unwrap();
        for colour in [[255, 0, 0], [0, 255, 0], [0x33, 0x66, 0x99]] {
            let _painter = paint(&server, colour);
            let picture = next(&mut open(&format!("x11:{}", server.name)));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("desktop.png");
            std::fs::write(&path, image(&picture, ImageFormat::Png, 640).unwrap()).unwrap();
            // Beside the pointer, which is in the middle.
            for seen in colours(&path, 2) {
                let is_near = seen
                    .iter()
                    .zip(colour)
                    .all(|(seen, painted)| seen.abs_diff(painted) <= 4);
                assert!(is_near, "{bits} bits: {colour:?} arrived as {seen:?}");
            }
        }
    }
}

fn copied(owner: &mut Desktop, reader: &mut Desktop, wants: bool) -> Option<String> {
    let end = Instant::now() + if wants { PATIENCE } else { Duration::from_millis(300) };
    while Instant::now() < end {
        owner.listen(false).unwrap();
        if let Some(text) = reader.listen(wants).unwrap() {
            return Some(text);
        }
        std::thread::yield_now();
    }
    None
}

#[test]
fn clipboards_text_goes_both_ways_and_is_read_only_where_it_is_wanted() {
    let server = Server::start();
    let (mut one, mut other) = (server.desktop(), server.desktop());
    for text in ["a text", "ein Text, 日本語 😀", "x"] {
        one.inject(&Act::Clipboard(text.to_owned())).unwrap();
        assert_eq!(copied(&mut one, &mut other, true).as_deref(), Some(text));
    }
    let long = "0123456789abcdef".repeat(4096);
    one.inject(&Act::Clipboard(long.clone())).unwrap();
    assert!(copied(&mut one, &mut other, true) == Some(long));
    other.inject(&Act::Clipboard("back".to_owned())).unwrap();
    assert_eq!(copied(&mut other, &mut one, true).as_deref(), Some("back"));
    one.inject(&Act::Clipboard("secret".to_owned())).unwrap();
    assert_eq!(copied(&mut one, &mut other, false), None);
}

#[test]
fn server_that_is_gone_is_told_from_a_key_that_is_not_there() {
    let server = Server::start();
    let mut desktop = server.desktop();
    // More strange keys held at once than there are spare ones.
    let strange = (0x0100_4e00..)
        .take(30)
        .map(|keysym| desktop.inject(&Act::Key { keysym, down: true }));
    let failed = strange.filter_map(Result::err).next().expect("some don't fit");
    assert!(
        matches!(failed, DesktopError::NoKey(_)) && failed.is_passing(),
        "{failed}"
    );
    drop(server);
    let end = Instant::now() + PATIENCE;
    let at = Place { x: 0, y: 0 };
    let gone = std::iter::repeat_with(|| desktop.inject(&Act::Move(at)))
        .take_while(|_| Instant::now() < end)
        .find_map(Result::err)
        .expect("it is gone");
    assert!(!gone.is_passing(), "{gone}");
}
