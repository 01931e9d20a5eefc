//! What strangers' bytes reach behind the types that are public, alone: what the fuzz targets (`tests/fuzz`) feed.

use std::time::Instant;

use crate::{
    Candidate, Containment, Feedback, Form, Receives, Unit,
    data::Lanes,
    dtls::Fingerprint,
    feedback,
    ice::Credentials,
    inbound::{Inbound, Outcome},
    sdp::{Answer, Change, Fragment, LineOffer, Offer},
    srtp::rtp_header_len,
    stun::{self, Kind, Transaction},
};

/// The passive end of a line's data channels.
#[derive(Debug)]
pub struct Line(Lanes);

impl Line {
    /// Nobody has begun yet.
    pub fn new(containment: Containment) -> Self {
        Self(Lanes::new(containment))
    }

    /// Takes a packet of the other end; false: the line has ended.
    pub fn take(&mut self, packet: &[u8], now: Instant) -> bool {
        self.0.handle(packet, now).is_ok()
    }

    /// Lets time pass; false: the line has ended.
    pub fn wait(&mut self, now: Instant) -> bool {
        self.0.handle_timeout(now).is_ok()
    }

    /// What it wants sent.
    pub fn answers(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.0.poll_transmit())
            .map(|packet| packet.to_vec())
            .collect()
    }

    /// The messages that have come.
    pub fn messages(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.0.poll_message())
            .map(|(_, message)| message)
            .collect()
    }
}

/// A publisher's media behind its protection.
#[derive(Debug)]
pub struct Publisher(Inbound);

/// What comes of a packet, or of time that passes.
#[derive(Debug, Default)]
pub struct Heard {
    /// Frames.
    pub units: Vec<Unit>,
    /// What the publisher is told: compound RTCP packets.
    pub told: Vec<Vec<u8>>,
}

impl Publisher {
    /// The payload types of the media stream and of its repairs.
    pub const MEDIA: u8 = 102;
    /// See [`MEDIA`](Self::MEDIA).
    pub const REPAIR: u8 = 103;

    /// Nothing has come yet.
    pub fn new(now: Instant) -> Self {
        let receives = Receives {
            payload_type: Self::MEDIA,
            repair: Some(Self::REPAIR),
            numbering: Some(4),
        };
        Self(Inbound::new(receives, 1, now))
    }

    /// Takes an authentic packet, decrypted.
    pub fn take(&mut self, packet: &[u8], now: Instant) -> Heard {
        let payload = rtp_header_len(packet).and_then(|clear| packet.get(clear..));
        if let (Some((head, index)), Some(payload)) = (self.0.head(packet), payload) {
            self.0.packet(head, index, payload, now);
        }
        self.heard()
    }

    /// Lets time pass.
    pub fn wait(&mut self, now: Instant) -> Heard {
        self.0.handle_timeout(now);
        self.heard()
    }

    fn heard(&mut self) -> Heard {
        let mut heard = Heard::default();
        while let Some(outcome) = self.0.poll() {
            match outcome {
                Outcome::Unit(unit) => heard.units.push(unit),
                Outcome::Rtcp(packet) => heard.told.push(packet),
            }
        }
        heard
    }
}

/// Reads an offer of a line and answers it; `None` if it is refused.
pub fn line_answer(offer: &str, fingerprint: &Fingerprint) -> Option<String> {
    let offer = LineOffer::parse(offer).ok()?;
    let candidates = ["1 1 udp 5 192.0.2.1 4000 typ host".parse().ok()?];
    Some(offer.answer(1, (&Credentials::random("0"), fingerprint), &candidates))
}

/// Reads a compound RTCP packet about our `ssrc`.
pub fn feedback(compound: &[u8], ssrc: u32) -> Vec<Feedback> {
    let mut told = Vec::new();
    feedback::parse(compound, ssrc, |feedback| told.push(feedback));
    told
}

/// Reads an offer and answers it; `None` if it is refused.
pub fn answer(offer: &str, fingerprint: &Fingerprint) -> Option<String> {
    let offer = Offer::parse(offer).ok()?;
    let answer = Answer {
        offer,
        ice: Credentials::random("0"),
        fingerprint: fingerprint.clone(),
        candidates: vec!["1 1 udp 5 192.0.2.1 4000 typ host".parse().ok()?],
        ssrc: 1,
        repair_ssrc: 2,
        name: "name".to_owned(),
        cname: "cname".to_owned(),
    };
    Some(answer.write(Some(52)))
}

/// Reads an answer to an offer of ours; false if it is refused.
pub fn agrees(answer: &str) -> bool {
    Offer::parse_answer(answer, Form::Encoded).is_ok()
}

/// What a fragment asks for.
#[derive(Debug)]
pub struct Asked {
    /// The credentials of another generation, if it wants to start over.
    pub restart: Option<Credentials>,
    /// Further candidates.
    pub candidates: Vec<Candidate>,
}

/// Reads a fragment for a session whose generation in force is `current`; `None` if it is refused.
pub fn fragment(text: &str, current: &Credentials) -> Option<Asked> {
    let (restart, candidates) = match Fragment::parse(text).ok()?.against(current) {
        Change::Candidates(candidates) => (None, candidates),
        Change::Restart(fresh, candidates) => (Some(fresh), candidates),
    };
    Some(Asked { restart, candidates })
}

/// Writes a fragment as we do after a restart.
pub fn write_fragment(ice: &Credentials, candidates: &[Candidate]) -> String {
    Fragment::write(ice, Some("0"), candidates)
}

/// A STUN message with these attributes, signed.
pub fn stun(kind: Kind, transaction: Transaction, attributes: &[(u16, &[u8])], password: &str) -> Vec<u8> {
    stun::signed(kind, transaction, attributes, password)
}
