//! Sessions that we offer: a stream is sent on to a receiver that an operator has named (WHIP). Once it has answered it is a viewer
//! like any other, but for who nominates.

use std::{mem, net::SocketAddr, sync::atomic::Ordering::Acquire};

use framebridge_proto::StreamName;

use crate::{
    Form, Handle, JoinError, Load, SessionId,
    handle::Ends,
    reach::is_a_receivers,
    sdp::{Offer, OfferError, OwnOffer},
};

/// Places where a receiver waits for connections that are tried: it has one or two.
const MOST_LISTENERS: usize = 4;

/// An offer of ours that is to be answered. Nothing is taken up by it.
#[derive(Debug)]
pub struct Offered {
    handle: Handle,
    stream: StreamName,
    worker: usize,
    ends: Ends,
    form: Form,
    text: String,
}

/// A session that a receiver has agreed to.
#[derive(Debug)]
pub struct Begun {
    /// Names it.
    pub session: SessionId,
    /// Where the receiver waits for connections, should UDP not get through: see [`Handle::serve_receiver`].
    pub listeners: Vec<SocketAddr>,
}

/// Why an answer came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It can't be read or lacks something.
    #[error("its answer is malformed: {0}")]
    Malformed(String),
    /// It takes no H.264.
    #[error("it takes none of the H.264 that was offered")]
    NoAcceptableCodec,
    /// It is right, but asks for a transport that we don't have.
    #[error("its answer asks for a transport that there is not: {0}")]
    Unacceptable(String),
    /// The receiver has our own certificate: both ends of the session would be at one address.
    #[error("it is this box itself, and a box can't push to itself: give another stream the same source instead")]
    Ourselves,
    /// There is no place for it here.
    #[error("there is no place for it here")]
    NoPlace(#[source] JoinError),
}

impl Handle {
    /// Offers to send `stream`; `load`: what will be sent, as far as that is known.
    pub fn offer(&self, stream: &StreamName, load: Option<Load>) -> Offered {
        let shared = &self.shared;
        let worker = shared.next_worker();
        let (ends, form) = (Ends::random(worker), shared.stream(stream).form());
        let own = OwnOffer {
            ice: &ends.local,
            fingerprint: shared.identity.fingerprint(),
            candidates: self.candidates(),
            ssrc: ends.ssrc,
            repair_ssrc: ends.repair_ssrc,
            name: stream.as_str(),
            cname: &ends.session.cname(),
            form,
            level: load.map(Load::level),
        };
        Offered {
            text: own.write(),
            handle: self.clone(),
            stream: stream.clone(),
            worker,
            ends,
            form,
        }
    }
}

impl Offered {
    /// The offer's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Begins the session that `answer` agrees to.
    ///
    /// # Errors
    /// See [`AnswerError`].
    pub async fn answered(self, answer: &str) -> Result<Begun, AnswerError> {
        let read = Offer::parse_answer(answer, self.form);
        let mut answer = read.map_err(|error| match error {
            OfferError::Malformed(reason) => AnswerError::Malformed(reason),
            OfferError::NoAcceptableCodec | OfferError::OnlyMode0 => AnswerError::NoAcceptableCodec,
            OfferError::Unacceptable(reason) => AnswerError::Unacceptable(reason),
        })?;
        let shared = &self.handle.shared;
        if answer.fingerprints.contains(shared.identity.fingerprint()) {
            return Err(AnswerError::Ourselves);
        }
        if shared.stopped.load(Acquire) {
            return Err(AnswerError::NoPlace(JoinError::Stopped));
        }
        let order = self.handle.order(self.worker).await;
        let order = order.ok_or(AnswerError::NoPlace(JoinError::Stopped))?;
        let candidates = mem::take(&mut answer.candidates);
        let stream = shared.stream(&self.stream);
        let mut listeners = mem::take(&mut answer.listeners);
        listeners.retain(is_a_receivers);
        listeners.truncate(MOST_LISTENERS);
        let etag = self
            .handle
            .admit(order, &stream, &self.ends, (&mut answer, true), candidates);
        let begun = |_etag| Begun {
            session: self.ends.session,
            listeners,
        };
        etag.map(begun).map_err(AnswerError::NoPlace)
    }
}
