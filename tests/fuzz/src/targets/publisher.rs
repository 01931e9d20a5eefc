//! What a publisher sends once it has the keys: packets of any order, size and content, up to the frames that come of them.

use std::time::{Duration, Instant};

use framebridge_rtc::hostile::{Heard, Publisher};

/// A script's longest.
const MOST_STEPS: usize = 512;
/// A frame's NAL units, and what is told the publisher for one packet or moment.
const MOST_NALS: usize = 512;
const MOST_TOLD: usize = 16;
/// A datagram, as far as it fits into what is told.
const MOST_RTCP: usize = 16 * 1024;

/// A script of packets of the media stream, of its repairs and of nothing that was agreed on, with time between them.
pub(super) fn packets(input: &[u8]) {
    let mut script = super::script::Script::new(input);
    let (mut publisher, mut now) = (Publisher::new(Instant::now()), Instant::now());
    for _ in 0..MOST_STEPS {
        let Some(step) = script.step(4) else { return };
        let heard = match step {
            0 => {
                now += Duration::from_millis(u64::from(script.byte()) * 4);
                publisher.wait(now)
            }
            1 => publisher.take(script.bytes(), now),
            _ => {
                let kind = if step == 2 { Publisher::MEDIA } else { Publisher::REPAIR };
                let (marker, sequence, timestamp) = (script.byte() & 0x80, script.word(), script.byte());
                let mut packet = vec![0x80, marker | kind];
                packet.extend_from_slice(&sequence.to_be_bytes());
                packet.extend_from_slice(&[0, 0, timestamp, 0, 0, 0, 0, kind]);
                packet.extend_from_slice(script.bytes());
                publisher.take(&packet, now)
            }
        };
        check(&heard);
    }
}

fn check(Heard { units, told }: &Heard) {
    for unit in units {
        assert!(!unit.nals.is_empty() && unit.nals.len() <= MOST_NALS && unit.nals.iter().all(|nal| !nal.is_empty()));
    }
    assert!(told.len() <= MOST_TOLD, "{} packets are told at once", told.len());
    for packet in told {
        assert!(packet.len().is_multiple_of(4) && packet.len() <= MOST_RTCP && packet[0] >> 6 == 2);
    }
}
