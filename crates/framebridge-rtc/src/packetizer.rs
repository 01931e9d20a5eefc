//! The publishing end of a stream: numbers packets and keeps time, whatever the encoder does.

use std::time::{Duration, Instant};

use framebridge_proto::media::AccessUnit;

use crate::frame::{Frame, Payloads};

/// RTP's clock for video, ticks per second.
pub(crate) const CLOCK_HZ: u64 = 90_000;
/// How far presentation time may run from capture time before it counts as a new timeline. A looped or paused
/// source jumps by more; jitter of capture stays below.
const MAX_SKEW: Duration = Duration::from_secs(1);
/// From one frame that tells when it was captured to the next, unless it is a keyframe: receivers know those between by their
/// timestamps (abs-capture-time).
const CAPTURE_TIMES: Duration = Duration::from_secs(1);

/// Turns access units into frames. One life of an encoder follows another without a seam.
#[derive(Debug, Default)]
pub(crate) struct Packetizer {
    next_packet: u64,
    last: Option<Last>,
    /// A picture is missing, so that nothing can be decoded before the next keyframe.
    broken: bool,
    /// Pictures captured before it are left out, nanoseconds of the machine's monotonic clock.
    not_before_ns: u64,
    /// Frames come as their source has encoded them.
    copied: bool,
    /// When a frame last told when it was captured.
    told_capture: Option<Instant>,
}

/// The access unit before.
#[derive(Debug)]
struct Last {
    sequence: u64,
    pts: u64,
    captured_ns: u64,
    timestamp: u64,
}

/// What an access unit came to.
#[derive(Debug)]
pub(crate) enum Published {
    /// A frame to send.
    Frame(Frame),
    /// It leans on a picture that never came: only a keyframe helps.
    Undecodable,
    /// It holds nothing that a receiver needs.
    Empty,
}

impl Packetizer {
    /// Leaves out pictures captured before `stamp_ns`: an encoder starts a new subscriber with pictures from before,
    /// and viewers taken over from an earlier process have seen these, and later ones. A browser that is shown an
    /// earlier picture as if it were new discards it, and stands still on all that lean on it.
    pub(crate) fn start_after(&mut self, stamp_ns: u64) {
        self.not_before_ns = stamp_ns;
    }

    /// Takes in whether frames come as their source has encoded them. Then those before a keyframe that comes seconds later are
    /// needed, however old they are, and each viewer is told times for them that are new to it
    /// ([`CatchUp`](crate::catch_up::CatchUp)).
    pub(crate) fn set_copied(&mut self, copied: bool) {
        self.copied = copied;
    }

    /// Whether this frame is to tell when it was captured.
    pub(crate) fn tells_capture(&mut self, frame: &Frame) -> bool {
        let is_due = |last: Instant| frame.published.saturating_duration_since(last) >= CAPTURE_TIMES;
        let tells = (frame.keyframe || self.told_capture.is_none_or(is_due)) && frame.can_tell();
        if tells {
            self.told_capture = Some(frame.published);
        }
        tells
    }

    /// Takes the next access unit.
    pub(crate) fn publish(&mut self, unit: &AccessUnit, now: Instant) -> Published {
        let comes_again = |last: &Last| unit.sequence <= last.sequence;
        if self.copied && unit.keyframe && self.last.as_ref().is_some_and(comes_again) {
            // The encoder begins the group again, for us who were too slow: it is what it was, with the times that it had. A
            // number is left out, so that nobody takes it for what follows.
            self.last = None;
            self.next_packet += 1;
        }
        let timestamp = self.timestamp(unit);
        let follows = self
            .last
            .as_ref()
            .is_some_and(|last| unit.sequence == last.sequence.wrapping_add(1));
        let is_old = !self.copied && unit.captured_ns < self.not_before_ns;
        self.broken = is_old || (!unit.keyframe && (self.broken || !follows));
        self.last = Some(Last {
            sequence: unit.sequence,
            pts: unit.pts,
            captured_ns: unit.captured_ns,
            timestamp,
        });
        if self.broken {
            return Published::Undecodable;
        }
        let payloads = Payloads::of(&unit.payload);
        if payloads.is_empty() {
            return Published::Empty;
        }
        let frame = Frame::new(self.next_packet, timestamp, unit.keyframe, now, payloads);
        self.next_packet = frame.end();
        Published::Frame(frame)
    }

    /// Continuous 90 kHz time. It starts at capture time (so that another process that takes over goes on from
    /// about the same time), moves with the encoder's pts, and where those break off, by the capture clock.
    fn timestamp(&self, unit: &AccessUnit) -> u64 {
        let Some(last) = &self.last else {
            return ticks(unit.captured_ns);
        };
        let by_capture = ticks(unit.captured_ns).saturating_sub(ticks(last.captured_ns));
        let by_pts = unit
            .pts
            .checked_sub(last.pts)
            .filter(|step| *step > 0 && step.abs_diff(by_capture) < MAX_SKEW.as_secs() * CLOCK_HZ);
        // A picture never comes before the one before it, nor together with it.
        last.timestamp + by_pts.unwrap_or(by_capture).max(1)
    }
}

/// A moment of the machine's monotonic clock on a stream's timeline.
pub(crate) fn ticks(nanoseconds: u64) -> u64 {
    // 90 kHz is 9 ticks in 100 µs.
    nanoseconds / 100_000 * 9 + nanoseconds % 100_000 * 9 / 100_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_NS: u64 = 33_333_333;

    #[test]
    fn keyframes_and_a_frame_a_second_tell_when_they_were_captured() {
        let (mut packetizer, start) = (Packetizer::default(), Instant::now());
        let mut told = Vec::new();
        for number in 0..100_u64 {
            let captured_ns = number * FRAME_NS;
            let unit = unit(number, captured_ns, number * 3000, number.is_multiple_of(50));
            let frame = frame(packetizer.publish(&unit, start + Duration::from_nanos(captured_ns)));
            if packetizer.tells_capture(&frame) {
                told.push(number);
            }
        }
        assert_eq!(told, [0, 31, 50, 81]);
    }

    fn unit(sequence: u64, captured_ns: u64, pts: u64, keyframe: bool) -> AccessUnit {
        let payload = bytes::Bytes::from_static(&[0, 0, 1, 0x65, 1]);
        AccessUnit {
            sequence,
            captured_ns,
            encoded_ns: captured_ns,
            pts,
            keyframe,
            payload,
        }
    }

    fn frame(published: Published) -> Frame {
        match published {
            Published::Frame(frame) => frame,
            other @ (Published::Undecodable | Published::Empty) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_encoders_restart_leaves_no_seam() {
        let (mut packetizer, now) = (Packetizer::default(), Instant::now());
        let mut at = 7_000_000_000;
        let mut last: Option<Frame> = None;
        for life in 0..3 {
            for n in 0..5 {
                let frame = frame(packetizer.publish(&unit(n, at, n * 3000, n == 0), now));
                if let Some(last) = &last {
                    assert_eq!(frame.first, last.end());
                    let step = frame.timestamp - last.timestamp;
                    let expected = if n == 0 { 90_000 } else { 3000 };
                    assert!(step.abs_diff(expected) < 3100, "life {life} frame {n}: {step}");
                }
                last = Some(frame);
                at += FRAME_NS;
            }
            at += 1_000_000_000;
        }
    }

    #[test]
    fn machine_that_has_run_for_400_days_has_times_like_any() {
        let (mut packetizer, now) = (Packetizer::default(), Instant::now());
        let up = 400 * 86_400 * 1_000_000_000;
        // Another encoder's times begin anew in the middle: they are told by the time of capture then.
        let times: Vec<u64> = [(0, 0), (1, 3000), (0, 9), (1, 3009)]
            .into_iter()
            .zip(0..)
            .map(|((sequence, pts), n)| {
                frame(packetizer.publish(&unit(sequence, up + n * FRAME_NS, pts, sequence == 0), now)).timestamp
            })
            .collect();
        assert!(
            times.windows(2).all(|two| (2_998..=3_002).contains(&(two[1] - two[0]))),
            "{times:?}"
        );
    }

    #[test]
    fn time_never_stands_still_or_goes_back() {
        let (mut packetizer, now) = (Packetizer::default(), Instant::now());
        let mut last = 0;
        for (captured, pts) in [
            (5, 0),
            (5, 0),
            (4, 0),
            (0, 9),
            (0, u64::MAX),
            (u64::MAX, 0),
            (u64::MAX, 1),
        ] {
            let timestamp = frame(packetizer.publish(&unit(0, captured, pts, true), now)).timestamp;
            assert!(timestamp > last || last == 0);
            last = timestamp;
        }
    }

    #[test]
    fn after_a_gap_only_a_keyframe_goes_on() {
        let (mut packetizer, now) = (Packetizer::default(), Instant::now());
        frame(packetizer.publish(&unit(0, 0, 0, true), now));
        assert!(matches!(
            packetizer.publish(&unit(2, FRAME_NS, 3000, false), now),
            Published::Undecodable
        ));
        assert!(matches!(
            packetizer.publish(&unit(3, FRAME_NS, 3000, false), now),
            Published::Undecodable
        ));
        frame(packetizer.publish(&unit(4, FRAME_NS, 3000, true), now));
        frame(packetizer.publish(&unit(5, FRAME_NS, 3000, false), now));
    }

    #[test]
    fn a_group_that_is_sent_again_has_its_own_times_and_is_not_taken_for_the_next() {
        let (mut packetizer, now) = (Packetizer::default(), Instant::now());
        packetizer.start_after(50 * FRAME_NS);
        packetizer.set_copied(true);
        let publish = |packetizer: &mut Packetizer, n: u64| {
            frame(packetizer.publish(&unit(n, n * FRAME_NS, n * 3000, n.is_multiple_of(10)), now))
        };
        let first: Vec<Frame> = (10..25).map(|n| publish(&mut packetizer, n)).collect();
        assert_eq!(first[0].timestamp, ticks(10 * FRAME_NS), "however old it is");
        let again = publish(&mut packetizer, 20);
        assert_eq!(again.timestamp, ticks(20 * FRAME_NS));
        assert_ne!(again.first, first[14].end());
        let next = publish(&mut packetizer, 21);
        assert_eq!(next.first, again.end());
    }

    #[test]
    fn a_stream_starts_with_a_keyframe() {
        let (mut packetizer, now) = (Packetizer::default(), Instant::now());
        assert!(matches!(
            packetizer.publish(&unit(9, 0, 0, false), now),
            Published::Undecodable
        ));
    }

    #[test]
    fn what_an_earlier_process_may_have_sent_is_left_out_up_to_the_next_keyframe() {
        let (mut packetizer, now) = (Packetizer::default(), Instant::now());
        packetizer.start_after(5 * FRAME_NS);
        for (sequence, keyframe) in [(3, true), (4, false), (5, false)] {
            let published = packetizer.publish(&unit(sequence, sequence * FRAME_NS, sequence * 3000, keyframe), now);
            assert!(matches!(published, Published::Undecodable), "{sequence}");
        }
        let frame = frame(packetizer.publish(&unit(6, 6 * FRAME_NS, 6 * 3000, true), now));
        assert_eq!(frame.timestamp, ticks(6 * FRAME_NS), "no earlier than what was sent");
    }
}
