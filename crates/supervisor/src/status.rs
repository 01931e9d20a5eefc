//! The status that operators read, made from the slots.

use std::{process, time::Instant};

use framebridge_core::{
    encode_load::shortfall,
    health::{self, Change, Facts, Health, IngestGap, ProcessFacts, SourceFacts, judge},
    ingest::IngestWatch,
    process::{Snapshot, State},
    stream::StreamWatch,
};
use framebridge_proto::{
    Role, StreamName, millis,
    status::{
        BridgeState, BridgeStatus, FaultKind, ProcessState, ProcessStatus, PushStatus, RungStatus, Status, StreamState,
        StreamStatus,
    },
    supervisor::{BridgeProgress, EncoderProgress, Progress, RungProgress, SignalingProgress, StreamFlow, Why},
};

use crate::{
    journal::Note,
    slot::{Report, Slot},
};

/// The status of everything.
pub(crate) fn of(slots: &[Slot], started_at: Instant, refused: Option<&str>, now: Instant) -> Status {
    let signaling = signaling(slots);
    let streams: Vec<_> = slots
        .iter()
        .filter_map(|slot| Some(StreamFacts::of(slot, signaling)?.status(now)))
        .collect();
    let processes_run = slots
        .iter()
        .all(|slot| slot.is_leftover() || slot.state() == State::Running);
    let overall = health::overall(streams.iter().map(|stream| stream.condition), processes_run);
    Status {
        overall,
        http: signaling
            .and_then(signaling_progress)
            .map(|progress| progress.http.clone()),
        processes: std::iter::once(own_row(started_at, refused, now))
            .chain(
                slots
                    .iter()
                    .filter(|slot| !slot.is_leftover())
                    .map(|slot| row(slot, now)),
            )
            .collect(),
        streams,
        bridge: bridge(slots),
    }
}

/// What is known of one stream.
struct StreamFacts<'a> {
    slot: &'a Slot,
    stream: &'a framebridge_config::Stream,
    encoder: Option<(&'a EncoderProgress, &'a Report)>,
    flow: Option<&'a StreamFlow>,
    signaling: Option<&'a Slot>,
}

impl<'a> StreamFacts<'a> {
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

    fn status(&self, now: Instant) -> StreamStatus {
        let quality = self.encoder.map_or(self.stream.quality, |(encoder, _)| encoder.quality);
        let encoder = self.encoder.map(|(encoder, _)| encoder);
        // What is sent on has the rate that it has.
        let sent_on = encoder
            .filter(|encoder| encoder.copies())
            .and_then(|encoder| encoder.sent_on);
        let health = self.health(now);
        let last_frame_age_ms = self
            .encoder
            .and_then(|(encoder, report)| Some(encoder.encoded.age_ms?.saturating_add(millis(report.age(now)))));
        StreamStatus {
            name: self.stream.name.to_string(),
            source: self.stream.source.to_string(),
            state: health.state,
            condition: health.condition,
            fault: health.fault,
            fault_age_ms: health.lasted.map(millis),
            reason: health.absence().map(str::to_owned),
            width: encoder.map_or(0, |encoder| encoder.width),
            height: encoder.map_or(0, |encoder| encoder.height),
            fps: sent_on.map_or(quality.fps, |sent| sent.fps),
            bitrate: sent_on.map_or(quality.bitrate, |sent| sent.bitrate),
            encoder: encoder.map_or_else(String::new, encoder_in_use),
            viewers: self.flow.map_or(0, |flow| flow.viewers),
            frames_encoded: encoder.map_or(0, |encoder| encoder.encoded.count),
            frames_sent: self.flow.map_or(0, |flow| flow.frames_sent.count),
            last_frame_age_ms,
            verdict: verdict(&health, encoder),
            retry_in_ms: health.retry_in.map(millis),
            unchanged_ms: encoder.map_or(0, |encoder| encoder.pace.unchanged_ms.into()),
            black_ms: encoder.map_or(0, |encoder| encoder.pace.black_ms.into()),
            rungs: encoder.map_or_else(Vec::new, |encoder| encoder.rungs.iter().map(rung).collect()),
            pushes: self.flow.map_or_else(Vec::new, |flow| flow.pushes.clone()),
            encoder_load: encoder.and_then(|encoder| encoder.load),
        }
    }

    /// How the stream is, by all that is known.
    fn health(&self, now: Instant) -> Health {
        let process = self.slot.snapshot();
        let signaling = self.signaling.map(|slot| (&slot.name, slot.snapshot()));
        let facts = Facts {
            process: Some(ProcessFacts {
                name: &self.slot.name,
                snapshot: &process,
            }),
            signaling: signaling
                .as_ref()
                .map(|(name, snapshot)| ProcessFacts { name, snapshot }),
            degradation: self.slot.given_up().last().map(|step| step.what),
            ..self.facts(now)
        };
        judge(&facts, now)
    }

    /// What is known of the stream itself, its processes left out.
    fn facts(&self, now: Instant) -> Facts<'_> {
        let signaling = self.signaling.map(|slot| &slot.egress);
        let ingest = self.slot.ingest.as_ref().filter(|_| self.flow.is_some());
        Facts {
            source: self.encoder.map(|(encoder, report)| SourceFacts {
                state: &encoder.state,
                age: report.age(now),
                failed: self.slot.memory.failed(),
                is_known: self.slot.memory.is_known(),
            }),
            pace: self.encoder.map(|(encoder, _)| encoder.pace),
            encoder: self.slot.watch.as_ref().and_then(StreamWatch::stall),
            ingest: ingest.and_then(IngestWatch::broken_for).map(IngestGap::Broken),
            refusal: signaling.and_then(|watch| watch.refused_for(now)),
            egress: signaling.and_then(|watch| watch.starved_for(&self.stream.name, now)),
            ..Facts::default()
        }
    }
}

/// How a stream is, and what besides may keep viewers away.
pub(crate) fn why(slots: &[Slot], stream: &StreamName, now: Instant) -> Option<Why> {
    let slot = slots.iter().find(|slot| slot.stream_name() == Some(stream))?;
    let signaling = signaling(slots);
    let stream = StreamFacts::of(slot, signaling)?;
    let health = stream.health(now);
    let live = stream
        .encoder
        .map(|(encoder, _)| encoder)
        .filter(|_| health.state == StreamState::Live);
    let way = live.and_then(way).map_or(String::new(), |way| format!("; {way}"));
    let pushes = stream.flow.map_or(&[][..], |flow| &flow.pushes[..]);
    let pushed: String = pushes.iter().map(|push| format!("; {push}")).collect();
    let certificate = signaling
        .and_then(signaling_progress)
        .and_then(|progress| progress.certificate);
    let notice = certificate.map_or(String::new(), |notice| format!("; {notice}"));
    Some(Why {
        well: health.is_well() && pushes.iter().all(PushStatus::is_well),
        sentence: format!("{}{way}{pushed}{notice}", verdict(&health, live)),
    })
}

/// What there is to tell of the stream of a slot, once its encoder has reported. What becomes of processes is told where it
/// happens, so that the stream is judged here without them.
pub(crate) fn change(slots: &mut [Slot], index: usize, now: Instant) -> Option<Note> {
    let stream = StreamFacts::of(&slots[index], signaling(slots)).filter(|stream| stream.encoder.is_some())?;
    let health = judge(&stream.facts(now), now);
    let slot = &mut slots[index];
    let Change { from, to, recovery } = slot.history.observe(&health, now)?;
    let [from, to] = [from, to].map(|fault| fault.map_or("well", FaultKind::as_str).replace('_', " "));
    let nothing = || "nothing to do".to_owned();
    Some(Note {
        process: slot.name.clone(),
        what: format!("stream {from} -> {to}"),
        action: if health.is_well() {
            nothing()
        } else {
            health.remedy.into_owned()
        },
        verdict: health.what.into_owned(),
        recovery,
    })
}

/// What there is to tell hooks of the stream of a slot: what is known of its processes counts, as it does in the status. One whose
/// processes are only just starting, or were stopped because somebody wants it, has no fault for that.
pub(crate) fn told(slots: &mut [Slot], index: usize, now: Instant) -> Option<(StreamName, Change, Health)> {
    let is_settled = |slot: &Slot| !matches!(slot.state(), State::Stopped | State::Starting | State::Stopping);
    if !is_settled(&slots[index]) || !signaling(slots).is_none_or(is_settled) {
        return None;
    }
    let health = StreamFacts::of(&slots[index], signaling(slots))?.health(now);
    if health.fault == Some(FaultKind::EncoderStarting) {
        return None;
    }
    let slot = &mut slots[index];
    let change = slot.told.observe(&health, now)?;
    Some((slot.stream_name()?.clone(), change, health))
}

/// The sum of all and, where it is not well, the first stream's reason: what a service manager shows.
pub(crate) fn headline(status: &Status) -> String {
    let ill = status.streams.iter().find(|stream| stream.fault.is_some());
    match ill {
        Some(stream) => format!("{}; {}: {}", status.overall, stream.name, stream.verdict),
        None => status.overall.to_string(),
    }
}

fn signaling(slots: &[Slot]) -> Option<&Slot> {
    slots.iter().find(|slot| slot.role == Role::Signaling)
}

/// Whether a film of a source is sent on as it comes, and if not, why.
fn way(encoder: &EncoderProgress) -> Option<String> {
    if encoder.copies() {
        return Some(encoder.encoder_reason.clone());
    }
    let (_, obstacle) = encoder.encoder_reason.split_once("; not as it comes: ")?;
    Some(format!("encoded, because {obstacle}"))
}

/// How a stream is; of one that is well also what its machine is too slow for.
fn verdict(health: &Health, encoder: Option<&EncoderProgress>) -> String {
    let load = encoder
        .filter(|_| health.fault.is_none())
        .and_then(|encoder| encoder.load);
    match load.as_ref().and_then(shortfall) {
        Some(shortfall) => format!("{health}; this machine {shortfall}"),
        None => health.to_string(),
    }
}

fn rung(progress: &RungProgress) -> RungStatus {
    RungStatus {
        rung: progress.rung,
        frames_encoded: progress.encoded.count,
        last_frame_age_ms: progress.encoded.age_ms,
        refused: progress.refused.clone(),
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
    } = slot.snapshot();
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
        heartbeat_age_ms: heartbeat_at.map(|at| millis(age(at))),
    }
}

/// The supervisor's own: whoever reads it knows that it answers.
fn own_row(started_at: Instant, refused: Option<&str>, now: Instant) -> ProcessStatus {
    ProcessStatus {
        name: Role::Supervisor.to_string(),
        role: Role::Supervisor,
        stream: None,
        state: ProcessState::Running,
        pid: Some(process::id()),
        uptime_s: Some(now.saturating_duration_since(started_at).as_secs()),
        restarts: 0,
        last_reason: refused.map(|why| format!("its configuration was not taken: {why}")),
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
            let end = slot.and_then(|slot| slot.snapshot().last_end);
            BridgeStatus {
                state: BridgeState::Down,
                reason: Some(end.map_or_else(|| "the bridge does not report".into(), |end| end.to_string())),
            }
        }
    }
}
