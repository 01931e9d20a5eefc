//! A viewer's connection, as strangers and the viewer itself may write to it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::LazyLock,
    time::{Duration, Instant},
};

use framebridge_rtc::{
    Candidate, Input, Output, Pacer, Peer, PeerConfig, ViewerState,
    dtls::Identity,
    hostile,
    ice::{Credentials, Path},
    stun::{Kind, Stun, Transaction, is_stun, peek_ufrag},
};

use super::script::Script;

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::generate().expect("ring makes a certificate"));

const MOST_STEPS: usize = 256;
/// Datagrams that one authentic message may bring forth: its answer, and what DTLS had waiting.
const MOST_ANSWERS: usize = 8;

/// Attributes that ICE knows, USERNAME first.
const ATTRIBUTES: [u16; 9] = [0x06, 0x24, 0x25, 0x802a, 0x8029, 0x20, 0x09, 0x08, 0x8028];

/// A script of datagrams with and without the password, candidates, restarts and time.
pub(super) fn peer(input: &[u8]) {
    let mut script = Script::new(input);
    let mut scene = Scene::new();
    for _ in 0..MOST_STEPS {
        // A peer that has closed is of no more use, and has no more timers.
        let is_over = matches!(scene.peer.state(), ViewerState::Closed(_));
        let Some(step) = script.step(8).filter(|_| !is_over) else {
            return;
        };
        match step {
            0 => scene.stranger(&mut script),
            1 | 2 => scene.viewer(Kind::Request, &mut script),
            3 => scene.viewer(Kind::Success, &mut script),
            4 => scene.viewer(Kind::Error, &mut script),
            5 => scene.waits(Duration::from_millis(u64::from(script.byte()) * 50)),
            6 => scene.candidate(script.word()),
            _ => scene.restarts(script.byte()),
        }
    }
}

struct Scene {
    now: Instant,
    pacer: Pacer,
    peer: Peer,
    ours: Credentials,
    theirs: Credentials,
    /// The check that was sent last.
    asked: Transaction,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let (ours, theirs) = (credentials(0), credentials(1));
        let config = PeerConfig {
            local: ours.clone(),
            remote: theirs.clone(),
            sockets: vec![(0, true), (1, false)],
            fingerprints: vec![IDENTITY.fingerprint().clone()],
            ssrc: 1,
            payload_type: 96,
            repair: None,
            numbering: None,
            playout: None,
            capture_time: None,
            connect_timeout: Duration::from_secs(15),
            disconnect_grace: Duration::from_secs(12),
            data: None,
            receives: None,
            begins: false,
        };
        Self {
            now,
            pacer: Pacer::new(now),
            peer: Peer::new(&IDENTITY, config, now),
            ours,
            theirs,
            asked: [0; 12],
        }
    }

    /// Does it, and counts the datagrams that go to addresses from which something has been asked.
    fn handle(&mut self, input: Input<'_>) -> usize {
        self.peer.handle(input, self.now);
        let mut sent = 0;
        while let Some(output) = self.peer.poll_output() {
            let (Output::Transmit(_, datagram) | Output::Probe(_, datagram)) = &output else {
                continue;
            };
            sent += usize::from(matches!(output, Output::Transmit(..)));
            if let Some(check) = Stun::decode(datagram).filter(|stun| stun.kind() == Some(Kind::Request)) {
                self.asked = check.transaction();
            }
        }
        sent
    }

    /// A datagram as it stands. Whatever of STUN it is, nobody has signed it, so nothing comes of it.
    fn stranger(&mut self, script: &mut Script<'_>) {
        let (path, mut datagram) = (path(script.byte()), script.bytes().to_vec());
        peek_ufrag(&datagram);
        if let Some(mut stun) = Stun::decode(&datagram) {
            assert!(!stun.is_authentic(&self.ours.password), "nobody has signed it");
            let _said = (
                stun.username(),
                stun.priority(),
                stun.role(),
                stun.nominates(),
                stun.mapped_address(),
            );
        }
        let is_stun = is_stun(&datagram);
        let sent = self.handle(Input::Datagram(path, &mut datagram));
        assert!(!is_stun || sent == 0, "an answer to a stranger");
    }

    /// A message with the right password and whatever else.
    fn viewer(&mut self, kind: Kind, script: &mut Script<'_>) {
        let (path, flags) = (path(script.byte()), script.byte());
        let username = format!("{}:{}", self.ours.ufrag, self.theirs.ufrag);
        let mut attributes = vec![];
        if flags & 1 == 0 {
            attributes.push((ATTRIBUTES[0], username.as_bytes()));
        }
        for _ in 0..flags >> 1 & 7 {
            let known = ATTRIBUTES[usize::from(script.byte()) % ATTRIBUTES.len()];
            let kind = if flags & 16 == 0 { known } else { script.word() };
            attributes.push((kind, script.bytes()));
        }
        let transaction = if flags & 32 == 0 { self.asked } else { [flags; 12] };
        let password = match kind {
            Kind::Request => &self.ours.password,
            Kind::Success | Kind::Error => &self.theirs.password,
        };
        let mut datagram = hostile::stun(kind, transaction, &attributes, password);
        let sent = self.handle(Input::Datagram(path, &mut datagram));
        assert!(sent <= MOST_ANSWERS, "{sent} datagrams for one");
    }

    fn waits(&mut self, time: Duration) {
        self.now += time;
        let mut pacer = self.pacer;
        let sent = self.handle(Input::Timeout(&mut pacer));
        self.pacer = pacer;
        assert!(sent <= MOST_ANSWERS, "{sent} datagrams at once");
        let is_over = matches!(self.peer.state(), ViewerState::Closed(_));
        assert!(
            is_over || self.peer.poll_timeout() + Duration::from_secs(60) > self.now,
            "a timer that stands still"
        );
    }

    fn candidate(&mut self, port: u16) {
        let line = format!("1 1 udp 5 192.0.2.{} {port} typ host", port % 200 + 1);
        let Ok(candidate) = line.parse::<Candidate>() else {
            return;
        };
        self.handle(Input::Candidates(&[candidate]));
    }

    fn restarts(&mut self, generation: u8) {
        (self.ours, self.theirs) = (credentials(generation | 2), credentials(generation | 3));
        self.handle(Input::Restart(self.ours.clone(), self.theirs.clone()));
    }
}

fn credentials(number: u8) -> Credentials {
    Credentials {
        ufrag: format!("user{number}"),
        password: format!("a-password-of-22-characters-{number}"),
    }
}

fn path(number: u8) -> Path {
    let ip = Ipv4Addr::new(198, 51, 100, number / 4);
    Path {
        socket: 0,
        source: None,
        remote: SocketAddr::from((ip, 5000 + u16::from(number % 4))),
    }
}
