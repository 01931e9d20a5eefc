//! The picture operators and programs read: `bridgectl status --json` and `GET /api/v1/status` print it as it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Role, encoder::SourceState};

/// An enum whose variants each have one word: in JSON, in tables and in logs alike.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$variant_about:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_about])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Padded, where a table asks for it.
                f.pad(self.as_str())
            }
        }
    };
}

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

words! {
    /// The sum of a [`Status`].
    Overall {
        /// Every process runs and no stream has a fault.
        Healthy = "healthy",
        /// Something is being mended; viewers may notice.
        Degraded = "degraded",
        /// No stream can be watched.
        Down = "down",
    }
}

words! {
    /// Where a process is in its life.
    ProcessState {
        /// Not wanted.
        Stopped = "stopped",
        /// Started, and has not reported yet.
        Starting = "starting",
        /// It reports.
        Running = "running",
        /// Found wedged, and being ended for it.
        Stalled = "stalled",
        /// Being ended on request.
        Stopping = "stopping",
        /// Waits to be started again.
        BackingOff = "backing-off",
        /// Left alone after too many failures, or because starting it again can't help.
        Parked = "parked",
        /// The supervisor, to a process that can't reach it.
        Unreachable = "unreachable",
    }
}

words! {
    /// What a stream does: its source's state, or that no encoder tells of one.
    StreamState {
        /// No encoder tells.
        Down = "down",
        /// Nobody watches: the source is closed.
        Idle = "idle",
        /// The source is being opened.
        Opening = "opening",
        /// Frames come.
        Live = "live",
        /// Sending is paused on request.
        Paused = "paused",
        /// The source can't be opened, or ended.
        Unavailable = "unavailable",
        /// Viewers see a slate instead of the source.
        Slate = "slate",
    }
}

impl From<&SourceState> for StreamState {
    fn from(state: &SourceState) -> Self {
        match state {
            SourceState::Idle => Self::Idle,
            SourceState::Opening => Self::Opening,
            SourceState::Live => Self::Live,
            SourceState::Paused => Self::Paused,
            SourceState::Unavailable { .. } => Self::Unavailable,
            SourceState::Slate { .. } => Self::Slate,
        }
    }
}

words! {
    /// The bridge's session with a studio.
    BridgeState {
        /// No studio is configured.
        Disabled = "disabled",
        /// A connection is being made.
        Connecting = "connecting",
        /// Between two attempts.
        Waiting = "waiting",
        /// The studio shows the box.
        Online = "online",
        /// The studio shows the box, and that something is wrong with it.
        Degraded = "degraded",
        /// The box's supervisor was gone for good.
        Failed = "failed",
        /// The studio sent the box away.
        Refused = "refused",
        /// The bridge does not run.
        Down = "down",
        /// Only the supervisor knows, and it can't be reached.
        Unknown = "unknown",
    }
}

/// One supervised process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its name, e.g. `encoder-test`.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// The stream it serves, for an encoder.
    pub stream: Option<String>,
    /// Where it is in its life.
    pub state: ProcessState,
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
    /// What it does.
    pub state: StreamState,
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
    /// Where it is.
    pub state: BridgeState,
    /// Why, where the word alone does not say.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_read_the_words_that_people_read() {
        let in_json = |json: serde_json::Value| json.as_str().map(str::to_owned);
        for state in ProcessState::ALL {
            assert_eq!(in_json(serde_json::json!(state)), Some(state.to_string()));
        }
        for state in StreamState::ALL {
            assert_eq!(in_json(serde_json::json!(state)), Some(state.to_string()));
        }
        assert_eq!(in_json(serde_json::json!(Role::Signaling)), Some("signaling".into()));
        assert_eq!(ProcessState::BackingOff.as_str(), "backing-off");
        assert_eq!(
            serde_json::from_str::<ProcessState>("\"parked\"").ok(),
            Some(ProcessState::Parked)
        );
    }
}
