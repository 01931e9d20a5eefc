//! As much of Matroska (RFC 9559) as one stream of H.264 takes: a head, and then a cluster for each frame. FFmpeg reads it frame by
//! frame, knows all from the head, and waits for nothing behind a frame.

/// A tenth of a millisecond, in nanoseconds: nine of RTP's ticks.
const SCALE: u64 = 100_000;
const TICKS: u64 = 9;

/// Of a size that is not known, as of what has no end.
const ENDLESS: [u8; 8] = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// A time in 1/90,000 s as a film has it.
pub(super) fn time(ticks: u64) -> u64 {
    ticks / TICKS
}

/// The head of a film of this size with these sequence and picture parameter sets.
pub(super) fn head((width, height): (u32, u32), sps: &[&[u8]], pps: &[&[u8]]) -> Vec<u8> {
    let ebml = [
        text(&[0x42, 0x82], "matroska"),
        number(&[0x42, 0x87], 4),
        number(&[0x42, 0x85], 2),
    ];
    let info = [
        number(&[0x2a, 0xd7, 0xb1], SCALE),
        text(&[0x4d, 0x80], "framebridge"),
        text(&[0x57, 0x41], "framebridge"),
    ];
    let size = [number(&[0xb0], width.into()), number(&[0xba], height.into())];
    let track = [
        number(&[0xd7], 1),
        number(&[0x73, 0xc5], 1),
        number(&[0x83], 1),
        number(&[0x9c], 0),
        text(&[0x86], "V_MPEG4/ISO/AVC"),
        element(&[0x63, 0xa2], &configuration(sps, pps)),
        element(&[0xe0], &size.concat()),
    ];
    let tracks = element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &track.concat()));
    let mut film = element(&[0x1a, 0x45, 0xdf, 0xa3], &ebml.concat());
    film.extend_from_slice(&[0x18, 0x53, 0x80, 0x67]);
    film.extend_from_slice(&ENDLESS);
    film.extend(element(&[0x15, 0x49, 0xa9, 0x66], &info.concat()));
    film.extend(tracks);
    film
}

/// One frame, in a cluster of its own.
pub(super) fn frame(time: u64, keyframe: bool, nals: &[Vec<u8>]) -> Vec<u8> {
    // The track, no time after the cluster's, and whether a decoder can start here.
    let mut block = vec![0x81, 0, 0, if keyframe { 0x80 } else { 0 }];
    for nal in nals {
        block.extend_from_slice(&u32::try_from(nal.len()).unwrap_or(0).to_be_bytes());
        block.extend_from_slice(nal);
    }
    let cluster = [number(&[0xe7], time), element(&[0xa3], &block)];
    element(&[0x1f, 0x43, 0xb6, 0x75], &cluster.concat())
}

/// Where a frame has its time: behind the names and sizes of the cluster and of the time itself.
const TIME_AT: usize = 4 + 8 + 1 + 8;

/// Gives what begins with a frame another time. Returns the one before.
pub(super) fn retime(frame: &mut [u8], time: u64) -> u64 {
    let Some(place) = frame.get_mut(TIME_AT..).and_then(<[u8]>::first_chunk_mut) else {
        return time;
    };
    u64::from_be_bytes(std::mem::replace(place, time.to_be_bytes()))
}

/// The decoder's configuration (ISO/IEC 14496-15, section 5.3.3.1), with four bytes of length before each NAL unit.
fn configuration(sps: &[&[u8]], pps: &[&[u8]]) -> Vec<u8> {
    let profile = sps.first().and_then(|set| set.get(1..4)).unwrap_or(&[0; 3]);
    let mut record = vec![1];
    record.extend_from_slice(profile);
    // As many as have room in the counts: of each kind there are a few.
    let (sps, pps) = (&sps[..sps.len().min(31)], &pps[..pps.len().min(255)]);
    for (mark, sets) in [(0xe0, sps), (0, pps)] {
        if mark != 0 {
            record.push(0xff);
        }
        record.push(mark | u8::try_from(sets.len()).unwrap_or(0));
        for set in sets {
            record.extend_from_slice(&u16::try_from(set.len()).unwrap_or(0).to_be_bytes());
            record.extend_from_slice(set);
        }
    }
    record
}

fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let mut element = id.to_vec();
    // Eight bytes of size hold any.
    let size = u64::try_from(content.len()).unwrap_or(0) | 1 << 56;
    element.extend_from_slice(&size.to_be_bytes());
    element.extend_from_slice(content);
    element
}

fn number(id: &[u8], value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

fn text(id: &[u8], value: &str) -> Vec<u8> {
    element(id, value.as_bytes())
}

#[cfg(test)]
mod tests {
    use framebridge_core::h264::configuration_record;

    use super::*;

    #[test]
    fn configuration_names_the_sets_and_sizes_are_true() {
        let (sps, pps): (&[u8], &[u8]) = (&[0x67, 0x42, 0xc0, 0x1e, 9], &[0x68, 1]);
        let record = configuration(&[sps], &[pps]);
        assert_eq!(configuration_record(&record), Some((4, vec![sps, pps])));
        let frame = frame(7, true, &[vec![0x65, 1, 2]]);
        assert_eq!(&frame[..4], [0x1f, 0x43, 0xb6, 0x75]);
        assert_eq!(usize::from(frame[11]), frame.len() - 12);
        assert_eq!(frame[frame.len() - 7..], [0, 0, 0, 3, 0x65, 1, 2]);
        assert_eq!(time(90_000), 10_000);
    }
}
