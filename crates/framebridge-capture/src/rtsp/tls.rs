//! Whom to trust over TLS. A camera proves its name by an authority's certificate, or is known by its very own.

use std::{path::Path, sync::Arc};

use framebridge_config::SourceTls;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem, pem::PemObject as _},
};

/// Why there is nothing to verify a camera with.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file can't be read, or is no PEM.
    #[error("can't read certificates from {file}")]
    Pem {
        /// The file.
        file: String,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// There is nothing in it that can be trusted.
    #[error("there are no certificates to trust: name them with tls_ca")]
    Nothing,
    /// TLS can't be spoken.
    #[error("TLS can't be spoken")]
    Protocol(#[from] Error),
}

/// A connection to `host` that has said nothing yet.
pub(super) fn connection(host: &str, trust: &SourceTls) -> Result<ClientConnection, TrustError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier {
        trusted: trust
            .verify
            .then(|| Trusted::new(trust.ca.as_deref(), &provider))
            .transpose()?,
        provider: Arc::clone(&provider),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|_invalid| Error::General("no name".to_owned()))?;
    Ok(ClientConnection::new(Arc::new(config), name)?)
}

/// Who is let be the camera.
#[derive(Debug)]
struct Verifier {
    /// `None`: whoever answers, as the operator has it.
    trusted: Option<Trusted>,
    provider: Arc<CryptoProvider>,
}

/// Authorities; and certificates that are trusted as they are, whatever name is in them: cameras sign their own.
#[derive(Debug)]
struct Trusted {
    pinned: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl Trusted {
    fn new(ca: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Self, TrustError> {
        let pinned: Vec<CertificateDer<'static>> = match ca {
            Some(path) => CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect)
                .map_err(|source| TrustError::Pem {
                    file: path.display().to_string(),
                    source,
                })?,
            None => Vec::new(),
        };
        let mut roots = RootCertStore::empty();
        // What is no authority's may still be the camera's own.
        let _added = match ca {
            Some(_) => roots.add_parsable_certificates(pinned.iter().cloned()),
            None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
        };
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let authorities = authorities.build().map_err(|_no_roots| TrustError::Nothing)?;
        Ok(Self { pinned, authorities })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trusted {
            Some(trusted) if !trusted.pinned.iter().any(|pinned| pinned == end_entity) => trusted
                .authorities
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            Some(_) | None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
