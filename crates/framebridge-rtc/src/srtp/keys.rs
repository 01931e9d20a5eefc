//! From the DTLS handshake's key material to session keys (RFC 3711 section 4.3, RFC 5764 section 4.2).

use std::fmt;

use aes::{
    Aes128,
    cipher::{BlockEncrypt, KeyInit},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Profile;

/// One direction's master key and salt. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    /// The AES-128 master key.
    pub key: [u8; 16],
    /// The master salt; the last two bytes are 0 where the profile's salt has 12 (RFC 7714 section 11).
    pub salt: [u8; 14],
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

/// Both directions' master keys, by DTLS role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// What the DTLS client encrypts with.
    pub client: MasterKey,
    /// What the DTLS server encrypts with.
    pub server: MasterKey,
}

impl KeyPair {
    /// Cuts the exporter's output, [`Profile::material_len`] bytes, into keys: client key, server key, client salt,
    /// server salt.
    pub(crate) fn from_material(profile: Profile, material: &[u8]) -> Option<Self> {
        let salt_len = profile.salt_len();
        if material.len() != profile.material_len() {
            return None;
        }
        let (keys, salts) = material.split_at(32);
        let one = |number: usize| {
            let mut master = MasterKey {
                key: [0; 16],
                salt: [0; 14],
            };
            master.key.copy_from_slice(&keys[number * 16..][..16]);
            master.salt[..salt_len].copy_from_slice(&salts[number * salt_len..][..salt_len]);
            master
        };
        Some(Self {
            client: one(0),
            server: one(1),
        })
    }
}

/// What a derived key is for: the labels of RFC 3711 section 4.3.1 for RTP; RTCP's are three higher.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Encryption = 0,
    Authentication = 1,
    Salt = 2,
}

/// Whether a key protects RTP or RTCP.
#[derive(Clone, Copy)]
pub(super) enum Traffic {
    Rtp = 0,
    Rtcp = 3,
}

impl MasterKey {
    /// Derives a session key with AES-CM as the PRF and a key derivation rate of 0.
    pub(super) fn derive<const N: usize>(&self, traffic: Traffic, purpose: Purpose) -> [u8; N] {
        let mut block = [0; 16];
        block[..14].copy_from_slice(&self.salt);
        block[7] ^= traffic as u8 + purpose as u8;
        let aes = Aes128::new(&self.key.into());
        let mut derived = [0; N];
        for (counter, chunk) in (0u16..).zip(derived.chunks_mut(16)) {
            block[14..].copy_from_slice(&counter.to_be_bytes());
            let mut keystream = block.into();
            aes.encrypt_block(&mut keystream);
            chunk.copy_from_slice(&keystream[..chunk.len()]);
        }
        derived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3711, appendix B.3.
    #[test]
    fn session_keys_are_those_of_the_rfc() {
        let master = MasterKey {
            key: hex(b"E1F97A0D3E018BE0D64FA32C06DE4139"),
            salt: hex(b"0EC675AD498AFEEBB6960B3AABE6"),
        };
        assert_eq!(
            master.derive(Traffic::Rtp, Purpose::Encryption),
            hex::<16>(b"C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(
            master.derive(Traffic::Rtp, Purpose::Salt),
            hex::<14>(b"30CBBC08863D8C85D49DB34A9AE1")
        );
        assert_eq!(
            master.derive(Traffic::Rtp, Purpose::Authentication),
            hex::<20>(b"CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    #[test]
    fn exported_material_is_cut_in_the_order_of_rfc_5764() {
        let material: Vec<u8> = (0..60).collect();
        let keys = KeyPair::from_material(Profile::Aes128CmSha1, &material).unwrap();
        assert_eq!((keys.client.key[0], keys.server.key[0]), (0, 16));
        assert_eq!((keys.client.salt[0], keys.server.salt[0]), (32, 46));
        let keys = KeyPair::from_material(Profile::AeadAes128Gcm, &material[..56]).unwrap();
        assert_eq!((keys.client.salt[0], keys.server.salt[0]), (32, 44));
        assert_eq!(keys.server.salt[12..], [0, 0]);
        assert_eq!(KeyPair::from_material(Profile::AeadAes128Gcm, &material), None);
    }

    pub(crate) fn hex<const N: usize>(text: &[u8]) -> [u8; N] {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap();
        std::array::from_fn(|i| digit(text[2 * i]) << 4 | digit(text[2 * i + 1]))
    }
}
