//! The passive end of a line's data channels: what somebody with the keys may send.

use std::time::{Duration, Instant};

use framebridge_rtc::{Containment, hostile::Line};

use super::script::Script;

/// A script's longest.
const MOST_STEPS: usize = 256;
/// Packets that one packet may bring forth: what waits to be sent again, at most.
const MOST_ANSWERS: usize = 600;
/// What messages may add up to: each byte has come, and none twice.
const HEADERS: usize = 12 + 4;

const INIT: u8 = 1;
const COOKIE_ECHO: u8 = 10;
const OURS: u32 = 0x0a0b_0c0d;

/// A script of packets, of which all have a checksum and most a tag, after an honest beginning.
pub(super) fn channels(input: &[u8]) {
    let mut script = Script::new(input);
    let mut scene = Scene::new(u32::from(script.word()) << 16 | u32::from(script.word()));
    if !script.byte().is_multiple_of(8) {
        scene.begin();
    }
    for _ in 0..MOST_STEPS {
        let Some(step) = script.step(8) else { return };
        let goes_on = match step {
            0 => scene.take(script.bytes()),
            1 => scene.waits(Duration::from_millis(u64::from(script.byte()) * 20)),
            2 => scene.data(&mut script),
            3 => scene.forward(&mut script),
            4 => scene.chunks(&[(3, 0, &[&scene.first.to_be_bytes()[..], script.bytes()].concat())]),
            5 => scene.chunks(&[(script.byte(), script.byte(), script.bytes()), (0, 3, script.bytes())]),
            _ => scene.chunks(&[(script.byte() % 16, script.byte(), script.bytes())]),
        };
        if !goes_on {
            return;
        }
    }
}

struct Scene {
    line: Line,
    now: Instant,
    /// The other end's tag, once it is known.
    tag: u32,
    first: u32,
    /// Bytes of data that were sent, and that have come as messages.
    sent: usize,
    heard: usize,
}

impl Scene {
    fn new(first: u32) -> Self {
        Self {
            // A panic below is what is looked for: it may not be here.
            line: Line::new(Containment(|work| {
                work();
                true
            })),
            now: Instant::now(),
            tag: 0,
            // The family adds 1 where numbers wrap, which is known, and contained in what is shipped.
            first: first % (u32::MAX - (1 << 20)) + 1,
            sent: 0,
            heard: 0,
        }
    }

    /// The four-way handshake (RFC 9260, section 5.1).
    fn begin(&mut self) {
        let mut init = OURS.to_be_bytes().to_vec();
        init.extend(100_000_u32.to_be_bytes());
        init.extend([0, 2, 0, 2]);
        init.extend(self.first.to_be_bytes());
        // Re-configuration and Forward TSN are supported (RFC 5061, section 4.2.7). `rtc-sctp` 0.21.1 reads no parameter of four
        // bytes at the end, and then drops the packet.
        init.extend([0x80, 0x08, 0, 6, 130, 192]);
        let packet = packet(0, &[(INIT, 0, &init)]);
        assert!(self.line.take(&packet, self.now), "an honest beginning");
        let answer = self.line.answers().pop().expect("an answer to an honest beginning");
        self.tag = u32::from_be_bytes([answer[16], answer[17], answer[18], answer[19]]);
        // The cookie is the first parameter: its type is 7.
        let cookie = &answer[32..];
        let length = usize::from(u16::from_be_bytes([cookie[2], cookie[3]]));
        assert!(cookie[..2] == [0, 7]);
        let echo = cookie[4..length].to_vec();
        assert!(self.chunks(&[(COOKIE_ECHO, 0, &echo)]), "an honest cookie");
    }

    fn data(&mut self, script: &mut Script<'_>) -> bool {
        let ahead = u32::from(script.byte());
        let (stream, sequence, flags) = (script.byte() % 3, script.byte() % 8, script.byte());
        let text = script.bytes();
        let mut value = self.first.wrapping_add(ahead).to_be_bytes().to_vec();
        value.extend([0, stream, 0, sequence, 0, 0, 0, 51]);
        value.extend(text);
        self.chunks(&[(0, flags, &value)])
    }

    fn forward(&mut self, script: &mut Script<'_>) -> bool {
        let to = self.first.wrapping_add(script.word().into());
        self.chunks(&[(192, 0, &[&to.to_be_bytes()[..], script.bytes()].concat())])
    }

    fn waits(&mut self, time: Duration) -> bool {
        self.now += time;
        self.line.wait(self.now) && self.look()
    }

    fn chunks(&mut self, chunks: &[(u8, u8, &[u8])]) -> bool {
        self.take(&packet(self.tag, chunks))
    }

    fn take(&mut self, packet: &[u8]) -> bool {
        self.sent += packet.len().saturating_sub(HEADERS);
        self.line.take(packet, self.now) && self.look()
    }

    fn look(&mut self) -> bool {
        assert!(self.line.answers().len() <= MOST_ANSWERS);
        self.heard += self.line.messages().iter().map(Vec::len).sum::<usize>();
        assert!(self.heard <= self.sent, "more has come than was sent");
        true
    }
}

fn packet(tag: u32, chunks: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut packet = [
        &5000_u16.to_be_bytes()[..],
        &5000_u16.to_be_bytes(),
        &tag.to_be_bytes(),
        &[0; 4],
    ]
    .concat();
    for (kind, flags, value) in chunks {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        packet.extend([*kind, *flags]);
        packet.extend(length.to_be_bytes());
        packet.extend(*value);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    let sum = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&sum);
    packet
}

/// Castagnoli's, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum))
    })
}
