//! What a publisher is told of what came from it, as RTCP: reports (RFC 3550), requests (RFC 4585), and when packets came
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).

use std::time::Instant;

use framebridge_core::reception::{Block, Told};

const RECEIVER_REPORT: u8 = 201;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// A reception report.
pub(super) fn report(ours: u32, theirs: u32, block: &Block) -> Vec<u8> {
    let mut packet = vec![0x81, RECEIVER_REPORT, 0, 7];
    let lost = u32::from(block.fraction_lost) << 24 | block.total_lost & 0x7f_ffff;
    for word in [
        ours,
        theirs,
        lost,
        block.highest,
        block.jitter,
        block.last_report,
        block.delay,
    ] {
        packet.extend_from_slice(&word.to_be_bytes());
    }
    packet
}

/// Wishes for a keyframe (PLI).
pub(super) fn keyframe_request(ours: u32, theirs: u32) -> Vec<u8> {
    feedback((PAYLOAD_FEEDBACK, 1), (ours, theirs), &[])
}

/// Asks for packets again (NACK): each entry is a number and which of the 16 after it are missing, too.
pub(super) fn missing(ours: u32, theirs: u32, numbers: &[u16]) -> Vec<u8> {
    let mut entries: Vec<(u16, u16)> = Vec::new();
    for number in numbers {
        if let Some((first, others)) = entries.last_mut()
            && let after @ 1..=16 = number.wrapping_sub(*first)
        {
            *others |= 1 << (after - 1);
        } else {
            entries.push((*number, 0));
        }
    }
    let body: Vec<u8> = entries
        .into_iter()
        .flat_map(|(first, others)| [first.to_be_bytes(), others.to_be_bytes()].concat())
        .collect();
    feedback((TRANSPORT_FEEDBACK, 1), (ours, theirs), &body)
}

/// Units of arrival times, and how many of them one of the reference time is.
const TICK_MICROS: u128 = 250;
const TICKS_OF_REFERENCE: i64 = 256;

/// Says when packets came, by a clock that began at `epoch`; `count` numbers what is told so.
pub(super) fn arrivals((ours, theirs): (u32, u32), epoch: Instant, count: u8, told: &Told) -> Vec<u8> {
    let ticks =
        |at: &Instant| i64::try_from(at.saturating_duration_since(epoch).as_micros() / TICK_MICROS).unwrap_or(0);
    let reference = told.times.iter().flatten().min().map_or(0, ticks) / TICKS_OF_REFERENCE;
    let mut last = reference * TICKS_OF_REFERENCE;
    let mut steps: Vec<Option<i16>> = Vec::with_capacity(told.times.len());
    for time in &told.times {
        steps.push(time.as_ref().map(|at| {
            let step = ticks(at) - last;
            last += step;
            // Eight seconds: what is told of came within a fraction of one.
            i16::try_from(step).unwrap_or(0)
        }));
    }
    let mut body = told.first.to_be_bytes().to_vec();
    body.extend_from_slice(&u16::try_from(steps.len()).unwrap_or(u16::MAX).to_be_bytes());
    let reference = u32::try_from(reference & 0xff_ffff).unwrap_or(0);
    body.extend_from_slice(&(reference << 8 | u32::from(count)).to_be_bytes());
    // Chunks of seven packets, two bits each: not come, a small step, a large one.
    for seven in steps.chunks(7) {
        let mut chunk: u16 = 0b11;
        for at in 0..7 {
            let symbol = match seven.get(at).copied().flatten() {
                None => 0,
                Some(0..=255) => 1,
                Some(_) => 2,
            };
            chunk = chunk << 2 | symbol;
        }
        body.extend_from_slice(&chunk.to_be_bytes());
    }
    for step in steps.into_iter().flatten() {
        match u8::try_from(step) {
            Ok(small) => body.push(small),
            Err(_) => body.extend_from_slice(&step.to_be_bytes()),
        }
    }
    body.resize(body.len().next_multiple_of(4), 0);
    feedback((TRANSPORT_FEEDBACK, 15), (ours, theirs), &body)
}

/// A compound of an empty report, for compounds begin with one, and this feedback.
fn feedback((kind, format): (u8, u8), (ours, theirs): (u32, u32), body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, RECEIVER_REPORT, 0, 1];
    packet.extend_from_slice(&ours.to_be_bytes());
    // Bodies are of whole words, and of some hundred at most.
    let words = u16::try_from(2 + body.len() / 4).unwrap_or(u16::MAX);
    packet.extend_from_slice(&[0x80 | format, kind]);
    packet.extend_from_slice(&words.to_be_bytes());
    for ssrc in [ours, theirs] {
        packet.extend_from_slice(&ssrc.to_be_bytes());
    }
    packet.extend_from_slice(body);
    packet
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Feedback, Report, feedback::parse};

    const OURS: u32 = 1;
    const THEIRS: u32 = 7;

    fn parsed(compound: &[u8], ssrc: u32) -> Vec<Feedback> {
        let mut read = Vec::new();
        parse(compound, ssrc, |feedback| read.push(feedback));
        read
    }

    #[test]
    fn what_is_told_is_read_as_it_was_meant() {
        let numbers = vec![65_534, 65_535, 3, 14, 400];
        assert_eq!(
            parsed(&missing(OURS, THEIRS, &numbers), THEIRS),
            [Feedback::Missing { numbers, beyond: 0 }]
        );
        assert_eq!(
            parsed(&keyframe_request(OURS, THEIRS), THEIRS),
            [Feedback::KeyframeRequest]
        );
        let block = Block {
            fraction_lost: 3,
            total_lost: 5,
            highest: 0x1_0002,
            jitter: 9,
            last_report: 77,
            delay: 66,
        };
        let read = Report {
            total_lost: 5,
            highest: 0x1_0002,
            last_report: 77,
            delay: 66,
        };
        assert_eq!(parsed(&report(OURS, THEIRS, &block), THEIRS), [Feedback::Report(read)]);
    }

    #[test]
    fn arrivals_are_read_with_the_times_between_them() {
        let start = Instant::now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let times = vec![at(0), None, at(1), at(100), at(99), None, None, at(101), at(101)];
        let told = Told {
            first: 65_530,
            times: times.clone(),
        };
        let read = parsed(
            &arrivals((OURS, THEIRS), start - Duration::from_secs(5), 3, &told),
            THEIRS,
        );
        let [Feedback::Arrivals(read)] = &read[..] else {
            panic!("{read:?}");
        };
        assert_eq!((read.first, read.times.len()), (65_530, times.len()));
        let base = read.times[0].expect("came");
        for (time, read) in times.iter().zip(&read.times) {
            let expected = time.map(|time| i32::try_from((time - start).as_micros() / 250).unwrap());
            assert_eq!(read.map(|read| read - base), expected);
        }
    }
}
