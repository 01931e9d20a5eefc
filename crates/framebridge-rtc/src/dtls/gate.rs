//! What stands between the net and `rtc-dtls`.
//!
//! `rtc-dtls` 0.21.1 keeps every handshake fragment and every record of an epoch to come without a bound, and puts
//! fragments together by recursion: strangers' datagrams, which need no key, could fill or end the process. So it
//! never sees a record as it came. The gate takes the records of epoch 0 apart, puts each handshake message together
//! itself, and passes a flight on when it is whole: in order, each message once, as one record of its own making.
//! The order is known in advance, for a server that demands a cookie and a certificate is sent these and no others; what an
//! [active end](Active) is sent is in its own module
//! (RFC 6347 section 4.2.1, RFC 5246 section 7.3):
//!
//! | flight | messages |
//! | --- | --- |
//! | 1 | ClientHello |
//! | 3 | ClientHello with the cookie |
//! | 5 | Certificate, ClientKeyExchange, CertificateVerify, a change of cipher, Finished (encrypted) |
//!
//! Whatever else comes is dropped, and nothing with it (section 4.1.2.7): anybody can send it in the peer's name.

mod active;

use std::collections::VecDeque;

pub(super) use active::Active;

const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
/// What stands before the body in a record with one whole message.
pub(super) const PLAIN_HEADERS: usize = RECORD_HEADER + HANDSHAKE_HEADER;
/// Records in one datagram: a whole flight 5 in fragments has fewer.
const MAX_RECORDS: usize = 16;
/// Pieces of one message that do not touch each other yet. A real peer's come in order, or nearly so.
const MAX_PIECES: usize = 16;
/// The longest encrypted record passed on: a Finished message or an alert under any of our ciphers has at most 64
/// bytes. What it may hold in fragments is as short.
const MAX_SEALED: usize = 96;
/// The longest record of data passed on. SCTP's packets are made for 1,280 bytes on the wire, as ours are.
const MAX_DATA: usize = 2 << 10;
/// Encrypted records kept until there are keys. The oldest makes room: the peer repeats its Finished message.
const MAX_EARLY: usize = 8;
/// Encrypted records passed on between the keys and the end of the handshake. One would do on a good net.
const MAX_UNFINISHED: u32 = 64;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Every plaintext handshake message of a client by its `message_seq`: type and the longest body. A browser's hello
/// with a post-quantum key share has 1.4 KB, its certificate 0.5 KB.
const MESSAGES: [(u8, usize); 5] = [
    (CLIENT_HELLO, 8 << 10),
    (CLIENT_HELLO, 8 << 10),
    (11, 16 << 10),
    (16, 1 << 10),
    (15, 2 << 10),
];
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO_DONE: u8 = 14;
/// The first message of flight 5.
const FLIGHT_5: usize = 2;

/// What came of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Passage {
    /// A whole ClientHello, as a record. It may have come before.
    Hello {
        /// Whether it is the second, which has to have a cookie.
        is_second: bool,
        /// The message, [`PLAIN_HEADERS`] before it.
        record: Vec<u8>,
    },
    /// Records to be read in this order, each by itself.
    Records(Vec<Vec<u8>>),
    /// The peer repeats what was passed on: our answer did not reach it.
    Repeat,
}

/// How far the handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No hello has come back with its cookie.
    Hello,
    /// Flight 5 is to come.
    Keys,
    /// Flight 5 was passed on; so many encrypted records may still follow.
    Unfinished(u32),
    /// Only an alert has a meaning any more.
    Established,
}

/// The gate of one association.
#[derive(Debug)]
pub(super) struct Gate {
    stage: Stage,
    /// Whether application data has a reader.
    carries_data: bool,
    /// By `message_seq`.
    messages: [Option<Partial>; MESSAGES.len()],
    has_changed_cipher: bool,
    early: VecDeque<Vec<u8>>,
}

/// A handshake message of which parts are there.
#[derive(Debug)]
struct Partial {
    kind: u8,
    body: Vec<u8>,
    /// Which bytes have come, as start and end, in order and apart.
    received: Vec<(usize, usize)>,
}

/// One record, as it came.
struct Record<'a> {
    kind: u8,
    epoch: u16,
    whole: &'a [u8],
    body: &'a [u8],
}

/// One handshake fragment.
struct Fragment<'a> {
    kind: u8,
    sequence: usize,
    total: usize,
    start: usize,
    data: &'a [u8],
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            stage: Stage::Hello,
            carries_data: false,
            messages: Default::default(),
            has_changed_cipher: false,
            early: VecDeque::new(),
        }
    }
}

impl Gate {
    /// Takes a datagram. One that is malformed anywhere comes to nothing.
    pub(super) fn admit(&mut self, datagram: &[u8]) -> Vec<Passage> {
        let mut passages = Vec::new();
        for record in records(datagram).unwrap_or_default() {
            match (record.epoch, record.kind) {
                (0, HANDSHAKE) => {
                    for fragment in fragments(record.body, longest_of_client).unwrap_or_default() {
                        passages.extend(self.on_fragment(&fragment));
                    }
                }
                (0, CHANGE_CIPHER_SPEC) => self.has_changed_cipher |= record.body == [1] && self.stage == Stage::Keys,
                (1, APPLICATION_DATA) if self.passes_data(&record) => {
                    passages.push(Passage::Records(vec![record.whole.to_vec()]));
                }
                (1, HANDSHAKE | ALERT) if record.body.len() <= MAX_SEALED => passages.extend(self.on_sealed(&record)),
                // A plaintext alert may be anybody's, and other application data has no reader.
                _ => {}
            }
            passages.extend(self.pass_flight_5());
        }
        passages
    }

    /// From now on application data is passed on, once the handshake is over.
    pub(super) fn carry_data(&mut self) {
        self.carries_data = true;
    }

    /// Whether a record of data has a reader. Before the end of the handshake a peer sends none.
    fn passes_data(&self, record: &Record<'_>) -> bool {
        self.carries_data && self.stage == Stage::Established && record.body.len() <= MAX_DATA
    }

    /// A hello was taken, cookie and all: flight 5 is next.
    pub(super) fn expect_keys(&mut self) {
        self.stage = Stage::Keys;
        self.messages = Default::default();
    }

    /// The handshake is over.
    pub(super) fn establish(&mut self) {
        self.stage = Stage::Established;
    }

    fn on_fragment(&mut self, fragment: &Fragment<'_>) -> Option<Passage> {
        let is_expected = match self.stage {
            Stage::Hello => fragment.sequence < FLIGHT_5,
            Stage::Keys => fragment.sequence >= FLIGHT_5,
            Stage::Unfinished(_) | Stage::Established => false,
        };
        if !is_expected {
            return (self.stage != Stage::Hello).then_some(Passage::Repeat);
        }
        let place = &mut self.messages[fragment.sequence];
        if !Partial::take(place, fragment) || self.stage != Stage::Hello {
            return None;
        }
        let hello = place.take()?;
        Some(Passage::Hello {
            is_second: fragment.sequence == 1,
            record: hello.record(fragment.sequence),
        })
    }

    fn on_sealed(&mut self, record: &Record<'_>) -> Option<Passage> {
        match &mut self.stage {
            Stage::Hello => None,
            Stage::Keys => {
                keep(&mut self.early, record);
                None
            }
            Stage::Unfinished(left) => {
                *left = left.checked_sub(1)?;
                Some(Passage::Records(vec![record.whole.to_vec()]))
            }
            Stage::Established if record.kind == HANDSHAKE => Some(Passage::Repeat),
            Stage::Established => Some(Passage::Records(vec![record.whole.to_vec()])),
        }
    }

    /// Passes flight 5 on if all of it is there, with what was encrypted too early.
    fn pass_flight_5(&mut self) -> Option<Passage> {
        let is_whole = |message: &Option<Partial>| message.as_ref().is_some_and(Partial::is_whole);
        let flight = &mut self.messages[FLIGHT_5..];
        if self.stage != Stage::Keys || !self.has_changed_cipher || !flight.iter().all(is_whole) {
            return None;
        }
        let messages = flight.iter_mut().filter_map(Option::take).zip(FLIGHT_5..);
        let messages = messages.flat_map(|(message, sequence)| message.record(sequence));
        // The messages in one datagram, so that `rtc-dtls` has its keys before it sees what needs them.
        let mut reads = vec![messages.collect(), seal(CHANGE_CIPHER_SPEC, MESSAGES.len(), &[1])];
        reads.extend(self.early.drain(..));
        self.stage = Stage::Unfinished(MAX_UNFINISHED);
        Some(Passage::Records(reads))
    }
}

impl Partial {
    fn new(kind: u8, total: usize) -> Self {
        Self {
            kind,
            body: vec![0; total],
            received: Vec::new(),
        }
    }

    /// Takes a fragment for the message at `place`; whether that is whole then.
    ///
    /// One that disagrees about kind or length starts the message anew: which of the two is forged can't be told, and the peer
    /// repeats the true one. A whole message gives way to nothing less than a whole one.
    fn take(place: &mut Option<Self>, fragment: &Fragment<'_>) -> bool {
        let partial = match place {
            Some(partial) if (partial.kind, partial.body.len()) == (fragment.kind, fragment.total) => partial,
            Some(partial) if partial.is_whole() && fragment.data.len() < fragment.total => return false,
            Some(_) | None => place.insert(Self::new(fragment.kind, fragment.total)),
        };
        partial.add(fragment);
        partial.is_whole()
    }

    fn is_whole(&self) -> bool {
        self.received == [(0, self.body.len())]
    }

    /// Takes a fragment's bytes. What is whole stays as it is; what is in too many pieces is forgotten.
    fn add(&mut self, fragment: &Fragment<'_>) {
        let end = fragment.start + fragment.data.len();
        if self.is_whole() {
            return;
        }
        if self.received.len() == MAX_PIECES {
            self.received.clear();
        }
        self.body[fragment.start..end].copy_from_slice(fragment.data);
        self.received.push((fragment.start, end));
        self.received.sort_unstable();
        self.received.dedup_by(|next, last| {
            let touches = next.0 <= last.1;
            if touches {
                last.1 = last.1.max(next.1);
            }
            touches
        });
    }

    /// The whole message as one record.
    fn record(&self, sequence: usize) -> Vec<u8> {
        let (total, sequence_bytes) = (self.body.len().to_be_bytes(), sequence.to_be_bytes());
        let total = &total[total.len() - 3..];
        let message = [
            &[self.kind],
            total,
            &sequence_bytes[sequence_bytes.len() - 2..],
            &[0; 3],
            total,
            &self.body,
        ];
        seal(HANDSHAKE, sequence, &message.concat())
    }
}

/// Keeps an encrypted record until there are keys.
fn keep(early: &mut VecDeque<Vec<u8>>, record: &Record<'_>) {
    if early.len() == MAX_EARLY {
        early.pop_front();
    }
    early.push_back(record.whole.to_vec());
}

/// The longest body of a message that a client sends.
fn longest_of_client(kind: u8, sequence: usize) -> Option<usize> {
    let (expected, longest) = *MESSAGES.get(sequence)?;
    (kind == expected).then_some(longest)
}

/// A plaintext record. Its number is the message's: each is used once, and in order.
fn seal(kind: u8, number: usize, body: &[u8]) -> Vec<u8> {
    let (number, length) = (number.to_be_bytes(), body.len().to_be_bytes());
    [
        &[kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0],
        &number[number.len() - 2..],
        &length[length.len() - 2..],
        body,
    ]
    .concat()
}

/// Takes a datagram apart; `None` unless all of it is whole records of DTLS 1.0 or 1.2.
fn records(datagram: &[u8]) -> Option<Vec<Record<'_>>> {
    let (mut rest, mut records) = (datagram, Vec::new());
    while !rest.is_empty() {
        let (header, after) = rest.split_at_checked(RECORD_HEADER)?;
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let body = after.get(..length)?;
        let is_known = matches!(header[0], CHANGE_CIPHER_SPEC..=APPLICATION_DATA)
            && matches!(header[1..3], [0xfe, 0xfd | 0xff])
            && length > 0;
        if !is_known || records.len() == MAX_RECORDS {
            return None;
        }
        records.push(Record {
            kind: header[0],
            epoch: u16::from_be_bytes([header[3], header[4]]),
            whole: &rest[..RECORD_HEADER + length],
            body,
        });
        rest = &after[length..];
    }
    Some(records)
}

/// Takes a handshake record apart; `None` unless all of it is fragments of messages that the peer sends (`longest`: of a kind and
/// number), each with data, and with its data.
fn fragments(body: &[u8], longest: impl Fn(u8, usize) -> Option<usize>) -> Option<Vec<Fragment<'_>>> {
    let (mut rest, mut fragments) = (body, Vec::new());
    while !rest.is_empty() {
        let (header, after) = rest.split_at_checked(HANDSHAKE_HEADER)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let (total, sequence) = (number(&header[1..4]), number(&header[4..6]));
        let (start, length) = (number(&header[6..9]), number(&header[9..12]));
        let data = after.get(..length)?;
        let kind = header[0];
        // One message has nothing to say but that it is there.
        let is_empty = length == 0 && (kind, total) != (SERVER_HELLO_DONE, 0);
        if is_empty || total > longest(kind, sequence)? || start + length > total {
            return None;
        }
        fragments.push(Fragment {
            kind,
            sequence,
            total,
            start,
            data,
        });
        rest = &after[length..];
    }
    Some(fragments)
}

#[cfg(test)]
pub(super) mod tests;
