//! Which of the offered H.264 formats we send (RFC 6184 section 8.2.2).
//!
//! We send constrained baseline, which every profile's decoder reads, in FU-A and STAP-A, which packetization mode 1
//! allows. So any format of mode 1 will do; the closer its profile is to ours, the better.

/// How well a format suits; the least is the best. `None`: it can't be used.
pub(super) fn rank(fmtp: Option<&str>) -> Option<u8> {
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

enum Rank {
    ConstrainedBaseline,
    Baseline,
    Main,
    High,
    Silent,
}

fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
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
    fn mode_0_and_strange_profiles_are_refused() {
        for bad in [
            "packetization-mode=0;profile-level-id=42e01f",
            "packetization-mode=2",
            "packetization-mode=1;profile-level-id=f4001f",
            "packetization-mode=1;profile-level-id=4",
            "packetization-mode=1;profile-level-id=zzzzzz",
        ] {
            assert_eq!(rank(Some(bad)), None, "{bad}");
        }
    }
}
