//! The two steps that every packet goes through, alone: what benches time and instruction counts count.

use std::time::Instant;

use crate::{
    frame::{Frame, Payloads},
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
