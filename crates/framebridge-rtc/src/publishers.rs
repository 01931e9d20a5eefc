//! What is known of publishers where they are served: where what comes of one goes.

use framebridge_core::reception::Unit;
use tokio::sync::mpsc;

use crate::ViewerState;

/// Frames that were not read yet, some seconds of them. Full: what comes is lost up to the next keyframe, which is asked for.
const EVENTS: usize = 128;

/// What comes of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublisherEvent {
    /// It has connected, has fallen silent, or is back.
    State(ViewerState),
    /// A frame.
    Unit(Unit),
}

/// The worker's end.
pub(crate) struct PublisherOutlet {
    told: mpsc::Sender<PublisherEvent>,
    /// A frame was lost on the way, and those that lean on it are of no use.
    is_torn: bool,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// It was left out, and a keyframe is needed.
    No,
    /// Nobody is there any more.
    Deserted,
}

impl PublisherOutlet {
    /// One, and where what is told comes out.
    pub(crate) fn new() -> (Self, mpsc::Receiver<PublisherEvent>) {
        let (told, events) = mpsc::channel(EVENTS);
        (Self { told, is_torn: false }, events)
    }

    /// Hands a frame over.
    pub(crate) fn unit(&mut self, unit: Unit) -> Taken {
        if self.is_torn && !unit.keyframe {
            return Taken::No;
        }
        match self.told.try_send(PublisherEvent::Unit(unit)) {
            Ok(()) => {
                self.is_torn = false;
                Taken::Yes
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.is_torn = true;
                Taken::No
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Taken::Deserted,
        }
    }

    /// Tells a state. One that finds no room is not missed: frames say the same.
    pub(crate) fn state(&self, state: ViewerState) {
        _ = self.told.try_send(PublisherEvent::State(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_nobody_reads_are_lost_up_to_a_keyframe() {
        let unit = |keyframe| Unit {
            timestamp: 0,
            keyframe,
            nals: Vec::new(),
        };
        let (told, mut events) = mpsc::channel(2);
        let mut outlet = PublisherOutlet { told, is_torn: false };
        let taken = [true, false, false].map(|keyframe| outlet.unit(unit(keyframe)));
        assert_eq!(taken, [Taken::Yes, Taken::Yes, Taken::No]);
        events.try_recv().expect("the first");
        assert_eq!(outlet.unit(unit(false)), Taken::No, "it leans on what was lost");
        assert_eq!(outlet.unit(unit(true)), Taken::Yes);
        drop(events);
        assert_eq!(outlet.unit(unit(true)), Taken::Deserted);
    }
}
