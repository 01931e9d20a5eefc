//! What a program found out about the machine it is on: `encoder --probe` prints one [`Finding`] per line, as JSON,
//! and `bridgectl doctor` shows them.

use serde::{Deserialize, Serialize};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at, e.g. `h264_vaapi`.
    pub what: String,
    /// How it is.
    pub verdict: Verdict,
    /// A version, an address, or what to do about it.
    pub detail: String,
}

/// How a thing that was looked at is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// There, and works.
    Good,
    /// Not there, and Framebridge does without it.
    Absent,
    /// Framebridge can't do its work like this.
    Bad,
}

impl Finding {
    /// A finding.
    pub fn new(what: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            verdict,
            detail: detail.into(),
        }
    }
}
