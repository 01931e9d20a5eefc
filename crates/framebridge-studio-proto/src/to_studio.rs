//! From a box to its studio.

use framebridge_proto::StreamName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    BoxId, JobId, PublicId, RpcChunk, RpcResponse, bounded,
    limits::{
        MAX_ERROR, MAX_LEVEL, MAX_LOG_BATCH, MAX_LOG_LINE, MAX_REASON, MAX_STREAMS, MAX_TOKEN, MAX_WORD, MAX_WORDS,
    },
};

/// From a box to its studio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToStudio {
    /// The first frame, and only that.
    Hello(Hello),
    /// How the box is: right after `welcome`, then every interval and on every change.
    Heartbeat(Heartbeat),
    /// Lines the box has logged.
    LogBatch(LogBatch),
    /// An answer's head and the body's start.
    RpcResponse(RpcResponse),
    /// An answer's next part.
    RpcChunk(RpcChunk),
    /// The job offered is being done.
    Accept {
        /// The job.
        job: JobId,
    },
    /// The job offered is not going to be done.
    Reject {
        /// The job.
        job: JobId,
        /// Why not.
        why: Rejection,
    },
    /// The job is done. Sent again after every `welcome` until it is acknowledged.
    Complete {
        /// The job.
        job: JobId,
        /// What came of it.
        result: JobResult,
    },
    /// The job failed. Sent again after every `welcome` until it is acknowledged.
    Fail {
        /// The job.
        job: JobId,
        /// What went wrong, for a person.
        #[serde(deserialize_with = "bounded::text::<_, MAX_ERROR>")]
        error: String,
        /// Whether it may work another time.
        retryable: bool,
    },
    /// The box would take another job now.
    ReadyForMore,
    /// Asks for a public address. Answer: `shared`.
    Share {
        /// Chosen by the box.
        request: u32,
        /// Only this stream.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream: Option<StreamName>,
        /// Whether its holder may change things, too.
        #[serde(default)]
        control: bool,
        /// Seconds until it ends; never, if it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_s: Option<u64>,
    },
    /// Ends one shared address, or all of this box's. Answer: `unshared`.
    Unshare {
        /// Chosen by the box.
        request: u32,
        /// Which; all if it is not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        share: Option<PublicId>,
    },
    /// The box goes, and will not come back by itself.
    Goodbye {
        /// What its session is from here on.
        ending: Farewell,
        /// Why, for a person.
        #[serde(deserialize_with = "bounded::text::<_, MAX_REASON>")]
        reason: String,
    },
    /// Of a type that this side does not know: logged and ignored.
    #[serde(other)]
    Unknown,
}

/// Who the box is and what it can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`](crate::VERSION) of the box.
    pub version: u16,
    /// Made by `studio token new`.
    #[serde(deserialize_with = "bounded::text::<_, MAX_TOKEN>")]
    pub token: String,
    /// The same in every life of the box.
    pub instance: BoxId,
    /// The build, for a person.
    #[serde(deserialize_with = "bounded::text::<_, MAX_WORD>")]
    pub build: String,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// What a box can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Its streams.
    #[serde(default, deserialize_with = "bounded::list::<_, _, MAX_STREAMS>")]
    pub streams: Vec<StreamName>,
    /// Its codecs by their RTP name, e.g. `H264`.
    #[serde(default, deserialize_with = "bounded::words::<_, MAX_WORDS, MAX_WORD>")]
    pub codecs: Vec<String>,
    /// The kinds of job it does, by the name in `offer`.
    #[serde(default, deserialize_with = "bounded::words::<_, MAX_WORDS, MAX_WORD>")]
    pub jobs: Vec<String>,
}

/// How a box is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// In one word.
    pub state: BoxState,
    /// Why, where the word alone does not say.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounded::optional_text::<_, MAX_REASON>"
    )]
    pub reason: Option<String>,
    /// Each stream.
    #[serde(default, deserialize_with = "bounded::list::<_, _, MAX_STREAMS>")]
    pub streams: Vec<StreamReport>,
    /// The job in hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// What it can do now.
    #[serde(default)]
    pub capabilities: Capabilities,
}

/// How a box is, in one word. A box that can't serve never says `ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxState {
    /// Its server has not answered yet since the bridge started.
    Starting,
    /// Its server answers, and a stream can be watched.
    Ready,
    /// Its server answers, and no stream can be watched now.
    Online,
    /// Its server does not answer, or something else is wrong.
    Degraded,
}

/// How a stream is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReport {
    /// Its name.
    pub name: StreamName,
    /// Its source's state in one word.
    #[serde(deserialize_with = "bounded::text::<_, MAX_WORD>")]
    pub state: String,
    /// One sentence for a person.
    #[serde(deserialize_with = "bounded::text::<_, MAX_REASON>")]
    pub verdict: String,
    /// Viewers with an open session.
    pub viewers: u32,
}

/// Lines that were logged, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBatch {
    /// So many lines were lost before these.
    #[serde(default)]
    pub lost: u64,
    /// The lines.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_LOG_BATCH>")]
    pub lines: Vec<LogLine>,
}

/// A line that was logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, ms since the Unix epoch.
    pub at_ms: u64,
    /// How bad: `error`, `warn`, `info`, ...
    #[serde(deserialize_with = "bounded::text::<_, MAX_LEVEL>")]
    pub level: String,
    /// What.
    #[serde(deserialize_with = "bounded::text::<_, MAX_LOG_LINE>")]
    pub text: String,
}

/// What can be asked of a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobKind {
    /// The latest picture of a stream.
    Snapshot {
        /// The stream.
        stream: StreamName,
        /// PNG instead of JPEG.
        #[serde(default)]
        png: bool,
    },
    /// The box's own view of itself, as JSON.
    Diagnose,
    /// A piece of a stream as MP4, from the keyframe at its beginning or before it.
    Clip {
        /// The stream.
        stream: StreamName,
        /// Which piece.
        #[serde(flatten)]
        span: ClipSpan,
    },
    /// Of a kind that this side does not know.
    #[serde(other)]
    Unknown,
}

impl JobKind {
    /// The kinds this build knows, as [`Capabilities::jobs`] lists them.
    pub const NAMES: [&str; 3] = [Self::SNAPSHOT, "diagnose", "clip"];

    /// The kind that shows what every viewer sees.
    pub const SNAPSHOT: &str = "snapshot";

    /// The kind's name in `offer`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => Self::SNAPSHOT,
            Self::Diagnose => "diagnose",
            Self::Clip { .. } => "clip",
            Self::Unknown => "unknown",
        }
    }
}

/// Which piece of a stream, in milliseconds. On the wire one field, `last_ms` or `next_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClipSpan {
    /// The last ones, as far as the box has kept them.
    #[serde(rename = "last_ms")]
    Last(u32),
    /// Those that come.
    #[serde(rename = "next_ms")]
    Next(u32),
}

/// Why a job is not going to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Its operator wants none now.
    Paused,
    /// It has one in hand, or what came of one that nobody has acknowledged yet.
    Busy,
    /// It does not know how, or has no such stream.
    Unsupported,
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum JobResult {
    /// The result itself.
    Inline {
        /// Any JSON.
        value: Value,
    },
    /// The bytes were uploaded before this was sent.
    Uploaded {
        /// Their media type.
        #[serde(deserialize_with = "bounded::text::<_, MAX_WORD>")]
        media_type: String,
        /// How many.
        bytes: u64,
    },
}

/// What a session is after its box has left on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Farewell {
    /// Something broke that the box can't mend.
    Failed,
    /// It was stopped.
    Expired,
}
