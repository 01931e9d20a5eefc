//! Colours and lights that BT.709 does not have, brought into it: BT.2020's primaries, and the lights of PQ and HLG.
//!
//! Numbers become light (a table), light of BT.2020 becomes light of BT.709 (ITU-R BT.2087), what is brighter than
//! white is rolled off, and light becomes numbers again (a table).

use ffmpeg_next::{
    color::{Primaries, TransferCharacteristic as Transfer},
    format::Pixel,
    frame,
};

use crate::colour::Colours;

/// The light of white in an HDR picture, cd/m² (ITU-R BT.2408 section 2.1).
const WHITE_NITS: f32 = 203.0;

/// The brightest light that is told from others: what most HDR video is made for.
const PEAK_NITS: f32 = 1000.0;

/// Up to this part of white, light is left as it is.
const KNEE: f32 = 0.6;

/// The eye's gamma of an SDR display (ITU-R BT.1886).
const GAMMA: f32 = 2.4;

/// What of a number's last bit is rounded away.
const ROUNDED: f32 = 0.5;

/// So many times less light than the brightest part of its pixel has, and a part is dark beside it: of what rounding may have made
/// there nothing is made. The curve's steep beginning would make much of it.
const BESIDE: f32 = 16.0;

/// The way from YUV to RGB is no finer, however fine the numbers are.
const FINEST_BITS: u32 = 10;

/// Entries of the table from light to numbers: fine enough that dark steps do not show.
const STEPS: u16 = 65_535;

/// From BT.2020's primaries to BT.709's, in light (ITU-R BT.2087 section 2).
const TO_BT709: [[f32; 3]; 3] = [
    [1.660_491, -0.587_641, -0.072_850],
    [-0.124_550, 1.132_9, -0.008_349],
    [-0.018_151, -0.100_579, 1.118_73],
];

/// Turns the wide colours of one kind into BT.709's.
pub(crate) struct Mapping {
    colours: Colours,
    bits: u32,
    /// Light of each 16-bit number, white is 1.
    light: Vec<f32>,
    /// How much of that light is not known for sure, because the source's numbers have so many bits and no more.
    doubt: Vec<f32>,
    /// Numbers of light up to white, in [`STEPS`].
    numbers: Vec<u8>,
}

impl Mapping {
    /// For pictures of `colours` whose numbers have so many bits.
    pub(crate) fn new(colours: Colours, bits: u32) -> Self {
        let light = |number: u16| {
            let number = f32::from(number) / 65_535.0;
            if colours.transfer == Transfer::SMPTE2084 {
                pq(number) / WHITE_NITS
            } else if colours.transfer == Transfer::ARIB_STD_B67 {
                hlg(number)
            } else {
                number.powf(GAMMA)
            }
        };
        let step = u16::try_from(65_535_u64 / (219 << (bits.clamp(8, FINEST_BITS) - 8))).unwrap_or(u16::MAX);
        let doubt = |number: u16| ROUNDED * (light(number) - light(number.saturating_sub(step)));
        Self {
            colours,
            bits,
            light: (0..=u16::MAX).map(light).collect(),
            doubt: (0..=u16::MAX).map(doubt).collect(),
            numbers: (0..=STEPS)
                .map(|step| number(f32::from(step) / f32::from(STEPS)))
                .collect(),
        }
    }

    /// Whether it is one for pictures of `colours` whose numbers have so many bits.
    pub(crate) fn is_for(&self, colours: Colours, bits: u32) -> bool {
        let mine = (self.colours.primaries, self.colours.transfer, self.bits);
        mine == (colours.primaries, colours.transfer, bits)
    }

    /// `from`, in RGB48LE, as RGB24 of BT.709.
    pub(crate) fn map(&self, from: &frame::Video) -> frame::Video {
        let mut to = frame::Video::new(Pixel::RGB24, from.width(), from.height());
        let (from_stride, to_stride) = (from.stride(0), to.stride(0));
        let width = usize::try_from(from.width()).unwrap_or(0);
        let rows = from.data(0).chunks(from_stride);
        for (wide, narrow) in rows.zip(to.data_mut(0).chunks_mut(to_stride)) {
            let pixels = wide.chunks_exact(6).zip(narrow.chunks_exact_mut(3)).take(width);
            for (wide, narrow) in pixels {
                let number = |at: usize| u16::from_le_bytes([wide[at], wide[at + 1]]);
                narrow.copy_from_slice(&self.pixel([number(0), number(2), number(4)]));
            }
        }
        to
    }

    fn pixel(&self, numbers: [u16; 3]) -> [u8; 3] {
        let mut light = numbers.map(|number| self.light[usize::from(number)]);
        let mut doubt = numbers.map(|number| self.doubt[usize::from(number)]);
        if self.colours.transfer == Transfer::ARIB_STD_B67 {
            let factor = hlg_factor(light);
            (light, doubt) = (light.map(|light| light * factor), doubt.map(|doubt| doubt * factor));
        }
        if self.colours.primaries == Primaries::BT2020 {
            let (wide, unsure) = (light, doubt);
            light = TO_BT709.map(|row| row[0] * wide[0] + row[1] * wide[1] + row[2] * wide[2]);
            // At the worst all three are off in the way that counts most.
            doubt = TO_BT709.map(|row| row[0].abs() * unsure[0] + row[1].abs() * unsure[1] + row[2].abs() * unsure[2]);
        }
        let brightest = light[0].max(light[1]).max(light[2]);
        let scale = if self.colours.is_hdr() && brightest > KNEE {
            // One factor for all three keeps the hue.
            roll_off(brightest) / brightest
        } else {
            1.0
        };
        std::array::from_fn(|part| {
            let (light, doubt) = (light[part], doubt[part]);
            let sure = if light * BESIDE < brightest {
                light.min((light - doubt) * 2.0)
            } else {
                light
            };
            self.numbers[step(sure * scale)]
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the table's length"
)]
fn step(light: f32) -> usize {
    usize::from((light.clamp(0.0, 1.0) * f32::from(STEPS) + 0.5) as u16)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and 255"
)]
fn number(light: f32) -> u8 {
    (light.powf(1.0 / GAMMA) * 255.0 + 0.5) as u8
}

/// Light of a PQ number, cd/m² (SMPTE ST 2084).
fn pq(number: f32) -> f32 {
    let (m1, m2) = (2610.0 / 16_384.0, 2523.0 / 4096.0 * 128.0);
    let (c1, c2, c3) = (3424.0 / 4096.0, 2413.0 / 4096.0 * 32.0, 2392.0 / 4096.0 * 32.0);
    let power = number.powf(1.0 / m2);
    10_000.0 * ((power - c1).max(0.0) / (c2 - c3 * power)).powf(1.0 / m1)
}

/// The scene's light of an HLG number, its peak is 1 (ITU-R BT.2100 table 5).
fn hlg(number: f32) -> f32 {
    let (a, b, c) = (0.178_832_77_f32, 0.284_668_92_f32, 0.559_910_7_f32);
    if number <= 0.5 {
        number * number / 3.0
    } else {
        (((number - c) / a).exp() + b) / 12.0
    }
}

/// By how much a display of [`PEAK_NITS`] makes the scene's light larger, white is 1 (ITU-R BT.2100 table 5, its gamma 1.2).
fn hlg_factor(scene: [f32; 3]) -> f32 {
    let luminance = 0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2];
    PEAK_NITS / WHITE_NITS * luminance.powf(0.2)
}

/// Light above the knee, so that the peak becomes white and nothing below the knee changes.
fn roll_off(light: f32) -> f32 {
    let room = 1.0 - KNEE;
    let part = |light: f32| 1.0 - (-(light - KNEE) / room).exp();
    (KNEE + room * part(light) / part(PEAK_NITS / WHITE_NITS)).min(1.0)
}

#[cfg(test)]
mod tests {
    use ffmpeg_next::color::{Range, Space};

    use super::*;

    fn mapping(primaries: Primaries, transfer: Transfer) -> Mapping {
        let colours = Colours {
            matrix: Space::RGB,
            range: Range::JPEG,
            primaries,
            transfer,
        };
        Mapping::new(colours, 10)
    }

    fn mapped(mapping: &Mapping, rgb: [u16; 3]) -> [u8; 3] {
        let mut wide = frame::Video::new(Pixel::RGB48LE, 2, 2);
        let bytes: Vec<u8> = rgb.iter().flat_map(|number| number.to_le_bytes()).collect();
        wide.data_mut(0)[..6].copy_from_slice(&bytes);
        let narrow = mapping.map(&wide);
        [narrow.data(0)[0], narrow.data(0)[1], narrow.data(0)[2]]
    }

    #[test]
    fn the_curves_have_the_values_of_their_standards() {
        // BT.2408 table 1: white, 203 cd/m², is 58 % of PQ; BT.2100: half of HLG is a twelfth of the scene's peak.
        assert!((pq(0.58) - 203.0).abs() < 3.0, "{}", pq(0.58));
        assert!((pq(1.0) - 10_000.0).abs() < 1.0);
        assert!((hlg(0.5) - 1.0 / 12.0).abs() < 1e-6 && (hlg(1.0) - 1.0).abs() < 1e-4);
    }

    #[test]
    fn grey_stays_grey_and_what_bt709_has_keeps_its_colour() {
        let mapping = mapping(Primaries::BT2020, Transfer::BT2020_10);
        for level in [0_u16, 16, 128, 200, 255] {
            let [red, green, blue] = mapped(&mapping, [level * 257; 3]);
            for part in [red, green, blue] {
                assert!(
                    u16::from(part).abs_diff(level) <= 1,
                    "{level} became {red} {green} {blue}"
                );
            }
        }
        // A red of BT.2020 is beyond BT.709's: as red as can be.
        assert_eq!(mapped(&mapping, [u16::MAX, 0, 0]), [255, 0, 0]);
    }

    /// From BT.709's primaries to BT.2020's, in light (ITU-R BT.2087 section 2).
    const FROM_BT709: [[f32; 3]; 3] = [
        [0.627_404, 0.329_283, 0.043_313],
        [0.069_097, 0.919_541, 0.011_362],
        [0.016_391, 0.088_013, 0.895_595],
    ];

    /// A colour of BT.709 in BT.2020's numbers of ten bits.
    fn of_ten_bits(colour: [u8; 3]) -> [u16; 3] {
        let light = colour.map(|part| (f32::from(part) / 255.0).powf(GAMMA));
        FROM_BT709.map(|row| {
            let light = row[0] * light[0] + row[1] * light[1] + row[2] * light[2];
            let number = (light.clamp(0.0, 1.0).powf(1.0 / GAMMA) * 876.0).round() / 876.0 * 65_535.0;
            format!("{number:.0}").parse().unwrap()
        })
    }

    #[test]
    fn colours_of_bt709_come_back_also_dark_parts_beside_bright_ones() {
        let mapping = mapping(Primaries::BT2020, Transfer::BT2020_10);
        let parts = [0, 24, 32, 64, 128, 200, 255];
        for colour in (0..343).map(|at| [parts[at % 7], parts[at / 7 % 7], parts[at / 49]]) {
            let seen = mapped(&mapping, of_ten_bits(colour));
            let off = seen
                .iter()
                .zip(colour)
                .map(|(seen, painted)| seen.abs_diff(painted))
                .max();
            // Ten bits are good to this, and in one of these colours alone to more than four.
            assert!(off.unwrap() <= 5, "{colour:?} came back as {seen:?}");
        }
    }

    #[test]
    fn hdr_is_neither_dark_nor_burnt_out() {
        let pq = mapping(Primaries::BT2020, Transfer::SMPTE2084);
        let white = mapped(&pq, [38_011; 3]);
        let peak = mapped(&pq, [49_274; 3]);
        assert!((225..250).contains(&white[0]), "white of 203 cd/m² became {white:?}");
        assert!(peak[0] >= 254, "1000 cd/m² became {peak:?}");
        let hlg = mapping(Primaries::BT2020, Transfer::ARIB_STD_B67);
        let white = mapped(&hlg, [49_151; 3]);
        assert!((225..250).contains(&white[0]), "HLG's white, 75 %, became {white:?}");
    }
}
