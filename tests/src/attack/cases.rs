//! What strangers do, each for a while. What comes of it is measured elsewhere.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use framebridge_testkit::{Identity, Options, Seat, Viewer, watch};

use super::street::Street;
use crate::wait::{self, PATIENCE};

/// What the strangers have to go by.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) street: &'a Street,
    pub(super) http: SocketAddr,
    pub(super) udp: SocketAddr,
    pub(super) stream: &'a str,
    /// A header that lets in, or nothing.
    pub(super) token: String,
    pub(super) tally: Tally,
    /// Sockets of healthy viewers, in whose name forged datagrams come, and where those viewers' media comes from.
    pub(super) forgers: Vec<(UdpSocket, SocketAddr)>,
    pub(super) identity: Identity,
    pub(super) until: Instant,
}

/// Bytes that a case has sent, and those that came back for them, as far as its own sockets see both: where strangers have a
/// network of their own, that is counted there.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sent: AtomicU64,
    back: AtomicU64,
}

impl Tally {
    fn send(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts what has come to a socket that does not block. To be asked as it comes: what a full buffer throws away is not counted.
    fn collect(&self, socket: &UdpSocket) {
        let mut buffer = [0; 2048];
        while let Ok(len) = socket.recv(&mut buffer) {
            self.back.fetch_add(len as u64, Ordering::Relaxed);
        }
    }

    /// Bytes back for each byte; `None`: nothing was counted.
    pub(super) fn amplification(&self) -> Option<f64> {
        let [sent, back] = [&self.sent, &self.back].map(|count| count.load(Ordering::Relaxed));
        #[expect(clippy::cast_precision_loss, reason = "a ratio of some megabytes")]
        (sent > 0).then(|| back as f64 / sent as f64)
    }
}

/// A kind of attack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Does it; gives back what was sent, in words.
    pub(super) run: fn(&Scene<'_>) -> anyhow::Result<String>,
    /// Of how many viewers they rightly get the stream; what they get besides, or others for them, is to be no more than some
    /// times what they send. `None`: they ask for something that is larger than the question, or in others' names.
    pub(super) watching: Option<u64>,
}

pub(super) const CASES: &[Case] = &[
    case("datagram flood", datagrams, Some(0)),
    case("forged in viewers' names", forged, None),
    case("forged handshakes", handshakes, Some(0)),
    case("candidates of a victim", candidates, Some(0)),
    case("half-open sessions", half_open, Some(0)),
    case("half requests (slowloris)", half_requests, Some(0)),
    case("answers not read", unread, None),
    case("snapshots at once", snapshots, None),
    case("a viewer's feedback", feedback, Some(1)),
];

const fn case(name: &'static str, run: fn(&Scene<'_>) -> anyhow::Result<String>, watching: Option<u64>) -> Case {
    Case { name, run, watching }
}

/// Datagrams a second of a flood. More would take a processor of the machine that both ends share.
const FLOOD: u32 = 10_000;
/// The pause between two bursts of it.
const BURST_PAUSE: Duration = Duration::from_millis(10);
/// Strangers' addresses in use at once.
const CROWD: usize = 16;

/// Sends `FLOOD` datagrams a second, from and to wherever `send` says, which is told their number and says how many bytes went: a
/// full buffer of our own is no news. Gives back how many went.
fn flood(scene: &Scene<'_>, mut send: impl FnMut(u32) -> io::Result<usize>) -> anyhow::Result<u32> {
    let (mut tried, mut sent, mut failed) = (0, 0, None);
    let started = Instant::now();
    while Instant::now() < scene.until {
        let due = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX) * (FLOOD / 1000);
        for number in tried..due {
            match send(number) {
                Ok(_) => sent += 1,
                Err(error) => failed = Some(error),
            }
        }
        tried = tried.max(due);
        rest(BURST_PAUSE);
    }
    match failed {
        Some(error) if sent == 0 => Err(error).context("nothing could be sent"),
        Some(_) | None => Ok(sent),
    }
}

#[expect(clippy::disallowed_methods, reason = "an attack has a rate")]
fn rest(pause: Duration) {
    thread::sleep(pause);
}

/// Numbers that look like any.
fn scramble(number: u32) -> u32 {
    number
        .wrapping_mul(0x9e37_79b9)
        .rotate_left(15)
        .wrapping_mul(0x85eb_ca6b)
}

/// A datagram of `length` bytes of noise that begins like `head`.
fn noise(head: &[u8], length: usize, number: u32) -> Vec<u8> {
    let words = (0..).flat_map(|at: u32| scramble(number ^ at << 20).to_be_bytes());
    head.iter().copied().chain(words).take(length.max(head.len())).collect()
}

/// STUN, DTLS, SRTCP, SRTP and what is none of them.
fn any_kind(number: u32) -> Vec<u8> {
    let stun = [0, 1, 0, 100, 0x21, 0x12, 0xa4, 0x42];
    let heads: [&[u8]; 6] = [
        &stun,
        &[22, 254, 253, 0, 0],
        &[22, 254, 253, 0, 1],
        &[0x81, 206],
        &[0x80, 96],
        &[],
    ];
    noise(
        heads[number as usize % heads.len()],
        20 + number as usize % 1180,
        number,
    )
}

fn datagrams(scene: &Scene<'_>) -> anyhow::Result<String> {
    let sockets: Vec<_> = (0..CROWD)
        .map(|number| scene.street.datagrams(number, scene.udp))
        .collect::<Result<_, _>>()?;
    let sent = flood(scene, |number| {
        let socket = &sockets[number as usize % CROWD];
        scene.tally.collect(socket);
        socket
            .send_to(&any_kind(number), scene.udp)
            .inspect(|sent| scene.tally.send(*sent))
    })?;
    sockets.iter().for_each(|socket| scene.tally.collect(socket));
    Ok(format!("{sent} datagrams from {CROWD} addresses"))
}

fn forged(scene: &Scene<'_>) -> anyhow::Result<String> {
    let sent = flood(scene, |number| {
        let (socket, to) = &scene.forgers[number as usize % scene.forgers.len()];
        let datagram = if number % 2 == 0 {
            any_kind(number)
        } else {
            fragments(number)
        };
        socket.send_to(&datagram, to)
    })?;
    Ok(format!(
        "{sent} datagrams in the name of {} viewers",
        scene.forgers.len()
    ))
}

/// A record of handshake fragments that reassembly does not like: many, short, empty, apart.
fn fragments(number: u32) -> Vec<u8> {
    let mut body = Vec::new();
    for at in 0..80_u32 {
        let start = (number * 80 + at) % 16_000;
        let length = if at % 3 == 0 { 0 } else { 1 };
        let [_, a, b, c] = start.to_be_bytes();
        body.extend([11, 0, 0x3f, 0xff, 0, 2, a, b, c, 0, 0, length]);
        body.extend(vec![7; length.into()]);
    }
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let [a, b, c, d] = number.to_be_bytes();
    [&[22, 254, 253, 0, 0, 0, 0, a, b, c, d][..], &length, &body].concat()
}

/// A light viewer at a stranger's place, with its session.
fn seat(scene: &Scene<'_>) -> anyhow::Result<Seat> {
    let viewer = Viewer::new(scene.identity.clone(), Options::default(), Instant::now());
    let is_ipv4 = scene.http.is_ipv4();
    let mut seat = Seat::new(viewer, is_ipv4)?;
    let offer = seat.viewer.offer();
    // What came before may have used up what strangers may ask for in a minute, or may not be over yet.
    let answer = wait::until("an offer to be answered", PATIENCE, || {
        let answer = post(scene, 0, &offer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer to an offer")?;
        let status = head.lines().next().unwrap_or_default();
        ensure!(
            status.starts_with("HTTP/1.1 201"),
            "an offer is answered by {status}: {body}"
        );
        Ok(Some(body.to_owned()))
    })?;
    seat.viewer.accept(&answer, is_ipv4, Instant::now())?;
    Ok(seat)
}

fn handshakes(scene: &Scene<'_>) -> anyhow::Result<String> {
    let mut seats = [seat(scene)?];
    // Only who has answered a check is heard at all.
    watch(&mut seats, |seats| {
        seats[0].viewer.path().is_some() || Instant::now() > scene.until
    })?;
    let to = seats[0].viewer.path().context("no way to the box")?;
    let socket = seats[0].forger()?;
    let sent = flood(scene, |number| socket.send_to(&fragments(number), to))?;
    seats[0].close();
    Ok(format!("{sent} datagrams of 80 fragments"))
}

/// An offer of its own, with `lines` in it.
fn offer(number: usize, lines: &str) -> String {
    let (ufrag, password) = (format!("u{number:07}{}", "x".repeat(240)), "p".repeat(24));
    let fingerprint = vec!["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
         c=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=rtpmap:96 H264/90000\r\n\
         a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n{lines}"
    )
}

/// POSTs an offer from a stranger's address; gives back the answer, head and all.
fn post(scene: &Scene<'_>, stranger: usize, offer: &str) -> anyhow::Result<String> {
    let mut stream = scene.street.connection(stranger, scene.http)?;
    write!(
        stream,
        "POST /whep/{} HTTP/1.1\r\nhost: {}\r\n{}connection: close\r\ncontent-type: application/sdp\r\ncontent-length: {}\r\n\r\n{offer}",
        scene.stream,
        scene.http,
        scene.token,
        offer.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Joins as often as it may, from many addresses, with `lines` in each offer, and does `meanwhile` after each; how many were let
/// in, and not; who is cut off without an answer is neither.
fn joins(
    scene: &Scene<'_>,
    addresses: usize,
    lines: &str,
    mut meanwhile: impl FnMut(&str),
) -> anyhow::Result<(u32, u32)> {
    let (mut taken, mut refused, mut failed) = (0, 0, None);
    for number in 0.. {
        if Instant::now() > scene.until {
            break;
        }
        let offer = offer(number, lines);
        match post(scene, number % addresses, &offer) {
            Ok(answer) if answer.starts_with("HTTP/1.1 201") => taken += 1,
            Ok(_) => refused += 1,
            Err(error) => failed = Some(error),
        }
        meanwhile(&offer);
    }
    match failed {
        Some(error) if taken + refused == 0 => Err(error.context("nobody got an answer")),
        Some(_) | None => Ok((taken, refused)),
    }
}

/// Somebody who never asked for anything: an address, and some of its ports. Without a network for strangers it is this machine, at
/// ports that hear what comes.
fn victim(scene: &Scene<'_>) -> anyhow::Result<(IpAddr, Vec<u16>, Vec<UdpSocket>)> {
    const PORTS: u16 = 24;
    if let Street::Own(_) = scene.street {
        let ports = (0..PORTS).map(|port| 30_000 + port);
        return Ok((scene.street.stranger(249).into(), ports.collect(), Vec::new()));
    }
    let any: SocketAddr = if scene.udp.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse()?;
    let way = UdpSocket::bind(any)?;
    way.connect(scene.udp)?;
    let own = way.local_addr()?.ip();
    let sockets = (0..PORTS)
        .map(|_| UdpSocket::bind((own, 0)))
        .collect::<Result<Vec<_>, _>>()?;
    let ports = sockets.iter().map(|socket| {
        socket.set_nonblocking(true)?;
        Ok(socket.local_addr()?.port())
    });
    Ok((own, ports.collect::<anyhow::Result<_>>()?, sockets))
}

fn candidates(scene: &Scene<'_>) -> anyhow::Result<String> {
    let (victim, ports, sockets) = victim(scene)?;
    let lines: String = ports
        .iter()
        .map(|port| format!("a=candidate:1 1 udp 5 {victim} {port} typ host\r\n"))
        .collect();
    let (taken, refused) = joins(scene, CROWD, &lines, |offer| {
        scene.tally.send(offer.len());
        sockets.iter().for_each(|socket| scene.tally.collect(socket));
    })?;
    Ok(format!(
        "{taken} offers with {} of a victim's addresses, {refused} more refused",
        ports.len()
    ))
}

fn half_open(scene: &Scene<'_>) -> anyhow::Result<String> {
    let (taken, refused) = joins(scene, 200, "", |_| {})?;
    Ok(format!("{taken} sessions that don't connect, {refused} refused"))
}

/// Keeps as many connections open as it can, each with `head` sent, until time is up.
fn hold(scene: &Scene<'_>, each: usize, head: &[u8]) -> anyhow::Result<u32> {
    let (mut open, mut opened): (Vec<TcpStream>, u32) = (Vec::new(), 0);
    while Instant::now() < scene.until {
        open.retain(|stream| !is_closed(stream));
        if open.len() >= each * 8 {
            rest(BURST_PAUSE);
            continue;
        }
        let Ok(mut stream) = scene.street.connection(open.len() % 8, scene.http) else {
            rest(BURST_PAUSE);
            continue;
        };
        // Whoever does not read is not written to for ever.
        if stream.write_all(head).is_ok() && stream.set_nonblocking(true).is_ok() {
            open.push(stream);
            opened += 1;
        }
    }
    ensure!(opened > 0, "no connection could be opened");
    Ok(opened)
}

fn is_closed(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

fn half_requests(scene: &Scene<'_>) -> anyhow::Result<String> {
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\nX-Slow: ", scene.http);
    let opened = hold(scene, 250, head.as_bytes())?;
    Ok(format!("{opened} connections with half a head, from 8 addresses"))
}

fn unread(scene: &Scene<'_>) -> anyhow::Result<String> {
    let ask = format!("GET /api/v1/openapi.json HTTP/1.1\r\nhost: {}\r\n\r\n", scene.http).repeat(40);
    let opened = hold(scene, 100, ask.as_bytes())?;
    Ok(format!(
        "{opened} connections of 40 requests whose answers are not read"
    ))
}

fn snapshots(scene: &Scene<'_>) -> anyhow::Result<String> {
    const AT_ONCE: usize = 200;
    let ask = format!(
        "GET /api/v1/streams/{}/snapshot.jpg HTTP/1.1\r\nhost: {}\r\n{}\r\n",
        scene.stream, scene.http, scene.token
    );
    let mut asked = 0;
    let mut open: Vec<TcpStream> = Vec::new();
    while Instant::now() < scene.until {
        open.retain(|stream| !is_closed(stream));
        while open.len() < AT_ONCE && Instant::now() < scene.until {
            let Ok(stream) = scene.street.connection(open.len() % CROWD, scene.http) else {
                break;
            };
            stream.set_nonblocking(true)?;
            open.push(stream);
        }
        for stream in &mut open {
            // What came is thrown away; one that does not fit any more is not asked for.
            let mut buffer = [0; 65_536];
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
            asked += u32::from(stream.write_all(ask.as_bytes()).is_ok());
        }
        rest(BURST_PAUSE);
    }
    ensure!(asked > 0, "no picture could be asked for");
    Ok(format!("{asked} requests for a picture on {AT_ONCE} connections"))
}

fn feedback(scene: &Scene<'_>) -> anyhow::Result<String> {
    /// One datagram of NACKs holds them.
    const AGAIN: u16 = 256;
    let mut seats = [seat(scene)?];
    let mut asked = 0;
    while Instant::now() < scene.until {
        let next = Instant::now() + Duration::from_millis(5);
        watch(&mut seats, |_| Instant::now() > next)?;
        seats[0].viewer.request_last(AGAIN);
        seats[0].viewer.request_keyframe();
        asked += u32::from(seats[0].viewer.is_connected());
    }
    seats[0].close();
    Ok(format!("{asked} times {AGAIN} packets and a keyframe asked for again"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Somebody at `address`, attacked from here for so long.
    fn scene(address: SocketAddr, span: Duration) -> Scene<'static> {
        static HERE: Street = Street::Here;
        Scene {
            street: &HERE,
            http: address,
            udp: address,
            stream: "test",
            token: String::new(),
            tally: Tally::default(),
            forgers: Vec::new(),
            identity: Identity::generate().unwrap(),
            until: Instant::now() + span,
        }
    }

    /// The amplification of whoever answers each datagram at `address` so many times.
    fn amplification(address: &str, times: usize) -> Option<f64> {
        let answers = UdpSocket::bind(address).unwrap();
        answers.set_read_timeout(Some(BURST_PAUSE)).unwrap();
        let scene = scene(answers.local_addr().unwrap(), Duration::from_secs(1));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = [0; 2048];
                while !over.load(Ordering::Relaxed) {
                    if let Ok((len, from)) = answers.recv_from(&mut buffer) {
                        for _ in 0..times {
                            _ = answers.send_to(&buffer[..len], from);
                        }
                    }
                }
            });
            let came = datagrams(&scene);
            over.store(true, Ordering::Relaxed);
            came.unwrap();
        });
        scene.tally.amplification()
    }

    #[test]
    fn who_sends_back_more_than_came_is_found_out_by_either_family() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let found = amplification(address, 32);
            // Of the answers some are lost where both ends share a busy machine.
            assert!(found > Some(3.0), "{address}: {found:?}");
        }
        assert_eq!(amplification("127.0.0.1:0", 0), Some(0.0));
    }

    #[test]
    fn flood_of_which_nothing_goes_is_none() {
        let scene = scene(([127, 0, 0, 1], 9).into(), Duration::from_millis(50));
        let came = flood(&scene, |_| Err(ErrorKind::PermissionDenied.into()));
        assert!(came.unwrap_err().to_string().contains("nothing could be sent"));
    }
}
