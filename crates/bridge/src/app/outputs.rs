//! Carries out what the machines decide.

use std::time::Instant;

use anyhow::anyhow;
use framebridge_core::studio::{bridge_link, local_health};
use framebridge_daemon::{Exit, tail};
use framebridge_proto::{Role, limits::HEARTBEAT_INTERVAL, process_name, status::BridgeState};
use framebridge_studio_proto::{
    Capabilities, Farewell, Hello, JobKind, RefusalKind as StudioRefusal, ToStudio, VERSION,
};
use tokio::time::sleep;

use super::App;
use crate::{
    event::Event,
    jobs::is_allowed,
    local,
    report::{self, News},
    requests::Requests,
    shares,
};

/// Lines of signaling's log that are told with an outage.
const LAST_LINES: usize = 5;

impl App {
    /// Drains all machines. What ends the process comes back.
    pub(super) async fn apply(&mut self) -> Option<bridge_link::End> {
        loop {
            if let Some(output) = self.link.machine.poll_output() {
                if let Some(end) = self.apply_link(output).await {
                    return Some(end);
                }
            } else if let Some(output) = self.local.health.poll_output() {
                self.apply_local(output);
            } else if let Some(output) = self.jobs.slot.poll_output() {
                self.apply_job(output);
            } else {
                self.attend_to_viewers();
                return None;
            }
        }
    }

    fn attend_to_viewers(&mut self) {
        let orders = self.viewers.shares.poll_outputs();
        if !orders.is_empty() {
            let (proxy, events) = (self.viewers.proxy.clone(), self.process.events.clone());
            self.process.tasks.spawn(shares::attend(orders, proxy, events));
        }
    }

    async fn apply_link(&mut self, output: bridge_link::Output) -> Option<bridge_link::End> {
        match output {
            bridge_link::Output::Connect => {
                self.hang_up().await;
                self.link.connect(self.process.events.clone());
            }
            bridge_link::Output::SendHello => {
                self.link.send(self.hello());
            }
            bridge_link::Output::SendHeartbeat => {
                let job = self.jobs.slot.running().copied();
                let (view, status) = (self.local.health.view(), self.local.status.as_ref());
                let beat = report::heartbeat(view, status, job, self.capabilities());
                if self.link.send(ToStudio::Heartbeat(beat)) {
                    self.link.logs.on_heartbeat();
                }
            }
            bridge_link::Output::FlushLogs => {
                self.pay();
                self.link.flush_logs();
            }
            bridge_link::Output::SendGoodbye => {
                let (ending, reason) = self.link.farewell.clone();
                self.link.send(ToStudio::Goodbye { ending, reason });
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

    /// Ends the connection there is, and what lives with it.
    async fn hang_up(&mut self) {
        self.link.hang_up().await;
        self.viewers.requests = Requests::default();
        self.jobs.on_link_lost();
        self.orders.forget();
    }

    fn hello(&self) -> ToStudio {
        ToStudio::Hello(Hello {
            version: VERSION,
            token: self.link.token.clone(),
            instance: self.about.instance,
            build: self.about.identity.build.clone(),
            capabilities: self.capabilities(),
        })
    }

    /// What the box can do now: no jobs while an operator wants none, and none that the box does not allow its studio.
    fn capabilities(&self) -> Capabilities {
        let (paused, allow) = (self.jobs.slot.is_paused(), self.link.settings.allow);
        let jobs = JobKind::NAMES
            .into_iter()
            .filter(|name| !paused && is_allowed(name, allow));
        Capabilities {
            streams: self.about.streams.clone(),
            codecs: vec!["H264".to_owned()],
            jobs: jobs.map(str::to_owned).collect(),
        }
    }

    async fn on_link_changed(&mut self, state: &bridge_link::State) {
        if let bridge_link::State::Waiting { why, attempts } = state {
            self.hang_up().await;
            self.link.move_to_next();
            tracing::warn!(why, attempts, "no session with the studio");
        }
        self.show();
    }

    /// Tells the supervisor how the session is.
    fn show(&self) {
        let view = self.local.health.view();
        let (state, reason) = match self.link.machine.state() {
            bridge_link::State::Waiting { why, attempts } => {
                (BridgeState::Waiting, Some(format!("attempt {attempts} failed: {why}")))
            }
            bridge_link::State::Connecting | bridge_link::State::Greeting => (BridgeState::Connecting, None),
            bridge_link::State::Online => match view.state {
                local_health::State::Degraded => (BridgeState::Degraded, view.reason.clone()),
                local_health::State::Starting | local_health::State::Ready | local_health::State::Online => {
                    // Its own address outlives every share, and this is read by many: `bridgectl bridge address` tells it.
                    let at = |_| format!("online at {}", self.link.studio().authority());
                    (BridgeState::Online, self.link.welcome.as_ref().map(at))
                }
            },
            // How it ended is shown by whoever ends it.
            bridge_link::State::Ended => return,
        };
        self.process.shown.set(state, reason);
    }

    fn apply_local(&mut self, output: local_health::Output) {
        match output {
            local_health::Output::Changed => {
                let view = self.local.health.view();
                tracing::info!(state = ?view.state, reason = view.reason, "the box");
                self.show();
                self.link.machine.handle(bridge_link::Input::News, Instant::now());
            }
            local_health::Output::LogOutage { lasted, why } => {
                let signaling = process_name(Role::Signaling, None);
                let last_reason = News::last_reason(self.local.status.as_ref(), &signaling);
                let seconds = lasted.as_secs();
                tracing::warn!(why, seconds, last_reason, "the box's own server does not answer");
                for line in tail::last(&self.about.dir, &signaling, LAST_LINES) {
                    tracing::warn!("{signaling} logged last: {line}");
                }
            }
            local_health::Output::RestartSignaling => {
                tracing::warn!("asking the supervisor to restart signaling");
                let restart = local::restart_signaling(self.about.dir.clone(), self.about.identity.clone());
                let events = self.process.events.clone();
                self.process.tasks.spawn(async move {
                    let answer = restart.await;
                    // With the app gone there is nobody to tell.
                    _ = events.send(Event::Local(answer)).await;
                });
            }
            local_health::Output::Abandon => {
                self.link.farewell = (Farewell::Failed, "The box's supervisor is gone.".to_owned());
                self.link.machine.handle(bridge_link::Input::Stop, Instant::now());
            }
        }
    }

    /// The end of the process: what it ends with.
    pub(super) async fn conclude(&self, end: bridge_link::End) -> anyhow::Result<()> {
        let (state, error) = match end {
            bridge_link::End::Stopped => match &self.link.farewell {
                (Farewell::Expired, _) => return Ok(()),
                (Farewell::Failed, why) => (BridgeState::Failed, anyhow!(why.clone()).context(Exit::Unavailable)),
            },
            bridge_link::End::Refused { why } => {
                let exit = match self.link.refusal {
                    Some(StudioRefusal::Version) => Exit::Protocol,
                    Some(StudioRefusal::AuthFailed | StudioRefusal::Replaced | StudioRefusal::Fatal) | None => {
                        Exit::Refused
                    }
                };
                (BridgeState::Refused, anyhow!(why).context(exit))
            }
            bridge_link::End::OutOfAttempts { why } => (BridgeState::Failed, anyhow!(why).context(Exit::Unavailable)),
        };
        self.process.shown.set(state, Some(format!("{:#}", error.root_cause())));
        // The supervisor hears it by the next heartbeat, so that operators read the reason and not just an exit code.
        sleep(HEARTBEAT_INTERVAL * 3 / 2).await;
        Err(error)
    }
}
