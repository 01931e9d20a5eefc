//! What a soak writes down as it goes, a JSON object a line, so that one that was cut short can still be told.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::soak::{
    growth::Point,
    measure::{MEASURES, Measure},
};

/// A record that is being written.
#[derive(Debug)]
pub(super) struct Writer(File);

/// What a soak was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// When it began, ms since the Unix epoch.
    pub began_unix_ms: u64,
    /// How long it was to be, hours.
    pub hours: f64,
    /// What is left out of the beginning of each life, hours.
    pub warm_up_h: f64,
    /// What its faults were chosen by.
    pub seed: u64,
}

/// One sample of one process, or of the box as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Hours since the beginning.
    pub at_h: f64,
    /// Whose.
    pub subject: String,
    /// Which of its lives: its pid.
    pub life: u32,
    /// What was measured of it.
    pub values: Vec<(Measure, f64)>,
}

/// Something that was done, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Hours since the beginning.
    pub at_h: f64,
    /// What.
    pub what: String,
    /// Whether it was damage, and not daily business.
    pub is_fault: bool,
    /// What did not come right.
    pub failed: Option<String>,
}

/// What viewers had, from the beginning on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// Sessions that steady viewers had to open anew.
    pub lost: u64,
    /// Visitors who came, saw a picture, and went.
    pub visits: u64,
    /// Visitors who saw none.
    pub in_vain: u64,
}

/// A whole record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What was to be.
    pub plan: Plan,
    /// Every sample, in order.
    pub taken: Vec<Taken>,
    /// Everything that was done, in order.
    pub events: Vec<Event>,
    /// The last word of the viewers.
    pub watched: Watched,
    /// Whether it came to its end.
    pub is_whole: bool,
}

impl Writer {
    pub(super) fn create(path: &Path, plan: &Plan) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("writing {}", path.display()))?;
        let mut writer = Self(file);
        writer.line(&json!({ "began_unix_ms": plan.began_unix_ms, "hours": plan.hours, "warm_up_h": plan.warm_up_h, "seed": plan.seed }))?;
        Ok(writer)
    }

    pub(super) fn taken(&mut self, taken: &Taken) -> anyhow::Result<()> {
        let mut line = Map::new();
        line.insert("at_h".into(), taken.at_h.into());
        line.insert("subject".into(), taken.subject.clone().into());
        line.insert("life".into(), taken.life.into());
        for (measure, value) in &taken.values {
            line.insert(measure.key().into(), (*value).into());
        }
        self.line(&Value::Object(line))
    }

    pub(super) fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        let Event {
            at_h,
            what,
            is_fault,
            failed,
        } = event;
        self.line(&json!({ "at_h": at_h, "event": what, "is_fault": is_fault, "failed": failed }))
    }

    pub(super) fn watched(&mut self, watched: Watched) -> anyhow::Result<()> {
        let Watched { lost, visits, in_vain } = watched;
        self.line(&json!({ "lost": lost, "visits": visits, "in_vain": in_vain }))
    }

    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        self.line(&json!({ "ended": true }))
    }

    fn line(&mut self, line: &Value) -> anyhow::Result<()> {
        writeln!(self.0, "{line}").context("writing the record")
    }
}

impl Record {
    /// Reads one; a last line that was cut off is left out.
    ///
    /// # Errors
    /// There is none, or it is no record.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no record of a soak", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines().map_while(|line| serde_json::from_str::<Value>(line).ok());
        let head = lines.next().context("it is empty")?;
        let number = |line: &Value, key: &str| line[key].as_f64().with_context(|| format!("no `{key}` in {line}"));
        let mut record = Self {
            plan: Plan {
                began_unix_ms: head["began_unix_ms"].as_u64().context("no `began_unix_ms`")?,
                hours: number(&head, "hours")?,
                warm_up_h: number(&head, "warm_up_h")?,
                seed: head["seed"].as_u64().context("no `seed`")?,
            },
            taken: Vec::new(),
            events: Vec::new(),
            watched: Watched::default(),
            is_whole: false,
        };
        for line in lines {
            if let Some(what) = line["event"].as_str() {
                record.events.push(Event {
                    at_h: number(&line, "at_h")?,
                    what: what.to_owned(),
                    is_fault: line["is_fault"] == true,
                    failed: line["failed"].as_str().map(str::to_owned),
                });
            } else if let Some(subject) = line["subject"].as_str() {
                let value = |measure: Measure| Some((measure, line[measure.key()].as_f64()?));
                record.taken.push(Taken {
                    at_h: number(&line, "at_h")?,
                    subject: subject.to_owned(),
                    life: line["life"]
                        .as_u64()
                        .and_then(|life| life.try_into().ok())
                        .context("no `life`")?,
                    values: MEASURES.into_iter().filter_map(value).collect(),
                });
            } else if let Some(lost) = line["lost"].as_u64() {
                let count = |key: &str| line[key].as_u64().unwrap_or_default();
                record.watched = Watched {
                    lost,
                    visits: count("visits"),
                    in_vain: count("in_vain"),
                };
            }
            record.is_whole |= line["ended"] == true;
        }
        Ok(record)
    }

    /// Whose there are samples, in the order in which they first came.
    pub fn subjects(&self) -> Vec<&str> {
        let mut subjects = Vec::new();
        for taken in &self.taken {
            if !subjects.contains(&taken.subject.as_str()) {
                subjects.push(taken.subject.as_str());
            }
        }
        subjects
    }

    /// One measure of one subject, life by life.
    pub fn lives(&self, subject: &str, measure: Measure) -> Vec<Vec<Point>> {
        let mut lives: Vec<(u32, Vec<Point>)> = Vec::new();
        for taken in self.taken.iter().filter(|taken| taken.subject == subject) {
            let Some((_, value)) = taken.values.iter().find(|(of, _)| *of == measure) else {
                continue;
            };
            let point = Point {
                at_h: taken.at_h,
                value: *value,
            };
            match lives.last_mut().filter(|(life, _)| *life == taken.life) {
                Some((_, points)) => points.push(point),
                None => lives.push((taken.life, vec![point])),
            }
        }
        lives.into_iter().map(|(_, points)| points).collect()
    }

    /// How long it went on, hours.
    pub fn length_h(&self) -> f64 {
        let ends = self
            .taken
            .iter()
            .map(|taken| taken.at_h)
            .chain(self.events.iter().map(|event| event.at_h));
        ends.fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(at_h: f64, life: u32, memory: f64) -> Taken {
        Taken {
            at_h,
            subject: "bridge".into(),
            life,
            values: vec![(Measure::Memory, memory), (Measure::Descriptors, 12.0)],
        }
    }

    #[test]
    fn record_is_read_as_it_was_written_also_when_it_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.jsonl");
        let plan = Plan {
            began_unix_ms: 5,
            hours: 2.0,
            warm_up_h: 0.1,
            seed: 7,
        };
        let event = Event {
            at_h: 0.2,
            what: "bridge killed".into(),
            is_fault: true,
            failed: Some("it is gone".into()),
        };
        let all = [taken(0.1, 4, 5_000.0), taken(0.2, 4, 5_001.0), taken(0.3, 9, 4_000.0)];
        let watched = Watched {
            lost: 1,
            visits: 20,
            in_vain: 2,
        };
        let mut writer = Writer::create(&path, &plan).unwrap();
        for sample in &all {
            writer.taken(sample).unwrap();
        }
        writer.event(&event).unwrap();
        writer.watched(watched).unwrap();
        let read = Record::read(&path).unwrap();
        assert_eq!(
            (&read.plan, &read.taken[..], &read.events[..]),
            (&plan, &all[..], &[event][..])
        );
        assert_eq!((read.watched, read.is_whole, read.length_h()), (watched, false, 0.3));
        let lives = read.lives("bridge", Measure::Memory);
        assert_eq!(lives.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(read.subjects(), ["bridge"]);

        writer.end().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(Record::parse(&text).unwrap().is_whole);
        let cut = Record::parse(&text[..text.len() - 5]).unwrap();
        assert_eq!((cut.taken.len(), cut.is_whole), (3, false));
        assert!(Record::parse("hello").is_err());
    }
}
