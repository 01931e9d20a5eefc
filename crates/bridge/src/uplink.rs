//! The session with the studio: its machine, the connection there is, and what travels on it.

use std::time::Instant;

use anyhow::Context as _;
use framebridge_config::Studio as Settings;
use framebridge_core::{
    backoff,
    studio::bridge_link::{self, BridgeLink},
};
use framebridge_daemon::{Exit, LogTap};
use framebridge_studio_proto::{Farewell, RefusalKind, ToStudio, Welcome};
use tokio::sync::mpsc;

use crate::{dial::Studio, event::Event, logs::Outbox, token, websocket::Connection};

/// The session with the studio.
pub(crate) struct Uplink {
    pub(crate) machine: BridgeLink,
    pub(crate) settings: Settings,
    /// Shows the studio which box this is.
    pub(crate) token: String,
    /// Nodes of one studio.
    studios: Vec<Studio>,
    /// Which of them is connected to, or tried next: an index.
    next: usize,
    pub(crate) connection: Option<Connection>,
    /// Connections begun so far.
    connections: u64,
    pub(crate) welcome: Option<Welcome>,
    /// What kind of refusal the last one was.
    pub(crate) refusal: Option<RefusalKind>,
    /// What the studio is told at the end.
    pub(crate) farewell: (Farewell, String),
    pub(crate) logs: Outbox,
}

impl Uplink {
    /// A session that is to be begun.
    pub(crate) fn new(settings: &Settings, tap: LogTap, now: Instant, seed: u64) -> anyhow::Result<Self> {
        let defaults = bridge_link::Config::default();
        let config = bridge_link::Config {
            backoff: backoff::Config {
                base: settings.backoff,
                cap: settings.backoff_cap,
                ..defaults.backoff
            },
            read_idle: settings.read_idle,
            attempts: settings.reconnect_attempts,
            ..defaults
        };
        let studios = settings.urls.iter().map(|url| Studio::parse(url));
        Ok(Self {
            machine: BridgeLink::new(config, now, seed),
            studios: studios.collect::<Result<_, _>>()?,
            settings: settings.clone(),
            token: token::read(&settings.token).context(Exit::Config)?,
            next: 0,
            connection: None,
            connections: 0,
            welcome: None,
            refusal: None,
            farewell: (Farewell::Expired, "The box was stopped.".to_owned()),
            logs: Outbox::new(tap),
        })
    }

    /// The node that is connected to, or tried next.
    pub(crate) fn studio(&self) -> &Studio {
        &self.studios[self.next % self.studios.len()]
    }

    /// The next attempt goes to another node.
    pub(crate) fn move_to_next(&mut self) {
        self.next += 1;
    }

    /// Begins to connect. What happens comes as events.
    pub(crate) fn connect(&mut self, events: mpsc::Sender<Event>) {
        self.connections += 1;
        self.connection = Some(Connection::open(self.connections, self.studio().clone(), events));
    }

    /// Whether that is the connection there is.
    pub(crate) fn is_present(&self, number: u64) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| connection.number == number)
    }

    /// Ends the connection there is, and every task that lives with it.
    pub(crate) async fn hang_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.end().await;
        }
        self.logs.on_lost();
        self.welcome = None;
    }

    /// Sends a frame, if there is a connection with room for it.
    pub(crate) fn send(&self, frame: ToStudio) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| connection.frames.try_send(frame).is_ok())
    }

    /// Sends the lines there are, a little at a time: heartbeats queue behind them.
    pub(crate) fn flush_logs(&mut self) {
        while self.connection.as_ref().is_some_and(Connection::is_at_ease) {
            let Some(batch) = self.logs.next() else { return };
            self.send(ToStudio::LogBatch(batch));
        }
    }
}
