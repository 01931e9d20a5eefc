use super::{
    gate::tests::{attacks, foreign_hello, held},
    server::HELLO_PACE,
    *,
};

fn shake(
    profiles: &[Profile],
    expect_of_server: impl Fn(&Identity) -> Fingerprint,
) -> Result<[Established; 2], DtlsError> {
    let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let now = Instant::now();
    let mut server = Association::server(&ours, vec![ours.fingerprint().clone(), theirs.fingerprint().clone()]);
    let mut client = Association::client(&theirs, vec![expect_of_server(&ours)], profiles, now).unwrap();
    let (mut at_server, mut at_client) = (None, None);
    for _ in 0..10 {
        while let Some(datagram) = client.poll_transmit() {
            if let Progress::Established(established) = server.handle(&datagram, now)? {
                at_server = Some(established);
            }
        }
        while let Some(datagram) = server.poll_transmit() {
            if let Progress::Established(established) = client.handle(&datagram, now)? {
                at_client = Some(established);
            }
        }
    }
    Ok([at_server.unwrap(), at_client.unwrap()])
}

#[test]
fn both_ends_get_the_same_keys_for_either_profile() {
    for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmSha1] {
        let [server, client] = shake(&[profile], |identity| identity.fingerprint().clone()).unwrap();
        assert_eq!(server, client);
        assert_eq!(server.profile, profile);
        assert_ne!(server.keys.client, server.keys.server);
    }
}

/// Hands everything an attacker may send to an end, on a stack as small as a worker's.
fn attack(association: &mut Association, now: Instant) {
    let is_passive = association.is_server();
    // A whole request for a cookie is taken for the server's, where that is waited for.
    let is_taken = |datagram: &Vec<u8>| !is_passive && datagram.len() == PLAIN_HEADERS + 12 && datagram[13] == 3;
    for datagram in attacks().into_iter().filter(|datagram| !is_taken(datagram)) {
        assert_eq!(association.handle(&datagram, now).unwrap(), Progress::Pending);
        let held = match &association.end {
            End::Passive(server) => held(&server.gate),
            End::Active(gate) => gate.held(),
        };
        assert!(held <= 40 << 10);
    }
}

#[test]
fn what_strangers_send_neither_ends_nor_fills_nor_delays_a_handshake_or_what_follows() {
    let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let mut now = Instant::now();
    // In turn: before anything, before each datagram of the client's, and at the end.
    let mut server = Association::server(&ours, vec![theirs.fingerprint().clone()]);
    let profiles = [Profile::AeadAes128Gcm];
    let mut client = Association::client(&theirs, vec![ours.fingerprint().clone()], &profiles, now).unwrap();
    let (mut at_server, mut at_client) = (None, None);
    for _ in 0..4 {
        while let Some(datagram) = client.poll_transmit() {
            attack(&mut server, now);
            if let Progress::Established(established) = server.handle(&datagram, now).unwrap() {
                at_server = Some(established);
            }
        }
        while let Some(datagram) = server.poll_transmit() {
            if let Progress::Established(established) = client.handle(&datagram, now).unwrap() {
                at_client = Some(established);
            }
        }
        now += HELLO_PACE;
    }
    assert_eq!(at_server.unwrap(), at_client.unwrap());
    attack(&mut server, now);
    client.close(now);
    let goodbye = client.poll_transmit().unwrap();
    assert_eq!(server.handle(&goodbye, now).unwrap(), Progress::PeerClosed);
}

/// What strangers send without a key to the end that begins, in parts that never get whole, fills and ends nothing, in whatever
/// stage, and neither does what they repeat.
#[test]
fn what_strangers_send_neither_ends_nor_fills_the_end_that_begins() {
    let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let mut now = Instant::now();
    let mut server = Association::server(&theirs, vec![ours.fingerprint().clone()]);
    let profiles = [Profile::AeadAes128Gcm];
    let mut client = Association::client(&ours, vec![theirs.fingerprint().clone()], &profiles, now).unwrap();
    let (mut at_server, mut at_client) = (None, None);
    for _ in 0..6 {
        while let Some(datagram) = client.poll_transmit() {
            if let Progress::Established(established) = server.handle(&datagram, now).unwrap() {
                at_server = Some(established);
            }
        }
        attack(&mut client, now);
        while let Some(datagram) = server.poll_transmit() {
            if let Progress::Established(established) = client.handle(&datagram, now).unwrap() {
                at_client = Some(established);
            }
        }
        now += FLIGHT_INTERVAL;
    }
    assert_eq!(at_client.unwrap(), at_server.unwrap());
    attack(&mut client, now);
    server.close(now);
    let goodbye = server.poll_transmit().unwrap();
    assert_eq!(client.handle(&goodbye, now).unwrap(), Progress::PeerClosed);
}

#[test]
fn a_hello_that_another_sent_in_the_clients_name_does_not_keep_the_client_out() {
    let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let now = Instant::now();
    let mut server = Association::server(&ours, vec![theirs.fingerprint().clone()]);
    // The client takes the answer for one to its own.
    assert_eq!(server.handle(&foreign_hello(), now).unwrap(), Progress::Pending);
    let profiles = [Profile::AeadAes128Gcm];
    let mut client = Association::client(&theirs, vec![ours.fingerprint().clone()], &profiles, now).unwrap();
    for _ in 0..4 {
        while let Some(datagram) = server.poll_transmit() {
            client.handle(&datagram, now).unwrap();
        }
        while let Some(datagram) = client.poll_transmit() {
            server.handle(&datagram, now).unwrap();
        }
    }
    while let Some(datagram) = server.poll_transmit() {
        client.handle(&datagram, now).unwrap();
    }
    assert!(server.is_established && client.is_established);
}

#[test]
fn an_established_association_has_no_timer_left() {
    let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let now = Instant::now();
    let mut server = Association::server(&ours, vec![theirs.fingerprint().clone()]);
    let mut client = Association::client(
        &theirs,
        vec![ours.fingerprint().clone()],
        &[Profile::AeadAes128Gcm],
        now,
    )
    .unwrap();
    assert!(client.poll_timeout().is_some(), "a lost hello has to be repeated");
    for _ in 0..10 {
        while let Some(datagram) = client.poll_transmit() {
            server.handle(&datagram, now).unwrap();
        }
        while let Some(datagram) = server.poll_transmit() {
            client.handle(&datagram, now).unwrap();
        }
    }
    assert!(server.is_established && client.is_established);
    assert_eq!((server.poll_timeout(), client.poll_timeout()), (None, None));
}

#[test]
fn gcm_is_taken_wherever_the_client_puts_it() {
    let [server, _] = shake(&[Profile::Aes128CmSha1, Profile::AeadAes128Gcm], |identity| {
        identity.fingerprint().clone()
    })
    .unwrap();
    assert_eq!(server.profile, Profile::AeadAes128Gcm);
}

#[test]
fn another_certificate_than_the_announced_one_is_refused() {
    let stranger = Identity::generate().unwrap();
    let result = shake(&[Profile::AeadAes128Gcm], |_| stranger.fingerprint().clone());
    assert!(matches!(result, Err(DtlsError::WrongCertificate)));
}
