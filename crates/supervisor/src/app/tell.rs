//! What is told of what happens: to the journal, to the service manager, to the operator's hooks.

use std::{path::PathBuf, time::Instant};

use framebridge_core::{
    disk::DiskWatch,
    health::Change,
    process::{State, Transition},
};
use framebridge_daemon::notify;
use framebridge_ipc::Peer;
use framebridge_proto::{
    Role,
    hooks::{Happening, HookEvent},
    millis, plain,
    status::FaultKind,
};
use serde_json::{Map, Value, json};

use super::App;
use crate::{journal::Note, status};

/// The longest that another process's words may be in what hooks are told, bytes.
const LONGEST: usize = 256;

/// A place that is written to.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    watch: DiskWatch,
}

impl Disk {
    pub(super) fn new(path: PathBuf) -> Self {
        let watch = DiskWatch::default();
        Self { path, watch }
    }
}

impl App {
    pub(super) fn tell(&mut self, note: Note) {
        let Note {
            process,
            what,
            verdict,
            action,
            ..
        } = &note;
        tracing::info!("{process}: {what}: {verdict}; {action}");
        self.journal.note(note);
        notify::status(&status::headline(&self.status(Instant::now())));
    }

    /// Tells hooks what has become of a process, if they want to know.
    pub(super) fn tell_of_process(&self, index: usize, transition: &Transition, note: &Note) {
        let slot = &self.slots[index];
        let (event, sentence) = match (transition.to, note.recovery) {
            (State::Parked, _) => (
                HookEvent::ProcessParked,
                format!("{} is parked: {}; {}", note.process, note.verdict, note.action),
            ),
            (State::Running, Some(after)) => {
                let end = slot.snapshot().last_end;
                let end = end.map_or_else(String::new, |end| format!(": {end}"));
                let after = after.as_secs_f64();
                (
                    HookEvent::ProcessRestarted,
                    format!("{} runs again after {after:.1} s{end}", note.process),
                )
            }
            _ => return,
        };
        let details = [
            ("process", json!(note.process)),
            ("stream", json!(slot.stream_name())),
            ("restarts", json!(slot.snapshot().restarts)),
            ("recovery_ms", json!(note.recovery.map(millis))),
        ];
        self.hooks.tell(event, sentence, map(details));
    }

    /// Tells hooks which streams have another fault than before.
    pub(super) fn tell_of_streams(&mut self, now: Instant) {
        if self.stopping {
            // They end because they are to.
            return;
        }
        for index in 0..self.slots.len() {
            let Some((stream, Change { from, to, recovery }, health)) = status::told(&mut self.slots, index, now)
            else {
                continue;
            };
            let details = [
                ("stream", json!(stream)),
                ("from", json!(from.map_or("well", FaultKind::as_str))),
                ("to", json!(to.map_or("well", FaultKind::as_str))),
                ("state", json!(health.state)),
                ("condition", json!(health.condition)),
                ("recovery_ms", json!(recovery.map(millis))),
            ];
            let sentence = format!("{stream}: {health}");
            self.hooks.tell(HookEvent::StreamState, sentence, map(details));
        }
    }

    /// A process tells what only it has seen.
    pub(super) fn on_happened(&self, peer: &Peer, happening: Happening) {
        let (role, event, sentence, details) = match happening {
            Happening::ViewerJoined {
                stream,
                viewer,
                principal,
                address,
            } => {
                let who = principal.as_deref().unwrap_or("somebody");
                let sentence = format!("{} watches {stream}", plain(who, LONGEST));
                let details = vec![
                    ("stream", json!(stream)),
                    ("viewer", json!(viewer)),
                    ("principal", json!(principal)),
                    ("address", json!(address)),
                ];
                (Role::Signaling, HookEvent::ViewerJoined, sentence, details)
            }
            Happening::ViewerLeft { stream, viewer, reason } => {
                let sentence = format!("a viewer of {stream} has left: {}", plain(&reason, LONGEST));
                let details = vec![
                    ("stream", json!(stream)),
                    ("viewer", json!(viewer)),
                    ("reason", json!(reason)),
                ];
                (Role::Signaling, HookEvent::ViewerLeft, sentence, details)
            }
            Happening::ShareMade {
                stream,
                control,
                expires_s,
            } => {
                let what = stream
                    .as_ref()
                    .map_or_else(|| "all streams".to_owned(), ToString::to_string);
                let may = if control { "watch and change" } else { "watch" };
                let sentence = format!("a public address was made: whoever has it may {may} {what}");
                let details = vec![
                    ("stream", json!(stream)),
                    ("control", json!(control)),
                    ("expires_s", json!(expires_s)),
                ];
                (Role::Bridge, HookEvent::ShareMade, sentence, details)
            }
            Happening::SharesEnded { count } => {
                let sentence = format!("all public addresses were ended: {count}");
                (
                    Role::Bridge,
                    HookEvent::ShareEnded,
                    sentence,
                    vec![("count", json!(count))],
                )
            }
        };
        if peer.role != role {
            return tracing::warn!(role = %peer.role, pid = peer.pid, %event, "it can't know of that: left out");
        }
        self.hooks.tell(event, sentence, map(details));
    }

    /// So much is free where things are written.
    pub(super) fn on_disk(&mut self, place: usize, free: u64, total: u64) {
        let Some(Disk { path, watch }) = self.disks.get_mut(place) else {
            return;
        };
        let Some(is_low) = watch.observe(free, total) else {
            return;
        };
        let (path, free_mib) = (path.display().to_string(), free >> 20);
        let (what, action) = if is_low {
            (
                "disk almost full",
                "make room: the journal and new settings can't be kept without",
            )
        } else {
            ("disk has room again", "nothing to do")
        };
        let verdict = format!("{path} has {free_mib} MiB left");
        let details = [
            ("path", json!(path)),
            ("low", json!(is_low)),
            ("free_bytes", json!(free)),
            ("total_bytes", json!(total)),
        ];
        self.hooks
            .tell(HookEvent::Disk, format!("{what}: {verdict}"), map(details));
        self.tell(Note {
            process: Role::Supervisor.to_string(),
            what: what.to_owned(),
            verdict,
            action: action.to_owned(),
            recovery: None,
        });
    }
}

fn map<'a>(details: impl IntoIterator<Item = (&'a str, Value)>) -> Map<String, Value> {
    details
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
