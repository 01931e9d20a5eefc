//! A desktop that is steered, on a real X server. What programs get of it, end-to-end tests say (`tests/e2e/hands.rs`).

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use framebridge_capture::{Desktop, DesktopError};
use framebridge_proto::control::{Act, Place};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    child: Child,
    name: String,
}

impl Server {
    fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the server under the desktop")]
        let mut command = Command::new("Xvfb");
        let mut child = command
            .args(["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"])
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
