//! One end of a DTLS association, between an honest other end and strangers who write in its name.

use std::{
    collections::VecDeque,
    sync::LazyLock,
    time::{Duration, Instant},
};

use framebridge_rtc::{
    dtls::{Association, DtlsError, Identity, Progress},
    srtp::Profile,
};

use super::script::Script;

static IDENTITIES: LazyLock<[Identity; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Identity::generate().expect("ring makes a certificate")));

/// Datagrams that one datagram may bring forth: a flight, and answers to some hellos.
const MOST_ANSWERS: usize = 32;
/// A script's longest: enough for several handshakes.
const MOST_STEPS: usize = 256;

/// What a client sends by its `message_seq`, and a server.
const OF_CLIENT: [u8; 6] = [1, 1, 11, 16, 15, 20];
const OF_SERVER: [u8; 6] = [3, 2, 11, 12, 13, 14];

/// A script of what is sent to the passive end, lost, damaged, repeated and forged.
pub(super) fn association(input: &[u8]) {
    play(Scene::passive(), input);
}

/// Likewise to the active end.
pub(super) fn beginning(input: &[u8]) {
    play(Scene::active(), input);
}

fn play(mut scene: Scene, input: &[u8]) {
    let mut script = Script::new(input);
    for _ in 0..MOST_STEPS {
        let Some(step) = script.step(10) else { return };
        let went_on = match step {
            0 => scene.forged(script.bytes()),
            1 | 2 => scene.other_speaks(),
            3 => scene.ours_speaks(),
            4 => scene.damaged(script.word(), script.byte()),
            5 => scene.lost(),
            6 => scene.repeated(),
            7 => scene.waits(Duration::from_millis(u64::from(script.byte()) * 10)),
            8 => scene.fragment(&mut script),
            _ => scene.in_pieces(usize::from(script.byte()) + 1),
        };
        if went_on.is_err() {
            return;
        }
    }
}

struct Scene {
    now: Instant,
    /// The end that is looked at.
    ours: Association,
    other: Association,
    /// What the other end sends by its `message_seq`.
    kinds: [u8; 6],
    to_ours: VecDeque<Vec<u8>>,
    to_other: VecDeque<Vec<u8>>,
    last: Vec<u8>,
    /// Whether anything of the other end's has arrived, damaged or not.
    is_met: bool,
}

impl Scene {
    fn passive() -> Self {
        let [server, client] = ends();
        Self::new(server, client, OF_CLIENT)
    }

    fn active() -> Self {
        let [server, client] = ends();
        Self::new(client, server, OF_SERVER)
    }

    fn new(ours: Association, other: Association, kinds: [u8; 6]) -> Self {
        let mut scene = Self {
            now: Instant::now(),
            ours,
            other,
            kinds,
            to_ours: VecDeque::new(),
            to_other: VecDeque::new(),
            last: Vec::new(),
            is_met: false,
        };
        scene.collect();
        scene
    }

    /// Takes over what both ends want sent.
    fn collect(&mut self) {
        self.to_ours
            .extend(std::iter::from_fn(|| self.other.poll_transmit()).map(|it| it.to_vec()));
        self.to_other
            .extend(std::iter::from_fn(|| self.ours.poll_transmit()).map(|it| it.to_vec()));
    }

    /// Gives our end a datagram.
    fn deliver(&mut self, datagram: &[u8]) -> Result<Progress, DtlsError> {
        let before = self.to_other.len();
        let progress = self.ours.handle(datagram, self.now);
        self.collect();
        let answers = self.to_other.len() - before;
        assert!(answers <= MOST_ANSWERS, "{answers} datagrams for one");
        progress
    }

    /// A stranger's datagram. It can't say goodbye in the other end's name, nor end a handshake well; and before a client is there it
    /// leads nowhere.
    fn forged(&mut self, datagram: &[u8]) -> Result<(), DtlsError> {
        let progress = self.deliver(datagram);
        if !self.is_met && self.kinds == OF_CLIENT {
            assert!(matches!(progress, Ok(Progress::Pending)), "{progress:?}");
        }
        assert!(!matches!(progress, Ok(Progress::PeerClosed)), "a forged goodbye");
        assert!(
            self.is_met || !matches!(progress, Ok(Progress::Established(_))),
            "nobody is there"
        );
        progress.map(drop)
    }

    /// A stranger's fragment of a handshake message, well formed.
    fn fragment(&mut self, script: &mut Script<'_>) -> Result<(), DtlsError> {
        let (sequence, total, start) = (script.byte() % 6, script.word(), script.word());
        let data = script.bytes();
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        let mut body = vec![self.kinds[usize::from(sequence)], 0];
        body.extend(total.to_be_bytes());
        body.extend([0, sequence, 0]);
        body.extend(start.to_be_bytes());
        body.push(0);
        body.extend(length.to_be_bytes());
        body.extend(data);
        self.forged(&record(&body))
    }

    fn other_speaks(&mut self) -> Result<(), DtlsError> {
        let Some(datagram) = self.to_ours.pop_front() else {
            return Ok(());
        };
        self.is_met = true;
        let progress = self.deliver(&datagram);
        self.last = datagram;
        progress.map(drop)
    }

    fn ours_speaks(&mut self) -> Result<(), DtlsError> {
        if let Some(datagram) = self.to_other.pop_front() {
            let went_on = self.other.handle(&datagram, self.now).map(drop);
            self.collect();
            went_on?;
        }
        Ok(())
    }

    /// The other end's next datagram comes with a touched byte, and in its own time as it is.
    fn damaged(&mut self, at: u16, with: u8) -> Result<(), DtlsError> {
        let Some(mut datagram) = self.to_ours.front().cloned() else {
            return Ok(());
        };
        let at = usize::from(at) % datagram.len();
        datagram[at] ^= with;
        self.is_met = true;
        self.deliver(&datagram).map(drop)
    }

    fn lost(&mut self) -> Result<(), DtlsError> {
        self.to_ours.pop_front();
        Ok(())
    }

    fn repeated(&mut self) -> Result<(), DtlsError> {
        let datagram = self.last.clone();
        self.deliver(&datagram).map(drop)
    }

    /// The other end's next handshake message comes in records of one fragment each.
    fn in_pieces(&mut self, size: usize) -> Result<(), DtlsError> {
        /// Of a record with one whole message.
        const HEADERS: usize = 25;
        let Some(datagram) = self.to_ours.pop_front() else {
            return Ok(());
        };
        self.is_met = true;
        let is_plain = datagram.len() > HEADERS && datagram[0] == 22 && datagram[3..5] == [0, 0];
        let length = datagram
            .get(11..13)
            .map_or(0, |it| usize::from(it[0]) << 8 | usize::from(it[1]));
        if !is_plain || 13 + length != datagram.len() {
            return self.deliver(&datagram).map(drop);
        }
        for (piece, data) in datagram[HEADERS..].chunks(size).enumerate() {
            let start = u32::try_from(piece * size).unwrap_or(u32::MAX).to_be_bytes();
            let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
            let body = [&datagram[13..19], &start[1..], &length[1..], data].concat();
            self.deliver(&record(&body))?;
        }
        Ok(())
    }

    fn waits(&mut self, time: Duration) -> Result<(), DtlsError> {
        self.now += time;
        let went_on = [self.ours.handle_timeout(self.now), self.other.handle_timeout(self.now)];
        self.collect();
        went_on.into_iter().collect()
    }
}

/// A server and a client that know each other.
fn ends() -> [Association; 2] {
    let [ours, theirs] = &*IDENTITIES;
    let profiles = [Profile::AeadAes128Gcm, Profile::Aes128CmSha1];
    let client = Association::client(theirs, vec![ours.fingerprint().clone()], &profiles, Instant::now());
    let server = Association::server(ours, vec![theirs.fingerprint().clone()]);
    [server, client.expect("a client's configuration")]
}

/// A plaintext handshake record.
fn record(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9][..], &length, body].concat()
}
