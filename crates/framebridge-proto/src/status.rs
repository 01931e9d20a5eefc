//! The status that operators and programs read: `bridgectl status --json` and `GET /api/v1/status` print it as it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Role,
    encoder::SourceState,
    media::{Load, Rung},
};

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
pub(crate) use words;

/// The whole system.
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
        /// Its operator has paused it.
        Paused = "paused",
        /// The source can't be opened, or ended, and has not been seen since.
        Unavailable = "unavailable",
        /// Viewers see a slate instead of the source.
        Slate = "slate",
        /// Nobody has watched it yet, and its source has never been seen. Since 1.
        Untried = "untried",
    }
}

impl From<&SourceState> for StreamState {
    fn from(state: &SourceState) -> Self {
        match state {
            SourceState::Untried => Self::Untried,
            SourceState::Idle => Self::Idle,
            SourceState::Opening => Self::Opening,
            SourceState::Live => Self::Live,
            SourceState::Paused => Self::Paused,
            SourceState::Unavailable { .. } | SourceState::UnavailableIdle { .. } => Self::Unavailable,
            SourceState::Slate { .. } => Self::Slate,
        }
    }
}

words! {
    /// How well a stream is, from best to worst, as far as that is known.
    Condition {
        /// Nothing is wrong.
        Well = "well",
        /// Something is wrong; it can be watched, or soon can.
        Faulty = "faulty",
        /// It can't be watched.
        Dark = "dark",
        /// Its source has never been seen: nothing is known. Since 1.
        Untried = "untried",
    }
}

words! {
    /// What is wrong with a stream. What each means is in `framebridge_core::health`, which is who says it.
    FaultKind {
        /// Its encoder is left alone after too many failures, or because starting it again can't help.
        EncoderParked = "encoder_parked",
        /// Its encoder does not run.
        EncoderDown = "encoder_down",
        /// Signaling does not run, so nobody can watch.
        SignalingDown = "signaling_down",
        /// The source can't be opened, or ended, and has not been seen since.
        SourceUnavailable = "source_unavailable",
        /// Its encoder failed too often, and viewers see a slate.
        Slate = "slate",
        /// Its encoder has been started and has not reported yet.
        EncoderStarting = "encoder_starting",
        /// Its source has been opening for too long.
        SourceNeverOpen = "source_never_open",
        /// Pictures go into its encoder and none comes out.
        EncoderWedged = "encoder_wedged",
        /// Its source is open and gives no picture.
        SourceSilent = "source_silent",
        /// Its encoder sends frames and none reaches signaling.
        IngestBroken = "ingest_broken",
        /// The system takes nothing of what signaling sends.
        Refused = "refused",
        /// Signaling gets frames and sends its viewers none.
        ViewersStarved = "viewers_starved",
        /// Signaling gets no frame, and does not know why.
        FramesMissing = "frames_missing",
        /// Pictures come faster than this machine decodes them, and some are left out.
        DecodesTooSlowly = "decodes_too_slowly",
        /// A subscriber of its encoder does not keep up.
        SubscriberSlow = "subscriber_slow",
        /// Its encoder failed too often, and runs with less than was configured.
        Degraded = "degraded",
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

words! {
    /// How it goes with a stream's push, by which it is sent on to a receiver elsewhere. Since 1.
    PushState {
        /// The stream has no picture to send.
        Waiting = "waiting",
        /// The receiver is being asked, or connected to.
        Connecting = "connecting",
        /// It has the stream.
        Live = "live",
        /// Nothing was heard from it for a while.
        Silent = "silent",
        /// It can't be reached, or media does not get there, or no more.
        Unreachable = "unreachable",
        /// It does not let us publish.
        Unauthorized = "unauthorized",
        /// It has nothing at this address.
        NotFound = "not-found",
        /// Another publishes there.
        Conflict = "conflict",
        /// It does not take what it is offered, or answers what can't be used.
        Unacceptable = "unacceptable",
        /// It fails, or is none, or leads elsewhere.
        Failed = "failed",
        /// An operator has ended it for now.
        Kicked = "kicked",
    }
}

/// One of a stream's pushes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushStatus {
    /// What it is called: its name in the configuration, or else its receiver's host.
    pub name: String,
    /// How it goes.
    pub state: PushState,
    /// What is wrong and what to do, where anything is.
    pub reason: Option<String>,
    /// Milliseconds until it is tried again, where it waits for that.
    pub retry_in_ms: Option<u64>,
    /// Its session, as `bridgectl viewers` shows it, while there is one.
    pub session: Option<String>,
}

impl PushStatus {
    /// Whether the receiver has the stream, or is about to, or an operator does not want it so.
    pub fn is_well(&self) -> bool {
        matches!(self.state, PushState::Live | PushState::Connecting | PushState::Kicked)
    }
}

/// In a sentence.
impl fmt::Display for PushStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "push to {} is {}", self.name, self.state)?;
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        match self.retry_in_ms {
            Some(left) => write!(f, "; tried again in {} s", left.div_ceil(1000)),
            None => Ok(()),
        }
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
    /// How well it is.
    pub condition: Condition,
    /// What is wrong; `None` exactly where it is well or untried.
    pub fault: Option<FaultKind>,
    /// Milliseconds since that began, where it is known.
    pub fault_age_ms: Option<u64>,
    /// Why no picture of it can be seen now, in a sentence for viewers; `None`: one can, or could once somebody watches.
    pub reason: Option<String>,
    /// Encoded width in pixels; 0 until known.
    pub width: u32,
    /// Encoded height in pixels; 0 until known.
    pub height: u32,
    /// Frames per second in force; of a stream that is sent on as it comes, as many as come.
    pub fps: u32,
    /// Bits per second in force; of a stream that is sent on as it comes, as many as come, and 0 in its first seconds.
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
    /// Milliseconds until what is wrong is tried again, where that is known.
    pub retry_in_ms: Option<u64>,
    /// Milliseconds since its picture has changed last; 0 where it moves, or nobody watches.
    pub unchanged_ms: u64,
    /// Milliseconds since it became black; 0 where it is not.
    pub black_ms: u64,
    /// Its lower rungs that somebody subscribes to.
    pub rungs: Vec<RungStatus>,
    /// Where it is sent on to, and how that goes. Since 1.
    pub pushes: Vec<PushStatus>,
    /// How its machine keeps up with encoding it; `None`: nothing is encoded.
    pub encoder_load: Option<Load>,
}

/// A lower rung of a stream: made while a viewer's link can't carry the full one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungStatus {
    /// Which one.
    pub rung: Rung,
    /// Its pictures encoded since the encoder started.
    pub frames_encoded: u64,
    /// Milliseconds since the last of them.
    pub last_frame_age_ms: Option<u64>,
    /// Why it is not made, if it is not.
    pub refused: Option<String>,
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
