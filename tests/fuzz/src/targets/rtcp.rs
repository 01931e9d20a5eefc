//! What viewers tell about their reception.

use framebridge_rtc::{
    Feedback, hostile,
    srtp::{MasterKey, Profile, Receiver, Sender},
};

const OURS: u32 = 0x0102_0304;
/// Lost packets that one datagram is heard for.
const MOST_MISSING: usize = 256;
/// Packets whose arrival one datagram is heard for.
const MOST_ARRIVALS: usize = 2048;
const MASTER: MasterKey = MasterKey {
    key: [1; 16],
    salt: [2; 14],
};

/// A compound packet: as it stands, as a stranger's SRTCP, and as the SRTCP of a viewer, who has the keys.
pub(super) fn feedback(input: &[u8]) {
    let heard = hostile::feedback(input, OURS);
    for feedback in &heard {
        match feedback {
            Feedback::Missing { numbers, beyond } => {
                assert!(!numbers.is_empty() && numbers.len() <= MOST_MISSING);
                assert!(*beyond == 0 || numbers.len() == MOST_MISSING);
            }
            Feedback::Arrivals(told) => assert!((1..=MOST_ARRIVALS).contains(&told.times.len())),
            Feedback::Estimate(rate) => assert!(*rate >= 0.0, "{rate}"),
            Feedback::KeyframeRequest | Feedback::IntraRequest(_) | Feedback::Report(_) => {}
        }
    }
    let arrivals = heard.iter().map(|heard| {
        if let Feedback::Arrivals(told) = heard {
            told.times.len()
        } else {
            0
        }
    });
    assert!(arrivals.sum::<usize>() <= MOST_ARRIVALS);
    // The smallest thing that is heard at all has 8 bytes.
    assert!(heard.len() <= input.len() / 8 + 1);
    for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmSha1] {
        let mut receiver = Receiver::new(profile, &MASTER);
        assert!(receiver.open_rtcp(&mut input.to_vec()).is_err(), "nobody has sealed it");
        if input.len() >= 8 {
            let mut sealed = input.to_vec();
            let ssrc = u32::from_be_bytes([input[4], input[5], input[6], input[7]]);
            Sender::new(profile, &MASTER, ssrc, 0).protect_rtcp(&mut sealed);
            let opened = receiver.open_rtcp(&mut sealed).map(<[u8]>::to_vec);
            assert_eq!(opened.ok().as_deref(), Some(input));
        }
    }
}
