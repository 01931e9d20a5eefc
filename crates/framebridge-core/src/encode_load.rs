//! Judges whether a machine encodes as fast as it is asked to, and what is given up where it does not.
//!
//! | load: the time a picture takes, of the time there is for it | what it is called | what is done |
//! | --- | --- | --- |
//! | below `STRAINED` | nominal | after a calm, what was given up last is taken back |
//! | from there on | strained | nothing |
//! | from `OVERLOADED` on, for three pictures | overloaded | after five seconds of it the next thing is given up: rate first, then size |
//!
//! Without that, pictures are left out before the encoder as they come, unevenly and late.

use std::time::{Duration, Instant};

use framebridge_proto::media::{Load, LoadState};

/// Loads, percent of the time between two pictures.
const STRAINED: u32 = 85;
const OVERLOADED: u32 = 105;

/// No picture counts for more: one that took a second in a bad moment is not the next ten.
const MOST: u32 = 400;

/// Slow pictures in a row that make an overload.
const IN_A_ROW: u32 = 3;

/// An overload that is over sooner is a hiccup.
const SUSTAINED: Duration = Duration::from_secs(5);

/// The first pictures of an encoder that was opened anew say nothing.
const SETTLING: Duration = Duration::from_secs(1);

/// Time without strain after which something is taken back; it doubles with each attempt that fails, up to the longest.
const FIRST_CALM: Duration = Duration::from_secs(10);
const LONGEST_CALM: Duration = Duration::from_secs(300);

/// An overload within this time after an attempt means that it has failed.
const TRIAL: Duration = Duration::from_secs(15);

/// Time without an overload after which the calm is the first one again.
const FORGIVEN: Duration = Duration::from_secs(120);

/// The shortest time between two tellings of the figure alone: it changes with every picture.
const RETOLD: Duration = Duration::from_secs(1);

/// Below this a rate is not lowered, pictures a second.
const LEAST_FPS: u32 = 10;

/// Below this a picture is not made smaller, pixels of its longest edge.
const LEAST_EDGE: u32 = 320;

/// What is given up, one after the other: the parts of the rate and of the longest edge that remain, in quarters.
const STEPS: [(u32, u32); 4] = [(4, 4), (2, 4), (2, 3), (2, 2)];

/// Judges one encoder: one [`encoded`](Self::encoded) for each picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeLoad {
    /// Of [`STEPS`].
    step: usize,
    /// Percent, over the last pictures; `None`: none was encoded yet.
    average: Option<u32>,
    in_a_row: u32,
    overloaded_since: Option<Instant>,
    calm_since: Option<Instant>,
    calm: Duration,
    stepped_at: Option<Instant>,
    /// When something was taken back last.
    taken_back_at: Option<Instant>,
}

impl Default for EncodeLoad {
    fn default() -> Self {
        Self {
            step: 0,
            average: None,
            in_a_row: 0,
            overloaded_since: None,
            calm_since: None,
            calm: FIRST_CALM,
            stepped_at: None,
            taken_back_at: None,
        }
    }
}

impl EncodeLoad {
    /// A picture `took` this long of the `interval` that there is for each. True: from now on pictures are encoded with less, or
    /// with more, than before.
    pub fn encoded(&mut self, took: Duration, interval: Duration, now: Instant) -> bool {
        if self
            .stepped_at
            .is_some_and(|at| now.saturating_duration_since(at) < SETTLING)
        {
            return false;
        }
        let percent = took.as_micros() * 100 / interval.as_micros().max(1);
        let percent = u32::try_from(percent).unwrap_or(MOST).min(MOST);
        let average = self.average.map_or(percent, |average| (average * 7 + percent) / 8);
        self.average = Some(average);
        self.in_a_row = if percent >= OVERLOADED { self.in_a_row + 1 } else { 0 };
        match self.load() {
            LoadState::Overloaded => {
                self.calm_since = None;
                let since = *self.overloaded_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= SUSTAINED && self.step + 1 < STEPS.len() {
                    self.give_up(now);
                    return true;
                }
            }
            LoadState::Strained | LoadState::Nominal => {
                self.overloaded_since = None;
                if self.step > 0 && self.costs_one_step_up(average) < STRAINED {
                    let since = *self.calm_since.get_or_insert(now);
                    if now.saturating_duration_since(since) >= self.calm {
                        self.take_back(now);
                        return true;
                    }
                } else {
                    self.calm_since = None;
                }
            }
        }
        false
    }

    /// What the load is called now.
    pub fn load(&self) -> LoadState {
        let average = self.average.unwrap_or(0);
        if self.in_a_row >= IN_A_ROW || (self.overloaded_since.is_some() && average >= OVERLOADED) {
            LoadState::Overloaded
        } else if average >= STRAINED {
            LoadState::Strained
        } else {
            LoadState::Nominal
        }
    }

    /// The load, percent of the time there is.
    pub fn percent(&self) -> u32 {
        self.average.unwrap_or(0)
    }

    /// Whether anything is given up.
    pub fn is_lowered(&self) -> bool {
        self.step > 0
    }

    /// What remains of a rate that was asked for, pictures a second.
    pub fn fps(&self, asked: u32) -> u32 {
        (asked * STEPS[self.step].0 / 4).max(LEAST_FPS).min(asked)
    }

    /// What remains of a longest edge that was asked for, pixels.
    pub fn longest_edge(&self, asked: u32) -> u32 {
        (asked * STEPS[self.step].1 / 4).max(LEAST_EDGE).min(asked)
    }

    /// What the load would be with what was given up last.
    fn costs_one_step_up(&self, average: u32) -> u32 {
        let (fps, edge) = STEPS[self.step];
        let (fps_up, edge_up) = STEPS[self.step.saturating_sub(1)];
        average * fps_up * edge_up * edge_up / (fps * edge * edge)
    }

    fn give_up(&mut self, now: Instant) {
        let is_recent = |at: Option<Instant>, span| at.is_some_and(|at| now.saturating_duration_since(at) < span);
        if is_recent(self.taken_back_at, TRIAL) {
            self.calm = (self.calm * 2).min(LONGEST_CALM);
        } else if !is_recent(self.stepped_at, FORGIVEN) {
            self.calm = FIRST_CALM;
        }
        self.step += 1;
        self.stepped(now);
    }

    fn take_back(&mut self, now: Instant) {
        self.step -= 1;
        self.taken_back_at = Some(now);
        self.stepped(now);
    }

    fn stepped(&mut self, now: Instant) {
        self.stepped_at = Some(now);
        (self.average, self.in_a_row) = (None, 0);
        (self.overloaded_since, self.calm_since) = (None, None);
    }
}

/// What a machine makes less of than is asked for, in words that say it of something before them; `None`: of nothing.
pub fn shortfall(load: &Load) -> Option<String> {
    // What it is too slow for is left out before the encoder.
    let percent = match load.state {
        LoadState::Overloaded => load.percent.max(100),
        LoadState::Nominal | LoadState::Strained => 100,
    };
    let (made, asked) = (load.fps * 100 / percent, load.asked_fps);
    let (edge, asked_edge) = (load.longest_edge, load.asked_longest_edge);
    match (made < asked, edge < asked_edge) {
        (true, false) => Some(format!("encodes {made} of {asked} pictures a second; fewer are sent")),
        (true, true) => Some(format!(
            "encodes {made} of {asked} pictures a second, {edge} of {asked_edge} pixels wide; fewer and smaller ones are sent"
        )),
        (false, true) => Some(format!(
            "encodes {edge} of {asked_edge} pixels; smaller pictures are sent"
        )),
        (false, false) => None,
    }
}

/// When a load is told: what it means at once, its figure alone now and then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadNews {
    told: Option<(Load, Instant)>,
}

impl LoadNews {
    /// Whether this is to be told now.
    pub fn observe(&mut self, load: Load, now: Instant) -> bool {
        let is_news = self.told.is_none_or(|(told, at)| {
            let means_as_much = Load {
                percent: told.percent,
                ..load
            } == told;
            !means_as_much || (load != told && now.saturating_duration_since(at) >= RETOLD)
        });
        if is_news {
            self.told = Some((load, now));
        }
        is_news
    }

    /// Nothing is encoded any more. True: that is to be told.
    pub fn ended(&mut self) -> bool {
        self.told.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(33);

    /// A machine for which a full picture takes `full`, and its clock.
    struct Machine {
        load: EncodeLoad,
        now: Instant,
    }

    impl Machine {
        fn new() -> Self {
            Self {
                load: EncodeLoad::default(),
                now: Instant::now(),
            }
        }

        /// Encodes for so long, a full picture at the full rate being so many percent. The rates and sizes that were used.
        fn runs(&mut self, seconds: u64, full: u32) -> Vec<(u32, u32)> {
            let end = self.now + Duration::from_secs(seconds);
            let mut seen = vec![self.quality()];
            while self.now < end {
                let (fps, edge) = self.quality();
                let interval = INTERVAL * 30 / fps;
                let took = INTERVAL * full / 100 * (edge * edge / 10_000) / (1280 * 1280 / 10_000);
                self.now += interval;
                if self.load.encoded(took, interval, self.now) {
                    seen.push(self.quality());
                }
            }
            seen
        }

        fn quality(&self) -> (u32, u32) {
            (self.load.fps(30), self.load.longest_edge(1280))
        }
    }

    #[test]
    fn rate_is_given_up_first_then_size_until_it_fits() {
        let mut machine = Machine::new();
        assert_eq!(machine.runs(60, 100), [(30, 1280)], "strained is no overload");
        assert_eq!(machine.load.load(), LoadState::Strained);
        assert_eq!(machine.runs(60, 130), [(30, 1280), (15, 1280)]);
        assert_eq!(machine.load.load(), LoadState::Nominal);
        assert_eq!(machine.load.percent(), 65);
        assert_eq!(machine.runs(60, 250), [(15, 1280), (15, 960)]);
        assert_eq!(machine.runs(60, 390), [(15, 960), (15, 640)]);
        assert_eq!(machine.runs(60, 4000), [(15, 640)], "there is nothing more to give up");
        assert_eq!(machine.load.load(), LoadState::Overloaded);
    }

    #[test]
    fn hiccup_is_none() {
        let mut machine = Machine::new();
        machine.runs(5, 40);
        assert_eq!(machine.runs(1, 300), [(30, 1280)]);
        assert_eq!(machine.runs(5, 40), [(30, 1280)]);
    }

    #[test]
    fn it_is_taken_back_step_by_step_after_calms() {
        let mut machine = Machine::new();
        machine.runs(30, 390);
        assert_eq!(machine.quality(), (15, 640));
        let began = machine.now;
        assert_eq!(
            machine.runs(60, 40),
            [(15, 640), (15, 960), (15, 1280), (30, 1280)],
            "in 60 s"
        );
        assert!(machine.now - began >= Duration::from_secs(30));
    }

    #[test]
    fn attempts_that_fail_are_made_ever_more_rarely() {
        let mut machine = Machine::new();
        // What a picture costs changes with what is in it: the estimate of a step up is wrong here, each time.
        let mut attempts = Vec::new();
        let began = machine.now;
        for _ in 0..20_000 {
            let full = if machine.load.is_lowered() { 60 } else { 130 };
            let before = machine.load.is_lowered();
            machine.runs(0, full);
            let (fps, _) = machine.quality();
            let interval = INTERVAL * 30 / fps;
            machine.now += interval;
            machine.load.encoded(INTERVAL * full / 100, interval, machine.now);
            if before && !machine.load.is_lowered() {
                attempts.push((machine.now - began).as_secs());
            }
        }
        let waits: Vec<u64> = attempts.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(waits.is_sorted() && waits.last() > Some(&60), "{waits:?}");
    }

    #[test]
    fn what_is_little_already_stays() {
        let mut machine = Machine::new();
        machine.runs(60, 4000);
        assert_eq!((machine.load.fps(8), machine.load.longest_edge(300)), (8, 300));
        assert_eq!((machine.load.fps(15), machine.load.longest_edge(400)), (10, 320));
    }

    #[test]
    fn shortfall_says_what_is_made_of_what_is_asked_for() {
        let load = |state, percent, fps, longest_edge| Load {
            state,
            percent,
            fps,
            asked_fps: 30,
            longest_edge,
            asked_longest_edge: 1280,
        };
        let told = |state, percent, fps, edge| shortfall(&load(state, percent, fps, edge));
        assert_eq!(told(LoadState::Nominal, 40, 30, 1280), None);
        assert_eq!(told(LoadState::Strained, 103, 30, 1280), None);
        assert_eq!(
            told(LoadState::Overloaded, 214, 30, 1280).as_deref(),
            Some("encodes 14 of 30 pictures a second; fewer are sent")
        );
        assert_eq!(
            told(LoadState::Nominal, 60, 15, 1280).as_deref(),
            Some("encodes 15 of 30 pictures a second; fewer are sent")
        );
        assert_eq!(
            told(LoadState::Overloaded, 150, 15, 640).as_deref(),
            Some("encodes 10 of 30 pictures a second, 640 of 1280 pixels wide; fewer and smaller ones are sent")
        );
        assert_eq!(
            told(LoadState::Nominal, 60, 30, 960).as_deref(),
            Some("encodes 960 of 1280 pixels; smaller pictures are sent")
        );
    }

    #[test]
    fn what_a_load_means_is_told_at_once_and_its_figure_once_a_second() {
        let (mut news, start) = (LoadNews::default(), Instant::now());
        let load = |state, percent| Load {
            state,
            percent,
            fps: 30,
            asked_fps: 30,
            longest_edge: 64,
            asked_longest_edge: 64,
        };
        assert!(!news.ended(), "nothing was told");
        assert!(news.observe(load(LoadState::Nominal, 10), start));
        assert!(!news.observe(load(LoadState::Nominal, 11), start));
        assert!(news.observe(load(LoadState::Strained, 90), start));
        assert!(!news.observe(load(LoadState::Strained, 91), start + RETOLD / 2));
        assert!(news.observe(load(LoadState::Strained, 92), start + RETOLD));
        assert!(
            !news.observe(load(LoadState::Strained, 92), start + RETOLD * 3),
            "it is the same"
        );
        assert!(news.ended() && !news.ended());
        assert!(news.observe(load(LoadState::Strained, 92), start + RETOLD * 3));
    }
}
