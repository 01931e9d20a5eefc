//! Which of the offered H.264 formats we send (RFC 6184 section 8.2.2).
//!
//! What is encoded here is constrained baseline, which every profile's decoder reads; what is sent on as its source has encoded
//! it may be main or high, too, which the decoders of all browsers read, whatever they offer. Both go in FU-A and STAP-A, which
//! packetization mode 1 allows. So any format of mode 1 will do; the closer its profile is to ours, the better.

use crate::Form;

/// How well a format suits; the least is the best. `None`: it can't be used.
pub(super) fn rank(fmtp: Option<&str>, form: Form) -> Option<u8> {
    let rank = plain_rank(fmtp)?;
    let Form::Copied([ours, ..]) = form else {
        return Some(rank);
    };
    // Baseline that browsers play is constrained, whether it says so or not.
    let offered = fmtp.and_then(|fmtp| parameter(fmtp, "profile-level-id")?.get(..2));
    let is_ours = offered.is_some_and(|profile| u8::from_str_radix(profile, 16) == Ok(ours));
    Some(if is_ours && ours != BASELINE { 0 } else { rank + 1 })
}

/// Whether it is said to be of packetization mode 0: single NAL units, each in a packet.
pub(super) fn is_mode_0(fmtp: &str) -> bool {
    parameter(fmtp, "packetization-mode") == Some("0")
}

/// `profile_idc`.
const BASELINE: u8 = 66;

/// [`rank`] for constrained baseline.
fn plain_rank(fmtp: Option<&str>) -> Option<u8> {
    let Some(fmtp) = fmtp else {
        // No parameters at all: GStreamer's receivers offer that, and read every mode.
        return Some(Rank::Silent as u8);
    };
    match parameter(fmtp, "packetization-mode") {
        Some("1") => {}
        None => return Some(Rank::Silent as u8),
        Some(_) => return None,
    }
    let Some(level_id) = parameter(fmtp, "profile-level-id") else {
        return Some(Rank::Baseline as u8);
    };
    let (profile, constraints) = (level_id.get(..2)?, u8::from_str_radix(level_id.get(2..4)?, 16).ok()?);
    // constraint_set1_flag on baseline makes it constrained.
    let is_constrained = constraints & 0x40 != 0;
    Some(match profile.to_ascii_lowercase().as_str() {
        "42" if is_constrained => Rank::ConstrainedBaseline as u8,
        "42" => Rank::Baseline as u8,
        "4d" => Rank::Main as u8,
        "58" | "64" => Rank::High as u8,
        _ => return None,
    })
}

/// What a decoder has to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Of pictures, pixels.
    pub width: u32,
    /// Of pictures, pixels.
    pub height: u32,
    /// Pictures a second.
    pub fps: u32,
    /// Bits a second.
    pub bitrate: u32,
    /// `level_idc` by the stream's own word, where it has one.
    pub level: Option<u8>,
}

/// H.264 table A-1: a level, then the most macroblocks a second, macroblocks a picture, and kilobits a second of baseline.
const LEVELS: [(u8, u32, u32, u32); 16] = [
    (10, 1_485, 99, 64),
    (11, 3_000, 396, 192),
    (12, 6_000, 396, 384),
    (13, 11_880, 396, 768),
    (20, 11_880, 396, 2_000),
    (21, 19_800, 792, 4_000),
    (22, 20_250, 1_620, 4_000),
    (30, 40_500, 1_620, 10_000),
    (31, 108_000, 3_600, 14_000),
    (32, 216_000, 5_120, 20_000),
    (40, 245_760, 8_192, 20_000),
    (41, 245_760, 8_192, 50_000),
    (42, 522_240, 8_704, 50_000),
    (50, 589_824, 22_080, 135_000),
    (51, 983_040, 36_864, 240_000),
    (52, 2_073_600, 36_864, 240_000),
];

impl Load {
    /// The level by the stream's own word, or else the first that carries it, as `level_idc`; the highest where none does.
    pub(crate) fn level(self) -> u8 {
        if let Some(level) = self.level {
            return level;
        }
        let (wide, high) = (self.width.div_ceil(16), self.height.div_ceil(16));
        let picture = wide.saturating_mul(high);
        let second = picture.saturating_mul(self.fps);
        let carries = |(_, most_second, most_picture, most_kilobits): &&(u8, u32, u32, u32)| {
            // Neither side may be longer than sqrt(8 * MaxFS), section A.3.1.
            let longest = u64::from(wide.max(high)).pow(2);
            second <= *most_second
                && picture <= *most_picture
                && longest <= 8 * u64::from(*most_picture)
                && self.bitrate.div_ceil(1000) <= *most_kilobits
        };
        LEVELS.iter().find(carries).map_or(52, |(level, ..)| *level)
    }
}

/// The parameters as offered, with `level` where that is above the offered one: the answer then says what we send (RFC 6184
/// section 8.2.2). Without `level-asymmetry-allowed` that is more than the letter allows; but few decoders keep to what they
/// announce, and one that does is told. It is never below, for the quality may be raised later.
pub(super) fn with_level(fmtp: &str, level: u8) -> String {
    let offered = parameter(fmtp, "profile-level-id").filter(|id| id.len() == 6 && id.is_ascii());
    let named = offered.and_then(|id| Some((id, u8::from_str_radix(&id[4..], 16).ok()?)));
    match named {
        Some((id, theirs)) if theirs < level => {
            let ours = format!("profile-level-id={}{level:02x}", &id[..4]);
            fmtp.replace(&format!("profile-level-id={id}"), &ours)
        }
        Some(_) | None => fmtp.to_owned(),
    }
}

enum Rank {
    ConstrainedBaseline,
    Baseline,
    Main,
    High,
    Silent,
}

/// A parameter of a format.
pub(super) fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constrained_baseline_in_mode_1_is_liked_best() {
        let rank = |fmtp| rank(fmtp, Form::Encoded);
        let best = rank(Some(
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        ))
        .unwrap();
        for lesser in [
            Some("packetization-mode=1; profile-level-id=42001f"),
            Some("packetization-mode=1"),
            Some("profile-level-id=4d001f;packetization-mode=1"),
            Some("profile-level-id=640c1f;packetization-mode=1"),
            Some("profile-level-id=42e01f"),
            None,
        ] {
            assert!(rank(lesser).unwrap() > best, "{lesser:?}");
        }
    }

    #[test]
    fn what_is_sent_on_goes_in_its_own_profile_where_that_is_offered() {
        let of = |profile| Form::Copied([profile, 0, 40]);
        let offered = |id: &str| format!("packetization-mode=1;profile-level-id={id}");
        let (constrained, main, high) = (offered("42e01f"), offered("4d001f"), offered("640c1f"));
        let best = |form| {
            let all = [&constrained, &main, &high];
            all.into_iter()
                .min_by_key(|fmtp| rank(Some(fmtp), form).unwrap())
                .unwrap()
        };
        assert_eq!(best(of(100)), &high);
        assert_eq!(best(of(77)), &main);
        assert_eq!(best(of(66)), &constrained);
        assert_eq!(
            rank(Some("packetization-mode=0;profile-level-id=640c1f"), of(100)),
            None
        );
    }

    #[test]
    fn level_is_the_first_that_carries_size_pace_and_rate() {
        for (width, height, fps, bitrate, level) in [
            (176, 144, 15, 60_000, 10),
            (640, 360, 30, 600_000, 30),
            (1280, 720, 30, 2_500_000, 31),
            (1280, 720, 60, 2_500_000, 32),
            (1920, 1080, 30, 4_000_000, 40),
            (1920, 1080, 30, 30_000_000, 41),
            (1920, 1080, 60, 4_000_000, 42),
            (3840, 2160, 30, 20_000_000, 51),
            (3840, 2160, 60, 20_000_000, 52),
            (4096, 64, 1, 20_000, 40),
            (60_000, 60_000, 60, u32::MAX, 52),
        ] {
            let load = Load {
                width,
                height,
                fps,
                bitrate,
                level: None,
            };
            assert_eq!(load.level(), level, "{load:?}");
            let said = Load {
                level: Some(13),
                ..load
            };
            assert_eq!(said.level(), 13);
        }
    }

    #[test]
    fn answer_says_our_level_where_it_is_higher() {
        let offered = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
        assert_eq!(with_level(offered, 42), offered.replace("42e01f", "42e02a"));
        assert_eq!(with_level(offered, 10), offered);
        assert_eq!(with_level("profile-level-id=42E00b", 31), "profile-level-id=42E01f");
        for strange in ["packetization-mode=1", "profile-level-id=42e0zz", "profile-level-id=42"] {
            assert_eq!(with_level(strange, 42), strange);
        }
    }

    #[test]
    fn mode_0_and_strange_profiles_are_refused() {
        for bad in [
            "packetization-mode=0;profile-level-id=42e01f",
            "packetization-mode=2",
            "packetization-mode=1;profile-level-id=f4001f",
            "packetization-mode=1;profile-level-id=4",
            "packetization-mode=1;profile-level-id=zzzzzz",
        ] {
            assert_eq!(rank(Some(bad), Form::Encoded), None, "{bad}");
        }
    }
}
