//! Publishers: sessions in which media comes to us. Each is apart from all viewers' sessions, and what comes of it goes to who
//! opened it, who makes a source of it.
//!
//! A publisher outlives the process as a viewer does: the next one goes on with it, from a keyframe on.

use std::{
    collections::HashMap,
    mem,
    sync::{MutexGuard, atomic::Ordering::Acquire},
    time::Instant,
};

use framebridge_proto::{StreamName, media::Rung};
use tokio::sync::mpsc;

use crate::{
    CloseReason, Handle, JoinError, Link, Peer, PeerConfig, PublisherEvent, Receives, SessionId, ViewerState,
    ice::Credentials,
    mailbox::Command,
    mutex::lock,
    publishers::{LastHeard, PublisherOutlet},
    random,
    reach::Restarts,
    sdp::{Answer, Offer},
    sessions::Session,
    state::EngineState,
    viewer::Viewer,
    worker_number::ufrag_prefix,
};

/// Publishers at once: each may keep a second of packets, and a frame.
const MAX_PUBLISHERS: usize = 64;

/// The level of H.264 that is taken from a publisher which lets us say so: 5.2, as what decodes it takes any.
const LEVEL: u8 = 52;

/// A publisher that was answered.
#[derive(Debug)]
pub struct Published {
    /// The entity tag of its ICE generation, without quotes.
    pub etag: String,
    /// The SDP answer.
    pub answer: String,
    /// The parameter sets of H.264 that the offer names (`sprop-parameter-sets`), without start codes.
    pub parameter_sets: Vec<Vec<u8>>,
    /// Our end of it.
    pub publisher: Publisher,
}

/// Our end of a publisher's session. Dropping it ends the session.
#[derive(Debug)]
pub struct Publisher {
    session: SessionId,
    handle: Handle,
    events: mpsc::Receiver<PublisherEvent>,
    heard: LastHeard,
}

impl Publisher {
    /// Names it.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// What happens next; `None`: it has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<PublisherEvent> {
        self.events.recv().await
    }

    /// When media of it came last; `None`: none has.
    pub fn heard(&self) -> Option<Instant> {
        self.heard.get()
    }

    /// Asks it for a keyframe. A worker that has no room for that is asked again by whoever still needs one.
    pub fn ask_keyframe(&self) {
        let worker = self
            .handle
            .shared
            .publishers()
            .get(&self.session)
            .map(|entry| entry.worker);
        if let Some(worker) = worker {
            self.handle.tell(worker, Command::Keyframe(self.session));
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.handle.end_publisher(&self.session);
    }
}

impl Handle {
    /// Answers `offer` and makes its sender a publisher, of what is to be `stream`. Cancel-safe.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn publish_by(&self, stream: &StreamName, offer: &str) -> Result<Published, JoinError> {
        let shared = &self.shared;
        let mut offer = Offer::parse_published(offer)?;
        if shared.stopped.load(Acquire) {
            return Err(JoinError::Stopped);
        }
        let worker = shared.next_worker();
        let order = self.order(worker).await.ok_or(JoinError::Stopped)?;
        let (session, now) = (SessionId::random(), Instant::now());
        let (stream, local) = (shared.stream(stream), Credentials::random(&ufrag_prefix(worker)));
        let (ssrc, etag) = (u32::from_be_bytes(random::bytes()), random::text(16));
        let entry = Session {
            stream: stream.clone(),
            worker,
            etag: etag.clone(),
            remote: offer.ice.clone(),
            mid: offer.transport_mid().map(str::to_owned),
            restarts: Restarts::default(),
            is_lost: false,
            state: ViewerState::Connecting,
            link: Link::default(),
        };
        if !shared.open_publisher(session, entry) {
            return Err(JoinError::OutOfPlaces { limit: MAX_PUBLISHERS });
        }
        let config = PeerConfig {
            local: local.clone(),
            remote: offer.ice.clone(),
            sockets: shared.families(),
            fingerprints: mem::take(&mut offer.fingerprints),
            ssrc,
            payload_type: 0,
            repair: None,
            numbering: None,
            playout: None,
            capture_time: None,
            connect_timeout: shared.config.connect_timeout,
            disconnect_grace: shared.config.disconnect_grace,
            data: None,
            receives: Some(Receives {
                payload_type: offer.format.payload_type,
                repair: offer.format.repair,
                numbering: offer.format.numbering,
            }),
            begins: offer.begins,
        };
        let peer = Peer::new(&shared.identity, config, now);
        let (outlet, events) = PublisherOutlet::new(now);
        let mut viewer = Viewer::new(session, stream.clone(), peer, Rung::Full, now);
        let heard = outlet.heard().clone();
        viewer.publisher = Some(outlet);
        viewer.footing.leave();
        let publisher = Publisher {
            session,
            handle: self.clone(),
            events,
            heard,
        };
        let candidates = mem::take(&mut offer.candidates);
        order.give(Command::Join(Box::new(viewer), candidates));
        let level = offer.lets_us_name_a_level().then_some(LEVEL);
        let parameter_sets = offer.parameter_sets();
        let answer = Answer {
            offer,
            ice: local,
            fingerprint: shared.identity.fingerprint().clone(),
            candidates: self.candidates(),
            ssrc,
            repair_ssrc: 0,
            name: stream.name.to_string(),
            cname: session.cname(),
        };
        Ok(Published {
            etag,
            answer: answer.write(level),
            parameter_sets,
            publisher,
        })
    }

    /// Our ends of those that an earlier process kept, each once. One that is dropped ends.
    pub fn resumed_publishers(&self) -> Vec<Publisher> {
        let left = mem::take(&mut *lock(&self.shared.resumed));
        let resumed = left.into_iter().map(|(session, events, heard)| Publisher {
            session,
            handle: self.clone(),
            events,
            heard,
        });
        resumed.collect()
    }

    /// The stream that a publisher's session is for, and the entity tag of its ICE generation; `None`: there is no such session.
    pub fn published(&self, session: &SessionId) -> Option<(StreamName, String)> {
        let publishers = self.shared.publishers();
        let entry = publishers.get(session)?;
        Some((entry.stream.name.clone(), entry.etag.clone()))
    }

    /// The open publishers' sessions, and the stream of each.
    pub fn publishers(&self) -> Vec<(SessionId, StreamName)> {
        let publishers = self.shared.publishers();
        let mut all: Vec<_> = publishers
            .iter()
            .map(|(session, entry)| (*session, entry.stream.name.clone()))
            .collect();
        all.sort();
        all
    }

    /// Ends a publisher's session; false if there is none.
    pub fn end_publisher(&self, session: &SessionId) -> bool {
        // First, for the worker does so, too, when it hears of it.
        let Some(worker) = self.shared.close_publisher(session) else {
            return false;
        };
        self.tell(worker, Command::End(*session, CloseReason::Left));
        true
    }

    /// Tells a worker, if it has room: one that has none finds out by its timers that the session is unknown, or is asked again.
    fn tell(&self, worker: usize, command: Command) {
        let mailbox = &self.shared.mailboxes[worker];
        if mailbox.commands.try_send(command).is_ok() {
            mailbox.ring();
        }
    }
}

impl EngineState {
    /// The open publishers' sessions.
    pub(crate) fn publishers(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        lock(&self.publishers)
    }

    /// A publisher was kept by an earlier process: here is what whoever goes on with it takes.
    pub(crate) fn leave_to_be_resumed(
        &self,
        session: SessionId,
        events: mpsc::Receiver<PublisherEvent>,
        heard: LastHeard,
    ) {
        lock(&self.resumed).push((session, events, heard));
    }

    /// Takes a place for a publisher; false: there is none.
    pub(crate) fn open_publisher(&self, session: SessionId, entry: Session) -> bool {
        let mut publishers = self.publishers();
        let has_room = publishers.len() < MAX_PUBLISHERS;
        if has_room {
            publishers.insert(session, entry);
        }
        has_room
    }

    /// A publisher's session is unknown from here on; who served it, if it was known.
    pub(crate) fn close_publisher(&self, session: &SessionId) -> Option<usize> {
        self.publishers().remove(session).map(|entry| entry.worker)
    }
}
