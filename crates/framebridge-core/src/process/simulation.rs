//! Runs thousands of random histories and checks after every step what must always hold. A failure prints its seed.

use super::*;
use crate::{degradation, random::Random};

const HISTORIES: u64 = 4_000;
const STEPS: usize = 300;

/// The world around one process: what the operating system would do, and what a hasty operator would.
struct World {
    seed: u64,
    random: Random,
    process: Process,
    now: Instant,
    /// The process that lives, and whether it has been told to end.
    living: Option<(u32, bool)>,
    /// [`Output::Spawn`] that was not answered yet.
    spawning: bool,
    next_pid: u32,
    parked_until: Option<Instant>,
    commanded: bool,
    since: Instant,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let now = Instant::now();
        let degradation = degradation::Config {
            steps: usize::try_from(random.next() % 4).expect("small"),
            recovery: if random.next().is_multiple_of(2) {
                Recovery::ByRestart
            } else {
                Recovery::AtTheNextStart
            },
            ..degradation::Config::default()
        };
        let process = Process::new(
            Config {
                degradation,
                ..Config::default()
            },
            now,
            random.next(),
        );
        Self {
            seed,
            random,
            process,
            now,
            living: None,
            spawning: false,
            next_pid: 1,
            parked_until: None,
            commanded: false,
            since: now,
        }
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.next().is_multiple_of(one_in)
    }

    /// Anything that can happen next.
    fn something(&mut self) -> Input {
        self.pass_time();
        self.commanded = false;
        match self.random.next() % 24 {
            0 => self.command(Input::Start),
            1 => self.command(Input::Stop {
                patience: Duration::from_secs(5),
            }),
            2 => self.command(Input::Restart),
            3 => self.command(Input::Resume),
            4 => Input::Wedged {
                why: "no frame for 2 s".into(),
            },
            5 | 6 => Input::Probe {
                answered: self.chance(2),
            },
            7..=11 => Input::Beat,
            12..=15 => self.die().unwrap_or(Input::Timeout),
            16 => self.adopt(),
            17 => Input::Exited {
                pid: u32::MAX,
                exit: self.exit(),
            },
            _ => self.answer().unwrap_or(Input::Timeout),
        }
    }

    fn command(&mut self, command: Input) -> Input {
        self.commanded = true;
        command
    }

    /// To the next timeout, a little, a lot, or backwards.
    fn pass_time(&mut self) {
        let amount = Duration::from_millis(self.random.next() % 2_000);
        match self.random.next() % 8 {
            0 => {}
            1 => self.now = self.now.checked_sub(amount).unwrap_or(self.now),
            2 => self.now += amount * 600,
            3..=5 => {
                if let Some((at, _)) = self.process.poll_timeout() {
                    self.now = self.now.max(at);
                }
            }
            _ => self.now += amount,
        }
    }

    fn exit(&mut self) -> Exit {
        let status = match self.random.next() % 8 {
            0 => ExitStatus::Code(78),
            1 => ExitStatus::Unknown,
            2..=4 => ExitStatus::Signal(9),
            _ => ExitStatus::Code(75),
        };
        Exit {
            status,
            last_words: None,
        }
    }

    fn die(&mut self) -> Option<Input> {
        let (pid, _) = self.living.take()?;
        Some(Input::Exited { pid, exit: self.exit() })
    }

    /// At the right moment, or at a wrong one with a process that must not be had.
    fn adopt(&mut self) -> Input {
        let free = self.living.is_none() && !self.spawning;
        let pid = if free { self.spawn() } else { u32::MAX };
        let step = usize::try_from(self.random.next() % 5).expect("small");
        Input::Adopt {
            pid,
            started_at: self.now,
            step,
        }
    }

    fn answer(&mut self) -> Option<Input> {
        std::mem::take(&mut self.spawning).then(|| {
            if self.chance(6) {
                Input::SpawnFailed {
                    reason: "no such file".into(),
                }
            } else {
                Input::Spawned { pid: self.spawn() }
            }
        })
    }

    fn spawn(&mut self) -> u32 {
        let pid = self.next_pid;
        self.next_pid += 1;
        self.living = Some((pid, false));
        pid
    }

    fn step(&mut self) {
        let input = self.something();
        let shown = format!("{input:?}");
        let due = self.process.poll_timeout().filter(|_| input == Input::Timeout);
        self.process.handle(input, self.now);
        let mut state = None;
        while let Some(output) = self.process.poll_output() {
            match output {
                Output::Spawn { .. } => {
                    assert!(
                        self.living.is_none() && !self.spawning,
                        "two lives at once after {shown}"
                    );
                    assert!(
                        self.commanded || self.parked_until.is_none_or(|until| self.process.now >= until),
                        "started out of its park after {shown}"
                    );
                    self.spawning = true;
                }
                Output::Terminate { pid } | Output::Kill { pid } => {
                    let (living, told) = self.living.as_mut().expect("a signal for nobody");
                    assert_eq!(*living, pid, "a signal for another process after {shown}");
                    *told = true;
                }
                Output::Changed(transition) => {
                    assert!(
                        state.is_none_or(|state| state == transition.from),
                        "a gap in the story after {shown}"
                    );
                    state = Some(transition.to);
                }
            }
        }
        self.check(&shown);
        let again = self.process.poll_timeout();
        assert!(
            due.is_none_or(|due| due.0 > self.process.now || Some(due) != again),
            "a timeout that was handled is due again: {again:?}"
        );
    }

    fn check(&mut self, after: &str) {
        let snapshot = self.process.snapshot();
        let exists = self.living.is_some() || self.spawning;
        let should_exist = match snapshot.state {
            State::Stopped | State::BackingOff | State::Parked => false,
            State::Starting | State::Running | State::Stalled | State::Stopping => true,
        };
        assert_eq!(exists, should_exist, "{:?} after {after}", snapshot.state);
        assert_eq!(
            snapshot.pid,
            self.living.map(|(pid, _)| pid),
            "an exit was not reaped after {after}"
        );
        let leaves_by_itself = self.process.poll_timeout().is_some();
        let final_park = matches!(&snapshot.last_end, Some(cause) if cause.is_final());
        match snapshot.state {
            State::Stopped => assert!(!leaves_by_itself),
            State::Parked => assert!(leaves_by_itself || final_park, "a park without an end after {after}"),
            State::Starting | State::Running | State::Stalled | State::Stopping | State::BackingOff => {
                assert!(leaves_by_itself, "{:?} is for ever after {after}", snapshot.state);
            }
        }
        if let (State::Stalled | State::Stopping, Some((_, told))) = (snapshot.state, self.living) {
            assert!(told, "{:?} and nobody told it to end after {after}", snapshot.state);
        }
        assert!(snapshot.since >= self.since, "time ran backwards after {after}");
        self.since = snapshot.since;
        self.parked_until = snapshot.next_try_at.filter(|_| snapshot.state == State::Parked);
    }

    /// Left in peace, it comes to rest: running, stopped on request, or parked for good.
    fn settles(&mut self) {
        for _ in 0..1_000 {
            let input = self.answer_well().or_else(|| match self.process.snapshot().state {
                State::Stopping | State::Stalled => self.die(),
                State::Starting => Some(Input::Beat),
                State::Stopped | State::Running | State::BackingOff | State::Parked => None,
            });
            let rests = input.is_none() && self.process.snapshot().state == State::Running;
            match (input, self.process.poll_timeout()) {
                (Some(input), _) => self.process.handle(input, self.now),
                (None, None) => return,
                (None, Some(_)) if rests => return,
                (None, Some((at, _))) => {
                    self.now = self.now.max(at);
                    self.process.handle(Input::Timeout, self.now);
                }
            }
            while let Some(output) = self.process.poll_output() {
                self.spawning |= matches!(output, Output::Spawn { .. });
            }
        }
        panic!("never came to rest");
    }

    fn answer_well(&mut self) -> Option<Input> {
        std::mem::take(&mut self.spawning).then(|| Input::Spawned { pid: self.spawn() })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the seed is what makes a failure repeatable")]
            {
                eprintln!("seed of the failing history: {}", self.seed);
            }
        }
    }
}

#[test]
fn random_histories_keep_the_invariants() {
    for seed in 0..HISTORIES {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settles();
    }
}
