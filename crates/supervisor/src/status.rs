//! The picture operators read, drawn from the slots.

use std::{process, time::Instant};

use framebridge_core::{Snapshot, State, StreamVerdict};
use framebridge_proto::{
    Role, StreamName,
    encoder::SourceState,
    status::{BridgeState, BridgeStatus, Overall, ProcessState, ProcessStatus, Status, StreamState, StreamStatus},
    supervisor::{BridgeProgress, EncoderProgress, Progress, SignalingProgress, StreamFlow, Why},
};

use crate::slot::{Report, Slot};

/// The whole picture as it is `now`.
pub(crate) fn picture(slots: &[Slot], started_at: Instant, now: Instant) -> Status {
    let signaling = signaling(slots);
    let streams: Vec<_> = slots
        .iter()
        .filter_map(|slot| Some(Picture::of(slot, signaling)?.draw(now)))
        .collect();
    let served = signaling.is_some_and(|slot| slot.state() == State::Running);
    let processes_run = slots
        .iter()
        .all(|slot| slot.is_leftover() || slot.state() == State::Running);
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
            .chain(
                slots
                    .iter()
                    .filter(|slot| !slot.is_leftover())
                    .map(|slot| row(slot, now)),
            )
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
    flow: Option<&'a StreamFlow>,
    signaling: Option<&'a Slot>,
}

impl<'a> Picture<'a> {
    fn of(slot: &'a Slot, signaling: Option<&'a Slot>) -> Option<Self> {
        let stream = slot.stream.as_ref()?;
        let encoder = slot.report.as_ref().and_then(|report| match &report.progress {
            Progress::Encoder(encoder) => Some((encoder, report)),
            Progress::Signaling(_) | Progress::Bridge(_) => None,
        });
        let flow = signaling
            .map_or(&[][..], Slot::flows)
            .iter()
            .find(|flow| flow.stream == stream.name);
        Some(Self {
            slot,
            stream,
            encoder,
            flow,
            signaling,
        })
    }

    fn draw(&self, now: Instant) -> (StreamStatus, Condition) {
        let quality = self.encoder.map_or(self.stream.quality, |(encoder, _)| encoder.quality);
        let encoder = self.encoder.map(|(encoder, _)| encoder);
        let (condition, verdict) = self.verdict(now);
        let last_frame_age_ms = self
            .encoder
            .and_then(|(encoder, report)| Some(encoder.encoded.age_ms?.saturating_add(report.age_ms(now))));
        let status = StreamStatus {
            name: self.stream.name.to_string(),
            source: self.stream.source.to_string(),
            state: encoder.map_or(StreamState::Down, |encoder| StreamState::from(&encoder.state)),
            width: encoder.map_or(0, |encoder| encoder.width),
            height: encoder.map_or(0, |encoder| encoder.height),
            fps: quality.fps,
            bitrate: quality.bitrate,
            encoder: encoder.map_or_else(String::new, encoder_in_use),
            viewers: self.flow.map_or(0, |flow| flow.viewers),
            frames_encoded: encoder.map_or(0, |encoder| encoder.encoded.count),
            frames_sent: self.flow.map_or(0, |flow| flow.frames_sent.count),
            last_frame_age_ms,
            verdict,
            retry_in_ms: self.retry_in_ms(now),
        };
        (status, condition)
    }

    fn retry_in_ms(&self, now: Instant) -> Option<u64> {
        if let Some(at) = self.slot.process.snapshot().next_try_at {
            return u64::try_from(at.saturating_duration_since(now).as_millis()).ok();
        }
        let (encoder, report) = self.encoder?;
        let (_, retry_in_ms) = encoder.state.absence()?;
        Some(retry_in_ms.saturating_sub(report.age_ms(now)))
    }

    /// How it is, in one sentence that names the stage that stands still, since when, and what is being done.
    fn verdict(&self, now: Instant) -> (Condition, String) {
        let state = self.slot.state();
        if state != State::Running {
            let condition = if state == State::Starting {
                Condition::Faulty
            } else {
                Condition::Dark
            };
            return (condition, trouble(self.slot, now));
        }
        if let Some(signaling) = self.signaling.filter(|slot| slot.state() != State::Running) {
            return (
                Condition::Faulty,
                format!("nobody can watch: {}", trouble(signaling, now)),
            );
        }
        let Some(watch) = &self.slot.watch else {
            return (Condition::Faulty, "not heard of yet".into());
        };
        let verdict = watch.verdict();
        if let (StreamVerdict::Well(SourceState::Opening), Some(fault)) = (verdict, self.slot.trouble.fault()) {
            return (Condition::Dark, format!("{fault}: {verdict} again"));
        }
        let condition = match verdict {
            StreamVerdict::Well(SourceState::Unavailable { .. } | SourceState::Slate { .. }) => Condition::Dark,
            StreamVerdict::Well(_) => Condition::Well,
            StreamVerdict::SourceSilent { .. }
            | StreamVerdict::NeverOpen { .. }
            | StreamVerdict::EncoderWedged { .. }
            | StreamVerdict::SubscriberSlow => Condition::Faulty,
        };
        let broken = self.slot.ingest.as_ref().filter(|_| self.flow.is_some());
        if let Some(broken) = broken.and_then(|ingest| ingest.broken_for()) {
            let sentence = format!(
                "its pictures have not reached signaling for {} s ({verdict}); its encoder and signaling are started again in turn",
                broken.as_secs()
            );
            return (Condition::Faulty, sentence);
        }
        let refused = self.signaling.and_then(|slot| slot.egress.refused_for(now));
        if let Some((refused, why)) = refused {
            let sentence = format!(
                "this machine has refused all that signaling sends to viewers for {} s: {why} ({verdict}); no restart mends that, so look \
                 for a firewall or a missing route",
                refused.as_secs()
            );
            return (Condition::Faulty, sentence);
        }
        let starved = self
            .signaling
            .and_then(|slot| slot.egress.starved_for(&self.stream.name, now));
        if let (Condition::Well, Some(starved)) = (condition, starved) {
            let sentence = format!(
                "signaling gets its pictures and has sent its viewers none for {} s ({verdict}); a keyframe is asked for again and again",
                starved.as_secs()
            );
            return (Condition::Faulty, sentence);
        }
        match (condition, self.slot.given_up().last()) {
            (Condition::Well, None) => (condition, verdict.to_string()),
            (Condition::Well, Some(step)) => {
                let why = self
                    .slot
                    .process
                    .snapshot()
                    .last_end
                    .map_or_else(String::new, |cause| format!(" ({cause})"));
                let sentence = format!("{verdict}, with {}, since its encoder failed too often{why}", step.what);
                (
                    Condition::Faulty,
                    format!("{sentence}; more is tried after a healthy while"),
                )
            }
            (Condition::Faulty | Condition::Dark, _) => (condition, format!("{verdict}; {}", verdict.remedy())),
        }
    }
}

/// How a stream is.
pub(crate) fn why(slots: &[Slot], stream: &StreamName, now: Instant) -> Option<Why> {
    let slot = slots.iter().find(|slot| slot.stream_name() == Some(stream))?;
    let (condition, sentence) = Picture::of(slot, signaling(slots))?.verdict(now);
    Some(Why {
        well: condition == Condition::Well,
        sentence,
    })
}

fn signaling(slots: &[Slot]) -> Option<&Slot> {
    slots.iter().find(|slot| slot.role == Role::Signaling)
}

/// Why a process does not run, since when, and what follows.
fn trouble(slot: &Slot, now: Instant) -> String {
    let Snapshot {
        state,
        since,
        last_end,
        next_try_at,
        ..
    } = slot.process.snapshot();
    let lasted = now.saturating_duration_since(since).as_secs_f64();
    let wait = next_try_at.map(|at| at.saturating_duration_since(now).as_secs_f64());
    let follows = match (state, wait) {
        (State::Starting, _) => format!("has been starting for {lasted:.1} s"),
        (State::Running, _) => "runs".into(),
        (State::Stalled, _) => format!("stands still and has been told to end {lasted:.1} s ago"),
        (State::Stopping, _) => "is stopping on request".into(),
        (State::Stopped, _) => "is stopped on request".into(),
        (State::BackingOff, wait) => {
            format!(
                "ended {lasted:.1} s ago and is started again in {:.1} s",
                wait.unwrap_or_default()
            )
        }
        (State::Parked, Some(wait)) => {
            format!("failed too often, rests since {lasted:.0} s and is tried again in {wait:.0} s")
        }
        (State::Parked, None) => {
            format!("ended {lasted:.0} s ago and is not tried again until it is mended and `bridgectl resume`d")
        }
    };
    match last_end {
        Some(cause) => format!("{} {follows}: {cause}", slot.name),
        None => format!("{} {follows}", slot.name),
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
        role: slot.role,
        stream: slot.stream_name().map(ToString::to_string),
        state: state.into(),
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
        role: Role::Supervisor,
        stream: None,
        state: ProcessState::Running,
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
    let slot = slots.iter().find(|slot| slot.role == Role::Bridge);
    let report = slot.and_then(|slot| slot.report.as_ref());
    match report.map(|report| &report.progress) {
        Some(Progress::Bridge(BridgeProgress { state, reason })) => BridgeStatus {
            state: *state,
            reason: reason.clone(),
        },
        Some(Progress::Encoder(_) | Progress::Signaling(_)) | None => {
            // Why it ended, where it did: a studio's refusal is read here.
            let end = slot.and_then(|slot| slot.process.snapshot().last_end);
            BridgeStatus {
                state: BridgeState::Down,
                reason: Some(end.map_or_else(|| "the bridge does not report".into(), |end| end.to_string())),
            }
        }
    }
}
