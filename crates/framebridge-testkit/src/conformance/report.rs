//! What came of each statement.

use std::fmt;

use serde_json::{Value, json};

/// How much the draft means it (RFC 2119).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// MUST, SHALL.
    Must,
    /// SHOULD, RECOMMENDED.
    Should,
}

/// What came of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It holds.
    Pass,
    /// It does not: what was seen.
    Fail(String),
    /// The server takes more than the draft has it take, to a player's good: what was seen.
    Lenient(String),
    /// It says nothing of this server: why.
    NotApplicable(String),
}

impl Outcome {
    /// Whether it holds; if not, this was seen.
    pub(super) fn of(holds: bool, seen: impl Into<String>) -> Self {
        if holds { Self::Pass } else { Self::Fail(seen.into()) }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "FAIL",
            Self::Lenient(_) => "lenient",
            Self::NotApplicable(_) => "n/a",
        }
    }

    fn seen(&self) -> Option<&str> {
        match self {
            Self::Pass => None,
            Self::Fail(seen) | Self::Lenient(seen) | Self::NotApplicable(seen) => Some(seen),
        }
    }
}

#[derive(Debug)]
struct Row {
    section: &'static str,
    weight: Weight,
    statement: &'static str,
    outcome: Outcome,
}

/// All statements and what came of them.
#[derive(Debug)]
pub(super) struct Report {
    url: String,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            rows: Vec::new(),
        }
    }

    /// Notes what came of a statement that the draft must or should have kept.
    pub(super) fn note(&mut self, section: &'static str, weight: Weight, statement: &'static str, outcome: Outcome) {
        self.rows.push(Row {
            section,
            weight,
            statement,
            outcome,
        });
    }

    /// [`note`](Self::note) of a MUST.
    pub(super) fn must(&mut self, section: &'static str, statement: &'static str, outcome: Outcome) {
        self.note(section, Weight::Must, statement, outcome);
    }

    /// Whether every MUST holds that applies.
    pub(super) fn is_conformant(&self) -> bool {
        !self
            .rows
            .iter()
            .any(|row| row.weight == Weight::Must && matches!(row.outcome, Outcome::Fail(_)))
    }

    fn count(&self, word: &str) -> usize {
        self.rows.iter().filter(|row| row.outcome.word() == word).count()
    }

    pub(super) fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "section": row.section,
                    "weight": weight(row.weight),
                    "statement": row.statement,
                    "outcome": row.outcome.word().to_lowercase(),
                    "seen": row.outcome.seen(),
                })
            })
            .collect();
        json!({ "url": self.url, "draft": "draft-ietf-wish-whep-02", "conformant": self.is_conformant(), "statements": rows })
    }
}

fn weight(weight: Weight) -> &'static str {
    match weight {
        Weight::Must => "MUST",
        Weight::Should => "SHOULD",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let (word, weight) = (row.outcome.word(), weight(row.weight));
            writeln!(f, "{word:<8}{:<7}{weight:<8}{}", row.section, row.statement)?;
            if let Some(seen) = row.outcome.seen() {
                writeln!(f, "{:23}{seen}", "")?;
            }
        }
        let [passed, failed, lenient, other] = ["pass", "FAIL", "lenient", "n/a"].map(|word| self.count(word));
        writeln!(
            f,
            "{}: {passed} pass, {failed} fail, {lenient} lenient, {other} not applicable",
            self.url
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_must_that_fails_is_enough_and_a_should_is_not() {
        let mut report = Report::new("http://a/whep");
        report.must("4.2", "POST is answered 201", Outcome::Pass);
        report.note("4.3", Weight::Should, "Accept-Post", Outcome::Fail("none".into()));
        report.must("4.8", "401", Outcome::NotApplicable("no token".into()));
        assert!(report.is_conformant());
        report.must("4.3", "DELETE is answered 200", Outcome::Fail("404".into()));
        assert!(!report.is_conformant());
        assert!(
            report
                .to_string()
                .ends_with("1 pass, 2 fail, 0 lenient, 1 not applicable\n"),
            "{report}"
        );
        assert_eq!(report.to_json()["statements"][3]["seen"], "404");
    }
}
