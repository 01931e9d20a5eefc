//! The two steps that every packet goes through, and what each viewer says of its packets, alone: what benches time and
//! instruction counts count.

use std::time::{Duration, Instant};

use crate::{
    feedback::{self, Feedback},
    frame::{Frame, Payloads},
    rate::RateControl,
    srtp::{MasterKey, Profile},
    track::{Track, TrackState},
};

/// Cuts an access unit in Annex B form into RTP payloads, as is done once for all viewers.
#[derive(Debug)]
pub struct Packetised(Payloads);

impl Packetised {
    /// Does it.
    pub fn of(access_unit: &[u8]) -> Self {
        Self(Payloads::of(access_unit))
    }
}

/// One viewer's packets of one picture, as they are made for every viewer: the header written, the payload encrypted.
#[derive(Debug)]
pub struct PacketWriter {
    frame: Frame,
    track: Track,
    datagram: Vec<u8>,
}

impl PacketWriter {
    /// A writer for a picture.
    pub fn new(picture: Packetised, profile: Profile) -> Self {
        let frame = Frame::new(0, 0, true, Instant::now(), picture.0);
        let key = MasterKey {
            key: [1; 16],
            salt: [2; 14],
        };
        // As a browser has it: with a number in each packet.
        let state = TrackState::random(1, 96).with_repair(Some((2, 97)), Some(3));
        Self {
            frame,
            track: Track::new(state, profile, &key),
            datagram: Vec::new(),
        }
    }

    /// Packets of the picture.
    pub fn packets(&self) -> u64 {
        self.frame.end()
    }

    /// Writes all of them, one over the other; returns the last one.
    pub fn write(&mut self) -> &[u8] {
        self.track.jump(0);
        for packet in 0..self.frame.end() {
            if let Some(content) = self.frame.packet(packet) {
                let len = self.track.datagram_len(&self.frame, packet, content.0.len());
                self.datagram.resize(len, 0);
                self.track.write(&self.frame, packet, content, &mut self.datagram);
            }
        }
        &self.datagram
    }
}

/// Pictures between two words of a viewer, packets of each, and the time from one to the next: about what it is at 2.5 Mb/s. A word
/// then takes two of the units of 64 ms that times are told from.
const PICTURES: u64 = 4;
const PACKETS: u8 = 9;
const PERIOD: Duration = Duration::from_millis(32);
/// The same in the units of 250 µs that times are told in.
const PERIOD_TICKS: u8 = 128;

/// One viewer's link as it is followed: its packets noted, its words (transport-wide feedback) read, the estimate made of both.
#[derive(Debug)]
pub struct LinkFollower {
    rate: RateControl,
    now: Instant,
    /// Of the next packet.
    number: u64,
}

impl Default for LinkFollower {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            rate: RateControl::new(now),
            now,
            number: 1 << 16,
        }
    }
}

impl LinkFollower {
    /// Packets that a word is about.
    pub const PACKETS: u64 = PICTURES * PACKETS as u64;

    /// Some pictures go out, and the viewer tells that all has come; what its link carries then, as far as is known.
    pub fn hear(&mut self) -> Option<u64> {
        let word = self.word();
        for _ in 0..PICTURES {
            self.now += PERIOD;
            self.rate
                .on_sent(self.number, PACKETS.into(), 1_200 * u64::from(PACKETS), self.now);
            self.number += u64::from(PACKETS);
        }
        feedback::parse(&word, 1, |told| {
            if let Feedback::Arrivals(arrivals) = told {
                self.rate.on_arrivals(&arrivals, self.now);
            }
        });
        self.rate.estimate()
    }

    /// A word about the next packets: a run of small steps, none but between pictures.
    fn word(&self) -> Vec<u8> {
        let [.., high, low] = self.number.to_be_bytes();
        let steps = (0..PICTURES).flat_map(|_| (0..PACKETS).map(|at| if at == 0 { PERIOD_TICKS } else { 0 }));
        let base = self.number / Self::PACKETS * 2;
        let [.., a, b, c] = base.to_be_bytes();
        let packets = Self::PACKETS.to_be_bytes()[7];
        let mut word = vec![
            0x8f, 205, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, high, low, 0, packets, a, b, c, 0, 0x20, packets,
        ];
        word.extend(steps);
        word.resize(word.len().next_multiple_of(4), 0);
        word[3] = (word.len() as u64 / 4 - 1).to_be_bytes()[7];
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_counted_are_understood() {
        let mut follower = LinkFollower::default();
        let estimates: Vec<Option<u64>> = (0..30).map(|_| follower.hear()).collect();
        let estimate = estimates[29].unwrap();
        assert!((2_500_000..4_000_000).contains(&estimate), "{estimates:?}");
        assert_eq!(follower.rate.loss(), 0.0);
    }
}
