//! What a publisher sends by RTP, on its way to frames: put in order, asked for again where it is missing, put together.
//!
//! Nothing waits here for its time: a packet that is next goes on at once, and whoever takes the frames evens them out. What is
//! missing is waited for, while it is asked for again, but not for ever; behind a gap nothing is given on before the next
//! keyframe, for a picture that stands still is better than a broken one.

mod arrivals;
mod assembly;
mod order;
mod tally;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub use arrivals::{Arrivals, Told};
pub use assembly::{Assembly, Unit};
pub use order::{Order, Packet, Step};
pub use tally::{Block, Tally};

/// While a keyframe is needed it is asked for this often: a request may be lost, and a publisher may take its time.
const ASK_KEYFRAME: Duration = Duration::from_millis(500);

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A packet came, authentic, of the one media stream.
    Packet(Packet),
    /// Somebody needs a keyframe.
    Keyframe,
    /// The time that [`Reception::poll_timeout`] named has come.
    Timeout,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// A frame is whole.
    Unit(Unit),
    /// Ask for these packets again, by their sequence numbers.
    Missing(Vec<u16>),
    /// Ask for a keyframe.
    KeyframeRequest,
}

/// The machine.
#[derive(Debug)]
pub struct Reception {
    order: Order,
    assembly: Assembly,
    /// Somebody has asked for a keyframe since the last one.
    is_wanted: bool,
    asked: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Default for Reception {
    fn default() -> Self {
        Self::new()
    }
}

impl Reception {
    /// One that has received nothing yet, and needs a keyframe.
    pub fn new() -> Self {
        Self {
            order: Order::new(),
            assembly: Assembly::new(),
            is_wanted: false,
            asked: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Packet(packet) => {
                self.order.packet(packet, now);
                // Packets come more often than timers are looked at.
                self.order.timeout(now);
            }
            Input::Keyframe => self.is_wanted = true,
            Input::Timeout => self.order.timeout(now),
        }
        while let Some(step) = self.order.poll() {
            match step {
                Step::Packet(packet) => self.assembly.packet(packet),
                Step::Gap => self.assembly.gap(),
                Step::Missing(numbers) => self.outputs.push_back(Output::Missing(numbers)),
            }
            while let Some(unit) = self.assembly.poll() {
                self.is_wanted &= !unit.keyframe;
                self.outputs.push_back(Output::Unit(unit));
            }
        }
        let is_due = self.asked.is_none_or(|asked| now >= asked + ASK_KEYFRAME);
        if self.needs_keyframe() && is_due {
            self.asked = Some(now);
            self.outputs.push_back(Output::KeyframeRequest);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ask = self
            .asked
            .filter(|_| self.needs_keyframe())
            .map(|asked| asked + ASK_KEYFRAME);
        self.order.poll_timeout().into_iter().chain(ask).min()
    }

    /// Before the first packet there is nobody to ask.
    fn needs_keyframe(&self) -> bool {
        self.order.has_begun() && (self.is_wanted || self.assembly.needs_keyframe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(index: u64, timestamp: u32, marker: bool, payload: &[u8]) -> Input {
        Input::Packet(Packet {
            index,
            timestamp,
            marker,
            payload: payload.to_vec(),
        })
    }

    fn drain(reception: &mut Reception) -> Vec<Output> {
        std::iter::from_fn(|| reception.poll_output()).collect()
    }

    const KEY: &[u8] = &[24, 0, 2, 0x67, 1, 0, 2, 0x68, 2, 0, 3, 0x65, 0x83, 4];

    #[test]
    fn lost_packet_is_asked_for_and_what_comes_of_it_is_whole() {
        let (mut reception, start) = (Reception::new(), Instant::now());
        reception.handle(packet(1, 10, true, KEY), start);
        let [Output::Unit(unit)] = &drain(&mut reception)[..] else {
            panic!("no keyframe");
        };
        assert!(unit.keyframe && unit.nals.len() == 3);
        reception.handle(packet(3, 20, true, &[0x41, 2]), start);
        assert_eq!(drain(&mut reception), []);
        let due = reception.poll_timeout().expect("it is missing");
        reception.handle(Input::Timeout, due);
        assert_eq!(drain(&mut reception), [Output::Missing(vec![2])]);
        reception.handle(packet(2, 15, true, &[0x41, 1]), due);
        assert_eq!(drain(&mut reception).len(), 2, "both are frames now");
    }

    #[test]
    fn behind_a_gap_a_keyframe_is_asked_for_until_it_comes_and_nothing_else_is_given_on() {
        let (mut reception, mut now) = (Reception::new(), Instant::now());
        reception.handle(packet(1, 10, true, KEY), now);
        drain(&mut reception);
        reception.handle(packet(5, 20, true, &[0x41, 2]), now);
        let mut requests = 0;
        for _ in 0..100 {
            let Some(due) = reception.poll_timeout() else { break };
            now = now.max(due);
            reception.handle(Input::Timeout, now);
            for output in drain(&mut reception) {
                assert!(!matches!(output, Output::Unit(_)), "{output:?}");
                requests += usize::from(output == Output::KeyframeRequest);
            }
            if requests == 3 {
                break;
            }
        }
        assert_eq!(requests, 3);
        reception.handle(packet(6, 30, true, KEY), now);
        assert!(matches!(&drain(&mut reception)[..], [Output::Unit(unit)] if unit.keyframe));
        assert_eq!(reception.poll_timeout(), None);
    }

    #[test]
    fn wish_for_a_keyframe_is_passed_on_and_not_more_often_than_makes_sense() {
        let (mut reception, now) = (Reception::new(), Instant::now());
        reception.handle(Input::Keyframe, now);
        assert_eq!(drain(&mut reception), [], "nobody is there yet");
        reception.handle(packet(1, 10, true, KEY), now);
        drain(&mut reception);
        for _ in 0..10 {
            reception.handle(Input::Keyframe, now);
        }
        assert_eq!(drain(&mut reception), [Output::KeyframeRequest]);
        assert_eq!(reception.poll_timeout(), Some(now + ASK_KEYFRAME));
    }
}
