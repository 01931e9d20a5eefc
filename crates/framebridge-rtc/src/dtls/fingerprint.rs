//! Certificate fingerprints (RFC 8122).

use std::{fmt, str::FromStr};

use ring::digest;

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
    /// A certificate's, by SHA-256.
    pub(super) fn of(certificate: &[u8]) -> Self {
        let hash = &HASHES[0];
        Self {
            hash,
            digest: digest::digest(hash.algorithm, certificate).as_ref().to_vec(),
        }
    }

    /// Whether it is this certificate's.
    pub(super) fn matches(&self, certificate: &[u8]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::Identity;

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
