//! The table that an attack ends with, and the same for programs.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use crate::table::table;

/// Of what strangers have sent, the most that they or a victim may get.
const MOST_AMPLIFICATION: f64 = 3.0;
/// Of those who want to watch meanwhile, so many of a hundred have to get a picture.
const LEAST_JOINS: u32 = 99;

/// What one case did.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub name: &'static str,
    /// What was sent, in words.
    pub sent: String,
    /// For so long.
    pub span: Duration,
    /// Signaling's CPU time, if its process is known.
    pub cpu: Option<Duration>,
    /// Its memory at most, MiB.
    pub memory: Option<u64>,
    /// The longest that one of the healthy viewers had no packet.
    pub gap: Duration,
    /// What came back for each byte that was sent, where that is to be bounded.
    pub amplification: Option<f64>,
    /// Who wanted to watch meanwhile, and who of them could.
    pub joins: Option<(u32, u32)>,
    /// Processes that are not the same any more.
    pub restarted: Vec<String>,
}

/// What came of an attack.
#[derive(Debug)]
pub struct Report {
    /// Case by case.
    pub outcomes: Vec<Outcome>,
    /// No viewer may be without a packet for longer.
    pub most_gap: Duration,
    /// Signaling may have so much memory, MiB.
    pub most_memory: u64,
    /// What the processes said.
    pub log: Option<String>,
}

impl Outcome {
    fn faults(&self, report: &Report) -> Vec<&'static str> {
        let is_few = |(tried, seen): (u32, u32)| seen * 100 < tried * LEAST_JOINS;
        let all = [
            ("gap", self.gap > report.most_gap),
            ("memory", self.memory.is_some_and(|most| most > report.most_memory)),
            (
                "amplification",
                self.amplification.is_some_and(|times| times > MOST_AMPLIFICATION),
            ),
            ("joins", self.joins.is_some_and(is_few)),
            ("restarted", !self.restarted.is_empty()),
        ];
        all.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect()
    }

    fn cells(&self, report: &Report) -> [String; 8] {
        let none = || "-".to_owned();
        let unknown = || "not known".to_owned();
        let faults = self.faults(report);
        [
            self.name.to_owned(),
            self.sent.clone(),
            self.cpu.map_or_else(unknown, |cpu| {
                format!("{:.0} %", 100.0 * cpu.as_secs_f64() / self.span.as_secs_f64())
            }),
            self.memory.map_or_else(unknown, |most| most.to_string()),
            self.gap.as_millis().to_string(),
            self.amplification.map_or_else(none, |times| format!("{times:.2}")),
            self.joins
                .map_or_else(none, |(tried, seen)| format!("{seen} of {tried}")),
            if faults.is_empty() {
                "borne".to_owned()
            } else {
                format!("FAULT: {} {}", faults.join(", "), self.restarted.join(", "))
            },
        ]
    }
}

const HEAD: [&str; 8] = [
    "attack",
    "sent",
    "CPU of signaling",
    "memory MiB",
    "longest gap ms",
    "amplification",
    "joins meanwhile",
    "verdict",
];

impl Report {
    /// Whether all was borne.
    pub fn is_good(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(|outcome| outcome.faults(self).is_empty())
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let outcome = |outcome: &Outcome| {
            json!({
                "attack": outcome.name,
                "sent": outcome.sent,
                "span_ms": outcome.span.as_millis(),
                "cpu_ms": outcome.cpu.map(|cpu| cpu.as_millis()),
                "memory_mib": outcome.memory,
                "longest_gap_ms": outcome.gap.as_millis(),
                "amplification": outcome.amplification,
                "joins_tried": outcome.joins.map(|(tried, _)| tried),
                "joins_seen": outcome.joins.map(|(_, seen)| seen),
                "restarted": outcome.restarted,
                "faults": outcome.faults(self),
            })
        };
        json!({ "borne": self.is_good(), "attacks": self.outcomes.iter().map(outcome).collect::<Vec<_>>() })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.outcomes.iter().map(|outcome| outcome.cells(self));
        table(f, HEAD.map(str::to_owned), cells)?;
        writeln!(
            f,
            "\nborne: no gap over {} ms, no process restarted, at most {} MiB, amplification up to {MOST_AMPLIFICATION}, \
             {LEAST_JOINS} % of the joins",
            self.most_gap.as_millis(),
            self.most_memory
        )
    }
}
