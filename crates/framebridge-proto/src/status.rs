//! The picture operators and programs read: `bridgectl status --json` and `GET /api/v1/status` print it as it is.

use serde::{Deserialize, Serialize};

/// The whole system at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The sum of the rest.
    pub overall: Overall,
    /// Where viewers connect, e.g. `127.0.0.1:8890`, once signaling said so.
    pub http: Option<String>,
    /// Every process, the supervisor first.
    pub processes: Vec<ProcessStatus>,
    /// Every configured stream.
    pub streams: Vec<StreamStatus>,
    /// The session to a studio.
    pub bridge: BridgeStatus,
}

/// The sum of a [`Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// Every process runs and no stream has a fault.
    Healthy,
    /// Something is being mended; viewers may notice.
    Degraded,
    /// No stream can be watched.
    Down,
}

/// One supervised process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its name, e.g. `encoder-test`.
    pub name: String,
    /// What it is: `supervisor`, `encoder`, `signaling` or `bridge`.
    pub role: String,
    /// The stream it serves, for an encoder.
    pub stream: Option<String>,
    /// Where it is in its life, in one word: `running`, `backing-off`, ...
    pub state: String,
    /// Its pid while it runs.
    pub pid: Option<u32>,
    /// Seconds since it was started, while it runs.
    pub uptime_s: Option<u64>,
    /// Times it was started again.
    pub restarts: u64,
    /// Why it last ended, if it ever did.
    pub last_reason: Option<String>,
    /// Milliseconds since its last heartbeat.
    pub heartbeat_age_ms: Option<u64>,
}

/// One configured stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// Its name.
    pub name: String,
    /// Its source, credentials left out.
    pub source: String,
    /// The source's state in one word, or `down` while its encoder is not there.
    pub state: String,
    /// Encoded width in pixels; 0 until known.
    pub width: u32,
    /// Encoded height in pixels; 0 until known.
    pub height: u32,
    /// Frames per second in force.
    pub fps: u32,
    /// Bits per second in force.
    pub bitrate: u32,
    /// Encoder in use and why it is that one.
    pub encoder: String,
    /// Viewers with an open session.
    pub viewers: u32,
    /// Pictures encoded since the encoder started.
    pub frames_encoded: u64,
    /// Pictures sent to viewers, summed over viewers, since signaling started.
    pub frames_sent: u64,
    /// Milliseconds since the last encoded picture.
    pub last_frame_age_ms: Option<u64>,
    /// One sentence: how the stream is, and if not well, what is being done.
    pub verdict: String,
    /// Milliseconds until its source or its encoder is tried again, where one of them has to be waited for.
    pub retry_in_ms: Option<u64>,
}

/// The bridge's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeStatus {
    /// Its state in one word.
    pub state: String,
    /// Why, where the word alone does not say.
    pub reason: Option<String>,
}
