//! Doing what the machines say.

use anyhow::anyhow;
use framebridge_core::studio::{bridge_link, local_health};
use framebridge_daemon::{Exit, tail};
use framebridge_proto::{Role, limits::HEARTBEAT_INTERVAL, process_name, status::BridgeState};
use framebridge_studio_proto::{Capabilities, Hello, ToStudio, VERSION};
use tokio::time::sleep;

use super::*;

/// Lines of signaling's log that are told with an outage.
const LAST_LINES: usize = 5;

impl App {
    /// Drains all machines. What ends the process comes back.
    pub(super) async fn apply(&mut self) -> Option<bridge_link::End> {
        loop {
            if let Some(output) = self.link.poll_output() {
                if let Some(end) = self.apply_link(output).await {
                    return Some(end);
                }
            } else if let Some(output) = self.health.poll_output() {
                self.apply_local(output);
            } else if let Some(output) = self.slot.poll_output() {
                self.apply_job(output);
            } else {
                return None;
            }
        }
    }

    async fn apply_link(&mut self, output: bridge_link::Output) -> Option<bridge_link::End> {
        match output {
            bridge_link::Output::Connect => {
                self.hang_up().await;
                let studio = self.studio().clone();
                self.wires += 1;
                self.wire = Some(Wire::open(self.wires, studio, self.events.clone()));
            }
            bridge_link::Output::SendHello => {
                self.send(self.hello());
            }
            bridge_link::Output::SendHeartbeat => {
                let job = self.slot.running().copied();
                let beat = report::heartbeat(self.health.view(), self.status.as_ref(), job, self.capabilities());
                if self.send(ToStudio::Heartbeat(beat)) {
                    self.logs.on_heartbeat();
                }
            }
            bridge_link::Output::FlushLogs => {
                self.pay();
                self.flush_logs();
            }
            bridge_link::Output::SendGoodbye => {
                let (ending, reason) = self.farewell.clone();
                self.send(ToStudio::Goodbye { ending, reason });
            }
            bridge_link::Output::Disconnect { why } => {
                tracing::debug!(why, "leaving the studio");
                self.hang_up().await;
            }
            bridge_link::Output::Changed(state) => self.on_link_changed(&state).await,
            bridge_link::Output::End(end) => return Some(end),
        }
        None
    }

    /// Nodes of a studio are tried in turn.
    pub(super) fn studio(&self) -> &Studio {
        &self.studios[self.node_index % self.studios.len()]
    }

    /// Ends the connection there is, and every task that lives with it.
    async fn hang_up(&mut self) {
        if let Some(wire) = self.wire.take() {
            wire.end().await;
        }
        self.requests = Requests::default();
        self.owed.clear();
        self.bringing = None;
        self.logs.on_lost();
        self.welcome = None;
        // Whoever waits for a share hears that nobody answers.
        self.shares.clear();
    }

    fn hello(&self) -> ToStudio {
        ToStudio::Hello(Hello {
            version: VERSION,
            token: self.settings.token.clone(),
            instance: self.instance,
            build: self.identity.build.clone(),
            capabilities: self.capabilities(),
        })
    }

    /// What the box can do now: no jobs while an operator wants none.
    fn capabilities(&self) -> Capabilities {
        let jobs = if self.slot.is_paused() {
            &[][..]
        } else {
            &JobKind::NAMES
        };
        Capabilities {
            streams: self.streams.clone(),
            codecs: vec!["H264".to_owned()],
            jobs: jobs.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    /// Sends the lines there are, a little at a time: heartbeats queue behind them.
    fn flush_logs(&mut self) {
        while self.wire.as_ref().is_some_and(Wire::is_at_ease) {
            let Some(batch) = self.logs.next() else { return };
            self.send(ToStudio::LogBatch(batch));
        }
    }

    async fn on_link_changed(&mut self, state: &bridge_link::State) {
        if let bridge_link::State::Waiting { why, attempts } = state {
            self.hang_up().await;
            self.node_index += 1;
            tracing::warn!(why, attempts, "no session with the studio");
        }
        self.show();
    }

    /// Tells the supervisor how the session is.
    fn show(&self) {
        let view = self.health.view();
        let (state, reason) = match self.link.state() {
            bridge_link::State::Waiting { why, attempts } => {
                (BridgeState::Waiting, Some(format!("attempt {attempts} failed: {why}")))
            }
            bridge_link::State::Connecting | bridge_link::State::Greeting => (BridgeState::Connecting, None),
            bridge_link::State::Online => match view.state {
                local_health::State::Degraded => (BridgeState::Degraded, view.reason.clone()),
                local_health::State::Starting | local_health::State::Ready | local_health::State::Online => {
                    // Its own address outlives every share, and this is read by many: `bridgectl bridge address` tells it.
                    let at = |_| format!("online at {}", self.studio().authority());
                    (BridgeState::Online, self.welcome.as_ref().map(at))
                }
            },
            // How it ended is shown by whoever ends it.
            bridge_link::State::Ended => return,
        };
        self.shown.set(state, reason);
    }

    fn apply_local(&mut self, output: local_health::Output) {
        match output {
            local_health::Output::Changed => {
                let view = self.health.view();
                tracing::info!(state = ?view.state, reason = view.reason, "the box");
                self.show();
                self.link.handle(bridge_link::Input::News, Instant::now());
            }
            local_health::Output::LogOutage { lasted, why } => {
                let signaling = process_name(Role::Signaling, None);
                let last_reason = News::last_reason(self.status.as_ref(), &signaling);
                let seconds = lasted.as_secs();
                tracing::warn!(why, seconds, last_reason, "the box's own server does not answer");
                for line in tail::last(&self.dir, &signaling, LAST_LINES) {
                    tracing::warn!("{signaling} logged last: {line}");
                }
            }
            local_health::Output::RestartSignaling => {
                tracing::warn!("asking the supervisor to restart signaling");
                let restart = local::restart_signaling(self.dir.clone(), self.identity.clone());
                let events = self.events.clone();
                self.tasks.spawn(async move {
                    let answer = restart.await;
                    // With the app gone there is nobody to tell.
                    _ = events.send(Event::Local(answer)).await;
                });
            }
            local_health::Output::Abandon => {
                self.farewell = (Farewell::Failed, "The box's supervisor is gone.".to_owned());
                self.link.handle(bridge_link::Input::Stop, Instant::now());
            }
        }
    }

    /// The end of the process: what it ends with.
    pub(super) async fn conclude(&self, end: bridge_link::End) -> anyhow::Result<()> {
        let (state, error) = match end {
            bridge_link::End::Stopped => match &self.farewell {
                (Farewell::Expired, _) => return Ok(()),
                (Farewell::Failed, why) => (BridgeState::Failed, anyhow!(why.clone()).context(Exit::Unavailable)),
            },
            bridge_link::End::Refused { why } => {
                let exit = match self.refusal {
                    Some(StudioRefusal::Version) => Exit::Protocol,
                    Some(StudioRefusal::AuthFailed | StudioRefusal::Replaced | StudioRefusal::Fatal) | None => {
                        Exit::Refused
                    }
                };
                (BridgeState::Refused, anyhow!(why).context(exit))
            }
            bridge_link::End::OutOfAttempts { why } => (BridgeState::Failed, anyhow!(why).context(Exit::Unavailable)),
        };
        self.shown.set(state, Some(format!("{:#}", error.root_cause())));
        // The supervisor hears it by the next heartbeat, so that operators read the reason and not just an exit code.
        sleep(HEARTBEAT_INTERVAL * 3 / 2).await;
        Err(error)
    }
}
