//! Certificates for HTTPS: what one says of itself, and one of our own making.

use std::net::IpAddr;

use framebridge_proto::supervisor::CertificateNotice;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use x509_parser::{pem::Pem, time::ASN1Time};

use crate::UnixTime;

/// A certificate that ends sooner is to be renewed now: those who renew by themselves do so a month before.
const RENEWAL_DAYS: u64 = 14;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// First second at which it holds, since the Unix epoch.
    pub not_before: UnixTime,
    /// Last second at which it holds, since the Unix epoch.
    pub not_after: UnixTime,
    /// Whom it was issued to, as it says.
    pub subject: String,
}

/// A certificate and its key, both PEM.
pub struct SelfSigned {
    /// PEM: the certificate, signed by itself.
    pub certificate: String,
    /// PEM: its private key.
    pub key: String,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There is none in the file.
    #[error("there is no certificate in it: it has to be PEM, the server's certificate first")]
    None,
    /// It can't be read.
    #[error("its certificate can't be read: {0}")]
    Malformed(String),
    /// It can't be made.
    #[error("no certificate can be made for these names: {0}")]
    Unmakeable(String),
}

impl Certificate {
    /// Reads the first certificate of a PEM file: the server's own.
    ///
    /// # Errors
    /// There is none, or it makes no sense.
    pub fn read(pem: &[u8]) -> Result<Self, CertificateError> {
        let pem = Pem::iter_from_buffer(pem)
            .find(|pem| pem.as_ref().is_ok_and(|pem| pem.label == "CERTIFICATE"))
            .ok_or(CertificateError::None)?;
        let malformed = |error: &dyn std::fmt::Display| CertificateError::Malformed(error.to_string());
        let pem = pem.map_err(|error| malformed(&error))?;
        let found = pem.parse_x509().map_err(|error| malformed(&error))?;
        let validity = found.validity();
        let seconds = |time: ASN1Time| UnixTime::try_from(time.timestamp()).unwrap_or(0);
        Ok(Self {
            not_before: seconds(validity.not_before),
            not_after: seconds(validity.not_after),
            subject: found.subject().to_string(),
        })
    }

    /// Whole days that are left; `None`: it has ended.
    pub fn days_left(&self, now: UnixTime) -> Option<u64> {
        Some(self.not_after.checked_sub(now)? / (24 * 3600))
    }

    /// Why it has to be renewed now, if it has to.
    pub fn notice(&self, now: UnixTime) -> Option<CertificateNotice> {
        match self.days_left(now) {
            None => Some(CertificateNotice::Ended),
            Some(days) if days < RENEWAL_DAYS => Some(CertificateNotice::Ends {
                in_days: u32::try_from(days).unwrap_or(u32::MAX),
            }),
            Some(_) => None,
        }
    }
}

/// A certificate for `names` and `addresses`, signed by its own key (P-256), which holds from `from` until `until`.
///
/// # Errors
/// A name can't stand in a certificate.
pub fn self_signed(
    names: &[String],
    addresses: &[IpAddr],
    from: UnixTime,
    until: UnixTime,
) -> Result<SelfSigned, CertificateError> {
    let unmakeable = |error: rcgen::Error| CertificateError::Unmakeable(error.to_string());
    let all = names.iter().cloned().chain(addresses.iter().map(IpAddr::to_string));
    // rcgen makes an address of a name that reads as one.
    let mut params = CertificateParams::new(all.collect::<Vec<_>>()).map_err(unmakeable)?;
    let title = names.first().map_or("Framebridge", String::as_str);
    params.distinguished_name.push(DnType::CommonName, title);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(from);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(until);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unmakeable)?;
    let certificate = params.self_signed(&key).map_err(unmakeable)?;
    Ok(SelfSigned {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

impl std::fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelfSigned")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_of_our_own_says_until_when_it_holds() {
        let made = self_signed(
            &["box".into(), "box.local".into()],
            &["192.0.2.7".parse().expect("an address")],
            1_700_000_000,
            1_700_864_000,
        )
        .expect("good names");
        let read = Certificate::read(made.certificate.as_bytes()).expect("a certificate");
        assert_eq!((read.not_before, read.not_after), (1_700_000_000, 1_700_864_000));
        assert_eq!(read.subject, "CN=box");
        assert_eq!(read.days_left(1_700_000_001), Some(9));
        assert_eq!(read.days_left(1_700_864_001), None);
        let notice = |now| read.notice(now).map(|notice| notice.to_string());
        assert_eq!(notice(1_699_000_000), None);
        assert!(notice(1_700_000_001).is_some_and(|notice| notice.contains("ends in 9 days")));
        assert!(notice(1_700_864_001).is_some_and(|notice| notice.contains("has ended")));
        assert!(!format!("{made:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn file_without_a_certificate_is_said_to_have_none() {
        let made = self_signed(&["box".into()], &[], 0, 1).expect("a good name");
        for text in ["", "nonsense", &made.key] {
            assert_eq!(
                Certificate::read(text.as_bytes()),
                Err(CertificateError::None),
                "{text}"
            );
        }
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            Certificate::read(broken.as_bytes()),
            Err(CertificateError::Malformed(_))
        ));
    }
}
