//! The media plane's owner: start, restore, stop.

use std::{
    os::fd::AsFd as _,
    sync::{Arc, atomic::Ordering::Release},
    thread::{self, JoinHandle},
    time::Instant,
};

use framebridge_proto::{StreamName, media::Rung};
use tokio::sync::mpsc;

use crate::{
    Config, Event, StartError, bind,
    dtls::Identity,
    handle::Handle,
    handover::{Handover, socket_name, viewer_file::ViewerFile, viewer_file_name},
    mailbox::Mailbox,
    socket::Socket,
    state::EngineState,
    worker::Worker,
};

/// Events waiting for the engine's owner; see `EngineState::events` about a full queue.
const EVENTS: usize = 1024;

/// The media plane: worker threads, sockets and viewers. Dropping it stops it.
pub struct Engine {
    handle: Handle,
    handover: Handover,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("port", &self.local_port())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Binds the sockets and starts the workers. Events come on the receiver.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: Config) -> Result<(Self, mpsc::Receiver<Event>), StartError> {
        Self::restore(config, Handover::default(), |_| true)
    }

    /// Starts where an earlier engine was killed: on its sockets, with its viewers, as far as they were kept and their
    /// streams are `served` still.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn restore(
        config: Config,
        mut restored: Handover,
        served: impl Fn(&StreamName) -> bool,
    ) -> Result<(Self, mpsc::Receiver<Event>), StartError> {
        if !(1..=Config::MAX_WORKERS).contains(&config.workers) {
            return Err(StartError::Workers {
                workers: config.workers,
            });
        }
        let sockets = bind::bind(&config, &mut restored)?;
        let first = sockets
            .first()
            .filter(|sockets| !sockets.is_empty())
            .ok_or(StartError::NoAddress)?;
        let locals = first.iter().map(Socket::local).collect();
        let identity = Identity::generate()?;
        let (events, events_in) = mpsc::channel(EVENTS);
        let (mut mailboxes, mut inlets) = (Vec::new(), Vec::new());
        for _ in 0..config.workers {
            let (mailbox, inlet) = Mailbox::new().map_err(StartError::Thread)?;
            mailboxes.push(mailbox);
            inlets.push(inlet);
        }
        let shared = Arc::new(EngineState::new(config, identity, locals, mailboxes, events));
        let mut engine = Self {
            handle: Handle {
                shared,
                seen_as: None,
                arrival: None,
                best: Rung::Full,
            },
            handover: Handover::default(),
            workers: Vec::new(),
        };
        for (number, (sockets, inlet)) in sockets.into_iter().zip(inlets).enumerate() {
            for socket in &sockets {
                let name = socket_name(number, socket.local().ip());
                engine
                    .handover
                    .add(name, socket.as_fd())
                    .map_err(StartError::Handover)?;
            }
            let earlier = restored.take(&viewer_file_name(number));
            let (viewer_file, records) = ViewerFile::restore(earlier).map_err(StartError::Handover)?;
            engine
                .handover
                .add(viewer_file_name(number), viewer_file.file())
                .map_err(StartError::Handover)?;
            let mut worker = Worker::new(number, Arc::clone(&engine.handle.shared), sockets, viewer_file, inlet);
            for (place, record) in records {
                match record.stream.parse() {
                    Ok(stream) if served(&stream) => worker.restore(place, record, &stream, Instant::now()),
                    Ok(_) | Err(_) => worker.forget(place),
                }
            }
            let thread = thread::Builder::new()
                .name(format!("rtc-{number}"))
                .spawn(move || worker.run());
            engine.workers.push(thread.map_err(StartError::Thread)?);
        }
        Ok((engine, events_in))
    }

    /// What the next engine needs in order to go on if this one is killed.
    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// The UDP port in use.
    pub fn local_port(&self) -> u16 {
        self.handle.shared.port()
    }

    /// A handle to share.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Closes every viewer and ends the threads; blocks until they have ended, which takes milliseconds.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        shared.stopped.store(true, Release);
        shared.mailboxes.iter().for_each(Mailbox::ring);
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a media worker had panicked");
            }
        }
        // Viewers that were on their way to a worker.
        shared.close_all();
    }
}
