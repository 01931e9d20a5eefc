//! A source's own H.264, taken apart without being decoded.

use std::collections::BTreeMap;

use bytes::Bytes;
use ffmpeg_next::{Packet, codec::packet::side_data::Type as SideData};
use framebridge_core::h264::{self, IDR, LONGEST_SET, PPS, SLICE, SPS, Sps};

/// Parameter sets that are kept: encoders have one of each kind, and a few more where they change their mind. Further ones
/// are left out, as a picture that needs one then shows.
const MOST_SETS: usize = 16;

/// What goes before each NAL unit.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The H.264 of one stream.
pub(super) struct Coded {
    /// How wide the length before each NAL unit is; `None`: it is an Annex B byte stream.
    lengths: Option<usize>,
    /// By kind and number.
    sets: BTreeMap<(u8, u32), Vec<u8>>,
    sps: Option<Sps>,
}

/// One picture of it.
#[derive(Debug)]
pub struct CodedPicture {
    /// Annex B bytes, with all parameter sets before a keyframe. What says nothing to a player is left out.
    pub(super) payload: Bytes,
    pub(super) keyframe: bool,
    /// Whether it leans on pictures before and after it.
    pub(super) bidirectional: bool,
}

impl Coded {
    /// Of a stream whose container says this of it.
    pub(super) fn new(extradata: &[u8]) -> Self {
        let mut coded = Self {
            lengths: None,
            sets: BTreeMap::new(),
            sps: None,
        };
        coded.describe(extradata);
        coded
    }

    /// What the parameter set says that is in force.
    pub(super) fn sps(&self) -> Option<&Sps> {
        self.sps.as_ref()
    }

    fn describe(&mut self, extradata: &[u8]) {
        if let Some((width, sets)) = h264::configuration_record(extradata) {
            self.lengths = Some(width);
            sets.into_iter().for_each(|set| _ = self.learn(set));
        } else {
            let sets: Vec<&[u8]> = h264::annex_b(extradata).collect();
            sets.into_iter().for_each(|set| _ = self.learn(set));
        }
    }

    /// Takes a parameter set in. Whether it is news.
    fn learn(&mut self, unit: &[u8]) -> bool {
        let kind = h264::kind(unit);
        let Some(number) = h264::set_number(unit) else {
            return false;
        };
        let key = (kind, number);
        let is_full = self.sets.len() >= MOST_SETS && !self.sets.contains_key(&key);
        if is_full || unit.len() > LONGEST_SET || self.sets.get(&key).is_some_and(|known| known == unit) {
            return false;
        }
        if kind == SPS {
            self.sps = Sps::parse(unit);
        }
        self.sets.insert(key, unit.to_vec());
        true
    }

    /// The picture in a packet; `None`: there is none in it.
    pub(super) fn picture(&mut self, packet: &Packet) -> Option<CodedPicture> {
        for news in packet.side_data() {
            if news.kind() == SideData::NewExtraData {
                self.describe(news.data());
            }
        }
        let data = packet.data()?;
        match self.lengths {
            Some(width) => self.assemble(data.len(), h264::length_prefixed(data, width)),
            None => self.assemble(data.len(), h264::annex_b(data)),
        }
    }

    fn assemble<'a>(&mut self, bytes: usize, units: impl Iterator<Item = &'a [u8]>) -> Option<CodedPicture> {
        let mut news: Vec<&[u8]> = Vec::new();
        let mut slices: Vec<&[u8]> = Vec::new();
        for unit in units {
            match h264::kind(unit) {
                SPS | PPS if self.learn(unit) => news.push(unit),
                SLICE..=IDR => slices.push(unit),
                _ => {}
            }
        }
        let first = slices.first()?;
        let keyframe = h264::kind(first) == IDR;
        let bidirectional = slices.iter().any(|slice| h264::is_bidirectional(slice) == Some(true));
        let mut payload = Vec::with_capacity(bytes + 256);
        let mut put = |unit: &[u8]| {
            payload.extend_from_slice(&START_CODE);
            payload.extend_from_slice(unit);
        };
        if keyframe {
            self.sets.values().for_each(|set| put(set));
        } else {
            news.into_iter().for_each(&mut put);
        }
        slices.into_iter().for_each(put);
        Some(CodedPicture {
            payload: payload.into(),
            keyframe,
            bidirectional,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETS: [&[u8]; 2] = [
        &[
            0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00,
            0x03, 0x00, 0x32, 0x8f, 0x16, 0x2e, 0x48,
        ],
        &[0x68, 0xce, 0x38, 0x80],
    ];

    fn stream(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&START_CODE[..], unit].concat()).collect()
    }

    fn prefixed(units: &[&[u8]]) -> Vec<u8> {
        let length = |unit: &[u8]| u32::try_from(unit.len()).unwrap().to_be_bytes();
        units
            .iter()
            .flat_map(|unit| [&length(unit)[..], unit].concat())
            .collect()
    }

    fn record() -> Vec<u8> {
        let [sps, pps] = SETS.map(|set| [&[0, u8::try_from(set.len()).unwrap()], set].concat());
        [&[1, 0x42, 0xc0, 0x1e, 0xff, 0xe1][..], &sps, &[1], &pps].concat()
    }

    #[test]
    fn each_keyframe_has_its_sets_whatever_form_they_came_in() {
        let (delimiter, idr, slice): (&[u8], &[u8], &[u8]) = (&[9, 0x10], &[0x65, 0x88, 0x84], &[0x41, 0x9a, 0x02]);
        let whole = stream(&[SETS[0], SETS[1], idr]);
        let of = |coded: &mut Coded, bytes: &[u8]| coded.picture(&Packet::copy(bytes)).unwrap();

        let mut film = Coded::new(&record());
        assert!(film.sps().is_some());
        let picture = of(&mut film, &prefixed(&[delimiter, idr]));
        assert_eq!((&picture.payload[..], picture.keyframe), (&whole[..], true));
        assert_eq!(of(&mut film, &prefixed(&[slice])).payload, stream(&[slice]));

        let mut camera = Coded::new(&[]);
        let begins = of(&mut camera, &stream(&[delimiter, SETS[0], SETS[1], idr]));
        assert_eq!(begins.payload, whole);
        assert_eq!(of(&mut camera, &stream(&[idr])).payload, whole, "said once");
        assert_eq!(
            of(&mut camera, &stream(&[SETS[0], SETS[1], slice])).payload,
            stream(&[slice])
        );
        let other: &[u8] = &[0x68, 0xce, 0x38, 0x90];
        assert_eq!(
            of(&mut camera, &stream(&[other, slice])).payload,
            stream(&[other, slice])
        );
        assert!(camera.picture(&Packet::copy(&stream(&[delimiter]))).is_none());
    }

    #[test]
    fn sets_are_kept_in_bounds() {
        let mut coded = Coded::new(&[]);
        for number in 0..200_u8 {
            // One bit more each time: another number.
            let set = [0x68, 1 << (number % 8), number | 1, 0x80];
            coded.learn(&set);
        }
        assert!(coded.sets.len() <= MOST_SETS);
        let long = [&[0x68, 0xce][..], &[0x80; LONGEST_SET]].concat();
        assert!(!Coded::new(&[]).learn(&long), "none is so long");
    }
}
