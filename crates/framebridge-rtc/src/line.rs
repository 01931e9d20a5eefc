//! Lines: sessions of two data channels and no media, apart from anybody's pictures, so that neither minds the end of the other.
//!
//! A line is not handed over: it ends with the process, and whoever had it opens another.

use std::{sync::atomic::Ordering::Acquire, time::Instant};

use framebridge_proto::{StreamName, media::Rung};
use tokio::sync::mpsc;

use crate::{
    CloseReason, Handle, Lane, LineEvent, Peer, PeerConfig, SessionId,
    ice::Credentials,
    lines::{LineOutlet, MAX_LINES},
    mailbox::Command,
    random,
    sdp::{LineOffer, OfferError},
    viewer::Viewer,
    worker_number::ufrag_prefix,
};

/// Why a line was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The offer can't be read or lacks something.
    #[error("malformed offer: {0}")]
    MalformedOffer(String),
    /// It is right, but asks for something that we don't have.
    #[error("unacceptable offer: {0}")]
    UnacceptableOffer(String),
    /// There are as many lines as there may be.
    #[error("all {limit} places for lines are taken")]
    OutOfPlaces {
        /// How many that is.
        limit: usize,
    },
    /// The engine was stopped.
    #[error("the media plane has stopped")]
    Stopped,
}

/// A line that was answered.
#[derive(Debug)]
pub struct Opened {
    /// The SDP answer.
    pub answer: String,
    /// Our end of it.
    pub line: Line,
}

/// Our end of a line. Dropping it closes the line.
#[derive(Debug)]
pub struct Line {
    session: SessionId,
    handle: Handle,
    events: mpsc::Receiver<LineEvent>,
}

impl Line {
    /// Names it in logs.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// What happens next; `None`: it has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<LineEvent> {
        self.events.recv().await
    }

    /// Says something on a lane. A line that takes nothing ends.
    pub async fn send(&self, lane: Lane, text: String) {
        let worker = self.handle.shared.lines.worker_of(&self.session);
        if let Some(worker) = worker
            && let Some(order) = self.handle.order(worker).await
        {
            order.give(Command::Send(self.session, lane, text));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.handle.close_line(&self.session);
    }
}

impl Handle {
    /// Whether a line is open, or being opened.
    pub fn has_line(&self, session: &SessionId) -> bool {
        self.shared.lines.worker_of(session).is_some()
    }

    /// Ends a line; false if there is none.
    pub fn close_line(&self, session: &SessionId) -> bool {
        let Some(worker) = self.shared.lines.close(session) else {
            return false;
        };
        // A worker that has no room for the news finds out when nobody takes what comes.
        let mailbox = &self.shared.mailboxes[worker];
        let end = Command::End(*session, CloseReason::Left);
        if mailbox.commands.try_send(end).is_ok() {
            mailbox.ring();
        }
        true
    }

    /// Answers `offer` with a line; `stream` is what it is about. Cancel-safe.
    ///
    /// # Errors
    /// See [`LineError`].
    pub async fn open_line(&self, stream: &StreamName, offer: &str) -> Result<Opened, LineError> {
        let shared = &self.shared;
        let offer = LineOffer::parse(offer).map_err(|error| match error {
            OfferError::Malformed(reason) => LineError::MalformedOffer(reason),
            OfferError::Unacceptable(reason) => LineError::UnacceptableOffer(reason),
            OfferError::NoAcceptableCodec | OfferError::OnlyMode0 => {
                LineError::UnacceptableOffer("it has media".to_owned())
            }
        })?;
        if shared.stopped.load(Acquire) {
            return Err(LineError::Stopped);
        }
        let worker = shared.next_worker();
        let order = self.order(worker).await.ok_or(LineError::Stopped)?;
        let (session, now) = (SessionId::random(), Instant::now());
        if !shared.lines.open(session, worker) {
            return Err(LineError::OutOfPlaces { limit: MAX_LINES });
        }
        let local = Credentials::random(&ufrag_prefix(worker));
        let ours = (&local, shared.identity.fingerprint());
        let answer = offer.answer(u32::from_be_bytes(random::bytes()), ours, &self.candidates());
        let config = PeerConfig {
            local: local.clone(),
            remote: offer.ice,
            sockets: shared.families(),
            fingerprints: offer.fingerprints,
            ssrc: 0,
            payload_type: 0,
            repair: None,
            numbering: None,
            playout: None,
            capture_time: None,
            connect_timeout: shared.config.connect_timeout,
            disconnect_grace: shared.config.disconnect_grace,
            data: Some(shared.config.containment),
            receives: None,
            begins: false,
        };
        let peer = Peer::new(&shared.identity, config, now);
        let (outlet, events) = LineOutlet::new();
        let mut viewer = Viewer::new(session, shared.stream(stream), peer, Rung::Full, now);
        viewer.line = Some(outlet);
        viewer.footing.leave();
        let line = Line {
            session,
            handle: self.clone(),
            events,
        };
        order.give(Command::Join(Box::new(viewer), offer.candidates));
        Ok(Opened { answer, line })
    }
}
