//! What is held on a desktop, and when it is let go.
//!
//! It stands beside the display, behind everything that can die: a page, a network, signaling. A key or button whose controller
//! falls silent is let go within a second.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use framebridge_proto::{
    control::{Act, Grant, Place, Steer},
    limits::{MAX_CLIPBOARD, MAX_TEXT},
};

/// What is held is let go when its controller was not heard for this long. It reports eight times as often.
const SILENCE: Duration = Duration::from_millis(800);

/// Keys and buttons that are held at once: more than fingers.
const MAX_HELD: usize = 32;

/// Notches of a wheel that one act may have.
const MAX_NOTCHES: i8 = 20;

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Signaling says this.
    Steer(Steer),
    /// Signaling is gone.
    Lost,
    /// [`Held::poll_timeout`] has passed.
    Timeout,
}

/// What follows, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Do this at the display.
    Inject(Act),
    /// A controller begins: the desktop's clipboard is its from now on.
    Begun(Grant),
    /// Nobody steers any more.
    Ended(Grant),
    /// What was held was let go, and its controller should know.
    Released(Grant),
}

/// Why [`Held`] wants to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The controller that holds something is silent.
    Silence,
}

/// One desktop.
#[derive(Debug)]
pub struct Held {
    grant: Option<Grant>,
    keys: BTreeSet<u32>,
    buttons: BTreeSet<u8>,
    place: Place,
    heard: Instant,
    outputs: VecDeque<Output>,
}

impl Held {
    /// Nothing is held.
    pub fn new(now: Instant) -> Self {
        Self {
            grant: None,
            keys: BTreeSet::new(),
            buttons: BTreeSet::new(),
            place: Place { x: 0, y: 0 },
            heard: now,
            outputs: VecDeque::new(),
        }
    }

    /// By which grant the desktop is steered.
    pub fn grant(&self) -> Option<Grant> {
        self.grant
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Steer(Steer::Begin(grant)) => {
                self.end();
                self.grant = Some(grant);
                self.heard = now;
                self.outputs.push_back(Output::Begun(grant));
            }
            Input::Steer(Steer::Act(grant, act)) if self.grant == Some(grant) => {
                self.heard = self.heard.max(now);
                self.act(act);
            }
            Input::Steer(Steer::Alive(grant)) if self.grant == Some(grant) => self.heard = self.heard.max(now),
            Input::Steer(Steer::End(grant)) if self.grant == Some(grant) => self.end(),
            // Of a term that is over.
            Input::Steer(Steer::Act(..) | Steer::Alive(_) | Steer::End(_)) => {}
            Input::Lost => self.end(),
            Input::Timeout => {
                if let Some(grant) = self
                    .grant
                    .filter(|_| self.holds_something() && self.heard + SILENCE <= now)
                {
                    self.release();
                    self.outputs.push_back(Output::Released(grant));
                }
            }
        }
    }

    fn act(&mut self, act: Act) {
        let does = match &act {
            Act::Move(at) => {
                self.place = *at;
                true
            }
            Act::Button { button, down, at } => {
                self.place = *at;
                // 4 to 7 are the wheel.
                let exists = matches!(button, 1..=3 | 8 | 9);
                exists && hold(&mut self.buttons, *button, *down, self.keys.len())
            }
            Act::Wheel { dx, dy, at } => {
                self.place = *at;
                let is_fine = |notches: &i8| (-MAX_NOTCHES..=MAX_NOTCHES).contains(notches);
                (*dx, *dy) != (0, 0) && is_fine(dx) && is_fine(dy)
            }
            Act::Key { keysym, down } => hold(&mut self.keys, *keysym, *down, self.buttons.len()),
            Act::Text(text) => !text.is_empty() && text.len() <= MAX_TEXT,
            Act::Clipboard(text) => text.len() <= MAX_CLIPBOARD,
        };
        if does {
            self.outputs.push_back(Output::Inject(act));
        }
    }

    fn holds_something(&self) -> bool {
        !self.keys.is_empty() || !self.buttons.is_empty()
    }

    /// Lets everything go: keys before what modifies them is no matter to X, buttons first so that a drag ends as it is.
    fn release(&mut self) {
        let at = self.place;
        let buttons = std::mem::take(&mut self.buttons).into_iter();
        let buttons = buttons.map(|button| Act::Button {
            button,
            down: false,
            at,
        });
        let keys = std::mem::take(&mut self.keys).into_iter();
        let keys = keys.map(|keysym| Act::Key { keysym, down: false });
        self.outputs.extend(buttons.chain(keys).map(Output::Inject));
    }

    fn end(&mut self) {
        self.release();
        if let Some(grant) = self.grant.take() {
            self.outputs.push_back(Output::Ended(grant));
        }
    }

    /// What follows next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.holds_something().then(|| (self.heard + SILENCE, Reason::Silence))
    }
}

/// Notes that something is held or let go; false: it was so already, or there is no room.
fn hold<T: Ord>(held: &mut BTreeSet<T>, which: T, down: bool, others: usize) -> bool {
    if down {
        held.len() + others < MAX_HELD && held.insert(which)
    } else {
        held.remove(&which)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(keysym: u32, down: bool) -> Act {
        Act::Key { keysym, down }
    }

    fn button(button: u8, down: bool) -> Act {
        let at = Place { x: 5, y: 6 };
        Act::Button { button, down, at }
    }

    fn drain(held: &mut Held) -> Vec<Output> {
        std::iter::from_fn(|| held.poll_output()).collect()
    }

    #[test]
    fn what_is_held_is_let_go_when_its_controller_is_silent_ends_or_is_lost() {
        let (one, start) = (Grant(1), Instant::now());
        for end in [
            Input::Timeout,
            Input::Lost,
            Input::Steer(Steer::End(one)),
            Input::Steer(Steer::Begin(Grant(2))),
        ] {
            let mut held = Held::new(start);
            held.handle(Input::Steer(Steer::Begin(one)), start);
            for act in [
                key(97, true),
                button(1, true),
                key(97, true),
                key(98, true),
                key(98, false),
                button(4, true),
            ] {
                held.handle(Input::Steer(Steer::Act(one, act)), start);
            }
            let expected = [key(97, true), button(1, true), key(98, true), key(98, false)].map(Output::Inject);
            assert_eq!(drain(&mut held)[1..], expected, "each once, and no wheel as a button");
            held.handle(Input::Steer(Steer::Alive(one)), start + SILENCE / 2);
            held.handle(Input::Timeout, start + SILENCE);
            assert_eq!(drain(&mut held), []);
            assert_eq!(held.poll_timeout(), Some((start + SILENCE * 3 / 2, Reason::Silence)));
            let told = match &end {
                Input::Timeout => vec![Output::Released(one)],
                Input::Steer(Steer::Begin(next)) => vec![Output::Ended(one), Output::Begun(*next)],
                Input::Steer(_) | Input::Lost => vec![Output::Ended(one)],
            };
            held.handle(end.clone(), start + SILENCE * 3 / 2);
            let released = [button(1, false), key(97, false)].map(Output::Inject);
            assert_eq!(drain(&mut held), [&released[..], &told[..]].concat(), "{end:?}");
            assert_eq!(held.poll_timeout(), None);
            held.handle(Input::Steer(Steer::Act(one, key(97, false))), start + SILENCE * 2);
            assert_eq!(drain(&mut held), [], "what was let go is not let go again");
        }
    }

    fn steer() -> impl Strategy<Value = Input> {
        let grant = || (1..3_u64).prop_map(Grant);
        let act = prop_oneof![
            (0..4_u32, any::<bool>()).prop_map(|(keysym, down)| key(keysym, down)),
            (0..10_u8, any::<bool>()).prop_map(|(number, down)| button(number, down)),
            Just(Act::Text("x".to_owned())),
        ];
        prop_oneof![
            1 => grant().prop_map(|grant| Input::Steer(Steer::Begin(grant))),
            6 => (grant(), act).prop_map(|(grant, act)| Input::Steer(Steer::Act(grant, act))),
            1 => grant().prop_map(|grant| Input::Steer(Steer::End(grant))),
            1 => Just(Input::Lost),
            1 => Just(Input::Timeout),
        ]
    }

    proptest! {
        /// The display as a model: what goes down comes up, none twice, and none for longer than the silence.
        #[test]
        fn nothing_stays_held(steps in prop::collection::vec((0..400_u64, steer()), 0..80)) {
            let mut now = Instant::now();
            let mut held = Held::new(now);
            let mut down = BTreeSet::new();
            let mut steps: Vec<_> = steps;
            steps.push((1000, Input::Timeout));
            for (millis, input) in steps {
                now += Duration::from_millis(millis);
                held.handle(input, now);
                for output in drain(&mut held) {
                    let Output::Inject(act) = output else { continue };
                    let (which, goes_down) = match act {
                        Act::Key { keysym, down } => ((true, keysym), down),
                        Act::Button { button, down, .. } => ((false, u32::from(button)), down),
                        Act::Move(_) | Act::Wheel { .. } | Act::Text(_) | Act::Clipboard(_) => continue,
                    };
                    prop_assert!(if goes_down { down.insert(which) } else { down.remove(&which) }, "{:?} twice", which);
                }
                prop_assert_eq!(held.poll_timeout().is_some(), !down.is_empty());
            }
            prop_assert!(down.is_empty());
        }
    }
}
