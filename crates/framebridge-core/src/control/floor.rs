//! One controller at a time: who has the floor, who wants it, and who gets it.
//!
//! A free floor is granted at once, and so is that of a controller that does nothing. Any other controller is asked, and may
//! refuse. No answer is a yes: somebody who does not see the question is not there. An idle floor becomes free by itself.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use framebridge_proto::control::Grant;

/// A controller that has done nothing for this long gives way without being asked: a person who works does something within
/// some seconds.
const RESTING: Duration = Duration::from_secs(10);

/// A controller that has done nothing for this long has gone: others see a free desktop, and a forgotten page holds nothing.
const IDLE: Duration = Duration::from_secs(120);

/// A controller that was not heard for this long is not there: a page reports ten times a second, a hidden one each second.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a controller may take to answer: time to read a sentence and to press a button.
const ANSWER: Duration = Duration::from_secs(15);

/// Names somebody who may steer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandId(pub u64);

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Somebody wants to steer.
    Ask(HandId),
    /// Somebody does not want to any more.
    Give(HandId),
    /// The controller's answer: whether the other may have the floor.
    Answer(HandId, bool),
    /// The controller is there.
    Heard(HandId),
    /// The controller has done something.
    Acted(HandId),
    /// Somebody has gone, or may not any more.
    Left(HandId),
    /// An operator takes the floor back.
    TakeBack,
    /// [`Floor::poll_timeout`] has passed.
    Timeout,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// This one steers from now on.
    Granted(HandId, Grant),
    /// This one does not any more.
    Ended(HandId, Grant, End),
    /// The controller is to be asked whether the other may.
    Asked {
        /// Who steers.
        controller: HandId,
        /// Who wants to.
        by: HandId,
    },
    /// The request is refused, for now.
    Refused(HandId),
}

/// Why a term ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It gave the floor back.
    Given,
    /// It went, or may not any more.
    Left,
    /// Another has it now.
    HandedOver,
    /// It did nothing for too long.
    Idle,
    /// An operator has taken it back.
    TakenBack,
}

impl End {
    /// In one word, for logs and for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Left => "left",
            Self::HandedOver => "handed_over",
            Self::Idle => "idle",
            Self::TakenBack => "taken_back",
        }
    }
}

/// Why [`Floor`] wants to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The controller has not answered.
    Answer,
    /// The controller has done nothing.
    Idle,
    /// The controller is not there.
    Silence,
}

#[derive(Debug)]
struct Term {
    hand: HandId,
    grant: Grant,
    acted: Instant,
    heard: Instant,
    /// Who asks, and until when the controller may answer.
    asked: Option<(HandId, Instant)>,
}

/// The floor of one stream.
#[derive(Debug)]
pub struct Floor {
    term: Option<Term>,
    last: u64,
    outputs: VecDeque<Output>,
}

impl Floor {
    /// A free floor. Grants count on from `after`, which differs from life to life.
    pub fn new(after: u64) -> Self {
        Self {
            term: None,
            last: after,
            outputs: VecDeque::new(),
        }
    }

    /// Who steers, and by which grant.
    pub fn controller(&self) -> Option<(HandId, Grant)> {
        self.term.as_ref().map(|term| (term.hand, term.grant))
    }

    /// Who asks the controller.
    pub fn asker(&self) -> Option<HandId> {
        self.term.as_ref()?.asked.map(|(by, _)| by)
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        let speaker = match input {
            Input::Ask(hand) | Input::Answer(hand, _) | Input::Heard(hand) | Input::Acted(hand) => Some(hand),
            Input::Give(_) | Input::Left(_) | Input::TakeBack | Input::Timeout => None,
        };
        if let Some(term) = self.term.as_mut().filter(|term| speaker == Some(term.hand)) {
            term.heard = term.heard.max(now);
        }
        match input {
            Input::Heard(_) => {}
            Input::Ask(hand) => self.on_ask(hand, now),
            Input::Give(hand) => self.on_end_of(hand, End::Given, now),
            Input::Left(hand) => self.on_end_of(hand, End::Left, now),
            Input::Answer(hand, may) => self.on_answer(hand, may, now),
            Input::Acted(hand) => {
                if let Some(term) = self.term.as_mut().filter(|term| term.hand == hand) {
                    term.acted = term.acted.max(now);
                }
            }
            Input::TakeBack => self.end(End::TakenBack, None, now),
            Input::Timeout => self.on_timeout(now),
        }
    }

    fn on_ask(&mut self, hand: HandId, now: Instant) {
        match &mut self.term {
            None => self.grant(hand, now),
            Some(term) if term.hand == hand => {}
            Some(term) if term.acted + RESTING <= now => self.end(End::HandedOver, Some(hand), now),
            Some(Term {
                asked: Some((by, _)), ..
            }) if *by == hand => {}
            Some(Term { asked: Some(_), .. }) => self.outputs.push_back(Output::Refused(hand)),
            Some(term) => {
                term.asked = Some((hand, now + ANSWER));
                let controller = term.hand;
                self.outputs.push_back(Output::Asked { controller, by: hand });
            }
        }
    }

    fn on_answer(&mut self, hand: HandId, may: bool, now: Instant) {
        let Some(term) = self.term.as_mut().filter(|term| term.hand == hand) else {
            return;
        };
        let Some((by, _)) = term.asked.take() else { return };
        if may {
            self.end(End::HandedOver, Some(by), now);
        } else {
            term.acted = term.acted.max(now);
            self.outputs.push_back(Output::Refused(by));
        }
    }

    /// Somebody does not want to steer, or can't. Who has asked gets what becomes free.
    fn on_end_of(&mut self, hand: HandId, end: End, now: Instant) {
        let Some(term) = &mut self.term else { return };
        if term.hand == hand {
            let next = term.asked.map(|(by, _)| by);
            self.end(end, next, now);
        } else if term.asked.is_some_and(|(by, _)| by == hand) {
            term.asked = None;
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        let Some(term) = &self.term else { return };
        if term.heard + SILENCE <= now {
            let next = term.asked.map(|(by, _)| by);
            return self.end(End::Left, next, now);
        }
        match term.asked {
            Some((by, until)) if until <= now => self.end(End::HandedOver, Some(by), now),
            None if term.acted + IDLE <= now => self.end(End::Idle, None, now),
            Some(_) | None => {}
        }
    }

    /// Ends the term; `next` has the next one. Whoever else has asked is refused.
    fn end(&mut self, end: End, next: Option<HandId>, now: Instant) {
        let Some(Term { hand, grant, asked, .. }) = self.term.take() else {
            return;
        };
        self.outputs.push_back(Output::Ended(hand, grant, end));
        if let Some((by, _)) = asked.filter(|(by, _)| Some(*by) != next) {
            self.outputs.push_back(Output::Refused(by));
        }
        if let Some(next) = next {
            self.grant(next, now);
        }
    }

    fn grant(&mut self, hand: HandId, now: Instant) {
        self.last += 1;
        let grant = Grant(self.last);
        self.term = Some(Term {
            hand,
            grant,
            acted: now,
            heard: now,
            asked: None,
        });
        self.outputs.push_back(Output::Granted(hand, grant));
    }

    /// What follows next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let term = self.term.as_ref()?;
        let decision = match term.asked {
            Some((_, until)) => (until, Reason::Answer),
            None => (term.acted + IDLE, Reason::Idle),
        };
        let silence = (term.heard + SILENCE, Reason::Silence);
        Some(if silence.0 < decision.0 { silence } else { decision })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADA: HandId = HandId(1);
    const BOB: HandId = HandId(2);
    const EVE: HandId = HandId(3);

    fn drain(floor: &mut Floor) -> Vec<Output> {
        std::iter::from_fn(|| floor.poll_output()).collect()
    }

    /// What comes of each input, so many seconds after the first. Who steers is heard all the time.
    fn table(steps: &[(u64, Input, &[Output])]) {
        let (mut floor, start) = (Floor::new(0), Instant::now());
        for (at, input, expected) in steps {
            let now = start + Duration::from_secs(*at);
            if let Some((controller, _)) = floor.controller() {
                floor.handle(Input::Heard(controller), now);
            }
            floor.handle(*input, now);
            assert_eq!(drain(&mut floor), *expected, "{input:?} after {at} s");
        }
    }

    #[test]
    fn floor_is_granted_handed_over_and_taken_back() {
        use Output::{Asked, Ended, Granted, Refused};
        let asked = Asked {
            controller: ADA,
            by: BOB,
        };
        table(&[
            (0, Input::Ask(ADA), &[Granted(ADA, Grant(1))]),
            (1, Input::Ask(ADA), &[]),
            (1, Input::Ask(BOB), &[asked]),
            (1, Input::Ask(BOB), &[]),
            (1, Input::Ask(EVE), &[Refused(EVE)]),
            (2, Input::Answer(EVE, true), &[]),
            (2, Input::Answer(ADA, false), &[Refused(BOB)]),
            (2, Input::Answer(ADA, true), &[]),
            (3, Input::Ask(BOB), &[asked]),
            (
                4,
                Input::Answer(ADA, true),
                &[Ended(ADA, Grant(1), End::HandedOver), Granted(BOB, Grant(2))],
            ),
            (
                5,
                Input::Ask(ADA),
                &[Asked {
                    controller: BOB,
                    by: ADA,
                }],
            ),
            (
                6,
                Input::TakeBack,
                &[Ended(BOB, Grant(2), End::TakenBack), Refused(ADA)],
            ),
            (6, Input::TakeBack, &[]),
        ]);
    }

    #[test]
    fn who_does_not_answer_or_does_nothing_gives_way() {
        use Output::{Asked, Ended, Granted};
        table(&[
            (0, Input::Ask(ADA), &[Granted(ADA, Grant(1))]),
            (
                0,
                Input::Ask(BOB),
                &[Asked {
                    controller: ADA,
                    by: BOB,
                }],
            ),
            (14, Input::Timeout, &[]),
            (
                15,
                Input::Timeout,
                &[Ended(ADA, Grant(1), End::HandedOver), Granted(BOB, Grant(2))],
            ),
            (
                24,
                Input::Ask(ADA),
                &[Asked {
                    controller: BOB,
                    by: ADA,
                }],
            ),
            (
                24,
                Input::Left(BOB),
                &[Ended(BOB, Grant(2), End::Left), Granted(ADA, Grant(3))],
            ),
            (
                34,
                Input::Ask(BOB),
                &[Ended(ADA, Grant(3), End::HandedOver), Granted(BOB, Grant(4))],
            ),
            (40, Input::Acted(BOB), &[]),
            (159, Input::Timeout, &[]),
            (160, Input::Timeout, &[Ended(BOB, Grant(4), End::Idle)]),
            (161, Input::Ask(EVE), &[Granted(EVE, Grant(5))]),
            (162, Input::Give(EVE), &[Ended(EVE, Grant(5), End::Given)]),
        ]);
    }

    #[test]
    fn controller_that_is_not_heard_is_not_there() {
        let (mut floor, start) = (Floor::new(0), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        floor.handle(Input::Ask(ADA), at(0));
        floor.handle(Input::Heard(ADA), at(4));
        floor.handle(Input::Heard(BOB), at(8));
        drain(&mut floor);
        assert_eq!(floor.poll_timeout(), Some((at(9), Reason::Silence)));
        floor.handle(Input::Ask(BOB), at(8));
        floor.handle(Input::Timeout, at(9));
        let asked = Output::Asked {
            controller: ADA,
            by: BOB,
        };
        let passed = [Output::Ended(ADA, Grant(1), End::Left), Output::Granted(BOB, Grant(2))];
        assert_eq!(drain(&mut floor), [&[asked][..], &passed].concat());
    }

    fn input() -> impl Strategy<Value = Input> {
        let hand = || (1..4_u64).prop_map(HandId);
        prop_oneof![
            hand().prop_map(Input::Ask),
            hand().prop_map(Input::Give),
            (hand(), any::<bool>()).prop_map(|(hand, may)| Input::Answer(hand, may)),
            hand().prop_map(Input::Acted),
            hand().prop_map(Input::Heard),
            hand().prop_map(Input::Left),
            Just(Input::TakeBack),
            Just(Input::Timeout),
        ]
    }

    proptest! {
        #[test]
        fn there_is_never_more_than_one_controller(steps in prop::collection::vec((0..20_u64, input()), 0..60)) {
            let (mut floor, mut now, mut term, mut last) = (Floor::new(0), Instant::now(), None, 0);
            for (seconds, input) in steps {
                now += Duration::from_secs(seconds);
                floor.handle(input, now);
                for output in drain(&mut floor) {
                    match output {
                        Output::Granted(hand, Grant(number)) => {
                            prop_assert_eq!(term, None);
                            prop_assert!(number > last);
                            (term, last) = (Some((hand, Grant(number))), number);
                        }
                        Output::Ended(hand, grant, _) => prop_assert_eq!(term.take(), Some((hand, grant))),
                        Output::Asked { controller, by } => {
                            prop_assert_eq!(term.map(|(hand, _)| hand), Some(controller));
                            prop_assert_ne!(controller, by);
                        }
                        Output::Refused(hand) => prop_assert_ne!(term.map(|(hand, _)| hand), Some(hand)),
                    }
                }
                prop_assert_eq!(floor.controller(), term);
                prop_assert_eq!(floor.poll_timeout().is_some(), term.is_some(), "a term ends by itself");
            }
        }
    }
}
