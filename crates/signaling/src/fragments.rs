//! Fragmented MP4 (ISO/IEC 14496-12) of H.264: a film that begins at a keyframe and goes on frame by frame. Pure.

use framebridge_proto::media::AccessUnit;
use framebridge_rtc::nal_units;

/// Ticks a second, as in access units' pts.
const CLOCK_HZ: u64 = 90_000;
/// What the first frame is said to have come after, ticks.
const FIRST_STEP: u32 = 3_000;
/// Two frames are no further apart in a film, ticks: past it a source stood still or began anew.
const LONGEST: u64 = 10 * CLOCK_HZ;

/// NAL unit types (H.264 table 7-1).
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;

/// Sample flags (section 8.8.3.1): depends on no other; and depends on others, and is no sync sample.
const KEYFRAME: u32 = 0x0200_0000;
const OTHER: u32 = 0x0101_0000;

/// Writes a film.
#[derive(Debug, Default)]
pub(crate) struct Film {
    /// The parameter sets that the player has.
    sets: Vec<u8>,
    sequence: u32,
    last: Option<Last>,
    /// Whether the player needs a keyframe.
    waits: bool,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    number: u64,
    captured_ns: u64,
    /// When it is shown, on the film's timeline.
    shown: u64,
}

/// Where a frame is on the film's timeline, in ticks. It is decoded when the one before it is shown, and shown a step later. So each begins
/// where the one before ends, whatever time passed in between: a player (Media Source Extensions, coded frame processing) takes a step
/// that is over twice as long as the last frame for a new film, and shows nothing up to the next keyframe.
#[derive(Debug, Clone, Copy)]
struct Place {
    decoded: u64,
    step: u32,
}

impl Film {
    /// What comes for a frame of a picture of `size`: where the player needs it the film's beginning, then the frame. `None`: the
    /// frame leans on one that the player does not have, and it waits for a keyframe.
    pub(crate) fn add(&mut self, unit: &AccessUnit, size: (u32, u32)) -> Option<Vec<u8>> {
        let follows = self
            .last
            .is_some_and(|last| unit.sequence == last.number.wrapping_add(1));
        self.waits |= !follows;
        if unit.keyframe {
            self.waits = false;
        } else if self.waits {
            return None;
        }
        let kind = |unit: &&[u8]| unit[0] & 0x1f;
        let set = |wanted| nal_units(&unit.payload).find(|unit| kind(unit) == wanted);
        let mut out = Vec::new();
        if unit.keyframe {
            let (sps, pps) = (set(SPS)?, set(PPS)?);
            let sets = decoder_configuration(sps, pps)?;
            if self.sets != sets {
                out = beginning(&sets, size);
                self.sets = sets;
            }
        }
        let place = self.place(unit);
        let sample: Vec<u8> = nal_units(&unit.payload)
            .filter(|unit| !matches!(kind(unit), SPS | PPS | DELIMITER))
            .flat_map(|unit| [&length(unit.len())[..], unit].concat())
            .collect();
        self.sequence = self.sequence.wrapping_add(1);
        let flags = if unit.keyframe { KEYFRAME } else { OTHER };
        out.extend(fragment(self.sequence, place, flags, &sample));
        Some(out)
    }

    /// A frame is shown as long after the one before as it was captured after it.
    fn place(&mut self, unit: &AccessUnit) -> Place {
        let (decoded, step) = self.last.map_or((0, FIRST_STEP), |last| {
            let nanoseconds = unit.captured_ns.saturating_sub(last.captured_ns);
            let step = (nanoseconds / 100_000 * 9).clamp(1, LONGEST);
            (last.shown, u32::try_from(step).unwrap_or(FIRST_STEP))
        });
        self.last = Some(Last {
            number: unit.sequence,
            captured_ns: unit.captured_ns,
            shown: decoded + u64::from(step),
        });
        Place { decoded, step }
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// A box: its length, its type, what is in it.
fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let size = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&length(size));
    out.extend_from_slice(kind);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A box with a version and flags.
fn full(kind: &[u8; 4], version: u8, flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    let head = (u32::from(version) << 24 | flags).to_be_bytes();
    let all: Vec<&[u8]> = [&head[..]].into_iter().chain(parts.iter().copied()).collect();
    boxed(kind, &all)
}

/// `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 section 5.3.3): lengths of four bytes.
fn decoder_configuration(sps: &[u8], pps: &[u8]) -> Option<Vec<u8>> {
    let short = |set: &[u8]| u16::try_from(set.len()).ok().map(u16::to_be_bytes);
    let profile = sps.get(1..4)?;
    let parts = [
        &[1][..],
        profile,
        &[0xff, 0xe1],
        &short(sps)?,
        sps,
        &[1],
        &short(pps)?,
        pps,
    ];
    Some(parts.concat())
}

/// `ftyp` and `moov`: one track, whose frames all come in fragments.
fn beginning(sets: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let clock = u32::try_from(CLOCK_HZ).unwrap_or(u32::MAX);
    let sides = [width, height].map(|side| u16::try_from(side).unwrap_or(u16::MAX));

    let sample = [
        &[0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0; 16],
        &sides[0].to_be_bytes(),
        &sides[1].to_be_bytes(),
        &words(&[0x48_0000, 0x48_0000, 0]),
        &[0, 1],
        &[0; 32],
        &[0, 0x18, 0xff, 0xff],
        &boxed(b"avcC", &[sets]),
    ];
    let descriptions = full(b"stsd", 0, 0, &[&words(&[1]), &boxed(b"avc1", &sample)]);
    let none = |kind, words_of_none: usize| full(kind, 0, 0, &[&vec![0; 4 * words_of_none]]);
    let table = boxed(
        b"stbl",
        &[
            &descriptions,
            &none(b"stts", 1),
            &none(b"stsc", 1),
            &none(b"stsz", 2),
            &none(b"stco", 1),
        ],
    );
    let here = full(b"url ", 0, 1, &[]);
    let data = boxed(b"dinf", &[&full(b"dref", 0, 0, &[&words(&[1]), &here])]);
    let information = boxed(b"minf", &[&full(b"vmhd", 0, 1, &[&[0; 8]]), &data, &table]);
    // Language "und".
    let media = boxed(
        b"mdia",
        &[
            &full(b"mdhd", 0, 0, &[&words(&[0, 0, clock, 0]), &[0x55, 0xc4, 0, 0]]),
            &full(b"hdlr", 0, 0, &[&[0; 4], b"vide", &[0; 12], b"video\0"]),
            &information,
        ],
    );
    // Enabled, and in the film.
    let header = full(
        b"tkhd",
        0,
        3,
        &[
            &words(&[0, 0, 1, 0, 0, 0, 0, 0, 0]),
            &words(&MATRIX),
            &words(&[u32::from(sides[0]) << 16, u32::from(sides[1]) << 16]),
        ],
    );
    let film = full(
        b"mvhd",
        0,
        0,
        &[
            &words(&[0, 0, clock, 0, 0x1_0000]),
            &[1, 0, 0, 0],
            &[0; 8],
            &words(&MATRIX),
            &[0; 24],
            &words(&[2]),
        ],
    );
    let extends = boxed(b"mvex", &[&full(b"trex", 0, 0, &[&words(&[1, 1, 0, 0, 0])])]);
    let kind = boxed(b"ftyp", &[b"iso5", &words(&[512]), b"iso5iso6mp41"]);
    [
        kind,
        boxed(b"moov", &[&film, &boxed(b"trak", &[&header, &media]), &extends]),
    ]
    .concat()
}

/// `moof` and `mdat` of one frame.
fn fragment(sequence: u32, Place { decoded, step }: Place, flags: u32, sample: &[u8]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let size = u32::try_from(sample.len()).unwrap_or(u32::MAX);
    let movie = |data_offset: u32| {
        // Offsets count from this box's beginning.
        let header = full(b"tfhd", 0, 0x02_0000, &[&words(&[1])]);
        let decoded = full(b"tfdt", 1, 0, &[&decoded.to_be_bytes()]);
        // How long it lasts, and how long after it was decoded it is shown.
        let run = full(b"trun", 0, 0xf01, &[&words(&[1, data_offset, step, size, flags, step])]);
        let track = boxed(b"traf", &[&header, &decoded, &run]);
        boxed(b"moof", &[&full(b"mfhd", 0, 0, &[&words(&[sequence])]), &track])
    };
    let data_offset = u32::try_from(movie(0).len() + 8).unwrap_or(u32::MAX);
    [movie(data_offset), boxed(b"mdat", &[sample])].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"\0\0\0\x01\x67\x42\xe0\x1f\x8c\x8d\x40\0\0\0\x01\x68\xce\x3c\x80\0\0\0\x01\x65\x88\x84\x21";
    const DELTA: &[u8] = b"\0\0\0\x01\x09\xf0\0\0\0\x01\x41\x9a\x24\x6c";

    fn unit(sequence: u64, keyframe: bool) -> AccessUnit {
        AccessUnit {
            sequence,
            captured_ns: sequence * 33_333_333,
            encoded_ns: 0,
            pts: 0,
            keyframe,
            payload: bytes::Bytes::from_static(if keyframe { KEY } else { DELTA }),
        }
    }

    /// The boxes of one level: type and content.
    fn boxes(mut bytes: &[u8]) -> Vec<(&str, &[u8])> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let size = usize::try_from(u32::from_be_bytes(*bytes.first_chunk().unwrap())).unwrap();
            found.push((str::from_utf8(&bytes[4..8]).unwrap(), &bytes[8..size]));
            bytes = &bytes[size..];
        }
        found
    }

    fn kinds(bytes: &[u8]) -> Vec<&str> {
        boxes(bytes).into_iter().map(|(kind, _)| kind).collect()
    }

    /// When it is decoded, how long it lasts, and how long after it was decoded it is shown.
    fn times(fragment: &[u8]) -> (u64, u64, u64) {
        let moof = boxes(fragment).into_iter().find(|(kind, _)| *kind == "moof").unwrap().1;
        let track = boxes(moof)[1].1;
        let [(_, _), (_, decoded), (_, run)] = boxes(track)[..] else {
            panic!("three boxes");
        };
        let word = |at: usize| u64::from(u32::from_be_bytes(*run[at..].first_chunk().unwrap()));
        (
            u64::from_be_bytes(*decoded[4..].first_chunk().unwrap()),
            word(12),
            word(24),
        )
    }

    #[test]
    fn film_begins_at_a_keyframe_and_goes_on_in_fragments() {
        let mut film = Film::default();
        let size = (1280, 720);
        assert_eq!(film.add(&unit(4, false), size), None);
        let first = film.add(&unit(5, true), size).unwrap();
        assert_eq!(kinds(&first), ["ftyp", "moov", "moof", "mdat"]);
        assert_eq!(kinds(boxes(&first)[1].1), ["mvhd", "trak", "mvex"]);
        let data = boxes(&first)[3].1;
        assert_eq!(
            data, b"\0\0\0\x04\x65\x88\x84\x21",
            "parameter sets are in the beginning"
        );
        let second = film.add(&unit(6, false), size).unwrap();
        assert_eq!(kinds(&second), ["moof", "mdat"]);
        assert_eq!(boxes(&second)[1].1, b"\0\0\0\x04\x41\x9a\x24\x6c");
        assert_eq!(
            (times(&first), times(&second)),
            ((0, 3_000, 3_000), (3_000, 2_997, 2_997))
        );
        assert_eq!(kinds(&film.add(&unit(7, true), size).unwrap()), ["moof", "mdat"]);
    }

    #[test]
    fn each_frame_begins_where_the_one_before_ends_and_is_shown_when_it_was_captured() {
        let mut film = Film::default();
        let at = |sequence: u64, ms: u64| AccessUnit {
            captured_ns: ms * 1_000_000,
            ..unit(sequence, sequence == 0)
        };
        let captured = [0, 33, 66, 166, 199, 8_000, 8_033];
        let mut end = 0;
        for (sequence, ms) in (0..).zip(captured) {
            let fragment = film.add(&at(sequence, ms), (640, 360)).unwrap();
            let (decoded, lasts, later) = times(&fragment);
            assert_eq!(decoded, end);
            assert_eq!(decoded + later, 3_000 + ms * 90);
            end = decoded + lasts;
        }
    }

    #[test]
    fn what_was_lost_is_made_good_by_the_next_keyframe() {
        let mut film = Film::default();
        let size = (1280, 720);
        film.add(&unit(1, true), size).unwrap();
        assert_eq!(film.add(&unit(3, false), size), None);
        assert_eq!(film.add(&unit(4, false), size), None);
        assert!(film.add(&unit(5, true), size).is_some());
    }

    #[test]
    fn data_is_where_the_fragment_says() {
        let place = Place { decoded: 2, step: 3 };
        let fragment = fragment(1, place, KEYFRAME, b"data");
        let at = fragment.windows(4).position(|four| four == b"trun").unwrap();
        let offset = u32::from_be_bytes(*fragment[at + 12..].first_chunk().unwrap());
        assert_eq!(&fragment[usize::try_from(offset).unwrap()..], b"data");
    }

    #[test]
    fn keyframe_without_parameter_sets_begins_nothing() {
        let mut film = Film::default();
        let mut broken = unit(1, true);
        broken.payload = bytes::Bytes::from_static(b"\0\0\0\x01\x65\x88");
        assert_eq!(film.add(&broken, (1, 1)), None);
        broken.payload = bytes::Bytes::from_static(b"\0\0\0\x01\x67\0\0\0\x01\x68\x01\0\0\0\x01\x65\x88");
        assert_eq!(film.add(&broken, (1, 1)), None);
    }
}
