//! Messages on `supervisor.sock`: daemons report their progress, operators and daemons ask.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Refusal, RequestId, StreamName,
    encoder::{Quality, SourceState},
    hooks::{Happening, HookStatus, HookTrial},
    limits::{MAX_HOOK_TIME, REQUEST_TIMEOUT},
    media::{Load, Rung},
    status::{BridgeState, PushStatus, Status},
};

/// To the supervisor. Variants are appended only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "made twice a second and never kept: a box would cost more than it saves"
)]
pub enum ToSupervisor {
    /// Every half second from every daemon. The first one names the process.
    Heartbeat(Heartbeat),
    /// Anything that wants an answer.
    Request {
        /// Chosen by the asker.
        id: RequestId,
        /// What is wanted.
        request: SupervisorRequest,
    },
    /// Something that only the sender has seen, for the operator's hooks. Since 1.
    Happened(Happening),
}

/// What can be asked of the supervisor; each gets one [`FromSupervisor::Response`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SupervisorRequest {
    /// The status of everything. Answer: `Status`.
    Status,
    /// Stop a process, if it runs, and start it again at once, parked or not. Answer: `Done`.
    Restart {
        /// A process by its name, as `status` shows it.
        process: String,
    },
    /// What happened, oldest first. Since 1. Answer: `Journal`.
    Journal {
        /// Only what has a greater sequence number; 0 for all there is.
        after: u64,
    },
    /// How a stream is, and if not well, why. Since 1. Answer: `Why`.
    Why {
        /// The stream.
        stream: StreamName,
    },
    /// Start a process that is parked or waits, at once, and try one that does without something with more; one that runs
    /// as configured is left alone. Since 1. Answer: `Done`.
    Resume {
        /// A process by its name, as `status` shows it.
        process: String,
    },
    /// Read the configuration again, and have everything run by it. One that makes no sense changes nothing: the answer is a
    /// refusal then that names file and line. Since 1. Answer: `Reloaded`.
    Reload,
    /// The hooks, and how they fare. Since 1. Answer: `Hooks`.
    Hooks,
    /// Have a hook told of a test, now and besides what waits for it. Since 1. Answer: `HookTried`.
    TryHook {
        /// Its name in the configuration.
        hook: String,
    },
}

impl SupervisorRequest {
    /// How long its answer may take.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::TryHook { .. } => MAX_HOOK_TIME + REQUEST_TIMEOUT,
            Self::Status
            | Self::Restart { .. }
            | Self::Journal { .. }
            | Self::Why { .. }
            | Self::Resume { .. }
            | Self::Reload
            | Self::Hooks => REQUEST_TIMEOUT,
        }
    }
}

/// From the supervisor. Variants are appended only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromSupervisor {
    /// The answer to a request.
    Response {
        /// The request's id.
        id: RequestId,
        /// What came of it.
        result: Result<SupervisorAnswer, Refusal>,
    },
}

/// Answers to [`SupervisorRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SupervisorAnswer {
    /// It has been started; `status` shows how it goes.
    Done,
    /// The status of everything.
    Status(Status),
    /// What happened, oldest first, as much as is remembered. Since 1.
    Journal(Vec<JournalEntry>),
    /// How a stream is. Since 1.
    Why(Why),
    /// What the configuration has changed. Since 1.
    Reloaded(Reloaded),
    /// How the hooks fare, in the order of their names. Since 1.
    Hooks(Vec<HookStatus>),
    /// What came of trying a hook. Since 1.
    HookTried(HookTrial),
}

/// What a configuration that was read again has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Streams that there were not before.
    pub added: Vec<StreamName>,
    /// Streams whose encoders start again for it.
    pub changed: Vec<StreamName>,
    /// Streams that there are no more.
    pub removed: Vec<StreamName>,
    /// Other processes that start again for it, by name.
    pub restarted: Vec<String>,
    /// Settings that hold from the next start of who reads them.
    pub later: Vec<String>,
    /// Streams that are sent on elsewhere than before, and whose encoders run on. Since 1.
    pub pushed: Vec<StreamName>,
}

impl Reloaded {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |streams: &[StreamName]| streams.iter().map(StreamName::to_string).collect::<Vec<_>>();
        let parts = [
            ("added", names(&self.added)),
            ("changed", names(&self.changed)),
            ("removed", names(&self.removed)),
            ("pushed otherwise", names(&self.pushed)),
            ("restarted", self.restarted.clone()),
            ("from the next start on", self.later.clone()),
        ];
        let told = parts.into_iter().filter(|(_, names)| !names.is_empty());
        let told: Vec<_> = told
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        if told.is_empty() {
            return f.write_str("nothing has changed");
        }
        f.write_str(&told.join("; "))
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Counts from 1, and goes on counting after a restart of the supervisor.
    pub sequence: u64,
    /// When, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The process it happened to, e.g. `encoder-test`.
    pub process: String,
    /// What happened, e.g. `running -> stalled`.
    pub what: String,
    /// Why, as far as it was judged, e.g. `3 heartbeats missed`.
    pub verdict: String,
    /// What is done about it, e.g. `killed, to be started again`.
    pub action: String,
    /// Where this ends a time in which it did not run: how long that was, in milliseconds.
    pub recovery_ms: Option<u64>,
}

/// How a stream is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Whether nothing is wrong with it.
    pub well: bool,
    /// One sentence that names the stage that stands still, since when, and what is being done.
    pub sentence: String,
}

/// A sign of life that says what was *done*, so that a pulse without progress shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Counts from 0 in one life of the process.
    pub sequence: u64,
    /// What the process has done so far.
    pub progress: Progress,
}

/// What a process has done so far, by kind. Variants are appended only.
#[expect(
    clippy::large_enum_variant,
    reason = "one is made, sent and kept for each process and heartbeat"
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Progress {
    /// An encoder's.
    Encoder(EncoderProgress),
    /// Signaling's.
    Signaling(SignalingProgress),
    /// The bridge's.
    Bridge(BridgeProgress),
}

/// A counter that only grows, and how long ago it last did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// How many so far.
    pub count: u64,
    /// Milliseconds since it last grew; `None` if it never did.
    pub age_ms: Option<u64>,
}

/// What an encoder has done. The three counters tell a silent source from a wedged encoder from slow subscribers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderProgress {
    /// The stream it serves.
    pub stream: StreamName,
    /// The source as configured, credentials left out.
    pub source: String,
    /// The source's state.
    pub state: SourceState,
    /// Encoder in use, e.g. `libx264`; empty until one was opened.
    pub encoder: String,
    /// Why that encoder: e.g. `software: no hardware encoder opened`.
    pub encoder_reason: String,
    /// The quality in force.
    pub quality: Quality,
    /// Encoded picture's width, 0 until known.
    pub width: u32,
    /// Encoded picture's height, 0 until known.
    pub height: u32,
    /// Pictures taken from the source.
    pub captured: Counter,
    /// Pictures that left the encoder.
    pub encoded: Counter,
    /// Pictures written to a subscriber, summed over subscribers.
    pub delivered: Counter,
    /// Pictures left out for slow subscribers, summed.
    pub lost: u64,
    /// Connections subscribed now.
    pub subscribers: u32,
    /// How its source gives pictures.
    pub pace: SourcePace,
    /// The lower rungs that somebody subscribes to. Since 1.
    pub rungs: Vec<RungProgress>,
    /// What is sent on as its source has encoded it, where that is so. Since 1.
    pub sent_on: Option<SentOn>,
    /// How this machine keeps up with encoding it; `None`: nothing is encoded. Since 1.
    pub load: Option<Load>,
}

/// How much a source sends whose frames are sent on, as was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentOn {
    /// Pictures a second.
    pub fps: u32,
    /// Bits a second; 0 until some seconds have passed.
    pub bitrate: u32,
}

impl EncoderProgress {
    /// What stands for an encoder where frames are sent on as their source has encoded them.
    pub const COPY: &str = "copy";

    /// Whether frames are sent on as their source has encoded them.
    pub fn copies(&self) -> bool {
        self.encoder == Self::COPY
    }
}

/// What an encoder has done for a lower rung.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungProgress {
    /// Which one.
    pub rung: Rung,
    /// Connections subscribed to it now.
    pub subscribers: u32,
    /// Its pictures that left its encoder.
    pub encoded: Counter,
    /// Why it is not made, if it is not.
    pub refused: Option<String>,
}

/// How a source gives pictures, as its encoder has learnt it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePace {
    /// The longest usual time between two pictures, in milliseconds; 0 where it is below half a second.
    pub interval_ms: u32,
    /// So long, in milliseconds, the source may give nothing before the encoder itself ends and reopens it.
    pub patience_ms: u32,
    /// Pictures a second that this machine decodes, and that come, where it can't keep up.
    pub decodes: Option<(u32, u32)>,
    /// For how long, in milliseconds, its picture has not changed in a single pixel. Since 1.
    pub unchanged_ms: u32,
    /// For how long, in milliseconds, it has been black. Since 1.
    pub black_ms: u32,
    /// So long, in milliseconds, the next frame may take after the last one, as [`FromEncoder::Gap`](crate::encoder::FromEncoder::Gap)
    /// tells it. Since 1.
    pub gap_ms: u32,
}

/// What signaling has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalingProgress {
    /// Where HTTP listens, e.g. `127.0.0.1:8890`.
    pub http: String,
    /// RTP packets sent, all viewers together.
    pub rtp: Counter,
    /// What the system did with what was sent.
    pub datagrams: Datagrams,
    /// By stream.
    pub streams: Vec<StreamFlow>,
    /// What there is to say of the certificate that HTTPS is served with.
    pub certificate: Option<CertificateNotice>,
}

/// Why a certificate of HTTPS has to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateNotice {
    /// It ends soon.
    Ends {
        /// Whole days that are left.
        in_days: u32,
    },
    /// It has ended: browsers refuse it.
    Ended,
}

impl fmt::Display for CertificateNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ends { in_days } => write!(f, "the certificate of HTTPS ends in {in_days} days: renew it"),
            Self::Ended => f.write_str("the certificate of HTTPS has ended: renew it"),
        }
    }
}

/// What the system did with datagrams of all kinds, to all viewers together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datagrams {
    /// Taken, to be sent.
    pub taken: u64,
    /// Not taken.
    pub refused: u64,
    /// Why the last of these was not taken, e.g. `Operation not permitted (os error 1)`.
    pub refusal: Option<String>,
}

/// What signaling has done for one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamFlow {
    /// The stream.
    pub stream: StreamName,
    /// Viewers with an open session.
    pub viewers: u32,
    /// Of these, viewers that are connected: frames go out to them.
    pub live: u32,
    /// Frames from the encoder that a decoder can show, and so meant for viewers.
    pub frames_published: Counter,
    /// Frames sent, summed over viewers.
    pub frames_sent: Counter,
    /// Where the stream is sent on to, and how that goes. Since 1.
    pub pushes: Vec<PushStatus>,
}

/// What the bridge has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeProgress {
    /// Its session's state.
    pub state: BridgeState,
    /// Why, where the word alone does not say.
    pub reason: Option<String>,
}
