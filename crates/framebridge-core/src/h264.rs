//! What H.264 says of itself (ITU-T H.264 section 7.3): as much as it takes to judge whether players show it as it is. What
//! is cut off or makes no sense is no parameter set and no slice.

/// `nal_unit_type` of a coded slice of a picture that leans on others, and of an IDR picture.
pub const SLICE: u8 = 1;
/// See [`SLICE`].
pub const IDR: u8 = 5;
/// `nal_unit_type` of supplemental enhancement information: free text and times of the encoder.
pub const SEI: u8 = 6;
/// A sequence parameter set.
pub const SPS: u8 = 7;
/// A picture parameter set.
pub const PPS: u8 = 8;

/// The longest parameter set, bytes: they have some dozens, and with all scaling lists some hundreds. A longer one is none.
pub const LONGEST_SET: usize = 4096;

/// Profiles with the syntax of High (section 7.3.2.1.1).
const HIGH_SYNTAX: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// The type of a NAL unit; 0 of none.
pub fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |head| head & 0x1f)
}

/// NAL units of an Annex B byte stream, without start codes and the zeros around them.
pub fn annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let current = rest?;
        let end = start_code(current).unwrap_or(current.len());
        rest = after_start_code(&current[end..]);
        let zeros = current[..end].iter().rev().take_while(|byte| **byte == 0).count();
        Some(&current[..end - zeros])
    })
    .filter(|unit| !unit.is_empty())
}

fn start_code(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    // Bytes above 1 are most, and rule out three places at once.
    while let Some(third) = bytes.get(from + 2) {
        match third {
            0 => from += 1,
            1 if bytes[from] == 0 && bytes[from + 1] == 0 => return Some(from),
            _ => from += 3,
        }
    }
    None
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    start_code(bytes).map(|at| &bytes[at + 3..])
}

/// NAL units that each have their length before them, of `width` bytes. Ends where a length is too large.
pub fn length_prefixed(stream: &[u8], width: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_at_checked(width).filter(|_| width > 0)?;
        let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        let (unit, after) = after.split_at_checked(length)?;
        rest = after;
        Some(unit)
    })
    .filter(|unit| !unit.is_empty())
}

/// An `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 section 5.3.3): the width of lengths, and the parameter sets.
pub fn configuration_record(record: &[u8]) -> Option<(usize, Vec<&[u8]>)> {
    let [1, _, _, _, lengths, ..] = record else { return None };
    let mut sets = Vec::new();
    let mut rest = &record[5..];
    for mask in [0x1f, 0xff] {
        let (count, after) = rest.split_first()?;
        rest = after;
        for _ in 0..count & mask {
            let (length, after) = rest.split_at_checked(2)?;
            let length = usize::from(length[0]) << 8 | usize::from(length[1]);
            let (set, after) = after.split_at_checked(length)?;
            sets.push(set);
            rest = after;
        }
    }
    Some((usize::from(lengths & 3) + 1, sets))
}

/// What a sequence parameter set says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`, the constraint flags, `level_idc`: what an SDP calls `profile-level-id`.
    pub profile_level_id: [u8; 3],
    /// `chroma_format_idc`: 1 is 4:2:0.
    pub chroma: u32,
    /// Bits of the deepest component.
    pub depth: u32,
    /// Whether all pictures are whole frames.
    pub whole_frames: bool,
    /// Of the picture as it is shown, in its own pixels.
    pub width: u32,
    /// The same.
    pub height: u32,
    /// How wide a pixel is to how high; (1, 1) where it is not said.
    pub aspect: (u32, u32),
    /// Pictures that may be shown later than they come; `None`: it is not said, and the profile allows some.
    pub reordered: Option<u32>,
}

impl Sps {
    /// Reads one, its NAL header included.
    pub fn parse(unit: &[u8]) -> Option<Self> {
        if kind(unit) != SPS || unit.len() > LONGEST_SET {
            return None;
        }
        let payload = unescaped(&unit[1..]);
        let mut bits = Bits::of(&payload);
        let profile_level_id = [bits.byte()?, bits.byte()?, bits.byte()?];
        bits.number()?;
        let (mut chroma, mut depth) = (1, 8);
        if HIGH_SYNTAX.contains(&profile_level_id[0]) {
            chroma = bits.number()?;
            if chroma == 3 {
                bits.bit()?;
            }
            depth = 8 + bits.number()?.max(bits.number()?);
            bits.bit()?;
            if bits.bit()? {
                skip_scaling_matrices(&mut bits, if chroma == 3 { 12 } else { 8 })?;
            }
        }
        bits.number()?;
        let order = skip_order(&mut bits)?;
        bits.number()?;
        bits.bit()?;
        let (columns, rows) = (bits.number()?.checked_add(1)?, bits.number()?.checked_add(1)?);
        let whole_frames = bits.bit()?;
        if !whole_frames {
            bits.bit()?;
        }
        bits.bit()?;
        let crop = if bits.bit()? {
            [bits.number()?, bits.number()?, bits.number()?, bits.number()?]
        } else {
            [0; 4]
        };
        let (across, down) = match chroma {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let per_row = if whole_frames { 1 } else { 2 };
        let edge = |blocks: u32, units: u32, crop: [u32; 2]| {
            let cut = crop[0].checked_add(crop[1])?.checked_mul(units)?;
            blocks.checked_mul(16)?.checked_sub(cut).filter(|edge| *edge > 0)
        };
        let width = edge(columns, across, [crop[0], crop[1]])?;
        let height = edge(rows.checked_mul(per_row)?, down * per_row, [crop[2], crop[3]])?;
        let vui = if bits.bit()? { vui(&mut bits) } else { Vui::default() };
        // Baseline has no B-frames; and an order that is that of decoding is none.
        let never = profile_level_id[0] == 66 || order == 2;
        Some(Self {
            profile_level_id,
            chroma,
            depth,
            whole_frames,
            width,
            height,
            aspect: vui.aspect.unwrap_or((1, 1)),
            reordered: if never { Some(0) } else { vui.reordered },
        })
    }

    /// Macroblocks in a picture.
    pub fn macroblocks(&self) -> u32 {
        self.width.div_ceil(16).saturating_mul(self.height.div_ceil(16))
    }
}

/// What is read of a set's usability information (annex E).
#[derive(Default)]
struct Vui {
    aspect: Option<(u32, u32)>,
    reordered: Option<u32>,
}

/// Shapes of pixels by number (table E-1).
const ASPECTS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Cameras cut it off, or say nonsense in it; what was read up to there counts.
fn vui(bits: &mut Bits<'_>) -> Vui {
    let mut vui = Vui::default();
    _ = read_vui(bits, &mut vui);
    vui
}

fn read_vui(bits: &mut Bits<'_>, vui: &mut Vui) -> Option<()> {
    if bits.bit()? {
        let number = bits.byte()?;
        vui.aspect = if number == 255 {
            Some((bits.bits(16)?, bits.bits(16)?)).filter(|(wide, high)| *wide > 0 && *high > 0)
        } else {
            ASPECTS.get(usize::from(number).wrapping_sub(1)).copied()
        };
    }
    if bits.bit()? {
        bits.bit()?;
    }
    if bits.bit()? {
        bits.bits(4)?;
        if bits.bit()? {
            bits.bits(24)?;
        }
    }
    if bits.bit()? {
        bits.number()?;
        bits.number()?;
    }
    if bits.bit()? {
        bits.bits(32)?;
        bits.bits(32)?;
        bits.bit()?;
    }
    let (nal, vcl) = (skip_hrd(bits)?, skip_hrd(bits)?);
    if nal || vcl {
        bits.bit()?;
    }
    bits.bit()?;
    if bits.bit()? {
        bits.bit()?;
        for _ in 0..4 {
            bits.number()?;
        }
        vui.reordered = Some(bits.number()?);
    }
    Some(())
}

/// Whether there was one.
fn skip_hrd(bits: &mut Bits<'_>) -> Option<bool> {
    if !bits.bit()? {
        return Some(false);
    }
    let count = bits.number()?.checked_add(1).filter(|count| *count <= 32)?;
    bits.bits(8)?;
    for _ in 0..count {
        bits.number()?;
        bits.number()?;
        bits.bit()?;
    }
    bits.bits(20)?;
    Some(true)
}

/// `pic_order_cnt_type`, with what belongs to it left behind.
fn skip_order(bits: &mut Bits<'_>) -> Option<u32> {
    let order = bits.number()?;
    match order {
        0 => _ = bits.number()?,
        1 => {
            bits.bit()?;
            bits.number()?;
            bits.number()?;
            let count = bits.number()?;
            for _ in 0..count.min(255) {
                bits.number()?;
            }
        }
        2 => {}
        _ => return None,
    }
    Some(order)
}

fn skip_scaling_matrices(bits: &mut Bits<'_>, count: usize) -> Option<()> {
    for matrix in 0..count {
        if !bits.bit()? {
            continue;
        }
        let size = if matrix < 6 { 16 } else { 64 };
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..size {
            if next != 0 {
                next = (last + i64::from(bits.signed()?) + 256).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

/// The number of a parameter set, by which pictures name it. `None`: it is no set.
pub fn set_number(unit: &[u8]) -> Option<u32> {
    let before = match kind(unit) {
        SPS => 4,
        PPS => 1,
        _ => return None,
    };
    let head = unescaped(unit.get(..unit.len().min(32))?);
    let mut bits = Bits::of(head.get(before..)?);
    bits.number().filter(|_| unit.len() <= LONGEST_SET)
}

/// Whether a slice is a B slice (section 7.3.3): it may lean on pictures that are shown later. `None`: it is no slice.
pub fn is_bidirectional(unit: &[u8]) -> Option<bool> {
    if !(SLICE..=IDR).contains(&kind(unit)) {
        return None;
    }
    // Two numbers of 31 bits at most, each with as many zeros before it.
    let head = unescaped(unit.get(1..unit.len().min(32))?);
    let mut bits = Bits::of(&head);
    bits.number()?;
    Some(bits.number()? % 5 == 1)
}

/// A NAL unit without the bytes that keep start codes out of it (section 7.4.1).
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for byte in bytes {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0_u32;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    fn byte(&mut self) -> Option<u8> {
        u8::try_from(self.bits(8)?).ok()
    }

    /// `ue(v)`, section 9.1.
    fn number(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.bits(zeros)?;
        Some((1_u32 << zeros) - 1 + rest)
    }

    /// `se(v)`, section 9.1.1.
    fn signed(&mut self) -> Option<i32> {
        let number = self.number()?;
        let half = i32::try_from(number.div_ceil(2)).ok()?;
        Some(if number % 2 == 0 { -half } else { half })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sets as encoders write them: x264 for live (high, 1920x1080), and for films with B-frames; a camera's main.
    const LIVE: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xb4, 0x03, 0xc0, 0x11, 0x3f, 0x2e, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x20,
        0x00, 0x00, 0x06, 0x41, 0xe3, 0x06, 0x54,
    ];
    const FILM: &[u8] = &[
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0x20, 0xf1, 0x83, 0x19, 0x60,
    ];
    const CAMERA: &[u8] = &[0x67, 0x4d, 0x00, 0x1f, 0x95, 0xa8, 0x14, 0x01, 0x6e, 0x40];

    /// Writes bits as an SPS has them.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn bits(mut self, count: u32, value: u32) -> Self {
            self.0.extend((0..count).rev().map(|at| value >> at & 1 == 1));
            self
        }

        fn numbers(mut self, values: &[u32]) -> Self {
            for value in values {
                let bits = 32 - (value + 1).leading_zeros();
                self = self.bits(bits - 1, 0).bits(bits, value + 1);
            }
            self
        }

        fn unit(self) -> Vec<u8> {
            let mut unit = vec![0x67];
            let mut zeros = 0;
            for byte in self.0.chunks(8) {
                let byte = (0..8).fold(0, |sum, at| sum << 1 | u8::from(byte.get(at).copied().unwrap_or(false)));
                if zeros == 2 && byte <= 3 {
                    unit.push(3);
                    zeros = 0;
                }
                zeros = if byte == 0 { zeros + 1 } else { 0 };
                unit.push(byte);
            }
            unit
        }
    }

    /// Main, 1280x720 of 45 rows, with `vui`.
    fn main(order: u32, vui: impl FnOnce(Writer) -> Writer) -> Vec<u8> {
        let sps = Writer::default().bits(24, 0x4d_001f).numbers(&[0, 0, order]);
        let sps = if order == 0 { sps.numbers(&[0]) } else { sps };
        let sps = sps.numbers(&[1]).bits(1, 0).numbers(&[79, 44]).bits(3, 0b110);
        vui(sps).bits(1, 1).unit()
    }

    #[test]
    fn a_set_says_profile_size_and_order() {
        let live = Sps::parse(LIVE).unwrap();
        assert_eq!(live.profile_level_id, [0x64, 0x00, 0x28]);
        assert_eq!((live.width, live.height, live.chroma, live.depth), (1920, 1080, 1, 8));
        assert!(live.whole_frames);
        assert_eq!((live.aspect, live.reordered), ((1, 1), Some(0)));
        let camera = Sps::parse(CAMERA).unwrap();
        assert_eq!((camera.width, camera.height), (1280, 720));
        assert_eq!(
            camera.reordered,
            Some(0),
            "its pictures are shown in the order of decoding"
        );
        let film = Sps::parse(FILM).unwrap();
        assert_eq!((film.width, film.height, film.reordered), (1280, 720, Some(2)));
    }

    #[test]
    fn order_is_known_where_it_is_said_or_can_not_differ() {
        let none = main(0, |sps| sps.bits(1, 0));
        assert_eq!(Sps::parse(&none).unwrap().reordered, None);
        assert_eq!(Sps::parse(&main(2, |sps| sps.bits(1, 0))).unwrap().reordered, Some(0));
        for reordered in [0, 2] {
            // Eight things that are not there, then the restrictions.
            let said = main(0, |sps| {
                sps.bits(1, 1)
                    .bits(8, 0)
                    .bits(2, 0b11)
                    .numbers(&[0, 0, 9, 9, reordered, 4])
            });
            assert_eq!(Sps::parse(&said).unwrap().reordered, Some(reordered));
        }
    }

    #[test]
    fn pixels_that_are_not_square_are_seen() {
        let wide = main(0, |sps| sps.bits(1, 1).bits(1, 1).bits(8, 14).bits(8, 0));
        assert_eq!(Sps::parse(&wide).unwrap().aspect, (4, 3));
        let own = main(0, |sps| {
            sps.bits(1, 1)
                .bits(1, 1)
                .bits(8, 255)
                .bits(16, 5)
                .bits(16, 3)
                .bits(8, 0)
        });
        assert_eq!(Sps::parse(&own).unwrap().aspect, (5, 3));
    }

    #[test]
    fn slices_that_lean_forward_are_told() {
        // first_mb_in_slice 0, slice_type 5 (P), 6 (B), 7 (I).
        for (slice_type, expected) in [(5, false), (6, true), (7, false), (0, false), (1, true)] {
            let mut unit = Writer::default().numbers(&[0, slice_type, 0]).unit();
            unit[0] = 0x41;
            assert_eq!(is_bidirectional(&unit), Some(expected), "{slice_type}");
        }
        assert_eq!(is_bidirectional(LIVE), None);
        assert_eq!(is_bidirectional(&[]), None);
    }

    #[test]
    fn a_record_has_the_width_of_lengths_and_all_sets() {
        let mut record = vec![1, 0x4d, 0, 0x1f, 0xfd, 0xe1, 0, u8::try_from(CAMERA.len()).unwrap()];
        record.extend(CAMERA);
        record.extend([1, 0, 2, 0x68, 0xee]);
        assert_eq!(configuration_record(&record), Some((2, vec![CAMERA, &[0x68, 0xee]])));
        assert_eq!(configuration_record(&record[..record.len() - 1]), None);
        assert_eq!(configuration_record(&[0, 0, 0, 1, 0x67, 1]), None, "that is Annex B");
    }

    #[test]
    fn units_are_found_in_either_form() {
        let stream = [0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0x65, 0, 3];
        let units: Vec<&[u8]> = annex_b(&stream).collect();
        assert_eq!(units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 0, 3]]);
        let prefixed = [0, 2, 0x67, 1, 0, 0, 0, 1, 0x65, 0, 9, 1];
        let units: Vec<&[u8]> = length_prefixed(&prefixed, 2).collect();
        assert_eq!(units, [&[0x67, 1][..], &[0x65]], "what is cut off is left out");
    }

    proptest! {
        #[test]
        fn nothing_that_a_camera_sends_is_fatal(bytes in prop::collection::vec(any::<u8>(), 0..300), head in 0_u8..32) {
            let unit = [&[head][..], &bytes].concat();
            _ = Sps::parse(&[&[0x67][..], &bytes].concat());
            _ = is_bidirectional(&unit);
            _ = configuration_record(&[&[1][..], &bytes].concat());
            prop_assert!(annex_b(&unit).all(|unit| !unit.is_empty()));
            prop_assert!(length_prefixed(&unit, usize::from(head % 5)).all(|unit| !unit.is_empty()));
        }

        #[test]
        fn units_that_were_joined_come_apart_again(units in prop::collection::vec(prop::collection::vec(2_u8..=255, 1..40), 1..8)) {
            let joined: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect();
            prop_assert_eq!(annex_b(&joined).map(<[u8]>::to_vec).collect::<Vec<_>>(), units);
        }
    }
}
