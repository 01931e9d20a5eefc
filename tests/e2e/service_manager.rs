//! What the service manager of a unit is told: the process is ready, it lives, it is on its way out.

use std::{
    collections::BTreeMap,
    io::{IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::Path,
    process::Command,
    time::Duration,
};

use framebridge_tests::{
    process::{Process, command, signal, with_environment},
    system::{STOP_LIMIT, binary},
    wait::{self, PATIENCE},
};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::Signal,
};

/// A unit would have ended the process long before: `WatchdogSec=10`.
const LIMIT: Duration = Duration::from_secs(10);

/// A unit's end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    /// A manager that listens in `scratch`.
    fn new(scratch: &Path) -> Self {
        let socket = UnixDatagram::bind(scratch.join("notify")).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self(socket)
    }

    /// The next word of the process, and the descriptors that came with it.
    fn next_with_descriptors(&self) -> (String, Vec<OwnedFd>) {
        let (mut word, mut descriptors) = ([0; 256], Vec::new());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut word)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
        .unwrap();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        let word = String::from_utf8(word[..got.bytes].to_vec()).unwrap();
        (word.trim().to_owned(), descriptors)
    }

    /// The next word of the process.
    fn next(&self) -> String {
        self.next_with_descriptors().0
    }

    /// Listens until there is something under each of the `wanted` beginnings of names; all that is in store then.
    fn until_stored(&self, wanted: &[&str]) -> BTreeMap<String, OwnedFd> {
        let mut stored: BTreeMap<String, OwnedFd> = BTreeMap::new();
        while !wanted
            .iter()
            .all(|wanted| stored.keys().any(|name| name.starts_with(wanted)))
        {
            let (word, descriptors) = self.next_with_descriptors();
            let name = word.lines().find_map(|line| line.strip_prefix("FDNAME="));
            if word.contains("FDSTORE=1") {
                stored.extend(descriptors.into_iter().map(|fd| (name.unwrap().to_owned(), fd)));
            } else if word.contains("FDSTOREREMOVE=1") {
                stored.remove(name.unwrap());
            }
        }
        stored
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

/// Starts a process as the manager does that listens in `scratch`.
fn start(process: &mut Command, scratch: &Path) -> Process {
    process
        .env("NOTIFY_SOCKET", scratch.join("notify"))
        .env("WATCHDOG_USEC", LIMIT.as_micros().to_string())
        .env("FRAMEBRIDGE_RUNTIME_DIR", scratch.join("run"))
        .env("FRAMEBRIDGE_HTTP_LISTEN", "127.0.0.1:0")
        .env("FRAMEBRIDGE_WEBRTC_PORT", "0");
    Process::start(process, &scratch.join("log")).unwrap()
}

/// Becomes the program in its arguments, with descriptors as a service manager passes them.
const PASS_DESCRIPTORS: &str = "
import fcntl, os, sys
given, names, program = sys.argv[1].split(','), sys.argv[2], sys.argv[3]
aside = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 200) for number in given]
for at, number in enumerate(aside):
    os.dup2(number, 3 + at)
    os.close(number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=names)
os.execv(program, [program])
";

#[test]
fn what_is_kept_for_signaling_outlives_everything_in_the_managers_store() {
    let scratch = tempfile::tempdir().unwrap();
    let manager = Manager::new(scratch.path());
    let supervisor = binary("supervisor").unwrap();
    let first = start(&mut command(&supervisor), scratch.path());
    let stored = manager.until_stored(&["signaling/http", "signaling/udp-0-", "signaling/viewers-0"]);
    let listener = TcpListener::from(stored["signaling/http"].try_clone().unwrap());
    let address = listener.local_addr().unwrap();

    drop(first);
    let variable = format!("FRAMEBRIDGE_RUNTIME_DIR={}", scratch.path().join("run").display());
    wait::until_true("everything to be gone", PATIENCE, || {
        let left = with_environment(&variable)?;
        for pid in &left {
            // Between the look and the signal it may have gone by itself.
            _ = signal(*pid, Signal::KILL);
        }
        Ok(left.is_empty())
    })
    .unwrap();

    // Asked while nobody is there, answered by whoever comes next: the port was the system's choice.
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    write!(
        client,
        "GET /api/v1/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let names: Vec<&str> = stored.keys().map(String::as_str).collect();
    let numbers: Vec<String> = stored.values().map(|fd| fd.as_raw_fd().to_string()).collect();
    for fd in stored.values() {
        fcntl_setfd(fd, FdFlags::empty()).unwrap();
    }
    let mut second = command("python3");
    second
        .args(["-c", PASS_DESCRIPTORS, &numbers.join(","), &names.join(":")])
        .arg(&supervisor);
    let mut second = start(&mut second, scratch.path());
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    signal(second.pid(), Signal::TERM).unwrap();
    // It would wait for a manager that does not listen.
    manager.until("STOPPING=1", 1);
    assert!(second.wait(STOP_LIMIT * 2).unwrap().success());
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
        let manager = Manager::new(scratch.path());
        let mut process = command(binary(daemon).unwrap());
        let mut process = start(process.args(arguments), scratch.path());
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
