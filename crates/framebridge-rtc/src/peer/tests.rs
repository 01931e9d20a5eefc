//! A peer and a viewer on a net that loses packets, in virtual time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::*;
use crate::{
    frame::{Frame, Payloads},
    srtp::{Profile, Sender},
    stun::{self, Check, IceRole, Kind},
};

const OURS: Path = Path {
    socket: 0,
    source: None,
    remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9),
};
const GRACE: Duration = Duration::from_secs(12);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const SSRC: u32 = 7;

/// The viewer's end, just good enough: it checks and nominates until it is answered, and speaks DTLS.
struct Client {
    local: Credentials,
    remote: Credentials,
    dtls: Association,
    next_check: Instant,
    has_path: bool,
    keys: Option<(Receiver, Sender)>,
}

impl Client {
    fn tick(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if self.next_check <= now {
            self.next_check = now + Duration::from_millis(if self.has_path { 2500 } else { 50 });
            let check = Check {
                ufrags: (&self.remote.ufrag, &self.local.ufrag),
                password: &self.remote.password,
                role: IceRole::Controlling,
                priority: 1,
                nominate: true,
            };
            out.push(check.encode().1);
        }
        // It may give up, as a browser would.
        _ = self.dtls.handle_timeout(now);
        out.extend(self.drain());
        out
    }

    fn drain(&mut self) -> Vec<Vec<u8>> {
        if !self.has_path {
            return Vec::new();
        }
        std::iter::from_fn(|| self.dtls.poll_transmit())
            .map(|datagram| datagram.to_vec())
            .collect()
    }

    fn handle(&mut self, datagram: &[u8], now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if let Some(mut message) = Stun::decode(datagram) {
            match message.kind() {
                Some(Kind::Request) if message.is_authentic(&self.local.password) => {
                    out.push(stun::success(message.transaction(), OURS.remote, &self.local.password));
                }
                Some(Kind::Success) => self.has_path = true,
                _ => {}
            }
        } else if let Ok(Progress::Established(Established { profile, keys })) = self.dtls.handle(datagram, now) {
            self.keys = Some((
                Receiver::new(profile, &keys.server),
                Sender::new(profile, &keys.client, 1, 0),
            ));
        }
        out.extend(self.drain());
        out
    }
}

/// A peer, its viewer, and the net between them.
struct World {
    peer: Peer,
    client: Client,
    now: Instant,
    states: Vec<ViewerState>,
    feedback: Vec<Feedback>,
    /// One packet in so many is lost, pseudo-randomly; 0: none, 1: all.
    loss: u64,
    dice: u64,
    pacer: Pacer,
}

impl World {
    fn new(seed: u64, loss: u64) -> Self {
        let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let (local, remote) = (Credentials::random("00"), Credentials::random(""));
        let now = Instant::now();
        let config = PeerConfig {
            local: local.clone(),
            remote: remote.clone(),
            sockets: vec![(0, true)],
            fingerprints: vec![theirs.fingerprint().clone()],
            ssrc: SSRC,
            payload_type: 96,
            repair: None,
            numbering: None,
            playout: None,
            capture_time: None,
            connect_timeout: CONNECT_TIMEOUT,
            disconnect_grace: GRACE,
            data: None,
            receives: None,
            begins: false,
        };
        let profiles = [Profile::AeadAes128Gcm];
        let client = Client {
            local: remote,
            remote: local,
            dtls: Association::client(&theirs, vec![ours.fingerprint().clone()], &profiles, now).unwrap(),
            next_check: now,
            has_path: false,
            keys: None,
        };
        let peer = Peer::new(&ours, config, now);
        Self {
            peer,
            client,
            now,
            states: Vec::new(),
            feedback: Vec::new(),
            loss,
            dice: seed,
            pacer: Pacer::new(now),
        }
    }

    fn arrives(&mut self) -> bool {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.loss == 0 || !(self.dice >> 33).is_multiple_of(self.loss)
    }

    /// Delivers what both want sent until neither has anything.
    fn exchange(&mut self, mut to_peer: Vec<Vec<u8>>) {
        loop {
            let mut to_client = Vec::new();
            for mut datagram in to_peer.drain(..) {
                if self.arrives() {
                    self.peer.handle(Input::Datagram(OURS, &mut datagram), self.now);
                }
            }
            while let Some(output) = self.peer.poll_output() {
                match output {
                    Output::Transmit(path, datagram) | Output::Probe(path, datagram) => {
                        assert_eq!(path, OURS);
                        to_client.push(datagram);
                    }
                    Output::State(state) => self.states.push(state),
                    Output::Feedback(feedback) => self.feedback.push(feedback),
                    Output::Moved => panic!("no address has gone"),
                    Output::LanesOpen | Output::Message(..) | Output::Unit(_) | Output::Rtcp(_) => {
                        panic!("nobody asked for data channels")
                    }
                }
            }
            if to_client.is_empty() {
                return;
            }
            for datagram in to_client {
                if self.arrives() {
                    to_peer.extend(self.client.handle(&datagram, self.now));
                }
            }
        }
    }

    /// Lets time pass, in steps of 10 ms.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(10);
            if self.peer.poll_timeout() <= self.now {
                self.peer.handle(Input::Timeout(&mut self.pacer), self.now);
            }
            let to_peer = self.client.tick(self.now);
            self.exchange(to_peer);
        }
    }

    /// Sends a picture of one packet; the viewer's index and payload of it.
    fn send(&mut self, index: u64) -> Result<usize, crate::srtp::AuthenticationFailed> {
        let frame = Frame::new(50, 3000, true, self.now, Payloads::of(&[0, 0, 1, 0x65, 1, 2, 3]));
        let (track, _) = self.peer.media().unwrap();
        track.jump(frame.first);
        let content = frame.packet(frame.first).unwrap();
        let mut datagram = vec![0; track.datagram_len(&frame, frame.first, content.0.len())];
        track.write(&frame, frame.first, content, &mut datagram);
        self.client
            .keys
            .as_ref()
            .unwrap()
            .0
            .open_rtp(&mut datagram, index)
            .map(|payload| payload.len())
    }
}

#[test]
fn it_connects_in_one_round_on_a_good_net() {
    let mut world = World::new(1, 0);
    world.run(Duration::from_millis(20));
    assert_eq!(world.states, [ViewerState::Live]);
    let next = world.peer.export().unwrap().track.next;
    assert_eq!(world.send(next), Ok(4));
}

#[test]
fn it_connects_when_every_fourth_packet_is_lost() {
    for seed in 0..40 {
        let mut world = World::new(seed, 4);
        world.run(CONNECT_TIMEOUT);
        let connected = world.states.first() == Some(&ViewerState::Live) && world.client.keys.is_some();
        assert!(connected, "seed {seed}: {:?}", world.states);
    }
}

#[test]
fn a_viewer_who_never_comes_is_given_up_in_time() {
    let mut world = World::new(1, 1);
    world.run(CONNECT_TIMEOUT + Duration::from_millis(20));
    assert_eq!(world.states, [ViewerState::Closed(CloseReason::ConnectTimeout)]);
}

#[test]
fn a_silent_viewer_has_its_grace_and_may_come_back() {
    let mut world = World::new(1, 0);
    world.run(Duration::from_secs(60));
    assert_eq!(world.states, [ViewerState::Live], "checks alone keep it alive");
    world.loss = 1;
    world.run(SILENCE + Duration::from_secs(3));
    assert_eq!(world.states.last(), Some(&ViewerState::Grace));
    assert!(world.peer.media().is_none(), "nothing is sent into the void");
    world.loss = 0;
    world.run(Duration::from_secs(6));
    assert_eq!(world.states.last(), Some(&ViewerState::Live));
    world.loss = 1;
    world.run(SILENCE + GRACE + Duration::from_secs(3));
    assert_eq!(
        world.states.last(),
        Some(&ViewerState::Closed(CloseReason::GraceExpired))
    );
}

#[test]
fn a_goodbye_from_either_end_ends_it() {
    let mut world = World::new(1, 0);
    world.run(Duration::from_millis(20));
    world.client.dtls.close(world.now);
    let goodbye = world.client.drain();
    world.exchange(goodbye);
    assert_eq!(world.states.last(), Some(&ViewerState::Closed(CloseReason::PeerClosed)));

    let mut world = World::new(2, 0);
    world.run(Duration::from_millis(20));
    world.peer.handle(Input::Close(CloseReason::Left), world.now);
    let mut heard = false;
    while let Some(output) = world.peer.poll_output() {
        if let Output::Transmit(_, datagram) = output {
            heard |= matches!(world.client.dtls.handle(&datagram, world.now), Ok(Progress::PeerClosed));
        }
    }
    assert!(heard && matches!(world.peer.state(), ViewerState::Closed(CloseReason::Left)));
}

#[test]
fn another_process_goes_on_with_the_exported_state() {
    let mut world = World::new(1, 0);
    world.run(Duration::from_millis(20));
    let next = world.peer.export().unwrap().track.next;
    world.send(next).unwrap();
    let state = world.peer.export().unwrap();
    assert!(
        !format!("{state:?}").contains(&format!("{:?}", state.keys.send.key)),
        "keys are not printed"
    );
    world.peer = Peer::restore(&state, vec![(0, true)], GRACE, world.now);
    let next = world.peer.export().unwrap().track.next;
    assert_eq!(next, state.track.next, "it goes on with the first index not used");
    assert_eq!(world.send(next), Ok(4), "the viewer's keys still fit");
    // Checks are answered, reports are read, and it stays alive by them.
    let mut report = vec![0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7];
    world.client.keys.as_mut().unwrap().1.protect_rtcp(&mut report);
    world.exchange(vec![report]);
    assert_eq!(world.feedback, [Feedback::KeyframeRequest]);
    world.run(Duration::from_secs(30));
    assert_eq!(world.states, [ViewerState::Live]);
}

#[test]
fn media_ends_when_nobody_at_its_path_consents_though_the_viewer_lives_elsewhere() {
    let mut world = World::new(1, 0);
    world.run(Duration::from_millis(20));
    let elsewhere = Path {
        remote: SocketAddr::new(OURS.remote.ip(), 10),
        ..OURS
    };
    let start = world.now;
    while world.states.last() == Some(&ViewerState::Live) {
        world.now += Duration::from_secs(1);
        assert!(world.now - start < Duration::from_secs(40), "{:?}", world.states);
        let check = Check {
            ufrags: (&world.client.remote.ufrag, &world.client.local.ufrag),
            password: &world.client.remote.password,
            role: IceRole::Controlling,
            priority: 1,
            nominate: false,
        };
        let mut datagram = check.encode().1;
        world.peer.handle(Input::Datagram(elsewhere, &mut datagram), world.now);
        world.peer.handle(Input::Timeout(&mut world.pacer), world.now);
        while let Some(output) = world.peer.poll_output() {
            if let Output::State(state) = output {
                world.states.push(state);
            }
        }
    }
    assert_eq!(world.states.last(), Some(&ViewerState::Grace));
    assert!(world.peer.media().is_none());
    // It comes back by nominating a path that answers.
    world.client.next_check = world.now;
    world.run(Duration::from_secs(1));
    assert_eq!(world.states.last(), Some(&ViewerState::Live));
}

#[test]
fn dtls_is_heard_only_from_where_an_authentic_check_has_come() {
    let mut world = World::new(1, 0);
    let candidate = Candidate::host(OURS.remote, 0);
    world.peer.handle(Input::Candidates(&[candidate]), world.now);
    let mut hello = world.client.dtls.poll_transmit().unwrap();
    let drain = |peer: &mut Peer| std::iter::from_fn(|| peer.poll_output()).count();
    drain(&mut world.peer);
    world.peer.handle(Input::Datagram(OURS, &mut hello.clone()), world.now);
    assert_eq!(drain(&mut world.peer), 0, "an offer's candidate is a claim");
    let check = world.client.tick(world.now).remove(0);
    world.peer.handle(Input::Datagram(OURS, &mut check.clone()), world.now);
    drain(&mut world.peer);
    world.peer.handle(Input::Datagram(OURS, &mut hello), world.now);
    assert_eq!(drain(&mut world.peer), 1, "the cookie");
}

#[test]
fn forged_packets_do_not_end_a_handshake() {
    let forged = [
        &[22, 254, 253, 0, 0][..],
        &[22, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
        &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 2, 40],
        &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 1, 0],
        &[23, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 1],
        &[63, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 1],
    ];
    for datagram in forged {
        let mut world = World::new(1, 0);
        let check = world.client.tick(world.now).remove(0);
        world.peer.handle(Input::Datagram(OURS, &mut check.clone()), world.now);
        world.exchange(vec![datagram.to_vec()]);
        world.run(Duration::from_millis(20));
        assert_eq!(world.states, [ViewerState::Live], "{datagram:?}");
    }
}

#[test]
fn forged_packets_do_not_end_a_session() {
    let mut world = World::new(1, 0);
    world.run(Duration::from_millis(20));
    for first in 0..=255u8 {
        for len in [1, 2, 13, 20, 60, 200] {
            let mut datagram = vec![first; len];
            world.peer.handle(Input::Datagram(OURS, &mut datagram), world.now);
            // Records of DTLS that say: fatal alert, in the clear.
            let mut alert = vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, first, 0, 2, 2, 40];
            world.peer.handle(Input::Datagram(OURS, &mut alert), world.now);
        }
    }
    world.exchange(Vec::new());
    assert_eq!(world.states, [ViewerState::Live]);
}

/// Two peers that have each other's half of one offer and answer, of which `first` has made the offer.
fn pair(first_begins: bool) -> [Peer; 2] {
    let identities = [Identity::generate().unwrap(), Identity::generate().unwrap()];
    let credentials = [Credentials::random("00"), Credentials::random("00")];
    let now = Instant::now();
    let config = |own: usize| PeerConfig {
        begins: (own == 0) == first_begins,
        local: credentials[own].clone(),
        remote: credentials[1 - own].clone(),
        sockets: vec![(0, true)],
        fingerprints: vec![identities[1 - own].fingerprint().clone()],
        ssrc: SSRC,
        payload_type: 96,
        repair: None,
        numbering: None,
        playout: None,
        capture_time: None,
        connect_timeout: CONNECT_TIMEOUT,
        disconnect_grace: GRACE,
        data: None,
        receives: None,
    };
    let [first, second] = [0, 1].map(|own| Peer::new(&identities[own], config(own), now));
    [first.controlling(), second]
}

#[test]
fn who_has_offered_nominates_and_begins_dtls_if_the_answer_wants_it_so() {
    for begins in [true, false] {
        let mut peers = pair(begins);
        let mut now = Instant::now();
        let mut pacer = Pacer::new(now);
        let candidate: Candidate = "1 1 udp 5 127.0.0.1 9 typ host".parse().unwrap();
        peers[0].handle(Input::Candidates(&[candidate]), now);
        let mut answers = 0;
        for _ in 0..100 {
            for at in 0..2 {
                while let Some(output) = peers[at].poll_output() {
                    if let Output::Transmit(_, mut datagram) | Output::Probe(_, mut datagram) = output {
                        answers += usize::from(is_stun(&datagram));
                        peers[1 - at].handle(Input::Datagram(OURS, &mut datagram), now);
                    }
                }
            }
            now += Duration::from_millis(20);
            for peer in &mut peers {
                peer.handle(Input::Timeout(&mut pacer), now);
            }
        }
        assert!(
            peers.iter().all(|peer| peer.state() == ViewerState::Live),
            "begins: {begins}"
        );
        assert!(
            (4..=10).contains(&answers),
            "{answers} for one pair, which is checked and then nominated"
        );
        let [first, second] = peers.map(|peer| peer.export().unwrap());
        assert_eq!(
            (first.keys.send, first.keys.receive),
            (second.keys.receive, second.keys.send)
        );
        assert!(first.controls && !second.controls);
    }
}
