//! How numbers are printed.

use std::io::{self, Write as _};

use framebridge_tests::sample::Sample;
use serde_json::{Map, Value};

/// Named numbers, in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<(String, f64, &'static str)>);

impl Report {
    /// Adds one number.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.0.push((name.into(), value, unit));
    }

    /// Adds a sample's percentiles.
    pub(crate) fn add_percentiles(&mut self, name: &str, sample: &Sample, percents: &[usize], unit: &'static str) {
        for &percent in percents {
            self.add(format!("{name}_p{percent}"), sample.percentile(percent), unit);
        }
    }

    /// Adds another report's numbers.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Writes it to stdout: a table for people, or one JSON object for programs.
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            let members = self
                .0
                .iter()
                .map(|(name, value, unit)| (format!("{name}_{unit}"), Value::from(*value)));
            writeln!(out, "{}", Value::Object(members.collect::<Map<_, _>>()))?;
        } else {
            for (name, value, unit) in &self.0 {
                writeln!(out, "{name:<48} {value:>10.2} {unit}")?;
            }
        }
        Ok(())
    }
}
