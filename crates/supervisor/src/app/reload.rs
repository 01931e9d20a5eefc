//! Handing the settings on, and taking the configuration up again while everything runs.

use std::{collections::BTreeMap, io, path::PathBuf, time::Instant};

use framebridge_config::{ConfigError, Problem, Settings, Stream};
use framebridge_core::process::Input;
use framebridge_proto::{
    Refusal, RefusalKind, Role,
    supervisor::{Reloaded, SupervisorAnswer},
};
use rustix::process::Signal;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::App;
use crate::{
    event::{Answer, Configuration, Event},
    journal::Note,
    missing::missing,
    slot::Slot,
};

/// Settings of these sections are read where a process starts, and wait for that.
const LATER: [&str; 2] = ["supervisor.", "log."];

/// Those of `missing` that this reload brings, and those that are as they were: a process that runs is not to be started anew for
/// what it would end by, and what a stream needs is not to wait for a file of the studio's.
fn brought(before: &Settings, after: &Settings, missing: Vec<Problem>) -> (Vec<Problem>, Vec<Problem>) {
    let (http, studio) = (viewers_differ(before, after), before.studio != after.studio);
    missing.into_iter().partition(|problem| {
        if problem.key.starts_with("studio.") {
            studio
        } else {
            http
        }
    })
}

/// Whether signaling is to start anew.
fn viewers_differ(before: &Settings, after: &Settings) -> bool {
    (&before.http, &before.webrtc) != (&after.http, &after.webrtc)
}

/// Whether something is missing without which the bridge would not start.
fn concerns_bridge(missing: &[Problem]) -> bool {
    missing.iter().any(|problem| problem.key.starts_with("studio."))
}

impl App {
    /// Writes what the process of a slot reads at its next start, and returns where.
    pub(super) fn write_settings(&self, index: usize, now: Instant) -> io::Result<PathBuf> {
        let slot = &self.slots[index];
        self.files.write(&slot.name, &slot.settings(&self.settings, now))
    }

    /// systemd starts again what ends, sooner than we may ask for it: what a unit is to do without is written down before.
    pub(super) fn prepare_next_start(&self, index: usize, now: Instant) {
        if self.launcher.is_systemds()
            && !self.slots[index].is_leftover()
            && let Err(error) = self.write_settings(index, now)
        {
            tracing::warn!(%error, "{} starts with settings of before", self.slots[index].name);
        }
    }

    /// Writes down what everything runs by, for the supervisor that follows if this one is killed.
    pub(super) fn keep_settings(&self) {
        let text = self.settings.for_process(Role::Supervisor, None, &[]);
        if let Err(error) = self.files.write(Role::Supervisor.as_str(), &text) {
            tracing::warn!(%error, "a supervisor that follows will read the configuration alone");
        }
    }

    /// Reads the configuration aside, for the disk may be slow; [`on_configuration`](Self::on_configuration) is told then.
    pub(super) fn read_configuration(&self, answer: Option<oneshot::Sender<Answer>>) {
        let (args, told) = (self.args.clone(), self.told.clone());
        self.tasks.spawn(async move {
            let read = spawn_blocking(move || args.load().map_err(anyhow::Error::from)).await;
            let outcome = match read.map_err(anyhow::Error::from).and_then(|read| read) {
                Ok(settings) => {
                    let missing = missing(&settings).await;
                    Ok(Box::new(Configuration { settings, missing }))
                }
                Err(error) => Err(format!("{error:#}")),
            };
            // The loop that is gone wants nothing any more.
            _ = told.send(Event::Configuration { outcome, answer }).await;
        });
    }

    pub(super) fn on_configuration(
        &mut self,
        outcome: Result<Box<Configuration>, String>,
        answer: Option<oneshot::Sender<Answer>>,
    ) {
        let outcome = outcome.and_then(|read| self.fit(*read));
        let result = match outcome {
            _ if self.stopping => Err(Refusal::new(RefusalKind::Unavailable, "the supervisor is stopping")),
            Ok((settings, missing)) => Ok(SupervisorAnswer::Reloaded(self.apply(settings, &missing))),
            Err(why) => {
                self.refuse(why.clone());
                Err(Refusal::new(RefusalKind::Invalid, why))
            }
        };
        if let Some(answer) = answer {
            // Whoever asked may be gone by now.
            _ = answer.send(result);
        }
    }

    /// The settings, if nothing is missing that they newly need, and what else is.
    fn fit(&self, read: Configuration) -> Result<(Settings, Vec<Problem>), String> {
        let Configuration { settings, missing } = read;
        let (new, old) = brought(&self.settings, &settings, missing);
        if !new.is_empty() {
            return Err(ConfigError::Invalid(new).to_string());
        }
        for problem in &old {
            tracing::error!("{problem}");
        }
        Ok((settings, old))
    }

    /// The configuration makes no sense: what holds goes on holding, and it is said where.
    pub(super) fn refuse(&mut self, why: String) {
        self.tell(Note {
            process: Role::Supervisor.to_string(),
            what: "configuration refused".to_owned(),
            verdict: why.lines().collect::<Vec<_>>().join("; "),
            action: "the settings of before stay in force".to_owned(),
            recovery: None,
        });
        self.refused = Some(why);
    }

    /// Has everything run by these settings, of which so much is missing as it was.
    pub(super) fn apply(&mut self, settings: Settings, missing: &[Problem]) -> Reloaded {
        let now = Instant::now();
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let before = std::mem::replace(&mut self.settings, settings);
        self.refused = None;
        self.hooks.configure(&self.settings.hooks);
        self.keep_settings();
        let mut reloaded = Reloaded {
            later: differences(&before, &self.settings),
            ..Reloaded::default()
        };
        self.end_unwanted(&mut reloaded, now);
        for stream in self.settings.streams.clone() {
            self.want(&stream, &mut reloaded, now);
        }
        self.restart_others(&before, missing, &mut reloaded, now);
        if !reloaded.is_empty() {
            self.tell(Note {
                process: Role::Supervisor.to_string(),
                what: "configuration taken".to_owned(),
                verdict: reloaded.to_string(),
                action: "nothing to do".to_owned(),
                recovery: None,
            });
        }
        reloaded
    }

    /// Ends the encoders of streams that there are no more.
    fn end_unwanted(&mut self, reloaded: &mut Reloaded, now: Instant) {
        let patience = self.stop_timeout;
        for index in 0..self.slots.len() {
            let Some(name) = self.slots[index].stream_name().cloned() else {
                continue;
            };
            if !self.settings.streams.iter().any(|stream| stream.name == name) {
                reloaded.removed.push(name);
                self.slots[index].dismiss();
                self.feed(index, Input::Stop { patience }, now);
            }
        }
    }

    /// Has an encoder of this stream, as it is configured.
    fn want(&mut self, stream: &Stream, reloaded: &mut Reloaded, now: Instant) {
        let place = |slot: &Slot| slot.encodes() == Some(&stream.name);
        match self.slots.iter().position(place) {
            Some(index) if self.slots[index].stream.as_ref() == Some(stream) => {}
            Some(index)
                if self.slots[index]
                    .stream
                    .as_ref()
                    .is_some_and(|before| before.is_fed_like(stream)) =>
            {
                self.slots[index].stream = Some(stream.clone());
                reloaded.pushed.push(stream.name.clone());
            }
            Some(index) => {
                let is_new = self.slots[index].is_leftover();
                self.slots[index].reassign(stream, now);
                let (list, wish) = if is_new {
                    (&mut reloaded.added, Input::Start)
                } else {
                    (&mut reloaded.changed, Input::Restart)
                };
                list.push(stream.name.clone());
                self.feed(index, wish, now);
            }
            None => {
                reloaded.added.push(stream.name.clone());
                let rules = &self.settings.supervisor;
                let slot = Slot::wanted(Role::Encoder, Some(stream), rules, now, self.seeds.next());
                // Places are known by their number, so that one is used again and none is taken away.
                let index = match self.slots.iter().position(Slot::is_free) {
                    Some(index) => {
                        self.slots[index] = slot;
                        index
                    }
                    None => {
                        self.slots.push(slot);
                        self.slots.len() - 1
                    }
                };
                self.feed(index, Input::Start, now);
            }
        }
    }

    /// Signaling reads its streams again without a restart. It is told to at each reload, because that also resumes pushes that an
    /// operator has ended. Other changes restart signaling or the bridge; viewers hardly notice the former, and not the latter.
    /// A bridge that would not start again without a file that it has read goes on as it is.
    fn restart_others(&mut self, before: &Settings, missing: &[Problem], reloaded: &mut Reloaded, now: Instant) {
        let after = &self.settings;
        let is_same = |(before, after): (&Stream, &Stream)| before.is_fed_like(after);
        let streams_differ =
            before.streams.len() != after.streams.len() || !before.streams.iter().zip(&after.streams).all(is_same);
        let viewers_differ = viewers_differ(before, after);
        let rest_differs = (viewers_differ || streams_differ) && !concerns_bridge(missing);
        let bridge_differs = before.studio != after.studio || rest_differs;
        for index in 0..self.slots.len() {
            let wants_restart = match self.slots[index].role {
                Role::Signaling => viewers_differ,
                Role::Bridge => bridge_differs,
                Role::Encoder | Role::Supervisor | Role::Operator => continue,
            };
            if wants_restart {
                reloaded.restarted.push(self.slots[index].name.clone());
                self.feed(index, Input::Restart, now);
            } else if self.slots[index].role == Role::Signaling {
                match self.write_settings(index, now) {
                    Ok(_) => self.apply_signal(index, Signal::HUP),
                    Err(error) => tracing::error!(%error, "signaling does not learn which streams there are"),
                }
            }
        }
    }
}

/// The settings that differ and are read later.
fn differences(before: &Settings, after: &Settings) -> Vec<String> {
    let values = |settings: &Settings| -> BTreeMap<String, String> {
        let entries = settings.entries().iter();
        let later = entries.filter(|entry| LATER.iter().any(|section| entry.key.starts_with(section)));
        later.map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    };
    let before = values(before);
    let differs = |(key, value): &(String, String)| before.get(key) != Some(value);
    values(after).into_iter().filter(differs).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use framebridge_config::Input;

    use super::*;

    #[test]
    fn reload_is_refused_only_for_what_is_missing_in_what_it_changes() {
        let settings = |http: &str, studio: &str, rest: &str| {
            let text = format!("{http}[studio]\nurl = \"https://{studio}\"\ntoken_file = \"/t\"\n{rest}");
            let input = Input {
                file: "f.toml",
                text: &text,
                ..Input::default()
            };
            Settings::parse(&input).unwrap_or_else(|error| panic!("{error}\n{text}"))
        };
        let missing = ["http.auth.tokens", "studio.token_file"].map(|key| Problem {
            place: "f.toml:1".to_owned(),
            key: key.to_owned(),
            message: "it is not there".to_owned(),
        });
        let http = "[http]\nhosts = [\"cam.example\"]\n";
        let before = settings("", "a", "");
        for (after, refused) in [
            (settings("", "a", "[streams.yard]\nsource = \"test:\"\n"), &[][..]),
            (settings("", "b", ""), &["studio.token_file"]),
            (settings(http, "a", ""), &["http.auth.tokens"]),
            (settings("[webrtc]\nport = 9000\n", "a", ""), &["http.auth.tokens"]),
            (settings(http, "b", ""), &["http.auth.tokens", "studio.token_file"]),
        ] {
            let (new, old) = brought(&before, &after, missing.to_vec());
            let keys: Vec<&str> = new.iter().map(|problem| problem.key.as_str()).collect();
            assert_eq!(keys, refused);
            assert_eq!(new.len() + old.len(), missing.len(), "none goes unsaid");
            assert_eq!(concerns_bridge(&old), !refused.contains(&"studio.token_file"));
        }
    }
}
