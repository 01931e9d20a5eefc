//! What operators and other processes ask.

use std::time::Instant;

use framebridge_core::process::Input;
use framebridge_proto::{
    Refusal, RefusalKind, StreamName,
    status::Status,
    supervisor::{SupervisorAnswer, SupervisorRequest},
};
use tokio::sync::oneshot;

use super::App;
use crate::{event::Answer, status};

impl App {
    pub(super) fn on_asked(&mut self, request: SupervisorRequest, answer: oneshot::Sender<Answer>) {
        let answered = match request {
            // These take their time, and answer themselves.
            SupervisorRequest::Reload => return self.read_configuration(Some(answer)),
            SupervisorRequest::Hooks => return self.hooks.list(answer),
            SupervisorRequest::TryHook { hook } => return self.hooks.attempt(hook, answer),
            SupervisorRequest::Status => Ok(SupervisorAnswer::Status(self.status(Instant::now()))),
            SupervisorRequest::Restart { process } => self.start(&process, Input::Restart),
            SupervisorRequest::Resume { process } => self.start(&process, Input::Resume),
            SupervisorRequest::Journal { after } => Ok(SupervisorAnswer::Journal(self.journal.after(after))),
            SupervisorRequest::Why { stream } => self.why(&stream),
        };
        // Whoever asked may be gone by now.
        _ = answer.send(answered);
    }

    fn start(&mut self, process: &str, input: Input) -> Answer {
        let index = self.startable(process)?;
        self.feed(index, input, Instant::now());
        Ok(SupervisorAnswer::Done)
    }

    fn why(&self, stream: &StreamName) -> Answer {
        let why = status::why(&self.slots, stream, Instant::now());
        why.map(SupervisorAnswer::Why).ok_or_else(|| {
            let message = format!("no stream is called `{stream}`: see `bridgectl status`");
            Refusal::new(RefusalKind::NotFound, message)
        })
    }

    pub(super) fn status(&self, now: Instant) -> Status {
        status::of(&self.slots, self.started_at, self.refused.as_deref(), now)
    }

    /// The slot of this name, to be started again.
    fn startable(&self, name: &str) -> Result<usize, Refusal> {
        if self.stopping {
            return Err(Refusal::new(RefusalKind::Unavailable, "the supervisor is stopping"));
        }
        self.slots.iter().position(|slot| slot.name == name).ok_or_else(|| {
            let names: Vec<_> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
            let message = format!("no process is called `{name}`: there are {}", names.join(", "));
            Refusal::new(RefusalKind::NotFound, message)
        })
    }
}
