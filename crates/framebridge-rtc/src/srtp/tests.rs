use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn master() -> MasterKey {
    MasterKey {
        key: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        salt: [0xa0; 14],
    }
}

const PROFILES: [Profile; 2] = [Profile::AeadAes128Gcm, Profile::Aes128CmSha1];

/// RFC 7714, section 16.1.1: the session key and salt are given, so the key derivation is left out.
#[test]
fn gcm_rtp_packet_is_that_of_rfc_7714() {
    let key: Vec<u8> = hex("00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f");
    let cipher = Cipher::Gcm {
        key: ring::aead::LessSafeKey::new(ring::aead::UnboundKey::new(&ring::aead::AES_128_GCM, &key).unwrap()),
        salt: hex("51 75 69 64 20 70 72 6f 20 71 75 6f").try_into().unwrap(),
    };
    let mut packet = hex(
        "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070
        61727465 73207472 6573",
    );
    let tag = cipher.seal(&mut packet, RTP_HEADER, 0x5501_a0b2, Index::Rtp(0xf17b));
    packet.extend_from_slice(&tag);
    let expected = hex(
        "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a
        51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
    );
    assert_eq!(packet, expected);
}

/// RFC 7714, section 17.1.
#[test]
fn gcm_rtcp_packet_is_that_of_rfc_7714() {
    let key: Vec<u8> = hex("00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f");
    let cipher = Cipher::Gcm {
        key: ring::aead::LessSafeKey::new(ring::aead::UnboundKey::new(&ring::aead::AES_128_GCM, &key).unwrap()),
        salt: hex("51 75 69 64 20 70 72 6f 20 71 75 6f").try_into().unwrap(),
    };
    let mut packet = hex(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef
        deadbeef deadbeef deadbeef",
    );
    let tag = cipher.seal(&mut packet, RTCP_CLEAR, 0x4d61_7273, Index::Rtcp(0x5d4));
    packet.extend_from_slice(&tag);
    packet.extend_from_slice(&Index::rtcp_word(0x5d4));
    let expected = hex(
        "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda
        4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
    );
    assert_eq!(packet, expected);
}

/// RFC 3711, appendix B.2: the keystream of AES-CM, session key and salt given, SSRC and index 0.
#[test]
fn counter_mode_keystream_is_that_of_rfc_3711() {
    use aes::cipher::KeyInit;
    use hmac::Hmac;
    let key: [u8; 16] = hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap();
    let cipher = Cipher::CmSha1 {
        key: aes::Aes128::new(&key.into()),
        salt: hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap(),
        mac: <Hmac<sha1::Sha1> as KeyInit>::new_from_slice(&[0; 20]).unwrap(),
    };
    let mut packet = vec![0; 48];
    cipher.seal(&mut packet, 0, 0, Index::Rtp(0));
    assert_eq!(
        packet,
        hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0")
    );
}

#[test]
fn what_is_protected_opens_and_what_is_touched_does_not() {
    for profile in PROFILES {
        let sender = Sender::new(profile, &master(), 7, 0);
        let receiver = Receiver::new(profile, &master());
        // Index 2^16 + 5: the rollover counter takes part.
        let (index, plain) = (
            65_541,
            [&[0x80, 96, 0, 5, 0, 0, 0, 1, 0, 0, 0, 7][..], &[42; 100]].concat(),
        );
        let mut packet = plain.clone();
        packet.resize(plain.len() + profile.tag_len(), 0);
        sender.protect_rtp(&mut packet, RTP_HEADER, index);
        assert_ne!(packet[RTP_HEADER..plain.len()], plain[RTP_HEADER..]);
        for (touched, at) in [
            (packet.clone(), 3),
            (packet.clone(), 50),
            (packet.clone(), packet.len() - 1),
        ] {
            let mut touched = touched;
            touched[at] ^= 1;
            assert_eq!(
                receiver.open_rtp(&mut touched, index),
                Err(AuthenticationFailed),
                "{profile:?} byte {at}"
            );
        }
        assert_eq!(
            receiver.open_rtp(&mut packet.clone(), 5),
            Err(AuthenticationFailed),
            "another rollover counter"
        );
        assert_eq!(receiver.open_rtp(&mut packet, index), Ok(12..112));
        assert_eq!(packet[..plain.len()], plain);
    }
}

#[test]
fn header_is_as_long_as_it_says() {
    for (head, len) in [
        (&[0x80][..], Some(12)),
        (&[0x82], Some(20)),
        (
            &[0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0, 2],
            Some(28),
        ),
    ] {
        let mut packet = head.to_vec();
        packet.resize(40, 0);
        assert_eq!(rtp_header_len(&packet), len);
    }
    for short in [&[][..], &[0x80; 11], &[0x90; 14]] {
        assert_eq!(rtp_header_len(short), None);
        let mut short = short.to_vec();
        assert!(Receiver::new(PROFILES[0], &master()).open_rtp(&mut short, 0).is_err());
    }
    // An extension that is longer than the packet.
    let mut packet = vec![0x90, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0xff, 0xff];
    packet.resize(60, 0);
    assert!(Receiver::new(PROFILES[0], &master()).open_rtp(&mut packet, 0).is_err());
}

#[test]
fn rtcp_opens_once_and_only_untouched() {
    for profile in PROFILES {
        let mut sender = Sender::new(profile, &master(), 7, 0);
        let mut receiver = Receiver::new(profile, &master());
        let plain = hex("80c90001 00000007 01020304");
        let protect = |sender: &mut Sender| {
            let mut packet = plain.clone();
            sender.protect_rtcp(&mut packet);
            packet
        };
        let (first, second) = (protect(&mut sender), protect(&mut sender));
        assert_ne!(first, second);
        let mut touched = first.clone();
        touched[9] ^= 1;
        assert_eq!(receiver.open_rtcp(&mut touched), Err(AuthenticationFailed));
        // Out of order is fine, twice is not.
        assert_eq!(receiver.open_rtcp(&mut second.clone()), Ok(&plain[..]));
        assert_eq!(receiver.open_rtcp(&mut first.clone()), Ok(&plain[..]));
        assert_eq!(receiver.open_rtcp(&mut first.clone()), Err(AuthenticationFailed));
        assert_eq!(receiver.open_rtcp(&mut second.clone()), Err(AuthenticationFailed));
        for length in 0..first.len() {
            assert_eq!(
                receiver.open_rtcp(&mut first[..length].to_vec()),
                Err(AuthenticationFailed)
            );
        }
    }
}

#[test]
fn each_source_of_rtcp_has_indices_of_its_own() {
    for profile in PROFILES {
        let mut receiver = Receiver::new(profile, &master());
        let report = |ssrc: u32, after: u32| {
            let mut packet = [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat();
            Sender::new(profile, &master(), ssrc, after).protect_rtcp(&mut packet);
            packet
        };
        let far_ahead = report(1, 1000);
        assert!(receiver.open_rtcp(&mut far_ahead.clone()).is_ok());
        for ssrc in 2..=4 {
            assert!(receiver.open_rtcp(&mut report(ssrc, 0)).is_ok(), "source {ssrc} begins");
            assert!(receiver.open_rtcp(&mut report(ssrc, 0)).is_err(), "and is not repeated");
        }
        assert!(receiver.open_rtcp(&mut far_ahead.clone()).is_err());
        for ssrc in 5..100 {
            assert!(receiver.open_rtcp(&mut report(ssrc, 0)).is_ok());
        }
        assert_eq!(receiver.replay.len(), MAX_SOURCES);
    }
}
