//! The gate of the active end, which anybody who may publish can have us be. What it is sent (RFC 6347 section 4.2.1):
//!
//! | flight | messages |
//! | --- | --- |
//! | 2 | HelloVerifyRequest, which some servers leave out |
//! | 4 | ServerHello, Certificate, ServerKeyExchange, CertificateRequest (or not), ServerHelloDone |
//! | 6 | a change of cipher, Finished (encrypted) |
//!
//! We offer no session ticket, and so get none.

use std::collections::VecDeque;

use super::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, MAX_DATA, MAX_SEALED, MAX_UNFINISHED, Partial, Passage,
    Record, SERVER_HELLO_DONE, fragments, keep, records, seal,
};

const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;

/// Messages of flights 2 and 4 together.
const MOST_MESSAGES: usize = 6;

/// How far the handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Flight 4 is to come, and a cookie may be. The number of its first message is 1 behind a cookie.
    Hello(usize),
    /// Flight 4 was passed on: the change of cipher is to come.
    Change,
    /// It has come; so many encrypted records may still follow.
    Unfinished(u32),
    /// Only an alert has a meaning any more, and data.
    Established,
}

/// The gate of one association.
#[derive(Debug)]
pub(in crate::dtls) struct Active {
    stage: Stage,
    carries_data: bool,
    /// By `message_seq`.
    messages: [Option<Partial>; MOST_MESSAGES],
    early: VecDeque<Vec<u8>>,
}

impl Default for Active {
    fn default() -> Self {
        Self {
            stage: Stage::Hello(0),
            carries_data: false,
            messages: Default::default(),
            early: VecDeque::new(),
        }
    }
}

impl Active {
    /// Takes a datagram. One that is malformed anywhere comes to nothing.
    pub(in crate::dtls) fn admit(&mut self, datagram: &[u8]) -> Vec<Passage> {
        let mut passages = Vec::new();
        for record in records(datagram).unwrap_or_default() {
            match (record.epoch, record.kind) {
                (0, HANDSHAKE) => passages.extend(self.on_handshake(record.body)),
                (0, CHANGE_CIPHER_SPEC) if record.body == [1] && self.stage == Stage::Change => {
                    self.stage = Stage::Unfinished(MAX_UNFINISHED);
                    let mut reads = vec![seal(CHANGE_CIPHER_SPEC, MOST_MESSAGES, &[1])];
                    reads.extend(self.early.drain(..));
                    passages.push(Passage::Records(reads));
                }
                (1, APPLICATION_DATA) if self.passes_data(&record) => {
                    passages.push(Passage::Records(vec![record.whole.to_vec()]));
                }
                (1, HANDSHAKE | ALERT) if record.body.len() <= MAX_SEALED => passages.extend(self.on_sealed(&record)),
                // A plaintext alert may be anybody's, and other application data has no reader.
                _ => {}
            }
        }
        passages
    }

    /// From now on application data is passed on, once the handshake is over.
    pub(in crate::dtls) fn carry_data(&mut self) {
        self.carries_data = true;
    }

    /// The handshake is over.
    pub(in crate::dtls) fn establish(&mut self) {
        self.stage = Stage::Established;
    }

    fn passes_data(&self, record: &Record<'_>) -> bool {
        self.carries_data && self.stage == Stage::Established && record.body.len() <= MAX_DATA
    }

    fn on_handshake(&mut self, body: &[u8]) -> Option<Passage> {
        let mut passage = None;
        for fragment in fragments(body, longest).unwrap_or_default() {
            match self.stage {
                // The end that has sent Finished has heard all of us.
                Stage::Established => {}
                Stage::Hello(first) if fragment.sequence >= first => {
                    Partial::take(&mut self.messages[fragment.sequence], &fragment);
                    passage = self.pass(first).or(passage);
                }
                // The peer repeats what was passed on: our answer did not reach it.
                Stage::Hello(_) | Stage::Change | Stage::Unfinished(_) => passage = passage.or(Some(Passage::Repeat)),
            }
        }
        passage
    }

    /// Passes on the cookie, or flight 4, if that is whole.
    fn pass(&mut self, first: usize) -> Option<Passage> {
        let whole = |message: &Option<Partial>| message.as_ref().filter(|message| message.is_whole()).map(|it| it.kind);
        let kinds: Vec<u8> = self.messages[first..].iter().map_while(whole).collect();
        if first == 0 && kinds.first() == Some(&HELLO_VERIFY_REQUEST) {
            let cookie = self.messages[0].take()?;
            self.stage = Stage::Hello(1);
            self.messages = Default::default();
            return Some(Passage::Records(vec![cookie.record(0)]));
        }
        let end = kinds.iter().position(|kind| *kind == SERVER_HELLO_DONE)?;
        let [SERVER_HELLO, CERTIFICATE, SERVER_KEY_EXCHANGE, rest @ ..] = &kinds[..end] else {
            return None;
        };
        if !matches!(rest, [] | [CERTIFICATE_REQUEST]) {
            return None;
        }
        let messages = self.messages[first..=first + end].iter_mut().filter_map(Option::take);
        let records = messages
            .zip(first..)
            .map(|(message, sequence)| message.record(sequence));
        let flight = Passage::Records(vec![records.collect::<Vec<_>>().concat()]);
        self.stage = Stage::Change;
        self.messages = Default::default();
        Some(flight)
    }

    fn on_sealed(&mut self, record: &Record<'_>) -> Option<Passage> {
        match &mut self.stage {
            Stage::Hello(_) => None,
            Stage::Change => {
                keep(&mut self.early, record);
                None
            }
            Stage::Unfinished(left) => {
                *left = left.checked_sub(1)?;
                Some(Passage::Records(vec![record.whole.to_vec()]))
            }
            Stage::Established if record.kind == HANDSHAKE => None,
            Stage::Established => Some(Passage::Records(vec![record.whole.to_vec()])),
        }
    }

    /// How many bytes it keeps.
    #[cfg(test)]
    pub(in crate::dtls) fn held(&self) -> usize {
        let messages = self.messages.iter().flatten().map(|message| message.body.len());
        messages.sum::<usize>() + self.early.iter().map(Vec::len).sum::<usize>()
    }
}

/// The longest body of a message that a server sends. A chain of certificates is a few KB, a request that names authorities too.
fn longest(kind: u8, sequence: usize) -> Option<usize> {
    if sequence >= MOST_MESSAGES {
        return None;
    }
    match kind {
        HELLO_VERIFY_REQUEST if sequence == 0 => Some(2 + 1 + 255),
        SERVER_HELLO if sequence < 2 => Some(1 << 10),
        CERTIFICATE => Some(16 << 10),
        SERVER_KEY_EXCHANGE => Some(2 << 10),
        CERTIFICATE_REQUEST => Some(4 << 10),
        SERVER_HELLO_DONE => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{record, whole},
        *,
    };

    const FLIGHT_4: [(u8, usize); 5] = [
        (SERVER_HELLO, 90),
        (CERTIFICATE, 500),
        (SERVER_KEY_EXCHANGE, 150),
        (CERTIFICATE_REQUEST, 20),
        (SERVER_HELLO_DONE, 0),
    ];

    fn flight_4(first: u16) -> Vec<Vec<u8>> {
        let messages = (first..).zip(FLIGHT_4);
        messages
            .map(|(at, (kind, length))| whole(kind, at, &vec![kind; length]))
            .collect()
    }

    fn change() -> Vec<u8> {
        record(CHANGE_CIPHER_SPEC, 0, &[1])
    }

    #[test]
    fn flights_pass_when_they_are_whole_with_a_cookie_or_without() {
        for has_cookie in [false, true] {
            let mut gate = Active::default();
            let finished = record(HANDSHAKE, 1, &[4; 40]);
            if has_cookie {
                let cookie = whole(HELLO_VERIFY_REQUEST, 0, &[7; 23]);
                assert!(matches!(&gate.admit(&cookie)[..], [Passage::Records(reads)] if reads.len() == 1));
                assert_eq!(gate.admit(&cookie), [Passage::Repeat]);
            }
            assert_eq!(gate.admit(&change()), [], "nothing to change to yet");
            let mut messages = flight_4(has_cookie.into());
            let last = messages.swap_remove(1);
            for message in messages.iter().rev() {
                assert_eq!(gate.admit(message), []);
            }
            let passages = gate.admit(&last);
            let [Passage::Records(reads)] = &passages[..] else {
                panic!("{passages:?}");
            };
            let kinds: Vec<u8> = records(&reads[0])
                .unwrap()
                .iter()
                .map(|record| record.body[0])
                .collect();
            assert_eq!(kinds, FLIGHT_4.map(|(kind, _)| kind));
            assert_eq!(gate.admit(&last), [Passage::Repeat]);
            assert_eq!(gate.admit(&finished), [], "too early");
            let passages = gate.admit(&change());
            assert!(matches!(&passages[..], [Passage::Records(reads)] if reads[1..] == [finished.clone()]));
            assert_eq!(gate.admit(&change()), []);
            gate.establish();
            assert_eq!(gate.admit(&[&finished[..], &last].concat()), []);
            let alert = record(ALERT, 1, &[5; 18]);
            assert_eq!(gate.admit(&alert), [Passage::Records(vec![alert.clone()])]);
        }
    }

    #[test]
    fn what_a_server_never_sends_is_not_kept() {
        let mut gate = Active::default();
        for (kind, sequence, length) in [
            (HELLO_VERIFY_REQUEST, 1, 9),
            (SERVER_HELLO, 2, 9),
            (CERTIFICATE, 6, 9),
            (4, 5, 9),
            (14, 4, 1),
        ] {
            assert_eq!(gate.admit(&whole(kind, sequence, &vec![1; length])), []);
        }
        assert_eq!(gate.held(), 0);
    }
}
