//! Which packets a viewer gets again, and how often its wish for a keyframe is heard: enough for a bad link, too little
//! to make one viewer's words cost anybody else.

use std::time::{Duration, Instant};

/// Bytes of a full packet, about.
const PACKET: f32 = 1_200.0;
/// Of what the link carries of the stream so much may be sent again: what loses more can't be helped by sending more.
const SHARE: f32 = 0.25;
/// What may be sent again at once: all of so long, for a link that was gone for a moment, ...
const BURST: Duration = Duration::from_millis(250);
/// ... or so many packets, where the stream is small.
const BURST_PACKETS: f32 = 64.0;
/// Before the first report, and at least, a packet on its way again is waited for so long.
const ASSUMED_ROUND_TRIP: Duration = Duration::from_millis(50);
const MIN_ROUND_TRIP: Duration = Duration::from_millis(20);
/// What a viewer reports is its own: beyond this it is not believed.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(1);
/// Weight of the newest round trip in the running mean, one in so many (RFC 6298 section 2).
const ROUND_TRIP_WINDOW: u32 = 8;
/// Packets whose last repetition is remembered: all that one datagram may ask for. Where two share a place, the budget
/// still holds.
const RECENT: usize = 256;

/// Wishes for a keyframe that are heard at once: a keyframe may be lost, too.
const MAX_WISHES: u32 = 2;
/// After those, one in so long. Browsers ask again after about a second.
const WISH_INTERVAL: Duration = Duration::from_secs(2);

/// A viewer's budget of packets sent again.
#[derive(Debug)]
pub(crate) struct Repeats {
    /// Bytes that may be sent again now.
    budget: f32,
    filled: Instant,
    round_trip: Option<Duration>,
    /// By packet number modulo [`RECENT`]: which, and when it was last sent again. Empty before the first.
    recent: Vec<Option<(u64, Instant)>>,
}

impl Repeats {
    /// A full budget.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            budget: BURST_PACKETS * PACKET,
            filled: now,
            round_trip: None,
            recent: Vec::new(),
        }
    }

    /// Notes how long a packet and its answer take.
    pub(crate) fn on_round_trip(&mut self, measured: Duration) {
        let measured = measured.min(MAX_ROUND_TRIP);
        let mean = |last: Duration| last + measured / ROUND_TRIP_WINDOW - last / ROUND_TRIP_WINDOW;
        self.round_trip = Some(self.round_trip.map_or(measured, mean));
    }

    /// How long a packet and its answer take.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip.unwrap_or(ASSUMED_ROUND_TRIP).max(MIN_ROUND_TRIP)
    }

    /// Adds to the budget what a link that carries `bits_per_second` of the stream has earned since the last call.
    pub(crate) fn fill(&mut self, bits_per_second: f32, now: Instant) {
        let rate = bits_per_second / 8.0;
        let burst = (rate * BURST.as_secs_f32()).max(BURST_PACKETS * PACKET);
        let earned = rate * SHARE * now.saturating_duration_since(self.filled).as_secs_f32();
        self.filled = now;
        self.budget = (self.budget + earned).min(burst);
    }

    /// Whether the stream's packet `packet`, of `bytes`, may be sent again; if so it counts as sent.
    pub(crate) fn take(&mut self, packet: u64, bytes: usize, now: Instant) -> bool {
        let round_trip = self.round_trip();
        self.recent.resize(RECENT, None);
        #[expect(clippy::cast_possible_truncation, reason = "below RECENT")]
        let recent = &mut self.recent[(packet % RECENT as u64) as usize];
        let is_under_way =
            recent.is_some_and(|(last, sent)| last == packet && now.saturating_duration_since(sent) < round_trip);
        #[expect(clippy::cast_precision_loss, reason = "a packet's size")]
        let bytes = bytes as f32;
        if is_under_way || bytes > self.budget {
            return false;
        }
        self.budget -= bytes;
        *recent = Some((packet, now));
        true
    }
}

/// How often one viewer's wish for a keyframe is heard.
#[derive(Debug)]
pub(crate) struct Wishes {
    left: u32,
    since: Instant,
    /// The number of the last FIR (RFC 5104 section 4.3.1.1).
    command: Option<u8>,
}

impl Wishes {
    /// None heard so far.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            left: MAX_WISHES,
            since: now,
            command: None,
        }
    }

    /// Whether a wish is heard now.
    pub(crate) fn hear(&mut self, now: Instant) -> bool {
        let intervals = now.saturating_duration_since(self.since).as_secs() / WISH_INTERVAL.as_secs();
        let earned = u32::try_from(intervals).unwrap_or(MAX_WISHES).min(MAX_WISHES);
        if earned > 0 {
            self.left = (self.left + earned).min(MAX_WISHES);
            self.since = now;
        }
        let is_heard = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_heard
    }

    /// The same for a FIR, which is repeated under its number until it is answered (RFC 5104 section 4.3.1.2).
    pub(crate) fn hear_command(&mut self, number: u8, now: Instant) -> bool {
        let is_new = self.command.replace(number) != Some(number);
        is_new && self.hear(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f32 = 2_500_000.0;
    const LEN: usize = 1_190;

    #[test]
    fn a_packet_is_sent_again_once_in_a_round_trip() {
        let start = Instant::now();
        let mut repeats = Repeats::new(start);
        repeats.on_round_trip(Duration::from_millis(100));
        assert!(repeats.take(7, LEN, start));
        for (later, is_taken) in [(0, false), (99, false), (100, true), (150, false), (200, true)] {
            let now = start + Duration::from_millis(later);
            assert_eq!(repeats.take(7, LEN, now), is_taken, "after {later} ms");
        }
    }

    #[test]
    fn a_viewer_who_asks_for_everything_gets_a_quarter_of_the_stream_again() {
        let mut now = Instant::now();
        let mut repeats = Repeats::new(now);
        let mut taken = 0;
        for round in 0..1000 {
            now += Duration::from_millis(10);
            repeats.fill(RATE, now);
            taken += (0..256)
                .filter(|packet| repeats.take(round * 256 + packet, LEN, now))
                .count();
        }
        let bits = taken * LEN * 8;
        // Ten seconds' share, and the burst.
        assert!((6_000_000..7_500_000).contains(&bits), "{bits}");
    }

    #[test]
    fn a_short_outage_is_made_good_at_once() {
        let start = Instant::now();
        let mut repeats = Repeats::new(start);
        let now = start + Duration::from_secs(1);
        repeats.fill(RATE, now);
        // A fifth of a second of the stream.
        assert!((0..50).all(|packet| repeats.take(packet, LEN, now)));
    }

    #[test]
    fn a_round_trip_is_believed_within_bounds() {
        let mut repeats = Repeats::new(Instant::now());
        assert_eq!(repeats.round_trip(), ASSUMED_ROUND_TRIP);
        repeats.on_round_trip(Duration::ZERO);
        assert_eq!(repeats.round_trip(), MIN_ROUND_TRIP);
        for _ in 0..100 {
            repeats.on_round_trip(Duration::from_secs(60));
        }
        let seconds = repeats.round_trip().as_secs_f32();
        assert!((0.9..=1.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn wishes_are_heard_twice_and_then_once_in_two_seconds() {
        let start = Instant::now();
        let mut wishes = Wishes::new(start);
        let heard: Vec<u64> = (0..100)
            .map(|step| step * 100)
            .filter(|after| wishes.hear(start + Duration::from_millis(*after)))
            .collect();
        assert_eq!(heard, [0, 100, 2000, 4000, 6000, 8000]);
        // Who was content for a while is heard at once again.
        let later = start + Duration::from_secs(60);
        assert_eq!([0; 3].map(|_| wishes.hear(later)), [true, true, false]);
    }

    #[test]
    fn a_repeated_command_is_heard_once() {
        let start = Instant::now();
        let mut wishes = Wishes::new(start);
        let later = start + Duration::from_secs(10);
        let numbers = [(7, start), (7, start), (7, later), (8, later)];
        let heard = numbers.map(|(number, now)| wishes.hear_command(number, now));
        assert_eq!(heard, [true, false, false, true]);
    }
}
