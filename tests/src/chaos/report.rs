//! The table that a drill ends with, and the same for programs.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    chaos::{
        drill::{Drilled, Options, Outcome},
        plan::Fault,
        targets::{self, Target},
    },
    sample::Sample,
    table::table,
};

/// What came of a drill.
#[derive(Debug)]
pub struct Report {
    options: Options,
    drilled: Drilled,
}

/// All strikes of one kind.
struct Row<'a> {
    fault: String,
    strikes: Vec<&'a Outcome>,
}

const HEAD: [&str; 9] = [
    "fault",
    "times",
    "detected by",
    "detected p50/p95 ms",
    "picture back p50/p95/max ms",
    "well again p50/p95/max ms",
    "sessions lost",
    "frames lost",
    "longest freeze ms",
];

impl Report {
    /// Sums a drill up.
    pub fn of(options: Options, drilled: Drilled) -> Self {
        Self { options, drilled }
    }

    /// Whether everything was tried, and mended itself.
    pub fn is_good(&self) -> bool {
        let unmended = self.drilled.outcomes.iter().any(|outcome| outcome.unmended.is_some());
        !unmended && self.drilled.cut_short.is_none()
    }

    /// What the processes said, where something did not mend itself.
    pub fn log(&self) -> Option<&str> {
        self.drilled.log.as_deref()
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = Vec::new();
        for outcome in &self.drilled.outcomes {
            let fault = outcome.fault.to_string();
            match rows.iter_mut().find(|row| row.fault == fault) {
                Some(row) => row.strikes.push(outcome),
                None => rows.push(Row {
                    fault,
                    strikes: vec![outcome],
                }),
            }
        }
        rows.sort_by(|one, other| one.fault.cmp(&other.fault));
        rows
    }

    /// The same for programs: the seed, every strike, and what was left out.
    pub fn json(&self) -> Value {
        let skipped = |(fault, why): &(Fault, &str)| json!({ "fault": fault.to_string(), "why": why });
        json!({
            "seed": self.options.seed,
            "viewers": self.options.viewers,
            "recovered": self.is_good(),
            "cut_short": self.drilled.cut_short,
            "strikes": self.drilled.outcomes.iter().map(strike).collect::<Vec<_>>(),
            "targets": targets::judge(&self.drilled.outcomes).iter().map(target).collect::<Vec<_>>(),
            "skipped": self.drilled.skipped.iter().map(skipped).collect::<Vec<_>>(),
        })
    }
}

fn target(target: &Target) -> Value {
    let Target {
        wanted,
        measured,
        reached,
    } = target;
    json!({ "wanted": wanted, "measured": measured, "reached": reached })
}

fn strike(outcome: &Outcome) -> Value {
    let detected = outcome.detected.as_ref();
    json!({
        "fault": outcome.fault.to_string(),
        "at_s": outcome.at_s,
        "detected_by": detected.map(|(what, _)| what),
        "detected_ms": detected.map(|(_, after)| after),
        "picture_back_ms": outcome.picture_back,
        "well_again_ms": outcome.healthy,
        "sessions_lost": outcome.sessions_lost,
        "frames_lost": outcome.frames_lost,
        "longest_freeze_ms": outcome.freeze,
        "unmended": outcome.unmended,
    })
}

impl Row<'_> {
    fn cells(&self) -> [String; 9] {
        let all = |of: fn(&Outcome) -> u64| self.strikes.iter().map(move |strike| of(strike));
        let freeze = all(|strike| strike.freeze).max().unwrap_or(0);
        [
            self.fault.clone(),
            self.strikes.len().to_string(),
            self.detectors(),
            self.percentiles(&[50, 95], |strike| strike.detected.as_ref().map(|(_, after)| *after)),
            self.percentiles(&[50, 95, 100], |strike| strike.picture_back),
            self.percentiles(&[50, 95, 100], |strike| strike.healthy),
            all(|strike| strike.sessions_lost).sum::<u64>().to_string(),
            all(|strike| strike.frames_lost).sum::<u64>().to_string(),
            freeze.to_string(),
        ]
    }

    /// What noticed it, the most frequent first.
    fn detectors(&self) -> String {
        let mut found: Vec<(&str, usize)> = Vec::new();
        for (what, _) in self.strikes.iter().filter_map(|strike| strike.detected.as_ref()) {
            match found.iter_mut().find(|(known, _)| known == what) {
                Some((_, times)) => *times += 1,
                None => found.push((what, 1)),
            }
        }
        found.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        let names: Vec<&str> = found.into_iter().map(|(what, _)| what).collect();
        if names.is_empty() { "-".into() } else { names.join("; ") }
    }

    fn percentiles(&self, percents: &[usize], of: fn(&Outcome) -> Option<u64>) -> String {
        let values = self.strikes.iter().filter_map(|strike| of(strike));
        let sample = Sample::of(values.filter_map(|ms| u32::try_from(ms).ok()).map(f64::from));
        if sample.count() == 0 {
            return "-".into();
        }
        let shown: Vec<String> = percents
            .iter()
            .map(|percent| format!("{:.0}", sample.percentile(*percent)))
            .collect();
        shown.join(" / ")
    }
}

impl fmt::Display for Report {
    /// Tables in Markdown, as they stand in docs/reliability.md.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        table(f, HEAD.map(str::to_owned), rows.iter().map(Row::cells))?;
        writeln!(f)?;
        let judged = targets::judge(&self.drilled.outcomes).into_iter();
        let cells = judged.map(|target| {
            let reached = match target.reached {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "-",
            };
            [target.wanted, target.measured, reached.to_owned()]
        });
        table(f, ["target", "measured", "reached"].map(str::to_owned), cells)?;
        for (fault, why) in &self.drilled.skipped {
            writeln!(f, "left out: {fault}: {why}")?;
        }
        if let Some(why) = &self.drilled.cut_short {
            writeln!(f, "CUT SHORT: {why}")?;
        }
        for outcome in &self.drilled.outcomes {
            if let Some(trouble) = &outcome.unmended {
                writeln!(f, "NOT MENDED: {} at {:.0} s: {trouble}", outcome.fault, outcome.at_s)?;
            }
        }
        Ok(())
    }
}
