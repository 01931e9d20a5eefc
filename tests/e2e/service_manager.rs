//! What the service manager of a unit is told: the process is ready, it lives, it is on its way out.

use std::{os::unix::net::UnixDatagram, time::Duration};

use framebridge_tests::{
    process::{Process, command, signal},
    system::{STOP_LIMIT, binary},
};
use rustix::process::Signal;

/// A unit would have ended the process long before: `WatchdogSec=10`.
const LIMIT: Duration = Duration::from_secs(10);

/// A unit's end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    /// The next word of the process.
    fn next(&self) -> String {
        let mut word = [0; 256];
        let length = self.0.recv(&mut word).unwrap();
        String::from_utf8(word[..length].to_vec()).unwrap().trim().to_owned()
    }

    /// Listens until `wanted` was said for the `times`-th time; what was said until then.
    fn until(&self, wanted: &str, times: usize) -> Vec<String> {
        let mut said = Vec::new();
        while said.iter().filter(|word| *word == wanted).count() < times {
            said.push(self.next());
        }
        said
    }
}

#[test]
fn every_daemon_says_that_it_is_ready_how_it_is_that_it_lives_and_that_it_stops() {
    for (daemon, arguments) in [
        ("supervisor", &[][..]),
        ("signaling", &[]),
        ("encoder", &["test"]),
        ("bridge", &[]),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let socket = scratch.path().join("notify");
        let manager = Manager(UnixDatagram::bind(&socket).unwrap());
        manager.0.set_read_timeout(Some(LIMIT)).unwrap();
        let mut process = command(binary(daemon).unwrap());
        process
            .args(arguments)
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", LIMIT.as_micros().to_string())
            .env("FRAMEBRIDGE_RUNTIME_DIR", scratch.path().join("run"))
            .env("FRAMEBRIDGE_HTTP_LISTEN", "127.0.0.1:0")
            .env("FRAMEBRIDGE_WEBRTC_PORT", "0");
        let mut process = Process::start(&mut process, &scratch.path().join("log")).unwrap();
        let mut said = manager.until("READY=1", 1);
        said.extend(manager.until("WATCHDOG=1", 3));
        signal(process.pid(), Signal::TERM).unwrap();
        said.extend(manager.until("STOPPING=1", 1));
        assert!(process.wait(STOP_LIMIT).unwrap().success(), "{daemon}");
        let ready = said.iter().filter(|word| *word == "READY=1").count();
        assert_eq!(ready, 1, "{daemon}, or a child in its name: {said:?}");
        assert!(
            said.iter().any(|word| word.starts_with("STATUS=")),
            "{daemon}: {said:?}"
        );
    }
}
