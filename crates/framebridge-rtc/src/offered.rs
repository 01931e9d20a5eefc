//! Sessions that we offer: a stream is sent on to a receiver that an operator has named (WHIP). Once it has answered it is a viewer
//! like any other, but for who nominates.

use std::{
    mem,
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering::Acquire,
};

use framebridge_proto::StreamName;

use crate::{
    Form, Handle, JoinError, Load, SessionId,
    handle::Ends,
    reach::may_wait_at,
    sdp::{Offer, OfferError, OwnOffer},
};

/// Places of each family where a receiver waits for connections that are tried: it has one or two. All are tried at once.
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

    /// Begins the session that `answer` agrees to; it has come from `from`.
    ///
    /// # Errors
    /// See [`AnswerError`].
    pub async fn answered(self, answer: &str, from: IpAddr) -> Result<Begun, AnswerError> {
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
        let listeners = worth_trying(mem::take(&mut answer.listeners), from);
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

/// Which of `named`, the best first, are tried.
fn worth_trying(named: Vec<SocketAddr>, from: IpAddr) -> Vec<SocketAddr> {
    let mut tried: Vec<SocketAddr> = Vec::new();
    for listener in named {
        let of_family = |other: &&SocketAddr| other.is_ipv4() == listener.is_ipv4();
        let has_room = tried.iter().filter(of_family).count() < MOST_LISTENERS;
        if has_room && may_wait_at(&listener, from) && !tried.contains(&listener) {
            tried.push(listener);
        }
    }
    tried
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receiver_from_elsewhere_has_us_connect_to_nothing_near() {
        let named = [
            "127.0.0.1:22",
            "10.0.0.7:22",
            "100.64.0.1:22",
            "[::1]:22",
            "[fd00::1]:22",
            "9.9.9.9:443",
        ];
        let named: Vec<SocketAddr> = named.iter().map(|it| it.parse().unwrap()).collect();
        for (from, tried) in [
            ("9.9.9.9", 1),
            ("2600::1", 1),
            ("192.168.1.2", 6),
            ("::ffff:127.0.0.1", 6),
        ] {
            assert_eq!(
                worth_trying(named.clone(), from.parse().unwrap()).len(),
                tried,
                "{from}"
            );
        }
    }

    #[test]
    fn one_family_does_not_take_the_places_of_the_other() {
        let sixes = (1..9).map(|port| format!("[2600::1]:{port}"));
        let named = sixes.chain(["9.9.9.9:443".to_owned(), "9.9.9.9:443".to_owned()]);
        let named: Vec<SocketAddr> = named.map(|it| it.parse().unwrap()).collect();
        let tried = worth_trying(named, [9, 9, 9, 9].into());
        assert_eq!((tried.len(), tried.last().unwrap().port()), (MOST_LISTENERS + 1, 443));
    }
}
