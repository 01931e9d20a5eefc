//! The picture operators read, drawn from the slots.

use std::{process, time::Instant};

use framebridge_core::{Snapshot, State, StreamVerdict};
use framebridge_proto::{
    Role,
    encoder::SourceState,
    status::{BridgeStatus, Overall, ProcessStatus, Status, StreamStatus},
    supervisor::{BridgeProgress, EncoderProgress, Progress, SignalingProgress, StreamDelivery},
};

use crate::slot::{Report, Slot};

/// The whole picture as it is `now`.
pub(crate) fn picture(slots: &[Slot], started_at: Instant, now: Instant) -> Status {
    let signaling = slots.iter().find(|slot| slot.role == Role::Signaling);
    let streams: Vec<_> = slots
        .iter()
        .filter_map(|slot| Some(Picture::of(slot, signaling)?.draw(now)))
        .collect();
    let served = signaling.is_some_and(|slot| slot.state() == State::Running);
    let processes_run = slots.iter().all(|slot| slot.state() == State::Running);
    let overall = if !served || !streams.iter().any(|(_, condition)| *condition != Condition::Dark) {
        Overall::Down
    } else if processes_run && streams.iter().all(|(_, condition)| *condition == Condition::Well) {
        Overall::Healthy
    } else {
        Overall::Degraded
    };
    Status {
        overall,
        http: signaling
            .and_then(signaling_progress)
            .map(|progress| progress.http.clone()),
        processes: std::iter::once(own_row(started_at, now))
            .chain(slots.iter().map(|slot| row(slot, now)))
            .collect(),
        streams: streams.into_iter().map(|(stream, _)| stream).collect(),
        bridge: bridge(slots),
    }
}

/// How a stream is, for the sum of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Well,
    /// It can be watched, or soon can.
    Faulty,
    /// It can't be watched.
    Dark,
}

/// What is known of one stream.
struct Picture<'a> {
    slot: &'a Slot,
    stream: &'a framebridge_config::Stream,
    encoder: Option<(&'a EncoderProgress, &'a Report)>,
    delivery: Option<&'a StreamDelivery>,
    /// What keeps viewers from it though its encoder is well.
    unserved: Option<String>,
}

impl<'a> Picture<'a> {
    fn of(slot: &'a Slot, signaling: Option<&'a Slot>) -> Option<Self> {
        let stream = slot.stream.as_ref()?;
        let encoder = slot.report.as_ref().and_then(|report| match &report.progress {
            Progress::Encoder(encoder) => Some((encoder, report)),
            Progress::Signaling(_) | Progress::Bridge(_) => None,
        });
        let delivery = signaling
            .and_then(signaling_progress)
            .and_then(|progress| progress.streams.iter().find(|delivery| delivery.stream == stream.name));
        let unserved = signaling
            .filter(|slot| slot.state() != State::Running)
            .map(|slot| format!("nobody can watch: {}", trouble(slot)));
        Some(Self {
            slot,
            stream,
            encoder,
            delivery,
            unserved,
        })
    }

    fn draw(&self, now: Instant) -> (StreamStatus, Condition) {
        let quality = self.encoder.map_or(self.stream.quality, |(encoder, _)| encoder.quality);
        let encoder = self.encoder.map(|(encoder, _)| encoder);
        let (condition, verdict) = self.verdict();
        let last_frame_age_ms = self
            .encoder
            .and_then(|(encoder, report)| Some(encoder.encoded.age_ms?.saturating_add(report.age_ms(now))));
        let status = StreamStatus {
            name: self.stream.name.to_string(),
            source: self.stream.source.to_string(),
            state: encoder.map_or("down", |encoder| encoder.state.as_str()).to_owned(),
            width: encoder.map_or(0, |encoder| encoder.width),
            height: encoder.map_or(0, |encoder| encoder.height),
            fps: quality.fps,
            bitrate: quality.bitrate,
            encoder: encoder.map_or_else(String::new, encoder_in_use),
            viewers: self.delivery.map_or(0, |delivery| delivery.viewers),
            frames_encoded: encoder.map_or(0, |encoder| encoder.encoded.count),
            frames_sent: self.delivery.map_or(0, |delivery| delivery.frames_sent.count),
            last_frame_age_ms,
            verdict,
        };
        (status, condition)
    }

    /// How it is, in one sentence that names the stage that stands still and what is being done about it.
    fn verdict(&self) -> (Condition, String) {
        let snapshot = self.slot.process.snapshot();
        if snapshot.state != State::Running {
            let condition = if snapshot.state == State::Starting {
                Condition::Faulty
            } else {
                Condition::Dark
            };
            return (condition, trouble(self.slot));
        }
        let Some(watch) = &self.slot.watch else {
            return (Condition::Faulty, "not heard of yet".into());
        };
        let verdict = watch.verdict();
        let (condition, sentence) = match verdict {
            StreamVerdict::Well(SourceState::Unavailable { reason, .. }) => (
                Condition::Dark,
                format!("source unavailable: {reason}; it is tried again by itself"),
            ),
            StreamVerdict::Well(SourceState::Idle) => (Condition::Well, "idle: it starts with its first viewer".into()),
            StreamVerdict::Well(SourceState::Opening) => (Condition::Well, "its source is being opened".into()),
            StreamVerdict::Well(SourceState::Paused) => (Condition::Well, "paused on request".into()),
            StreamVerdict::Well(SourceState::Live) => (Condition::Well, "live".into()),
            StreamVerdict::SourceSilent { .. } => (
                Condition::Faulty,
                format!("{verdict}; its encoder is restarted if that goes on"),
            ),
            StreamVerdict::EncoderWedged { .. } => (Condition::Faulty, format!("{verdict}; it is being restarted")),
            StreamVerdict::SubscriberSlow => (
                Condition::Faulty,
                format!("{verdict}; it is skipped to the next keyframe"),
            ),
        };
        match &self.unserved {
            Some(unserved) => (Condition::Faulty, unserved.clone()),
            None => (condition, sentence),
        }
    }
}

/// Why a process is not there and what follows, in one sentence.
fn trouble(slot: &Slot) -> String {
    let snapshot = slot.process.snapshot();
    let next = match snapshot.state {
        State::Starting => "is starting",
        State::Stalled => "is being ended",
        State::Stopping => "is stopping on request",
        State::Stopped => "is stopped on request",
        State::BackingOff => "is started again in a moment",
        State::Parked if snapshot.next_try_at.is_some() => "failed too often and rests before the next try",
        State::Parked => "is not tried again until somebody mends it and says so",
        State::Running => "is running",
    };
    match &snapshot.last_end {
        Some(cause) if snapshot.state != State::Running => format!("{} {next}: {cause}", slot.name),
        Some(_) | None => format!("{} {next}", slot.name),
    }
}

fn encoder_in_use(encoder: &EncoderProgress) -> String {
    match (encoder.encoder.as_str(), encoder.encoder_reason.as_str()) {
        (name, "") => name.to_owned(),
        (name, reason) => format!("{name} ({reason})"),
    }
}

fn row(slot: &Slot, now: Instant) -> ProcessStatus {
    let Snapshot {
        state,
        pid,
        started_at,
        restarts,
        last_end,
        heartbeat_at,
        ..
    } = slot.process.snapshot();
    let age = |at: Instant| now.saturating_duration_since(at);
    ProcessStatus {
        name: slot.name.clone(),
        role: slot.role.to_string(),
        stream: slot.stream_name().map(ToString::to_string),
        state: state.to_string(),
        pid,
        uptime_s: started_at.map(|at| age(at).as_secs()),
        restarts,
        last_reason: last_end.map(|cause| cause.to_string()),
        heartbeat_age_ms: heartbeat_at.and_then(|at| u64::try_from(age(at).as_millis()).ok()),
    }
}

/// The supervisor's own: whoever reads it knows that it answers.
fn own_row(started_at: Instant, now: Instant) -> ProcessStatus {
    ProcessStatus {
        name: Role::Supervisor.to_string(),
        role: Role::Supervisor.to_string(),
        stream: None,
        state: State::Running.to_string(),
        pid: Some(process::id()),
        uptime_s: Some(now.saturating_duration_since(started_at).as_secs()),
        restarts: 0,
        last_reason: None,
        heartbeat_age_ms: Some(0),
    }
}

fn signaling_progress(slot: &Slot) -> Option<&SignalingProgress> {
    match &slot.report.as_ref()?.progress {
        Progress::Signaling(signaling) => Some(signaling),
        Progress::Encoder(_) | Progress::Bridge(_) => None,
    }
}

fn bridge(slots: &[Slot]) -> BridgeStatus {
    let report = slots
        .iter()
        .find(|slot| slot.role == Role::Bridge)
        .and_then(|slot| slot.report.as_ref());
    match report.map(|report| &report.progress) {
        Some(Progress::Bridge(BridgeProgress { state, reason })) => BridgeStatus {
            state: state.clone(),
            reason: reason.clone(),
        },
        Some(Progress::Encoder(_) | Progress::Signaling(_)) | None => BridgeStatus {
            state: "down".into(),
            reason: Some("the bridge does not report".into()),
        },
    }
}
