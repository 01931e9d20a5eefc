//! What a camera sends: taken apart in either form, and judged.

use std::time::Duration;

use framebridge_core::{
    as_it_comes::{AsItComes, Seen, Wish},
    h264::{self, Sps},
};

/// A stream, as Annex B and with lengths. What comes apart is within it, and every picture gets a verdict.
pub(super) fn stream(bytes: &[u8]) {
    let mut copy = AsItComes::new(Wish {
        allowed: true,
        ..Wish::default()
    });
    copy.opened(None);
    let (mut sps, mut at) = (None, Duration::ZERO);
    let mut judge = |unit: &[u8]| {
        assert!(unit.len() <= bytes.len() && !unit.is_empty());
        if let Some(found) = Sps::parse(unit) {
            assert!(found.width > 0 && found.height > 0);
            sps = Some(found);
        }
        _ = h264::set_number(unit);
        let Some(bidirectional) = h264::is_bidirectional(unit) else {
            return;
        };
        at += Duration::from_millis(u64::from(unit[0]));
        copy.observe(&Seen {
            sps: sps.as_ref(),
            keyframe: h264::kind(unit) == h264::IDR,
            bidirectional,
            at,
            bytes: unit.len(),
        });
    };
    h264::annex_b(bytes).for_each(&mut judge);
    for width in 1..=4 {
        h264::length_prefixed(bytes, width).for_each(&mut judge);
    }
    if let Some((width, sets)) = h264::configuration_record(bytes) {
        assert!((1..=4).contains(&width));
        sets.into_iter().filter(|set| !set.is_empty()).for_each(judge);
    }
}
