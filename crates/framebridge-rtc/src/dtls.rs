//! One DTLS association over `rtc-dtls`, cut down to what media needs: prove who we are, check who they are, and
//! take the SRTP keys out.

mod hello;

use std::{
    collections::VecDeque,
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use ring::digest;
use rtc_dtls::{
    config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig},
    crypto::Certificate,
    crypto_provider::default_provider,
    endpoint::{Endpoint, EndpointEvent},
    extension::extension_use_srtp::SrtpProtectionProfile,
};
use rtc_shared::{TransportProtocol, error::Error as FamilyError};

use crate::srtp::{KeyPair, Profile};
use hello::{Decision, Hello};

/// The first retransmission of a lost flight; `rtc-dtls` repeats it at this pace eight times, then gives up.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(600);

/// How often we repeat a flight that `rtc-dtls` has given no timer: past any connect timeout.
const MAX_REPETITIONS: u32 = 30;

/// `rtc-dtls` keeps associations by address. Ours moves with ICE, and there is one per endpoint: any name will do.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));

/// Why DTLS failed.
#[derive(Debug, thiserror::Error)]
pub enum DtlsError {
    /// Our certificate could not be made.
    #[error("can't make a certificate")]
    Certificate(#[source] FamilyError),
    /// The handshake configuration was refused.
    #[error("can't configure DTLS")]
    Configure(#[source] FamilyError),
    /// The handshake failed, or the peer sent an alert.
    #[error("DTLS handshake failed")]
    Handshake(#[source] FamilyError),
    /// The keys could not be exported.
    #[error("can't export SRTP keys")]
    Export(#[source] FamilyError),
    /// The peer's certificate is not the one its SDP announced.
    #[error("the peer's certificate does not match its fingerprint")]
    WrongCertificate,
    /// The peer knows none of our SRTP profiles.
    #[error("no SRTP profile in common")]
    NoProfile,
}

/// A certificate's fingerprint as SDP writes it (RFC 8122).
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    hash: &'static Hash,
    digest: Vec<u8>,
}

/// A hash function that fingerprints may use.
struct Hash {
    name: &'static str,
    algorithm: &'static digest::Algorithm,
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Hash {}

static HASHES: [Hash; 3] = [
    Hash {
        name: "sha-256",
        algorithm: &digest::SHA256,
    },
    Hash {
        name: "sha-384",
        algorithm: &digest::SHA384,
    },
    Hash {
        name: "sha-512",
        algorithm: &digest::SHA512,
    },
];

/// The text is no fingerprint, or its hash function is none of SHA-256, -384 and -512.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-2 certificate fingerprint")]
pub struct InvalidFingerprint;

impl Fingerprint {
    fn of(certificate: &[u8]) -> Self {
        let hash = &HASHES[0];
        Self {
            hash,
            digest: digest::digest(hash.algorithm, certificate).as_ref().to_vec(),
        }
    }

    fn matches(&self, certificate: &[u8]) -> bool {
        digest::digest(self.hash.algorithm, certificate).as_ref() == self.digest
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digits) = text.trim().split_once(' ').ok_or(InvalidFingerprint)?;
        let hash = HASHES
            .iter()
            .find(|hash| hash.name.eq_ignore_ascii_case(name))
            .ok_or(InvalidFingerprint)?;
        let byte = |pair: &str| u8::from_str_radix(pair, 16).map_err(|_| InvalidFingerprint);
        let digest: Vec<u8> = digits.trim().split(':').map(byte).collect::<Result<_, _>>()?;
        if digest.len() == hash.algorithm.output_len() {
            Ok(Self { hash, digest })
        } else {
            Err(InvalidFingerprint)
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hash.name)?;
        self.digest.iter().enumerate().try_for_each(|(at, byte)| {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")
        })
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Who we are in every handshake of this process: a self-signed P-256 certificate and what follows from it.
#[derive(Clone)]
pub struct Identity {
    fingerprint: Fingerprint,
    certificate: Certificate,
    /// For clients that know AEAD_AES_128_GCM.
    gcm_server: Arc<HandshakeConfig>,
    /// For all others.
    sha1_server: Arc<HandshakeConfig>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes a new certificate.
    ///
    /// # Errors
    /// The crypto provider fails.
    pub fn generate() -> Result<Self, DtlsError> {
        let provider = default_provider().map_err(|e| DtlsError::Certificate(FamilyError::Crypto(e.to_string())))?;
        let certificate = Certificate::generate_self_signed(["framebridge".to_owned()], provider.crypto())
            .map_err(DtlsError::Certificate)?;
        let server = |profile| {
            let config = config(&certificate, &[profile]).and_then(|builder| builder.build(false, None));
            config.map(Arc::new).map_err(DtlsError::Configure)
        };
        Ok(Self {
            fingerprint: Fingerprint::of(&certificate.certificate[0]),
            gcm_server: server(Profile::AeadAes128Gcm)?,
            sha1_server: server(Profile::Aes128CmSha1)?,
            certificate,
        })
    }

    /// The certificate's fingerprint, for SDP.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

fn config(certificate: &Certificate, profiles: &[Profile]) -> Result<ConfigBuilder, FamilyError> {
    let provider = default_provider().map_err(|e| FamilyError::Crypto(e.to_string()))?;
    let wire = |profile: &Profile| match profile {
        Profile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        Profile::Aes128CmSha1 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    };
    Ok(ConfigBuilder::default()
        .with_crypto_provider(provider)
        .with_certificates(vec![certificate.clone()])
        .with_srtp_protection_profiles(profiles.iter().map(wire).collect())
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_extended_master_secret(ExtendedMasterSecretType::Request)
        .with_flight_interval(FLIGHT_INTERVAL)
        // The chain proves nothing between self-signed certificates: the fingerprint from the SDP does, and
        // `Association` compares it before any key is used.
        .with_insecure_skip_verify(true))
}

/// What a finished handshake gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Established {
    /// The profile both ends agreed on.
    pub profile: Profile,
    /// The keys of both directions.
    pub keys: KeyPair,
}

/// What a datagram led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to tell; there may be datagrams to send.
    Pending,
    /// The handshake has just finished, and the peer is who its SDP said.
    Established(Established),
    /// The peer said goodbye.
    PeerClosed,
}

/// One DTLS association, sans-IO: after every call, drain [`Association::poll_transmit`].
pub struct Association {
    endpoint: Endpoint,
    /// The peer's certificate has one of these.
    expected: Vec<Fingerprint>,
    /// The passive end until it has seen what the client knows.
    undecided: Option<(Hello, Identity)>,
    outgoing: VecDeque<BytesMut>,
    /// What was sent last, to be sent again; see [`Association::handle_timeout`].
    flight: Option<Flight>,
    is_established: bool,
}

/// Datagrams that belong together.
struct Flight {
    datagrams: Vec<BytesMut>,
    /// When it may be sent again.
    due: Instant,
    repetitions: u32,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Association {
    /// The passive end: waits for the peer's ClientHello.
    pub fn server(identity: &Identity, expected: Vec<Fingerprint>) -> Self {
        Self {
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, None),
            expected,
            undecided: Some((Hello::default(), identity.clone())),
            outgoing: VecDeque::new(),
            flight: None,
            is_established: false,
        }
    }

    /// The active end, which offers `profiles` in this order and starts at once.
    ///
    /// # Errors
    /// The configuration is refused.
    pub fn client(
        identity: &Identity,
        expected: Fingerprint,
        profiles: &[Profile],
        now: Instant,
    ) -> Result<Self, DtlsError> {
        let config = config(&identity.certificate, profiles)
            .and_then(|builder| builder.build(true, Some(PEER)))
            .map_err(DtlsError::Configure)?;
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, None);
        endpoint
            .connect(now, PEER, Arc::new(config), None)
            .map_err(DtlsError::Handshake)?;
        let mut association = Self {
            endpoint,
            expected: vec![expected],
            undecided: None,
            outgoing: VecDeque::new(),
            flight: None,
            is_established: false,
        };
        association.drain(now);
        Ok(association)
    }

    /// Takes a datagram from the peer.
    ///
    /// # Errors
    /// The handshake failed; the association is of no more use.
    pub fn handle(&mut self, datagram: &[u8], now: Instant) -> Result<Progress, DtlsError> {
        let Some((hello, identity)) = &mut self.undecided else {
            return self.read(datagram, now);
        };
        let Some(Decision { gcm, datagrams }) = hello.handle(datagram) else {
            return Ok(Progress::Pending);
        };
        let config = if gcm {
            &identity.gcm_server
        } else {
            &identity.sha1_server
        };
        self.endpoint.set_server_config(Some(Arc::clone(config)));
        self.undecided = None;
        // A handshake never ends with the client's first message: there is nothing but errors to tell.
        datagrams
            .iter()
            .try_fold(Progress::Pending, |_, datagram| self.read(datagram, now))
    }

    fn read(&mut self, datagram: &[u8], now: Instant) -> Result<Progress, DtlsError> {
        let events = self.endpoint.read(now, PEER, None, BytesMut::from(datagram));
        // Whatever came of it: an alert has to go out, too.
        let has_answered = self.drain(now);
        if self.is_established && !has_answered {
            // The peer repeats its last flight, so it has not heard ours.
            self.repeat(now);
        }
        let mut progress = Progress::Pending;
        for event in events.map_err(DtlsError::Handshake)? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.is_established = true;
                    progress = Progress::Established(self.export()?);
                }
                EndpointEvent::PeerClosed => return Ok(Progress::PeerClosed),
                // Nobody negotiated a data channel: application data has no reader. The enum may grow.
                EndpointEvent::ApplicationData(_) | _ => {}
            }
        }
        Ok(progress)
    }

    /// Takes over what is to be sent, and notes it as the last flight; false if there is nothing.
    fn drain(&mut self, now: Instant) -> bool {
        let datagrams: Vec<BytesMut> = std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| transmit.message)
            .collect();
        if datagrams.is_empty() {
            return false;
        }
        self.outgoing.extend(datagrams.iter().cloned());
        self.flight = Some(Flight {
            datagrams,
            due: now + FLIGHT_INTERVAL,
            repetitions: 0,
        });
        true
    }

    /// Sends the last flight again, if it is time.
    fn repeat(&mut self, now: Instant) {
        if let Some(flight) = &mut self.flight
            && flight.due <= now
            && flight.repetitions < MAX_REPETITIONS
        {
            flight.repetitions += 1;
            flight.due = now + FLIGHT_INTERVAL;
            self.outgoing.extend(flight.datagrams.iter().cloned());
        }
    }

    fn export(&self) -> Result<Established, DtlsError> {
        let state = self.endpoint.get_connection_state(PEER).ok_or(DtlsError::NoProfile)?;
        let certificate = state.peer_certificates.first().ok_or(DtlsError::WrongCertificate)?;
        if !self.expected.iter().any(|expected| expected.matches(certificate)) {
            return Err(DtlsError::WrongCertificate);
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Aes128CmSha1,
            // What was never offered can't have been agreed on; the enum may grow.
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32
            | SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm
            | SrtpProtectionProfile::Unsupported
            | _ => return Err(DtlsError::NoProfile),
        };
        let material = state
            .export_keying_material("EXTRACTOR-dtls_srtp", &[], profile.material_len())
            .map_err(DtlsError::Export)?;
        let keys = KeyPair::from_material(profile, material.as_ref()).ok_or(DtlsError::NoProfile)?;
        Ok(Established { profile, keys })
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.outgoing.pop_front()
    }

    /// When [`Association::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = self
            .flight
            .as_ref()
            .filter(|flight| !self.is_established && flight.repetitions < MAX_REPETITIONS);
        self.endpoint.poll_timeout(&PEER).or(own.map(|flight| flight.due))
    }

    /// Sends a flight again that was not answered.
    ///
    /// `rtc-dtls` 0.21.1 forgets its own timer when the peer repeats itself, and then waits for ever. While it has
    /// none, the last flight is sent again as it was: who missed it takes it, who did not discards it as a replay.
    ///
    /// # Errors
    /// It has been sent often enough.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsError> {
        if let Some(due) = self.endpoint.poll_timeout(&PEER) {
            if due > now {
                return Ok(());
            }
            let result = self.endpoint.handle_timeout(PEER, now).map_err(DtlsError::Handshake);
            self.drain(now);
            return result;
        }
        if !self.is_established {
            self.repeat(now);
        }
        Ok(())
    }

    /// Queues a close_notify.
    pub fn close(&mut self, now: Instant) {
        drop(self.endpoint.stop(now, PEER));
        self.drain(now);
        self.flight = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shake(
        profiles: &[Profile],
        expect_of_server: impl Fn(&Identity) -> Fingerprint,
    ) -> Result<[Established; 2], DtlsError> {
        let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let now = Instant::now();
        let mut server = Association::server(&ours, vec![ours.fingerprint().clone(), theirs.fingerprint().clone()]);
        let mut client = Association::client(&theirs, expect_of_server(&ours), profiles, now).unwrap();
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

    #[test]
    fn an_established_association_has_no_timer_left() {
        let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let now = Instant::now();
        let mut server = Association::server(&ours, vec![theirs.fingerprint().clone()]);
        let mut client =
            Association::client(&theirs, ours.fingerprint().clone(), &[Profile::AeadAes128Gcm], now).unwrap();
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

    #[test]
    fn fingerprints_survive_text() {
        let identity = Identity::generate().unwrap();
        let text = identity.fingerprint().to_string();
        assert!(text.starts_with("sha-256 ") && text.len() == 8 + 95);
        assert_eq!(text.parse().as_ref(), Ok(identity.fingerprint()));
        assert_eq!(
            text.replace("sha-256", "SHA-256").to_lowercase().parse().as_ref(),
            Ok(identity.fingerprint())
        );
        for bad in ["", "sha-256", "sha-256 AA", "md5 AA:BB", "sha-1 AA:BB", &text[..100]] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(InvalidFingerprint));
        }
    }
}
