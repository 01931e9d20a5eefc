//! Many who ask at once cost those who watch nothing.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use framebridge_testkit::{Identity, Options, Seat, Viewer, watch, whep};
use framebridge_tests::{http::Request, system::System, wait::PATIENCE};
use rustix::net::sockopt::set_socket_linger;

/// Connections that ask at once, again and again.
const CROWD: usize = 300;

/// For so long. A link that stood still was found by the supervisor after 4 to 6 s, which ended a process for it.
const SPAN: Duration = Duration::from_secs(10);

/// A viewer that sees nothing for longer would say that the picture stood still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Asks for `path` on one connection until `end`, and counts the answers by status.
fn ask_on(server: SocketAddr, path: &str, end: Instant) -> BTreeMap<u16, u32> {
    let mut answers = BTreeMap::new();
    while Instant::now() < end {
        let Ok(mut stream) = TcpStream::connect(server) else {
            continue;
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        while Instant::now() < end
            && let Ok(status) = ask_once(&mut stream, server, path)
        {
            *answers.entry(status).or_default() += 1;
        }
    }
    answers
}

fn ask_once(stream: &mut TcpStream, server: SocketAddr, path: &str) -> std::io::Result<u16> {
    let broken = || std::io::Error::other("no answer");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {server}\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).map_err(|_| broken())?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .ok_or_else(broken)?;
    std::io::copy(&mut stream.take(length), &mut std::io::sink())?;
    head.get(9..12)
        .and_then(|status| status.parse().ok())
        .ok_or_else(broken)
}

#[test]
fn three_hundred_snapshots_at_once_cost_a_viewer_no_picture_and_no_process_its_life() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let mut viewer = Viewer::new(Identity::generate().unwrap(), Options::default(), Instant::now());
    let session = whep::post(&system.url("/whep/test"), &viewer.offer()).unwrap();
    viewer.accept(&session.answer, true, Instant::now()).unwrap();
    let mut seats = [Seat::new(viewer, true).unwrap()];
    let end = Instant::now() + PATIENCE;
    watch(&mut seats, |seats| {
        seats[0].viewer.reception().has_picture() || Instant::now() > end
    })
    .unwrap();
    assert!(seats[0].viewer.reception().has_picture());
    seats[0].viewer.restart_gap();
    let pids = ["signaling", "encoder-test"].map(|name| system.pid(name).unwrap());

    let (server, path) = (system.http(), "/api/v1/streams/test/snapshot.jpg");
    let end = Instant::now() + SPAN;
    let answers = thread::scope(|scope| {
        let crowd: Vec<_> = (0..CROWD)
            .map(|_| scope.spawn(move || ask_on(server, path, end)))
            .collect();
        watch(&mut seats, |_seats| Instant::now() > end).unwrap();
        let mut all = BTreeMap::<u16, u32>::new();
        for one in crowd {
            for (status, count) in one.join().unwrap() {
                *all.entry(status).or_default() += count;
            }
        }
        all
    });
    let seen = seats[0].viewer.reception();
    assert!(seen.longest_gap < STANDSTILL, "{seen:?} beside {answers:?}");
    assert!(answers.keys().all(|status| [200, 503].contains(status)), "{answers:?}");
    assert!(answers.get(&200) > Some(&0), "{answers:?}");
    assert_eq!(
        ["signaling", "encoder-test"].map(|name| system.pid(name).unwrap()),
        pids
    );
    let refused = Request::new("GET", path).send(server).unwrap();
    assert_eq!(refused.status, 200, "it is over: {}", refused.text());
}

#[test]
fn requests_that_are_broken_off_leave_no_warning_and_cost_nobody_an_answer() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let server = system.http();
    // Each finds signaling at another step of asking the supervisor.
    for at in 0..500 {
        let mut stream = TcpStream::connect(server).unwrap();
        write!(stream, "GET /api/v1/status HTTP/1.1\r\nhost: {server}\r\n\r\n").unwrap();
        if at % 5 == 0 {
            // By then the remembered answer may be too old for the next one.
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
        }
        // A reset, as of a client that was killed.
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(system.get("/api/v1/status").unwrap().status, 200);
    let log = system.log().unwrap();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}
