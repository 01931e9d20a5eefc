//! Tests the link case by case and through thousands of random histories. A failure of the latter prints its seed.

use super::*;
use crate::random::Random;

const HISTORIES: u64 = 3_000;
const STEPS: usize = 200;

fn drain(link: &mut BridgeLink) -> Vec<Output> {
    std::iter::from_fn(|| link.poll_output()).collect()
}

fn welcomed() -> (BridgeLink, Instant) {
    let now = Instant::now();
    let mut link = BridgeLink::new(Config::default(), now, 1);
    link.handle(Input::Connected, now);
    link.handle(
        Input::Welcomed {
            heartbeat: Duration::from_secs(5),
        },
        now,
    );
    drain(&mut link);
    (link, now)
}

#[test]
fn no_heartbeat_goes_out_before_the_welcome() {
    let now = Instant::now();
    let mut link = BridgeLink::new(Config::default(), now, 1);
    link.handle(Input::Connected, now);
    link.handle(Input::News, now);
    link.handle(Input::Timeout, now + Duration::from_secs(6));
    assert!(!drain(&mut link).contains(&Output::SendHeartbeat));
    link.handle(
        Input::Welcomed {
            heartbeat: Duration::from_secs(5),
        },
        now,
    );
    assert!(drain(&mut link).contains(&Output::SendHeartbeat));
}

#[test]
fn silence_is_found_without_the_transport_saying_so() {
    let (mut link, start) = welcomed();
    link.handle(Input::Received, start + Duration::from_secs(10));
    link.handle(Input::Timeout, start + Duration::from_secs(29));
    assert_eq!(link.state(), State::Online);
    drain(&mut link);
    link.handle(Input::Timeout, start + Duration::from_secs(30));
    let outputs = drain(&mut link);
    assert!(
        matches!(&outputs[0], Output::Disconnect { why } if why.contains("20 s")),
        "{outputs:?}"
    );
    assert!(matches!(link.state(), State::Waiting { attempts: 1, .. }));
}

#[test]
fn only_a_welcome_forgives_failed_attempts() {
    let config = Config {
        attempts: Some(3),
        ..Config::default()
    };
    let lost = || Input::Lost { why: "refused".into() };
    let mut now = Instant::now();
    let mut link = BridgeLink::new(config, now, 1);
    for attempt in 1..3 {
        // Connecting alone is no success.
        link.handle(Input::Connected, now);
        link.handle(lost(), now);
        let State::Waiting { attempts, .. } = link.state() else {
            panic!("{:?}", link.state())
        };
        assert_eq!(attempts, attempt);
        now = link.poll_timeout().unwrap().0;
        link.handle(Input::Timeout, now);
    }
    link.handle(lost(), now);
    assert_eq!(
        drain(&mut link).pop(),
        Some(Output::End(End::OutOfAttempts { why: "refused".into() }))
    );
}

#[test]
fn refusal_is_the_end_and_nothing_wakes_it() {
    let (mut link, now) = welcomed();
    link.handle(Input::Refused { why: "no".into() }, now);
    assert_eq!(
        drain(&mut link).pop(),
        Some(Output::End(End::Refused { why: "no".into() }))
    );
    link.handle(Input::Reconnect, now);
    link.handle(Input::Timeout, now + Duration::from_secs(3600));
    assert_eq!(drain(&mut link), []);
    assert_eq!(link.poll_timeout(), None);
}

#[test]
fn studio_that_puts_the_box_off_is_left_alone_for_an_hour_and_no_longer() {
    let (mut link, now) = welcomed();
    link.handle(Input::PutOff { why: "full".into() }, now);
    let outputs = drain(&mut link);
    assert!(
        matches!(&outputs[0], Output::Disconnect { why } if why == "full"),
        "{outputs:?}"
    );
    let hour = Duration::from_secs(3600);
    assert_eq!(link.poll_timeout(), Some((now + hour, Reason::BackoffOver)));
    link.handle(Input::Timeout, now + hour);
    assert_eq!(drain(&mut link).first(), Some(&Output::Changed(State::Connecting)));
    // An operator who knows better need not wait.
    let (mut link, now) = welcomed();
    link.handle(Input::PutOff { why: "full".into() }, now);
    link.handle(Input::Reconnect, now);
    assert_eq!(drain(&mut link).pop(), Some(Output::Connect));
}

#[test]
fn stop_says_goodbye_where_somebody_listens() {
    let (mut link, now) = welcomed();
    link.handle(Input::Stop, now);
    let outputs = drain(&mut link);
    let at = |wanted: &Output| outputs.iter().position(|output| output == wanted);
    let goodbye = at(&Output::SendGoodbye).unwrap();
    assert!(at(&Output::FlushLogs).unwrap() < goodbye);
    assert!(matches!(outputs[goodbye + 1], Output::Disconnect { .. }));

    let mut alone = BridgeLink::new(Config::default(), now, 1);
    alone.handle(Input::Stop, now);
    assert!(!drain(&mut alone).contains(&Output::SendGoodbye));
}

/// Everything that can happen, in any order, against what must hold after every step.
#[test]
fn random_histories_keep_the_invariants() {
    for seed in 0..HISTORIES {
        let outcome = std::panic::catch_unwind(|| history(seed));
        assert!(outcome.is_ok(), "seed of the failing history: {seed}");
    }
}

fn history(seed: u64) {
    let mut random = Random::new(seed);
    let mut now = Instant::now();
    let config = Config {
        attempts: random.next().is_multiple_of(4).then_some(5),
        ..Config::default()
    };
    let mut link = BridgeLink::new(config, now, random.next());
    let mut world = World::default();
    world.apply(drain(&mut link));
    for _ in 0..STEPS {
        now += Duration::from_millis(random.next() % 3_000);
        let (input, refused) = match random.next() % 16 {
            0 => (Input::Connected, false),
            1 => (Input::Lost { why: "reset".into() }, false),
            2..=4 => (Input::Received, false),
            5 | 6 => {
                let heartbeat = Duration::from_millis(random.next() % 100_000);
                (Input::Welcomed { heartbeat }, false)
            }
            7 if random.next().is_multiple_of(20) => (Input::Refused { why: "no".into() }, world.connection),
            8 => (Input::Reconnect, false),
            9 if random.next().is_multiple_of(40) => (Input::Stop, false),
            10 => (Input::News, false),
            _ => {
                now = link.poll_timeout().map_or(now, |(at, _)| now.max(at));
                (Input::Timeout, false)
            }
        };
        world.lost = matches!(input, Input::Lost { .. });
        world.welcomed |= matches!(input, Input::Welcomed { .. }) && world.greeted;
        link.handle(input, now);
        world.apply(drain(&mut link));
        assert_eq!(
            link.poll_timeout().is_none(),
            world.ended,
            "stuck, or awake after its end"
        );
        assert!(!refused || world.ended, "came back though it was refused");
        let due = link.poll_timeout().map(|(at, _)| at.saturating_duration_since(now));
        assert!(
            due.is_none_or(|due| due <= Duration::from_secs(30)),
            "waits longer than the cap"
        );
    }
}

/// What the shell would hold.
#[derive(Default)]
struct World {
    connection: bool,
    greeted: bool,
    welcomed: bool,
    lost: bool,
    ended: bool,
}

impl World {
    fn apply(&mut self, outputs: Vec<Output>) {
        if std::mem::take(&mut self.lost) {
            self.hang_up();
        }
        for output in outputs {
            assert!(!self.ended, "{output:?} after the end");
            match output {
                Output::Connect => {
                    assert!(!self.connection, "two connections at once");
                    self.connection = true;
                }
                Output::SendHello => {
                    assert!(self.connection && !self.greeted, "a second hello, or one to nobody");
                    self.greeted = true;
                }
                Output::SendHeartbeat | Output::FlushLogs | Output::SendGoodbye => {
                    assert!(self.connection && self.welcomed, "{output:?} before the welcome");
                }
                Output::Disconnect { .. } => {
                    assert!(self.connection, "nothing to disconnect");
                    self.hang_up();
                }
                Output::Changed(_) => {}
                Output::End(_) => {
                    assert!(!self.connection, "ended with a connection open");
                    self.ended = true;
                }
            }
        }
    }

    fn hang_up(&mut self) {
        (self.connection, self.greeted, self.welcomed) = (false, false, false);
    }
}
