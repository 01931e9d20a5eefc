//! Who publishes a stream: one at a time. Who is there and sends keeps the place; who has fallen silent gives way, so that a
//! publisher that was cut off is back as soon as it asks, and is not kept out by what it left behind.

use std::time::{Duration, Instant};

/// A publisher that has sent nothing for this long gives way to another. Encoders send several pictures a second, and a link that
/// fails is tried anew within seconds.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a publisher may take to its first packet: ICE and DTLS over a bad mobile link need some five seconds.
const CONNECTING: Duration = Duration::from_secs(6);

/// The place of one stream's publisher.
#[derive(Debug, Default)]
pub struct PublisherPlace {
    /// Until when it is not to be had.
    until: Option<Instant>,
}

impl PublisherPlace {
    /// Takes the place. Whoever had it has it no more.
    ///
    /// # Errors
    /// Somebody has it, and is there; when it may be tried again.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if self.until.is_some_and(|until| until > now) {
            return Err(SILENCE);
        }
        self.until = Some(now + CONNECTING);
        Ok(())
    }

    /// Its publisher has sent something.
    pub fn heard(&mut self, now: Instant) {
        self.until = self.until.map(|_| now + SILENCE);
    }

    /// Its publisher has left.
    pub fn leave(&mut self) {
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_keeps_the_place_and_who_is_silent_gives_way() {
        let (mut place, start) = (PublisherPlace::default(), Instant::now());
        place.take(start).expect("free");
        assert!(place.take(start + CONNECTING / 2).is_err());
        let late = start + Duration::from_secs(60);
        place.heard(late);
        assert!(place.take(late + SILENCE / 2).is_err());
        place.take(late + SILENCE).expect("silent");
        place.leave();
        place.take(late + SILENCE).expect("left");
        place.leave();
        place.heard(late);
        place.take(late).expect("what comes of one who has left takes nothing");
    }
}
