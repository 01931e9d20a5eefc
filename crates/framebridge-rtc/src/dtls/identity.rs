//! Who we are in DTLS, and how handshakes are configured.

use std::{fmt, sync::Arc};

use rtc_dtls::{
    config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig},
    crypto::Certificate,
    crypto_provider::{RTCCryptoProvider, default_provider},
    extension::extension_use_srtp::SrtpProtectionProfile,
};
use rtc_shared::error::Error as FamilyError;

use super::{DtlsError, FLIGHT_INTERVAL, Fingerprint, cookie::OneCookie};
use crate::srtp::Profile;

/// Who we are in every handshake of this process: a self-signed P-256 certificate and what follows from it.
#[derive(Clone)]
pub struct Identity {
    fingerprint: Fingerprint,
    pub(super) certificate: Certificate,
    /// For clients that know AEAD_AES_128_GCM.
    pub(super) gcm_server: Arc<HandshakeConfig>,
    /// For all others.
    pub(super) sha1_server: Arc<HandshakeConfig>,
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
        let provider = provider().map_err(DtlsError::Certificate)?;
        let certificate = Certificate::generate_self_signed(["framebridge".to_owned()], provider.crypto())
            .map_err(DtlsError::Certificate)?;
        let one_cookie: Arc<dyn RTCCryptoProvider> = Arc::new(OneCookie::over(provider));
        let server = |profile| {
            let config = config(&certificate, &[profile], Arc::clone(&one_cookie)).build(false, None);
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

pub(super) fn provider() -> Result<Arc<dyn RTCCryptoProvider>, FamilyError> {
    default_provider().map_err(|error| FamilyError::Crypto(error.to_string()))
}

pub(super) fn config(
    certificate: &Certificate,
    profiles: &[Profile],
    provider: Arc<dyn RTCCryptoProvider>,
) -> ConfigBuilder {
    let wire = |profile: &Profile| match profile {
        Profile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        Profile::Aes128CmSha1 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    };
    ConfigBuilder::default()
        .with_crypto_provider(provider)
        .with_certificates(vec![certificate.clone()])
        .with_srtp_protection_profiles(profiles.iter().map(wire).collect())
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_extended_master_secret(ExtendedMasterSecretType::Request)
        .with_flight_interval(FLIGHT_INTERVAL)
        // The chain proves nothing between self-signed certificates: the fingerprint from the SDP does, and
        // `Association` compares it before any key is used.
        .with_insecure_skip_verify(true)
}
