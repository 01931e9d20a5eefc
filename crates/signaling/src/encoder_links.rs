//! Which streams there are, each with the link to its encoder: as the settings say, and whenever the supervisor has written others.

use std::{collections::BTreeMap, sync::Arc};

use framebridge_config as config;
use framebridge_daemon::{Args, Tasks};
use framebridge_ipc::{Identity, RuntimeDir};
use framebridge_proto::{StreamName, media::Rung};
use framebridge_rtc::Handle;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::{AbortHandle, spawn_blocking},
};

use crate::{
    app_state::AppState, encoder_link::EncoderLink, feed_link, push, rung_link::RungLink, stream::Stream,
    stream_set::Streams,
};

/// The links to encoders.
pub(crate) struct EncoderLinks {
    tasks: Tasks,
    engine: Handle,
    dir: RuntimeDir,
    identity: Identity,
    running: BTreeMap<StreamName, Running>,
}

/// One stream's link.
struct Running {
    configured: config::Stream,
    links: Vec<AbortHandle>,
}

impl EncoderLinks {
    /// No links yet; `tasks` owns them.
    pub(crate) fn new(tasks: Tasks, engine: Handle, dir: RuntimeDir, identity: Identity) -> Self {
        Self {
            tasks,
            engine,
            dir,
            identity,
            running: BTreeMap::new(),
        }
    }

    /// The streams that are configured, each linked.
    pub(crate) fn begin(&mut self, configured: &[config::Stream]) -> Streams {
        let streams = Streams::default();
        self.set(&streams, configured);
        streams
    }

    /// Has `streams` be these and no others. A stream that is configured as before is left alone. Returns those that are gone.
    fn set(&mut self, streams: &Streams, configured: &[config::Stream]) -> Vec<StreamName> {
        let is_gone = |name: &StreamName| configured.iter().all(|stream| stream.name != *name);
        let gone: Vec<StreamName> = self.running.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in &gone {
            streams.remove(name);
            self.end(name);
        }
        for stream in configured {
            let before = self.running.get(&stream.name);
            if before.is_none_or(|running| !running.configured.is_fed_like(stream)) {
                self.end(&stream.name);
                let running = self.link(streams, stream);
                self.running.insert(stream.name.clone(), running);
            }
        }
        gone
    }

    fn end(&mut self, name: &StreamName) {
        if let Some(running) = self.running.remove(name) {
            running.links.iter().for_each(AbortHandle::abort);
        }
    }

    fn link(&self, streams: &Streams, configured: &config::Stream) -> Running {
        let (stream, asks) = Stream::new(configured, self.engine.counts(&configured.name));
        streams.set(Arc::clone(&stream));
        let lower = Rung::LOWER.map(|rung| RungLink {
            stream: Arc::clone(&stream),
            rung,
            engine: self.engine.clone(),
            dir: self.dir.clone(),
            identity: self.identity.clone(),
        });
        let feed = feed_link::serve(Arc::clone(&stream), self.dir.clone(), self.tasks.clone());
        let link = EncoderLink {
            stream,
            asks,
            engine: self.engine.clone(),
            dir: self.dir.clone(),
            identity: self.identity.clone(),
        };
        let mut links = vec![self.tasks.spawn(link.run()).abort_handle()];
        links.push(self.tasks.spawn(feed).abort_handle());
        links.extend(lower.map(|link| self.tasks.spawn(link.run()).abort_handle()));
        Running {
            configured: configured.clone(),
            links,
        }
    }
}

/// Reads on each SIGHUP what the supervisor has written, where it writes at all. Viewers of a stream that is gone are sent away;
/// nobody else notices.
pub(crate) async fn follow(mut links: EncoderLinks, shared: Arc<AppState>, args: Args) {
    if args.settings.is_none() {
        return;
    }
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        return;
    };
    loop {
        // At once, too: what was written before this could be heard counts.
        let args = args.clone();
        match spawn_blocking(move || args.load()).await {
            Ok(Ok(settings)) => {
                let gone = links.set(&shared.streams, &settings.streams);
                send_away(&shared, &gone).await;
                push::set(&shared, &settings.streams);
            }
            Ok(Err(error)) => tracing::error!("{:#}", anyhow::Error::from(error)),
            Err(error) => tracing::error!(%error, "the settings can't be read"),
        }
        hangups.recv().await;
    }
}

/// Ends the viewers of these streams.
async fn send_away(shared: &AppState, gone: &[StreamName]) {
    if gone.is_empty() {
        return;
    }
    for stream in gone {
        shared.reports.forget(stream);
    }
    for session in shared.engine.sessions() {
        let watched = shared.engine.session(&session).map(|info| info.stream);
        if watched.is_some_and(|stream| gone.contains(&stream)) {
            shared.end(&session).await;
        }
    }
}
