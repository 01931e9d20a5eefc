//! What a soak comes to: tables for people, and whether anything grew.

use std::fmt;

use crate::{
    soak::{
        growth::{Trend, Verdict, judge},
        measure::{MEASURES, Measure},
        record::Record,
    },
    table::table,
};

/// Who has to be judged, and by what: who is not there grows unseen.
const EXPECTED: [(&str, Measure); 9] = [
    ("supervisor", Measure::Memory),
    ("signaling", Measure::Memory),
    ("bridge", Measure::Memory),
    ("encoder-test", Measure::Memory),
    ("encoder-desk", Measure::Memory),
    ("encoder-camera", Measure::Memory),
    ("studio", Measure::Memory),
    ("page", Measure::LatencyMiddle),
    ("box", Measure::Disk),
];

/// Of a hundred visitors so many may come in vain: who came through what was just being killed or stood still.
const MOST_IN_VAIN_PERCENT: u64 = 2;

/// One measure of one subject, judged.
#[derive(Debug)]
struct Row {
    subject: String,
    measure: Measure,
    lives: usize,
    trend: Trend,
}

/// What came of a soak.
#[derive(Debug)]
pub struct Report<'a> {
    record: &'a Record,
    rows: Vec<Row>,
}

const HEAD: [&str; 9] = [
    "what",
    "lives (judged)",
    "hours judged",
    "level",
    "most",
    "per hour",
    "risen by",
    "allowed",
    "verdict",
];

impl<'a> Report<'a> {
    /// Judges a record.
    pub fn of(record: &'a Record) -> Self {
        let subjects = record.subjects().into_iter();
        let pairs = subjects.flat_map(|subject| MEASURES.map(|measure| (subject, measure)));
        let rows = pairs.filter_map(|(subject, measure)| {
            let lives = record.lives(subject, measure);
            (!lives.is_empty()).then(|| Row {
                subject: subject.to_owned(),
                measure,
                lives: lives.len(),
                trend: judge(&lives, record.plan.warm_up_h, measure.bound()),
            })
        });
        Self {
            record,
            rows: rows.collect(),
        }
    }

    /// Whether it came to its end, everybody was judged and nothing grew, everything that was broken mended itself, daily business
    /// was done, and viewers had what they came for.
    pub fn is_good(&self) -> bool {
        self.record.is_whole && self.troubles().is_empty()
    }

    /// What is not as it should be, as far as the record goes.
    fn troubles(&self) -> Vec<String> {
        let Record { events, watched, .. } = self.record;
        let judged = |(subject, measure): (&str, Measure)| {
            let mut rows = self.rows.iter();
            rows.any(|row| row.subject == subject && row.measure == measure && row.trend.verdict != Verdict::TooShort)
        };
        let missing = EXPECTED.into_iter().filter(|expected| !judged(*expected));
        let missing = missing.map(|(subject, measure)| format!("{subject}: {} could not be judged", measure.title()));
        let growing = self.rows.iter().filter(|row| row.trend.verdict == Verdict::Grows);
        let growing = growing.map(|row| format!("{}: {} grows", row.subject, row.measure.title()));
        let failed = events.iter().filter_map(|event| {
            let why = event.failed.as_ref()?;
            Some(format!("after {:.2} h: {}: {why}", event.at_h, event.what))
        });
        let faults = events.iter().filter(|event| event.is_fault).count() as u64;
        // Of faults as these are each viewer that sits through one keeps its session; a machine that is busy costs one now and then.
        let lost = (watched.lost > faults).then(|| format!("{} sessions lost by {faults} faults", watched.lost));
        let in_vain = watched.visits == 0 || watched.in_vain * 100 > watched.visits * MOST_IN_VAIN_PERCENT;
        let in_vain = in_vain.then(|| format!("{} of {} visits in vain", watched.in_vain, watched.visits));
        missing
            .chain(growing)
            .chain(failed)
            .chain(lost)
            .chain(in_vain)
            .collect()
    }
}

impl Row {
    fn cells(&self) -> [String; 9] {
        let Self {
            subject,
            measure,
            lives,
            trend,
        } = self;
        let shown = |value: f64| {
            let value = measure.shown(value);
            if !value.is_finite() {
                "-".to_owned()
            } else if *measure == Measure::Memory || *measure == Measure::Disk {
                format!("{value:.2}")
            } else {
                format!("{value:.1}")
            }
        };
        let is_told = trend.verdict != Verdict::TooShort;
        let told = |value: f64| if is_told { shown(value) } else { "-".to_owned() };
        let is_level = matches!(measure, Measure::Disk);
        [
            format!("{subject}: {}", measure.title()),
            format!("{lives} ({})", trend.lives),
            format!("{:.2}", trend.hours),
            told(trend.level),
            shown(trend.most),
            told(trend.per_hour),
            told(trend.rise),
            if is_level {
                format!("at most {}", shown(trend.allowed))
            } else {
                told(trend.allowed)
            },
            match trend.verdict {
                Verdict::Steady => "steady",
                Verdict::Grows => "GROWS",
                Verdict::TooShort => "too short to tell",
            }
            .to_owned(),
        ]
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record;
        table(f, HEAD.map(str::to_owned), self.rows.iter().map(Row::cells))?;
        let of_kind = |is_fault: bool| record.events.iter().filter(move |event| event.is_fault == is_fault);
        let (faults, business) = (of_kind(true).count(), of_kind(false).count());
        writeln!(
            f,
            "\n{:.2} of {:.2} h{}, seed {}; {faults} faults, {business} days of business; {} visits, {} in vain; {} sessions of \
             steady viewers opened anew",
            record.length_h(),
            record.plan.hours,
            if record.is_whole { "" } else { " (cut short)" },
            record.plan.seed,
            record.watched.visits,
            record.watched.in_vain,
            record.watched.lost,
        )?;
        let troubles = self.troubles();
        for trouble in &troubles {
            writeln!(f, "NOT GOOD: {trouble}")?;
        }
        if troubles.is_empty() {
            writeln!(f, "nothing grows")?;
        }
        if !record.is_whole {
            writeln!(f, "not at its end: what is not yet there may still come")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::record::{Event, Plan, Taken, Watched};

    /// An hour in which signaling's memory grows so much.
    fn record(leak_per_h: f64) -> Record {
        let taken = (0..60u32).flat_map(|minute| {
            let at_h = f64::from(minute) / 60.0;
            EXPECTED.map(|(subject, measure)| {
                let leak = if subject == "signaling" { leak_per_h * at_h } else { 0.0 };
                Taken {
                    at_h,
                    subject: subject.into(),
                    life: 1,
                    values: vec![(measure, 2_000.0 + leak)],
                }
            })
        });
        Record {
            plan: Plan {
                began_unix_ms: 0,
                hours: 1.0,
                warm_up_h: 0.1,
                seed: 1,
            },
            taken: taken.collect(),
            events: vec![fault(None)],
            watched: Watched {
                lost: 1,
                visits: 100,
                in_vain: 2,
            },
            is_whole: true,
        }
    }

    fn fault(failed: Option<&str>) -> Event {
        Event {
            at_h: 0.5,
            what: "bridge killed".into(),
            is_fault: true,
            failed: failed.map(str::to_owned),
        }
    }

    #[test]
    fn whatever_is_not_as_it_should_be_is_told_and_counts() {
        let steady = record(0.0);
        let told = Report::of(&steady);
        assert!(told.is_good() && told.to_string().contains("nothing grows"), "{told}");
        type Spoil = fn(&mut Record);
        let spoiled: [(Spoil, &str); 7] = [
            (|record| *record = self::record(4_000.0), "signaling: memory MiB grows"),
            (
                |record| record.events.push(fault(Some("it is down"))),
                "bridge killed: it is down",
            ),
            (
                |record| record.taken.retain(|taken| taken.subject != "studio"),
                "studio: memory MiB could",
            ),
            (
                |record| record.taken.retain(|taken| taken.subject == "box"),
                "page: latency p50 ms could",
            ),
            (|record| record.watched.lost = 2, "2 sessions lost by 1 faults"),
            (|record| record.watched.in_vain = 3, "3 of 100 visits in vain"),
            (|record| record.is_whole = false, "not at its end"),
        ];
        for (spoil, words) in spoiled {
            let mut record = record(0.0);
            spoil(&mut record);
            let told = Report::of(&record);
            assert!(!told.is_good() && told.to_string().contains(words), "{words}: {told}");
        }
    }
}
