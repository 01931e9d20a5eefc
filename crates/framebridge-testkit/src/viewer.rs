//! The light viewer: full ICE (controlling) and DTLS, then it counts and samples instead of decoding. Sans-IO.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

use framebridge_rtc::{
    Candidate,
    dtls::{Association, Established, Fingerprint, Identity, Progress},
    ice::Credentials,
    srtp::{Profile, RTP_HEADER, Receiver, Sender},
    stun::{self, Check, IceRole, Kind, Stun, Transaction},
};

use crate::{
    arrivals::{self, Arrivals},
    reception::{self, Reception},
};

/// The time between two rounds of checks while there is no path.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// The time between two checks of the path in use; browsers take 2.5 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(2500);
/// The time between reception reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two words about what has come; browsers take 50 to 250 ms.
const ARRIVALS_INTERVAL: Duration = Duration::from_millis(100);
/// The payload types that it offers: of media, and of what is sent again.
const MEDIA: u8 = 96;
const REPAIR: u8 = 97;
/// Priority of our end, a host candidate's.
const PRIORITY: u32 = (126 << 24) | (65_535 << 8) | 255;

/// How a viewer behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// SRTP profiles it offers, in order.
    pub profiles: Vec<Profile>,
    /// Whether it asks for lost packets again.
    pub nack: bool,
    /// One packet in so many is decrypted and authenticated, once the first picture is there.
    pub sample: u64,
    /// One media packet in so many is thrown away on arrival, as a bad link would; 0: none.
    pub drop: u64,
    /// What it believes its link carries, bits per second, and tells with every report (REMB).
    pub estimate: Option<u32>,
    /// Whether it takes repeats as a stream of their own, and tells when packets came, as browsers do.
    pub transport: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profiles: vec![Profile::AeadAes128Gcm, Profile::Aes128CmSha1],
            nack: true,
            sample: 64,
            drop: 0,
            estimate: None,
            transport: true,
        }
    }
}

/// The answer lacks something, or DTLS can't start.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// An attribute is missing or malformed.
    #[error("the answer has no usable {0}")]
    Missing(&'static str),
    /// DTLS can't start.
    #[error("can't start DTLS")]
    Dtls(#[from] framebridge_rtc::dtls::DtlsError),
}

/// One viewer. After every call drain [`Viewer::poll_transmit`].
#[derive(Debug)]
pub struct Viewer {
    options: Options,
    identity: Identity,
    local: Credentials,
    remote: Option<Credentials>,
    candidates: Vec<SocketAddr>,
    selected: Option<SocketAddr>,
    /// The checks under way and where they went.
    checks: VecDeque<(Transaction, SocketAddr)>,
    next_check: Instant,
    dtls: Option<Association>,
    /// Whether the other end begins DTLS.
    is_called: bool,
    profile: Option<Profile>,
    keys: Option<(Receiver, Sender)>,
    next_report: Instant,
    ssrc: u32,
    reception: Reception,
    is_closed: bool,
    received: u64,
    arrivals: Arrivals,
    next_arrivals: Instant,
    /// The highest index of what was sent again.
    highest_repair: Option<u64>,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Viewer {
    /// A viewer with an identity, which many may share: making one takes longer than everything else here.
    pub fn new(identity: Identity, options: Options, now: Instant) -> Self {
        Self {
            options,
            identity,
            local: Credentials::random(""),
            remote: None,
            candidates: Vec::new(),
            selected: None,
            checks: VecDeque::new(),
            next_check: now,
            dtls: None,
            is_called: false,
            profile: None,
            keys: None,
            next_report: now,
            ssrc: 1,
            reception: Reception::new(now),
            is_closed: false,
            received: 0,
            arrivals: Arrivals::new(now),
            next_arrivals: now,
            highest_repair: None,
            transmits: VecDeque::new(),
        }
    }

    /// The offer to POST: one H.264 section, no candidates, as a browser behind mDNS would send it.
    pub fn offer(&self) -> String {
        let (formats, transport) = if self.options.transport {
            let lines = format!(
                "a=rtpmap:{REPAIR} rtx/90000\r\na=fmtp:{REPAIR} apt={MEDIA}\r\na=rtcp-fb:{MEDIA} transport-cc\r\n\
                 a=extmap:{} {}\r\na=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n",
                arrivals::NUMBER,
                arrivals::NAME,
            );
            (format!("{MEDIA} {REPAIR}"), lines)
        } else {
            (MEDIA.to_string(), String::new())
        };
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
             a=ice-options:trickle\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{}\r\na=setup:actpass\r\n\
             a=rtpmap:96 H264/90000\r\na=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
             a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 goog-remb\r\n{transport}",
            self.local.ufrag,
            self.local.password,
            self.identity.fingerprint(),
        )
    }

    /// Takes the answer and starts to connect, over candidates of `is_ipv4`'s family.
    ///
    /// # Errors
    /// See [`AnswerError`].
    pub fn accept(&mut self, answer: &str, is_ipv4: bool, now: Instant) -> Result<(), AnswerError> {
        let attribute = |name: &'static str| {
            let line = answer
                .lines()
                .filter_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).next().ok_or(AnswerError::Missing(name))
        };
        let (ufrag, password) = (attribute("ice-ufrag")?.to_owned(), attribute("ice-pwd")?.to_owned());
        let fingerprint: Fingerprint = attribute("fingerprint")?
            .parse()
            .map_err(|_| AnswerError::Missing("fingerprint"))?;
        let candidates = answer
            .lines()
            .filter_map(|line| line.strip_prefix("a=candidate:")?.parse::<Candidate>().ok());
        self.candidates = candidates
            .map(|it| it.address)
            .filter(|it| it.is_ipv4() == is_ipv4)
            .collect();
        if self.candidates.is_empty() {
            return Err(AnswerError::Missing("candidate"));
        }
        self.remote = Some(Credentials { ufrag, password });
        self.is_called = attribute("setup").is_ok_and(|setup| setup == "active");
        self.dtls = Some(if self.is_called {
            Association::server(&self.identity, vec![fingerprint])
        } else {
            Association::client(&self.identity, vec![fingerprint], &self.options.profiles, now)?
        });
        self.next_check = now;
        Ok(())
    }

    /// What was received so far.
    pub fn reception(&self) -> &Reception {
        &self.reception
    }

    /// How it behaves from here on; profiles are settled.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Forgets the longest gap so far.
    pub fn restart_gap(&mut self) {
        self.reception.longest_gap = Duration::ZERO;
    }

    /// Where the other end is, once it has answered a check.
    pub fn path(&self) -> Option<SocketAddr> {
        self.selected
    }

    /// Whether keys and path are there.
    pub fn is_connected(&self) -> bool {
        self.keys.is_some() && self.selected.is_some() && !self.is_closed
    }

    /// The profile that was agreed on.
    pub fn profile(&self) -> Option<Profile> {
        self.profile
    }

    /// Whether the other end said goodbye, or DTLS failed.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Takes a datagram.
    pub fn handle(&mut self, datagram: &mut [u8], from: SocketAddr, now: Instant) {
        match datagram.first() {
            Some(0..=3) => self.on_stun(datagram, from),
            Some(20..=63) => self.on_dtls(datagram, now),
            Some(128..=191) if datagram.get(1).is_some_and(|kind| (192..=223).contains(kind)) => {
                self.reception.on_report();
            }
            Some(128..=191) => self.on_rtp(datagram, now),
            _ => {}
        }
        self.drain_dtls();
    }

    fn on_stun(&mut self, datagram: &[u8], from: SocketAddr) {
        let (Some(mut message), Some(remote)) = (Stun::decode(datagram), &self.remote) else {
            return;
        };
        match message.kind() {
            Some(Kind::Request) if message.is_authentic(&self.local.password) => {
                let answer = stun::success(message.transaction(), from, &self.local.password);
                self.transmits.push_back((from, answer));
            }
            Some(Kind::Success) if message.is_authentic(&remote.password) => {
                let sent = self
                    .checks
                    .iter()
                    .find(|(transaction, _)| *transaction == message.transaction());
                if let (Some((_, to)), None) = (sent, self.selected) {
                    self.selected = Some(*to);
                    let to = *to;
                    self.check(to, true);
                }
            }
            _ => {}
        }
    }

    fn on_dtls(&mut self, datagram: &[u8], now: Instant) {
        let Some(dtls) = &mut self.dtls else { return };
        match dtls.handle(datagram, now) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Established(Established { profile, keys })) => {
                self.profile = Some(profile);
                let (theirs, ours) = if self.is_called {
                    (&keys.client, &keys.server)
                } else {
                    (&keys.server, &keys.client)
                };
                self.keys = Some((Receiver::new(profile, theirs), Sender::new(profile, ours, self.ssrc, 0)));
                self.next_report = now + REPORT_INTERVAL;
            }
            Ok(Progress::PeerClosed) | Err(_) => self.is_closed = true,
        }
    }

    fn on_rtp(&mut self, datagram: &mut [u8], now: Instant) {
        self.received += 1;
        let is_dropped = self.options.drop > 0 && self.received.is_multiple_of(self.options.drop);
        if self.keys.is_none() || datagram.len() < RTP_HEADER || is_dropped {
            return;
        }
        self.arrivals.note(datagram, now);
        if datagram[1] & 0x7f == REPAIR {
            self.on_repair(datagram, now);
            return;
        }
        let header: [u8; 8] = std::array::from_fn(|at| datagram[at]);
        let index = self.reception.index_of(&header);
        let is_sampled = !self.reception.has_picture() || index.is_multiple_of(self.options.sample.max(1));
        let len = datagram.len();
        let payload = if is_sampled {
            match self.open(datagram, index) {
                Some(payload) => Some(payload),
                None => return,
            }
        } else {
            None
        };
        self.reception.set_ssrc(word(&datagram[8..]));
        let payload = payload.map(|payload| &datagram[payload]);
        let missing = self.reception.on_packet(index, header, payload, len, now);
        if self.options.nack && !missing.is_empty() {
            self.nack(&missing);
        }
    }

    /// A packet that was sent again (RFC 4588): in front of its payload stands the number of what it repeats.
    fn on_repair(&mut self, datagram: &mut [u8], now: Instant) {
        let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
        let index = reception::nearest(sequence, self.highest_repair);
        let len = datagram.len();
        let Some(payload) = self.open(datagram, index).filter(|payload| payload.len() > 2) else {
            return;
        };
        self.highest_repair = Some(index.max(self.highest_repair.unwrap_or(0)));
        let mut header: [u8; 8] = std::array::from_fn(|at| datagram[at]);
        header[1] = header[1] & 0x80 | MEDIA;
        header[2..4].copy_from_slice(&datagram[payload.start..payload.start + 2]);
        let repeated = self.reception.index_of(&header);
        let content = &datagram[payload.start + 2..payload.end];
        self.reception.on_packet(repeated, header, Some(content), len, now);
    }

    /// Decrypts a packet and says where its payload is; one that is not authentic is counted.
    fn open(&mut self, datagram: &mut [u8], index: u64) -> Option<Range<usize>> {
        let (receiver, _) = self.keys.as_ref()?;
        let opened = receiver.open_rtp(datagram, index).ok();
        if opened.is_none() {
            self.reception.on_forged();
        }
        opened
    }

    /// Does what is due: checks, handshake repetitions, reports. Call it every 10 to 50 ms.
    pub fn tick(&mut self, now: Instant) {
        if self.remote.is_some() && self.next_check <= now {
            match self.selected {
                Some(path) => {
                    self.check(path, true);
                    self.next_check = now + KEEPALIVE_INTERVAL;
                }
                None => {
                    for at in 0..self.candidates.len() {
                        self.check(self.candidates[at], false);
                    }
                    self.next_check = now + CHECK_INTERVAL;
                }
            }
        }
        if let Some(dtls) = &mut self.dtls {
            self.is_closed |= dtls.handle_timeout(now).is_err();
        }
        if self.keys.is_some() && self.next_report <= now {
            self.next_report = now + REPORT_INTERVAL;
            let mut compound = self.reception.report(self.ssrc);
            compound.extend(
                self.options
                    .estimate
                    .into_iter()
                    .flat_map(|estimate| self.remb(estimate)),
            );
            self.send_rtcp(compound);
            if !self.reception.has_picture() {
                self.request_keyframe();
            }
        }
        if self.keys.is_some() && self.next_arrivals <= now {
            self.next_arrivals = now + ARRIVALS_INTERVAL;
            if let Some(told) = self.arrivals.tell(self.ssrc, self.reception.ssrc()) {
                self.send_rtcp(told);
            }
        }
        self.drain_dtls();
    }

    /// Asks for an IDR (PLI).
    pub fn request_keyframe(&mut self) {
        let media = self.reception.ssrc().to_be_bytes();
        let packet = [&[0x81, 206, 0, 2][..], &self.ssrc.to_be_bytes(), &media].concat();
        self.send_rtcp(packet);
    }

    /// Asks for the last `packets` packets again (NACK), whether or not they came.
    pub fn request_last(&mut self, packets: u16) {
        let last = self.reception.last_sequence();
        let numbers: Vec<u16> = (0..packets).map(|back| last.wrapping_sub(back)).collect();
        self.nack(&numbers);
    }

    /// Says goodbye.
    pub fn close(&mut self, now: Instant) {
        if let Some(dtls) = &mut self.dtls {
            dtls.close(now);
        }
        self.drain_dtls();
        self.is_closed = true;
    }

    /// The next datagram to send, and where to.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    fn check(&mut self, to: SocketAddr, nominate: bool) {
        let Some(remote) = &self.remote else { return };
        let check = Check {
            ufrags: (&remote.ufrag, &self.local.ufrag),
            password: &remote.password,
            role: IceRole::Controlling,
            priority: PRIORITY,
            nominate,
        };
        let (transaction, datagram) = check.encode();
        self.checks.push_back((transaction, to));
        if self.checks.len() > 32 {
            self.checks.pop_front();
        }
        self.transmits.push_back((to, datagram));
    }

    fn drain_dtls(&mut self) {
        let (Some(path), Some(dtls)) = (self.selected, &mut self.dtls) else {
            return;
        };
        while let Some(datagram) = dtls.poll_transmit() {
            self.transmits.push_back((path, datagram.to_vec()));
        }
    }

    /// An estimate of the link (draft-alvestrand-rmcat-remb section 2.2): 18 bits of mantissa, 6 of exponent.
    fn remb(&self, bits_per_second: u32) -> Vec<u8> {
        let exponent = 14_u32.saturating_sub(bits_per_second.leading_zeros());
        let word = 1 << 24 | exponent << 18 | bits_per_second >> exponent;
        [
            &[0x8f, 206, 0, 5][..],
            &self.ssrc.to_be_bytes(),
            &[0; 4],
            b"REMB",
            &word.to_be_bytes(),
            &self.reception.ssrc().to_be_bytes(),
        ]
        .concat()
    }

    fn nack(&mut self, missing: &[u16]) {
        let media = self.reception.ssrc().to_be_bytes();
        let mut packet = [&[0x81, 205, 0, 0][..], &self.ssrc.to_be_bytes(), &media].concat();
        for sequence in missing {
            packet.extend_from_slice(&sequence.to_be_bytes());
            packet.extend_from_slice(&[0, 0]);
        }
        let words = u16::try_from(packet.len() / 4 - 1).unwrap_or(u16::MAX);
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        self.send_rtcp(packet);
    }

    fn send_rtcp(&mut self, mut packet: Vec<u8>) {
        if let (Some((_, sender)), Some(path)) = (&mut self.keys, self.selected) {
            sender.protect_rtcp(&mut packet);
            self.transmits.push_back((path, packet));
        }
    }
}

/// The big-endian word at the start of `bytes`.
fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dtls_is_begun_here_unless_the_answer_says_that_it_is_begun_there() {
        let now = Instant::now();
        for (setup, begins) in [("passive", true), ("active", false)] {
            let mut viewer = Viewer::new(Identity::generate().unwrap(), Options::default(), now);
            let answer = format!(
                "a=ice-ufrag:ufrag\r\na=ice-pwd:password\r\na=fingerprint:{}\r\na=setup:{setup}\r\n\
                 a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n",
                viewer.identity.fingerprint()
            );
            viewer.accept(&answer, true, now).unwrap();
            let first = viewer.dtls.unwrap().poll_transmit();
            assert_eq!(first.is_some(), begins, "{setup}");
        }
    }
}
