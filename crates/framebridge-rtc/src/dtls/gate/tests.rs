//! What strangers send, and that it comes to nothing.

use proptest::prelude::*;

use super::*;

/// A record of DTLS 1.2, whatever is in it.
pub(super) fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
    let mut record = seal(kind, 7, body);
    record[3..5].copy_from_slice(&epoch.to_be_bytes());
    record
}

/// A handshake fragment that says one thing of itself and has other data.
fn fragment(kind: u8, sequence: u16, [total, start, length]: [u32; 3], data: &[u8]) -> Vec<u8> {
    let three = |number: u32| number.to_be_bytes()[1..].to_vec();
    [
        &[kind],
        &three(total)[..],
        &sequence.to_be_bytes(),
        &three(start),
        &three(length),
        data,
    ]
    .concat()
}

fn handshake(fragments: &[Vec<u8>]) -> Vec<u8> {
    record(HANDSHAKE, 0, &fragments.concat())
}

/// A whole message in one record.
pub(super) fn whole(kind: u8, sequence: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    handshake(&[fragment(kind, sequence, [length, 0, length], body)])
}

/// A ClientHello that `rtc-dtls` takes, of a client that will not be heard of again.
pub(in crate::dtls) fn foreign_hello() -> Vec<u8> {
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 14, 0, 5, 0, 2, 0, 7, 0];
    let body = [
        &[0xfe, 0xfd][..],
        &[9; 32],
        &[0, 0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 17],
        &extensions,
    ];
    whole(CLIENT_HELLO, 0, &body.concat())
}

/// How many bytes a gate keeps.
pub(in crate::dtls) fn held(gate: &Gate) -> usize {
    let messages = gate.messages.iter().flatten().map(|message| message.body.len());
    messages.sum::<usize>() + gate.early.iter().map(Vec::len).sum::<usize>()
}

/// Datagrams that anybody can send in a viewer's name, without a key.
pub(in crate::dtls) fn attacks() -> Vec<Vec<u8>> {
    const FRAGMENTS: u32 = 26_000;
    let mut attacks = Vec::new();
    for (kind, sequence) in [
        (11, 0),
        (CLIENT_HELLO, 0),
        (CLIENT_HELLO, 1),
        (11, 2),
        (20, 5),
        (11, 6),
        (3, 0),
        (2, 0),
        (2, 1),
        (12, 3),
    ] {
        // Fragments without data, which `rtc-dtls` would put together by recursion; in either order.
        let empty = |start: u32| fragment(kind, sequence, [0, start, 1], &[]);
        let starts: Vec<u32> = (1..=FRAGMENTS).collect();
        let datagram = |starts: &[u32]| handshake(&starts.iter().map(|start| empty(*start)).collect::<Vec<_>>());
        attacks.extend(starts.rchunks(160).rev().map(datagram));
        attacks.push(handshake(&[empty(0)]));
        attacks.extend(starts.chunks(160).map(datagram));
        attacks.push(handshake(&[fragment(kind, sequence, [0; 3], &[])]));
        // With less data than they say, with more, beyond the end, of more than we take, in pieces that overlap.
        for numbers in [
            [100, 0, 50],
            [100, 0, 5],
            [10, 5, 10],
            [10, 0xff_ffff, 10],
            [0xff_ffff, 0, 10],
            [9 << 10, 0, 10],
        ] {
            attacks.push(handshake(&[fragment(kind, sequence, numbers, &[1; 10])]));
        }
        for start in 0..200 {
            attacks.push(handshake(&[fragment(
                kind,
                sequence,
                [3000, start * 13 % 2900, 40],
                &[1; 40],
            )]));
        }
        attacks.push(record(HANDSHAKE, 0, &[kind, 0, 0]));
    }
    // More messages than there are numbers.
    attacks.extend((5..=u16::MAX).map(|sequence| whole(CLIENT_HELLO, sequence, &[1; 4])));
    // Records of epochs to come.
    for (kind, epoch) in [(20, 1), (21, 1), (22, 1), (23, 1), (22, 2), (23, 2), (22, u16::MAX)] {
        attacks.push(record(kind, epoch, b"x").repeat(146));
        attacks.extend(std::iter::repeat_n(record(kind, epoch, &[7; 48]).repeat(8), 4));
        attacks.push(record(kind, epoch, &[7; 1400]));
    }
    // What is not encrypted is not believed.
    attacks.extend([&[2, 40], &[1, 0], &[2, 0]].map(|alert| record(ALERT, 0, alert)));
    attacks.extend([&[1][..], &[2], &[1, 1]].map(|body| record(CHANGE_CIPHER_SPEC, 0, body)));
    attacks.push(record(APPLICATION_DATA, 0, b"abc"));
    attacks.extend([0, 24, 63].map(|kind| record(kind, 0, b"abc")));
    for (kind, sequence) in [(0, 0), (2, 0), (3, 0), (20, 0), (20, 2), (20, 5), (14, 2), (255, 0)] {
        attacks.push(whole(kind, sequence, &[0; 12]));
    }
    // Malformed hellos.
    attacks.push(whole(CLIENT_HELLO, 0, &[0; 40]));
    attacks.push(whole(CLIENT_HELLO, 1, &[0; 40]));
    // Halves of records.
    let hello = foreign_hello();
    attacks.extend((0..hello.len()).map(|length| hello[..length].to_vec()));
    attacks.push([&hello[..], &[22]].concat());
    attacks.push([22; 40].to_vec());
    attacks
}

fn is_hello(passages: &[Passage]) -> bool {
    matches!(passages, [Passage::Hello { is_second: false, .. }])
}

#[test]
fn only_whole_hellos_pass_before_a_cookie_has_come_back() {
    let mut gate = Gate::default();
    for datagram in attacks() {
        for passage in gate.admit(&datagram) {
            let Passage::Hello { record, .. } = passage else {
                panic!("{passage:?}");
            };
            assert!(records(&record).is_some_and(|records| records.len() == 1));
        }
        assert!(held(&gate) <= 16 << 10);
    }
}

#[test]
fn a_hello_is_put_together_in_any_order() {
    let body: Vec<u8> = (0..250).collect();
    let part = |start: usize, end: usize| {
        let numbers = [250, start, end - start].map(|number| u32::try_from(number).unwrap());
        handshake(&[fragment(CLIENT_HELLO, 0, numbers, &body[start..end])])
    };
    let mut gate = Gate::default();
    for (start, end) in [(100, 180), (0, 60), (0, 60), (50, 110)] {
        assert_eq!(gate.admit(&part(start, end)), []);
    }
    let passages = gate.admit(&part(180, 250));
    let record = seal(HANDSHAKE, 0, &fragment(CLIENT_HELLO, 0, [250, 0, 250], &body));
    let is_second = false;
    assert_eq!(passages, [Passage::Hello { is_second, record }]);
    // And again, when it is repeated.
    assert!(is_hello(&gate.admit(&whole(CLIENT_HELLO, 0, &body))));
}

#[test]
fn a_forged_part_costs_one_repetition_at_most() {
    let mut gate = Gate::default();
    let numbers = [[300, 0, 10], [250, 17, 10], [251, 17, 10]];
    for numbers in numbers {
        gate.admit(&handshake(&[fragment(CLIENT_HELLO, 0, numbers, &[9; 10])]));
    }
    assert!(is_hello(&gate.admit(&whole(CLIENT_HELLO, 0, &[1; 250]))));
}

#[test]
fn flight_5_passes_when_it_is_whole_whatever_its_order() {
    let certificate = whole(11, 2, &[1; 500]);
    let key_exchange = whole(16, 3, &[2; 66]);
    let verify = whole(15, 4, &[3; 80]);
    let change = record(CHANGE_CIPHER_SPEC, 0, &[1]);
    let finished = record(HANDSHAKE, 1, &[4; 40]);
    let mut gate = Gate::default();
    gate.expect_keys();
    for early in [&finished, &change, &verify, &certificate] {
        assert_eq!(gate.admit(early), []);
    }
    let passages = gate.admit(&key_exchange);
    let [Passage::Records(reads)] = &passages[..] else {
        panic!("{passages:?}");
    };
    assert_eq!(reads.len(), 3, "messages, the change of cipher, what was encrypted");
    let kinds: Vec<u8> = records(&reads[0])
        .unwrap()
        .iter()
        .map(|record| record.body[0])
        .collect();
    assert_eq!((kinds, &reads[2]), (vec![11, 16, 15], &finished));
    // Whoever repeats it has not heard our answer.
    assert_eq!(gate.admit(&certificate), [Passage::Repeat]);
    assert_eq!(gate.admit(&finished), [Passage::Records(vec![finished.clone()])]);
    gate.establish();
    for repeated in [&certificate, &finished] {
        assert_eq!(gate.admit(repeated), [Passage::Repeat]);
    }
    let alert = record(ALERT, 1, &[5; 18]);
    assert_eq!(gate.admit(&alert), [Passage::Records(vec![alert.clone()])]);
}

proptest! {
    /// Whatever comes, in whatever stage: what passes is whole, in order and known, and little is kept.
    #[test]
    fn nothing_but_whole_messages_passes(
        steps in prop::collection::vec(
            (prop::sample::select(vec![0_u8, 1, 1, 11, 11, 15, 16, 20]), 0_u16..7, 0_u32..40, 0_u32..40, 0_u32..40, 0_usize..40, 0_u8..12),
            1..200,
        ),
    ) {
        let mut gate = Gate::default();
        for (kind, sequence, total, start, length, data, what) in steps {
            let datagram = match what {
                0 => record(CHANGE_CIPHER_SPEC, 0, &[1]),
                1 => record(kind, 1, &vec![7; data]),
                2 => whole(kind, sequence, &vec![7; data]),
                3 => [whole(kind, sequence, &vec![7; data]), vec![22; data]].concat(),
                4 => { gate.expect_keys(); continue; }
                _ => handshake(&[fragment(kind, sequence, [total, start, length], &vec![7; data])]),
            };
            for passage in gate.admit(&datagram) {
                match passage {
                    Passage::Hello { is_second, record } => {
                        let fragments = fragments(&record[RECORD_HEADER..], longest_of_client).unwrap();
                        prop_assert_eq!(fragments.len(), 1);
                        prop_assert_eq!(fragments[0].sequence, usize::from(is_second));
                        prop_assert_eq!(fragments[0].total, fragments[0].data.len());
                    }
                    Passage::Records(reads) => {
                        let flight = reads.iter().flat_map(|read| records(read).unwrap());
                        let plain = flight.filter(|record| record.epoch == 0 && record.kind == HANDSHAKE);
                        let sequences: Vec<usize> = plain
                            .flat_map(|record| fragments(record.body, longest_of_client).unwrap())
                            .filter(|fragment| fragment.total == fragment.data.len())
                            .map(|fragment| fragment.sequence)
                            .collect();
                        prop_assert!(sequences.is_empty() || sequences == [2, 3, 4]);
                    }
                    Passage::Repeat => {}
                }
            }
            prop_assert!(held(&gate) <= 36 << 10);
        }
    }
}
