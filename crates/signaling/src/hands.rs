//! The hands on one stream's desktop: the board between the lines of those who may steer, and the link to the encoder.
//!
//! Who has the floor and what of a controller's doings counts is `framebridge_core::control`'s to decide. Nothing here waits.

pub(crate) mod page;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use framebridge_core::control::{
    floor::{End, Floor, HandId, Input, Output},
    intake::{Intake, Stamp, Verdict},
};
use framebridge_daemon::unix_ms;
use framebridge_proto::{
    StreamName,
    control::{Act, Desk, Grant, Steer},
};
use framebridge_rtc::Lane;
use tokio::sync::{Notify, mpsc};

use page::{Meant, Say, VERSION};

/// What is to be said on one line and was not yet. Full: the line ends, for a page that misses who steers shows what is not so.
pub(crate) const SAYINGS: usize = 64;

/// The hands on one desktop.
#[derive(Debug)]
pub(crate) struct Hands {
    stream: StreamName,
    board: Mutex<Board>,
    /// There is something for the encoder.
    news: Notify,
}

#[derive(Debug)]
struct Board {
    floor: Floor,
    hands: BTreeMap<HandId, Hand>,
    last: u64,
    /// The controller's doings.
    intake: Intake,
    is_alive: bool,
    /// Beginnings and ends of terms, while there is an encoder to tell: two for each term, and the link's writer takes them
    /// at once or ends.
    terms: VecDeque<Steer>,
    is_linked: bool,
}

#[derive(Debug)]
struct Hand {
    who: String,
    /// Which of their pages it is.
    page: String,
    sayings: mpsc::Sender<(Lane, String)>,
    is_well: bool,
}

/// A line's hold on the board. Dropping it is leaving.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    hands: &'a Hands,
    id: HandId,
}

impl Hands {
    /// Nobody is there.
    pub(crate) fn new(stream: StreamName) -> Self {
        // An encoder that outlives this process sees no grant twice.
        let after = unix_ms();
        Self {
            stream,
            board: Mutex::new(Board {
                floor: Floor::new(after),
                hands: BTreeMap::new(),
                last: 0,
                intake: Intake::default(),
                is_alive: false,
                terms: VecDeque::new(),
                is_linked: false,
            }),
            news: Notify::new(),
        }
    }

    /// Somebody who may steer is there. What is to be said to them comes on the receiver, which ends if they are to go.
    pub(crate) fn join(&self, who: &str) -> (Seat<'_>, mpsc::Receiver<(Lane, String)>) {
        let (sayings, heard) = mpsc::channel(SAYINGS);
        let mut board = self.board();
        board.last += 1;
        let id = HandId(board.last);
        let hand = Hand {
            who: who.to_owned(),
            page: String::new(),
            sayings,
            is_well: true,
        };
        board.hands.insert(id, hand);
        (Seat { hands: self, id }, heard)
    }

    /// Who steers.
    pub(crate) fn controller(&self) -> Option<String> {
        let board = self.board();
        let (id, _) = board.floor.controller()?;
        board.hands.get(&id).map(|hand| hand.who.clone())
    }

    /// Whoever runs this takes the floor back. Whether anybody had it.
    pub(crate) fn take_back(&self, who: &str) -> bool {
        let mut board = self.board();
        let had = board.floor.controller().is_some();
        if had {
            tracing::info!(target: "audit", %who, stream = %self.stream, "took the desktop back");
            self.decide(&mut board, Input::TakeBack);
        }
        had
    }

    /// Lets time pass.
    pub(crate) fn tick(&self) {
        let mut board = self.board();
        let now = Instant::now();
        if board.floor.poll_timeout().is_some_and(|(due, _)| due <= now) {
            self.decide(&mut board, Input::Timeout);
        }
    }

    /// The link's: there is an encoder, or none any more. What was done meanwhile is not done later.
    pub(crate) fn set_linked(&self, is_linked: bool) {
        let mut board = self.board();
        board.is_linked = is_linked;
        board.terms.clear();
        board.forget_doings();
        let Some((id, grant)) = board.floor.controller() else {
            return;
        };
        if is_linked {
            board.terms.push_back(Steer::Begin(grant));
            self.news.notify_one();
        } else {
            let why = "The desktop is being started again.".to_owned();
            board.say(id, &Say::Released(why));
        }
    }

    /// The link's: the next thing to tell the encoder, once there is one. Cancel-safe.
    pub(crate) async fn next(&self) -> Steer {
        loop {
            let heard = self.news.notified();
            if let Some(steer) = self.board().poll_steer() {
                return steer;
            }
            heard.await;
        }
    }

    /// The link's: what the encoder has to tell.
    pub(crate) fn on_desk(&self, told: Desk) {
        let mut board = self.board();
        let Some((id, current)) = board.floor.controller() else {
            return;
        };
        let is_current = |grant: Grant| grant == current;
        match told {
            Desk::Clipboard(grant, text) if is_current(grant) => board.say(id, &Say::Clipboard(text)),
            Desk::Released(grant) if is_current(grant) => {
                let why = "You were not heard for a moment: what you held was let go.".to_owned();
                board.say(id, &Say::Released(why));
            }
            Desk::Failed(grant, why) if is_current(grant) => board.say(id, &Say::Failed(why)),
            Desk::Ended(grant, why) if is_current(grant) => {
                board.say(id, &Say::Ended(why));
                self.decide(&mut board, Input::Left(id));
            }
            // Of a term that is over.
            Desk::Clipboard(..) | Desk::Released(_) | Desk::Failed(..) | Desk::Ended(..) => {}
        }
    }

    fn on_meant(&self, id: HandId, meant: Meant) -> bool {
        let mut board = self.board();
        match meant {
            Meant::Hello(VERSION, page) => {
                for before in board.other_lines_of(id, page) {
                    self.decide(&mut board, Input::Left(before));
                    board.hands.remove(&before);
                }
                board.say_state(id);
            }
            Meant::Hello(..) => return false,
            Meant::Ask => self.decide(&mut board, Input::Ask(id)),
            Meant::Give => self.decide(&mut board, Input::Give(id)),
            Meant::Answer(may) => self.decide(&mut board, Input::Answer(id, may)),
            Meant::Alive(clock) => {
                board.say(id, &Say::Pong(clock));
                board.floor.handle(Input::Heard(id), Instant::now());
                if board.is_controller(id) {
                    board.is_alive = true;
                    self.news.notify_one();
                }
            }
            Meant::Act(stamp, act) if board.is_controller(id) => self.on_act(&mut board, id, stamp, act),
            Meant::Act(..) => {}
        }
        board.hands.get(&id).is_some_and(|hand| hand.is_well)
    }

    fn on_act(&self, board: &mut Board, id: HandId, stamp: Stamp, act: Act) {
        let now = Instant::now();
        board.floor.handle(Input::Acted(id), now);
        if !board.is_linked {
            return;
        }
        match board.intake.take(stamp, act, now) {
            Verdict::Taken => self.news.notify_one(),
            Verdict::Known => {}
            Verdict::Late => self.on_late(board, id),
            Verdict::TooMuch => {
                let why = "That was more than a desktop takes.".to_owned();
                board.say(id, &Say::Ended(why));
                self.decide(board, Input::Left(id));
            }
        }
    }

    /// What is held is let go at the desktop by a term that begins anew.
    fn on_late(&self, board: &mut Board, id: HandId) {
        if let Some((_, grant)) = board.floor.controller() {
            board.forget_doings();
            board.terms.push_back(Steer::Begin(grant));
            let why = "What you did came too late, and was not done.".to_owned();
            board.say(id, &Say::Released(why));
            self.news.notify_one();
        }
    }

    /// Has the floor take something in, and does what follows.
    fn decide(&self, board: &mut Board, input: Input) {
        board.floor.handle(input, Instant::now());
        let mut is_news = matches!(input, Input::Left(_));
        while let Some(output) = board.floor.poll_output() {
            is_news = true;
            match output {
                Output::Granted(id, grant) => {
                    let who = board.name(id);
                    tracing::info!(target: "audit", %who, stream = %self.stream, grant = grant.0, "steers the desktop");
                    board.forget_doings();
                    board.intake = Intake::default();
                    board.tell_encoder(Steer::Begin(grant));
                }
                Output::Ended(id, grant, end) => {
                    let (who, why) = (board.name(id), end.as_str());
                    tracing::info!(target: "audit", %who, stream = %self.stream, grant = grant.0, why, "steers the desktop no more");
                    board.forget_doings();
                    board.tell_encoder(Steer::End(grant));
                    if let Some(words) = words(end) {
                        board.say(id, &Say::Ended(words.to_owned()));
                    }
                }
                Output::Asked { controller, by } => {
                    let (who, controller) = (board.name(by), board.name(controller));
                    tracing::info!(target: "audit", %who, %controller, stream = %self.stream, "asks for the desktop");
                }
                Output::Refused(id) => board.say(id, &Say::Refused),
            }
        }
        if is_news {
            let all: Vec<HandId> = board.hands.keys().copied().collect();
            all.into_iter().for_each(|id| board.say_state(id));
            self.news.notify_one();
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn is_controller(&self, id: HandId) -> bool {
        self.floor.controller().is_some_and(|(controller, _)| controller == id)
    }

    fn name(&self, id: HandId) -> String {
        self.hands.get(&id).map(|hand| hand.who.clone()).unwrap_or_default()
    }

    /// Notes which page a line is of. Returns those that it had before this one, which are dead though nobody has noticed yet.
    fn other_lines_of(&mut self, id: HandId, page: String) -> Vec<HandId> {
        let Some(hand) = self.hands.get_mut(&id) else {
            return Vec::new();
        };
        hand.page = page;
        let (who, page) = (hand.who.clone(), hand.page.clone());
        let is_same = |(other, hand): &(&HandId, &Hand)| **other != id && (&hand.who, &hand.page) == (&who, &page);
        let same = self.hands.iter().filter(is_same);
        same.filter(|_| !page.is_empty()).map(|(other, _)| *other).collect()
    }

    /// What was done is done, or never will be; numbers go on.
    fn forget_doings(&mut self) {
        while self.intake.poll_output().is_some() {}
        self.is_alive = false;
    }

    fn tell_encoder(&mut self, steer: Steer) {
        if self.is_linked {
            self.terms.push_back(steer);
        }
    }

    fn poll_steer(&mut self) -> Option<Steer> {
        if let Some(term) = self.terms.pop_front() {
            return Some(term);
        }
        let (_, grant) = self.floor.controller()?;
        if let Some(act) = self.intake.poll_output() {
            return Some(Steer::Act(grant, act));
        }
        std::mem::take(&mut self.is_alive).then_some(Steer::Alive(grant))
    }

    fn say(&mut self, id: HandId, say: &Say) {
        if let Some(hand) = self.hands.get_mut(&id) {
            hand.is_well &= hand.sayings.try_send((say.lane(), say.text())).is_ok();
        }
    }

    fn say_state(&mut self, id: HandId) {
        let controller = self.floor.controller().map(|(controller, _)| self.name(controller));
        let asker = self.floor.asker().map(|asker| self.name(asker));
        let you = self.is_controller(id);
        self.say(id, &Say::State { you, controller, asker });
    }
}

impl Seat<'_> {
    /// The page says something; false: it is to go.
    pub(crate) fn hear(&self, meant: Meant) -> bool {
        self.hands.on_meant(self.id, meant)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut board = self.hands.board();
        self.hands.decide(&mut board, Input::Left(self.id));
        board.hands.remove(&self.id);
    }
}

/// What the one whose term has ended is told; `None`: it knows.
fn words(end: End) -> Option<&'static str> {
    match end {
        End::Given | End::Left => None,
        End::HandedOver => Some("Somebody else steers now."),
        End::Idle => Some("You did nothing for two minutes, so the desktop is free again."),
        End::TakenBack => Some("Whoever runs this Framebridge has taken the desktop back."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hands() -> Hands {
        let hands = Hands::new("desk".parse().unwrap());
        hands.set_linked(true);
        hands
    }

    fn key(sequence: u32, down: bool) -> Meant {
        let stamp = Stamp { sequence, made_ms: 0 };
        Meant::Act(stamp, Act::Key { keysym: 97, down })
    }

    fn told(hands: &Hands) -> Vec<Steer> {
        let mut board = hands.board();
        std::iter::from_fn(|| board.poll_steer()).collect()
    }

    fn heard(sayings: &mut mpsc::Receiver<(Lane, String)>) -> Vec<String> {
        std::iter::from_fn(|| sayings.try_recv().ok())
            .map(|(_, text)| text)
            .collect()
    }

    #[test]
    fn only_the_controller_acts_and_all_know_who_that_is() {
        let hands = hands();
        let (ada, mut to_ada) = hands.join("ada");
        let (bob, mut to_bob) = hands.join("bob");
        assert!(bob.hear(key(0, true)));
        assert_eq!(told(&hands), []);
        ada.hear(Meant::Ask);
        let you = r#"{"state":{"you":true,"controller":"ada","asker":null}}"#;
        assert_eq!(heard(&mut to_ada), [you]);
        assert_eq!(heard(&mut to_bob), [you.replace("true", "false")]);
        ada.hear(key(1, true));
        bob.hear(key(1, true));
        let [Steer::Begin(one), Steer::Act(same, _)] = told(&hands)[..] else {
            panic!("a beginning, and one act");
        };
        assert_eq!(one, same);
        bob.hear(Meant::Ask);
        assert!(heard(&mut to_ada)[0].contains(r#""asker":"bob""#));
        drop(ada);
        assert_eq!(hands.controller().as_deref(), Some("bob"));
        let [Steer::End(ended), Steer::Begin(two)] = told(&hands)[..] else {
            panic!("an end and a beginning");
        };
        assert!(ended == one && two > one);
    }

    #[test]
    fn what_is_done_while_there_is_no_encoder_is_never_done() {
        let hands = hands();
        let (ada, mut to_ada) = hands.join("ada");
        ada.hear(Meant::Ask);
        ada.hear(key(1, true));
        hands.set_linked(false);
        ada.hear(key(2, false));
        ada.hear(key(3, true));
        assert!(heard(&mut to_ada).last().unwrap().starts_with(r#"{"released""#));
        hands.set_linked(true);
        assert!(matches!(told(&hands)[..], [Steer::Begin(_)]));
        ada.hear(key(4, true));
        assert!(matches!(told(&hands)[..], [Steer::Act(..)]));
    }

    #[test]
    fn page_that_comes_back_takes_over_from_its_own_dead_line() {
        let hands = hands();
        let hello = || Meant::Hello(VERSION, "page".to_owned());
        let (dead, _heard) = hands.join("ada");
        let (other, _heard) = hands.join("bob");
        dead.hear(hello());
        other.hear(hello());
        dead.hear(Meant::Ask);
        assert!(!told(&hands).is_empty());
        let (back, _heard) = hands.join("ada");
        back.hear(hello());
        assert_eq!(hands.controller(), None);
        assert!(matches!(told(&hands)[..], [Steer::End(_)]));
        back.hear(Meant::Ask);
        assert!(!dead.hear(key(1, true)) && back.hear(key(1, true)));
        drop(dead);
        assert_eq!(hands.controller().as_deref(), Some("ada"));
        other.hear(Meant::Ask);
        assert_eq!(
            hands.controller().as_deref(),
            Some("ada"),
            "another's page is another, whatever it calls itself"
        );
    }

    #[test]
    fn page_that_hears_nothing_or_speaks_another_language_goes() {
        let hands = hands();
        let (ada, _deaf) = hands.join("ada");
        assert!(!ada.hear(Meant::Hello(VERSION + 1, "x".to_owned())));
        let stays = (0..2 * u32::try_from(SAYINGS).unwrap()).all(|clock| ada.hear(Meant::Alive(clock)));
        assert!(!stays);
    }
}
