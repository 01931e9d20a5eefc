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

    /// Whether nothing grew, everything that was broken mended itself, and daily business was done.
    pub fn is_good(&self) -> bool {
        let grows = self.rows.iter().any(|row| row.trend.verdict == Verdict::Grows);
        let failed = self.record.events.iter().any(|event| event.failed.is_some());
        let judged = self.rows.iter().any(|row| row.trend.verdict == Verdict::Steady);
        judged && !grows && !failed
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
        for event in &record.events {
            if let Some(why) = &event.failed {
                writeln!(f, "FAILED after {:.2} h: {}: {why}", event.at_h, event.what)?;
            }
        }
        let verdict = if self.is_good() { "nothing grows" } else { "NOT GOOD" };
        writeln!(f, "{verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::record::{Event, Plan, Taken, Watched};

    fn record(leak_per_h: f64) -> Record {
        let taken = (0..60u32).map(|minute| {
            let at_h = f64::from(minute) / 60.0;
            Taken {
                at_h,
                subject: "bridge".into(),
                life: 1,
                values: vec![
                    (Measure::Memory, 5_000.0 + leak_per_h * at_h),
                    (Measure::Descriptors, 12.0),
                ],
            }
        });
        Record {
            plan: Plan {
                began_unix_ms: 0,
                hours: 1.0,
                warm_up_h: 0.1,
                seed: 1,
            },
            taken: taken.collect(),
            events: Vec::new(),
            watched: Watched::default(),
            is_whole: true,
        }
    }

    #[test]
    fn leak_and_what_did_not_mend_itself_are_told() {
        let steady = record(0.0);
        assert!(Report::of(&steady).is_good());
        let leaks = record(4_000.0);
        let told = Report::of(&leaks);
        assert!(!told.is_good());
        assert_eq!(told.to_string().matches("GROWS").count(), 1, "{told}");
        let mut broken = record(0.0);
        broken.events.push(Event {
            at_h: 0.5,
            what: "bridge killed".into(),
            is_fault: true,
            failed: Some("bridge is down".into()),
        });
        let told = Report::of(&broken);
        assert!(!told.is_good() && told.to_string().contains("bridge is down"), "{told}");
    }
}
