use framebridge_proto::limits::HEARTBEAT_INTERVAL;

use super::*;
use crate::degradation;

/// A process with its time and everything it asked for.
struct Bench {
    process: Process,
    now: Instant,
    pid: u32,
    /// The outputs of the last step.
    outputs: Vec<Output>,
}

impl Bench {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        Self {
            process: Process::new(config, now, 7),
            now,
            pid: 100,
            outputs: Vec::new(),
        }
    }

    /// One that is running.
    fn running() -> Self {
        let mut bench = Self::new(Config::default());
        bench.give(Input::Start);
        bench.give(Input::Beat);
        assert_eq!(bench.state(), State::Running);
        bench
    }

    /// Handles `input`; what has to be spawned is, under the next pid.
    fn give(&mut self, input: Input) {
        self.process.handle(input, self.now);
        self.outputs.clear();
        while let Some(output) = self.process.poll_output() {
            if matches!(output, Output::Spawn { .. }) {
                self.pid += 1;
                self.process.handle(Input::Spawned { pid: self.pid }, self.now);
            }
            self.outputs.push(output);
        }
    }

    fn exit(&mut self, code: i32) {
        let exit = Exit {
            status: ExitStatus::Code(code),
            last_words: None,
        };
        self.give(Input::Exited { pid: self.pid, exit });
    }

    /// Lets time pass until the next timeout and says what it was.
    fn wait(&mut self) -> Reason {
        let (at, reason) = self.process.poll_timeout().expect("something to wait for");
        self.now = self.now.max(at);
        self.give(Input::Timeout);
        reason
    }

    fn state(&self) -> State {
        self.process.snapshot().state
    }

    fn killed(&self) -> bool {
        self.outputs.contains(&Output::Kill { pid: self.pid })
    }

    fn terminated(&self) -> bool {
        self.outputs.contains(&Output::Terminate { pid: self.pid })
    }

    /// Fails right after each start until something else than a short wait follows.
    fn crash_until_given_up(&mut self) -> usize {
        self.end_until_given_up(1)
    }

    /// One that is started, with so much to give up.
    fn with_steps(steps: usize) -> Self {
        let degradation = degradation::Config {
            steps,
            ..degradation::Config::default()
        };
        let mut bench = Self::new(Config {
            degradation,
            ..Config::default()
        });
        bench.give(Input::Start);
        bench
    }

    /// Lives well from its next start on until it is told to end for more, and ends. How long that was.
    fn live_until_it_recovers(&mut self) -> Duration {
        self.wait();
        self.give(Input::Beat);
        let since = self.now;
        while self.state() == State::Running {
            self.give(Input::Beat);
            self.wait();
        }
        let lived = self.now - since;
        self.exit(0);
        lived
    }

    /// Fails likewise, with this code.
    fn end_until_given_up(&mut self, code: i32) -> usize {
        (1..)
            .find(|_| {
                self.exit(code);
                let waits = self.state() == State::BackingOff && self.process.guard.recent_failures(self.now) > 0;
                if waits {
                    assert_eq!(self.wait(), Reason::BackoffOver);
                    self.give(Input::Beat);
                }
                !waits
            })
            .expect("given up at some time")
    }
}

#[test]
fn first_heartbeat_makes_a_started_process_running() {
    let mut bench = Bench::new(Config::default());
    bench.give(Input::Start);
    assert_eq!(bench.state(), State::Starting);
    bench.give(Input::Beat);
    assert_eq!(bench.state(), State::Running);
    assert_eq!(bench.process.snapshot().restarts, 0);
}

#[test]
fn process_that_exits_is_started_again_after_its_delay() {
    let mut bench = Bench::running();
    bench.exit(75);
    assert_eq!(bench.state(), State::BackingOff);
    assert_eq!(bench.wait(), Reason::BackoffOver);
    assert_eq!(bench.state(), State::Starting);
    let snapshot = bench.process.snapshot();
    assert_eq!(snapshot.restarts, 1);
    assert_eq!(
        snapshot.last_end.map(|cause| cause.to_string()).as_deref(),
        Some("exit code 75")
    );
}

#[test]
fn silence_for_three_heartbeats_kills_without_asking() {
    let mut bench = Bench::running();
    let start = bench.now;
    while bench.state() == State::Running {
        assert_eq!(bench.wait(), Reason::HeartbeatDue);
    }
    assert_eq!(
        (bench.state(), bench.now - start),
        (State::Stalled, HEARTBEAT_INTERVAL * 3)
    );
    assert!(bench.killed() && !bench.terminated());
}

#[test]
fn silent_process_that_answers_its_probes_has_twelve_heartbeats() {
    let mut bench = Bench::running();
    let start = bench.now;
    while bench.state() == State::Running {
        bench.give(Input::Probe { answered: true });
        bench.wait();
    }
    assert_eq!(bench.now - start, HEARTBEAT_INTERVAL * 12);
}

#[test]
fn silent_process_whose_probes_fail_is_wedged_as_soon_as_both_say_so() {
    let mut bench = Bench::running();
    bench.give(Input::Probe { answered: true });
    for _ in 0..5 {
        bench.wait();
    }
    assert_eq!(bench.state(), State::Running);
    bench.give(Input::Probe { answered: false });
    assert_eq!(bench.state(), State::Stalled);
}

#[test]
fn three_unanswered_probes_end_a_process_however_fresh_its_heartbeat() {
    let mut bench = Bench::running();
    for expected in [State::Running, State::Running, State::Stalled] {
        bench.give(Input::Beat);
        bench.give(Input::Probe { answered: false });
        assert_eq!(bench.state(), expected);
    }
    assert!(
        bench.killed() && !bench.terminated(),
        "it gets no time to say goodbye to its viewers"
    );
}

#[test]
fn supervisor_that_was_held_up_does_not_blame_its_children() {
    let mut bench = Bench::running();
    bench.now += Duration::from_secs(3600);
    bench.give(Input::Timeout);
    assert_eq!(bench.state(), State::Running, "one late look is one missed heartbeat");
}

#[test]
fn fifth_failure_in_a_minute_parks_and_the_park_ends_by_itself() {
    let mut bench = Bench::running();
    assert_eq!(bench.crash_until_given_up(), 5);
    assert_eq!(bench.state(), State::Parked);
    let parked_at = bench.now;
    assert_eq!(bench.wait(), Reason::ParkOver);
    assert_eq!(
        (bench.state(), bench.now - parked_at),
        (State::Starting, Duration::from_secs(30))
    );
}

#[test]
fn resume_ends_a_park_at_once() {
    let mut bench = Bench::running();
    bench.crash_until_given_up();
    bench.give(Input::Resume);
    assert_eq!(bench.state(), State::Starting);
}

#[test]
fn wrong_configuration_is_not_retried_until_somebody_says_so() {
    for code in [76, 78] {
        let mut bench = Bench::running();
        bench.exit(code);
        assert_eq!((bench.state(), bench.process.poll_timeout()), (State::Parked, None));
        bench.give(Input::Resume);
        assert_eq!(bench.state(), State::Starting);
    }
}

#[test]
fn restart_by_request_is_no_failure() {
    let mut bench = Bench::running();
    for _ in 0..20 {
        bench.give(Input::Restart);
        assert!(bench.terminated());
        bench.exit(0);
        assert_eq!(bench.state(), State::Starting);
        bench.give(Input::Beat);
    }
    assert_eq!(bench.process.snapshot().last_end, None);
}

#[test]
fn process_whose_next_life_goes_on_where_it_was_is_restarted_without_a_goodbye() {
    let mut bench = Bench::new(Config {
        restart_timeout: Duration::ZERO,
        ..Config::default()
    });
    bench.give(Input::Start);
    bench.give(Input::Beat);
    bench.give(Input::Restart);
    assert!(bench.killed() && !bench.terminated());
    bench.give(Input::Stop {
        patience: Duration::from_secs(5),
    });
    bench.exit(0);
    assert_eq!(bench.state(), State::Stopped);
    bench.give(Input::Start);
    bench.give(Input::Stop {
        patience: Duration::from_secs(5),
    });
    assert!(
        bench.terminated() && !bench.killed(),
        "a stop is in good order all the same"
    );
}

#[test]
fn process_that_ignores_sigterm_is_killed_after_its_time() {
    let mut bench = Bench::running();
    let asked_at = bench.now;
    bench.give(Input::Stop {
        patience: Duration::from_secs(5),
    });
    assert!(bench.terminated() && !bench.killed());
    assert_eq!(bench.wait(), Reason::KillDue);
    assert_eq!(bench.now - asked_at, Duration::from_secs(5));
    assert!(bench.killed());
    bench.exit(0);
    assert_eq!(bench.state(), State::Stopped);
}

#[test]
fn stop_while_it_is_being_started_ends_what_comes_of_the_start() {
    let now = Instant::now();
    let mut process = Process::new(Config::default(), now, 7);
    process.handle(Input::Start, now);
    process.handle(
        Input::Stop {
            patience: Duration::from_secs(5),
        },
        now,
    );
    process.handle(Input::Spawned { pid: 5 }, now);
    let outputs: Vec<_> = std::iter::from_fn(|| process.poll_output()).collect();
    assert!(outputs.contains(&Output::Terminate { pid: 5 }), "{outputs:?}");
}

#[test]
fn adopted_process_runs_and_is_watched_like_any_other() {
    let mut bench = Bench::new(Config::default());
    bench.give(Input::Adopt {
        pid: 42,
        started_at: bench.now,
        step: 0,
    });
    assert_eq!(
        (bench.state(), bench.process.snapshot().pid),
        (State::Running, Some(42))
    );
    assert!(
        !bench
            .outputs
            .iter()
            .any(|output| matches!(output, Output::Spawn { .. }))
    );
    while bench.state() == State::Running {
        bench.wait();
    }
    assert!(bench.outputs.contains(&Output::Kill { pid: 42 }));
}

#[test]
fn crash_loop_gives_things_up_before_it_parks_and_takes_them_back_when_well() {
    let mut bench = Bench::with_steps(2);
    for step in [1, 2] {
        bench.crash_until_given_up();
        assert_eq!(
            (bench.state(), bench.process.snapshot().step),
            (State::BackingOff, step)
        );
        bench.wait();
        assert!(bench.outputs.contains(&Output::Spawn { step }));
    }
    bench.crash_until_given_up();
    assert_eq!(bench.state(), State::Parked);

    assert_eq!(bench.live_until_it_recovers(), Duration::from_secs(60));
    assert!(bench.outputs.contains(&Output::Spawn { step: 1 }));
}

#[test]
fn source_that_hangs_leads_to_the_last_step_at_once_and_a_recovery_in_vain_back_to_it() {
    let mut bench = Bench::with_steps(3);
    assert_eq!(bench.end_until_given_up(74), 5);
    for wait in [60, 120] {
        assert_eq!(bench.process.snapshot().step, 3);
        assert_eq!(bench.live_until_it_recovers(), Duration::from_secs(wait));
        assert!(bench.outputs.contains(&Output::Spawn { step: 0 }), "with everything");
        bench.give(Input::Beat);
        // Once is enough.
        bench.exit(74);
        assert_eq!(bench.state(), State::BackingOff);
    }
}

#[test]
fn process_that_lives_as_well_without_something_has_it_back_at_its_next_start() {
    let degradation = degradation::Config {
        steps: 1,
        recovery: Recovery::AtTheNextStart,
        ..degradation::Config::default()
    };
    let mut bench = Bench::new(Config {
        degradation,
        ..Config::default()
    });
    bench.give(Input::Start);
    bench.crash_until_given_up();
    bench.wait();
    assert!(bench.outputs.contains(&Output::Spawn { step: 1 }));
    bench.give(Input::Beat);
    while bench.process.snapshot().step == 1 {
        assert!(!bench.terminated() && !bench.killed());
        bench.give(Input::Beat);
        bench.wait();
    }
    assert_eq!(bench.state(), State::Running, "and nobody has ended it for that");
    bench.exit(1);
    bench.wait();
    assert!(bench.outputs.contains(&Output::Spawn { step: 0 }));
}

#[test]
fn adopted_process_that_lives_without_something_gets_it_back_when_it_was_promised() {
    let degradation = degradation::Config {
        steps: 2,
        ..degradation::Config::default()
    };
    let mut bench = Bench::new(Config {
        degradation,
        ..Config::default()
    });
    let started_at = bench.now;
    bench.now += Duration::from_secs(40);
    bench.give(Input::Adopt {
        pid: 42,
        started_at,
        step: 2,
    });
    let mut asked = Bench::new(bench.process.config.clone());
    asked.give(Input::Adopt {
        pid: 41,
        started_at,
        step: 2,
    });
    asked.give(Input::Resume);
    assert_eq!(
        (asked.state(), asked.process.snapshot().step),
        (State::Stopping, 1),
        "or as soon as somebody asks for it"
    );
    let promised = bench.process.snapshot().recover_at;
    assert_eq!(promised, Some(started_at + Duration::from_secs(60)));
    while bench.state() == State::Running {
        bench.give(Input::Beat);
        bench.wait();
    }
    assert_eq!(
        (Some(bench.now), bench.process.snapshot().step),
        (promised, 1),
        "and no earlier"
    );
}
