//! The two transforms: AEAD_AES_128_GCM (RFC 7714) and AES_CM_128_HMAC_SHA1_80 (RFC 3711), for RTP and RTCP alike.
//!
//! Stateless: whoever calls names the packet index, and answers for never naming one twice for different bytes.

use aes::{
    Aes128,
    cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper},
};
use ctr::{CtrCore, flavors::Ctr128BE};
use hmac::{Hmac, Mac as _};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::{
    MasterKey, Profile,
    keys::{Purpose, Traffic},
};

/// Bytes of authentication tag that HMAC-SHA1-80 leaves of its 20.
pub(super) const SHA1_TAG: usize = 10;
/// Bytes of GCM's tag.
pub(super) const GCM_TAG: usize = 16;

/// The packet failed authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SRTP authentication failed")]
pub struct AuthenticationFailed;

/// Session keys of one direction and kind of traffic.
#[expect(
    clippy::large_enum_variant,
    reason = "boxing the common variant would cost a cache miss per packet"
)]
pub(super) enum Cipher {
    Gcm {
        key: LessSafeKey,
        salt: [u8; 12],
    },
    CmSha1 {
        key: Aes128,
        salt: [u8; 14],
        mac: Hmac<Sha1>,
    },
}

impl Cipher {
    pub(super) fn new(profile: Profile, master: &MasterKey, traffic: Traffic) -> Self {
        let mut key: [u8; 16] = master.derive(traffic, Purpose::Encryption);
        let cipher = match profile {
            Profile::AeadAes128Gcm => {
                #[expect(
                    clippy::expect_used,
                    reason = "the only error is a wrong length, and the type fixes it"
                )]
                let unbound = UnboundKey::new(&AES_128_GCM, &key).expect("AES-128 keys have 16 bytes");
                Self::Gcm {
                    key: LessSafeKey::new(unbound),
                    salt: master.derive(traffic, Purpose::Salt),
                }
            }
            Profile::Aes128CmSha1 => {
                let mut authentication: [u8; 20] = master.derive(traffic, Purpose::Authentication);
                // Not ring's: it has no code for processors' SHA instructions, which halve what a packet costs.
                #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
                let mac = <Hmac<Sha1> as KeyInit>::new_from_slice(&authentication).expect("HMAC takes any key");
                authentication.zeroize();
                Self::CmSha1 {
                    key: Aes128::new(&key.into()),
                    salt: master.derive(traffic, Purpose::Salt),
                    mac,
                }
            }
        };
        key.zeroize();
        cipher
    }

    /// Encrypts `packet[clear..]` in place with the 48-bit `index` and returns the tag (its first
    /// [`Profile::tag_len`] bytes count). `trailer` is authenticated: RTP's rollover counter or RTCP's index word.
    ///
    /// What AES-GCM authenticates besides the ciphertext is the clear part and, for RTCP, the trailer; HMAC-SHA1
    /// takes the packet and the trailer.
    #[inline]
    pub(super) fn seal(&self, packet: &mut [u8], clear: usize, ssrc: u32, index: Index) -> [u8; GCM_TAG] {
        let mut tag = [0; GCM_TAG];
        match self {
            Self::Gcm { key, salt } => {
                let (header, body) = packet.split_at_mut(clear);
                let mut aad = [0; 12];
                let aad = index.gcm_aad(header, &mut aad);
                #[expect(clippy::expect_used, reason = "AES-GCM fails past 64 GiB only")]
                let sealed = key
                    .seal_in_place_separate_tag(index.gcm_nonce(ssrc, salt), Aad::from(aad), body)
                    .expect("a packet is below 64 GiB");
                tag.copy_from_slice(sealed.as_ref());
            }
            Self::CmSha1 { key, salt, mac } => {
                keystream(key, salt, ssrc, index).apply_keystream(&mut packet[clear..]);
                tag[..SHA1_TAG].copy_from_slice(&sign(mac, packet, index)[..SHA1_TAG]);
            }
        }
        tag
    }

    /// The opposite of [`Cipher::seal`]: checks `tag`, then decrypts `packet[clear..]` in place. For GCM the tag
    /// must stand right behind the ciphertext, which it does on the wire: `packet` includes it.
    pub(super) fn open(
        &self,
        packet: &mut [u8],
        clear: usize,
        ssrc: u32,
        index: Index,
        tag: &[u8],
    ) -> Result<(), AuthenticationFailed> {
        match self {
            Self::Gcm { key, salt } => {
                let (header, body) = packet.split_at_mut(clear);
                let mut aad = [0; 12];
                let aad = index.gcm_aad(header, &mut aad);
                key.open_in_place(index.gcm_nonce(ssrc, salt), Aad::from(aad), body)
                    .map(drop)
                    .map_err(|_| AuthenticationFailed)
            }
            Self::CmSha1 { key, salt, mac } => {
                if !bool::from(sign(mac, packet, index)[..SHA1_TAG].ct_eq(tag)) {
                    return Err(AuthenticationFailed);
                }
                keystream(key, salt, ssrc, index).apply_keystream(&mut packet[clear..]);
                Ok(())
            }
        }
    }
}

/// Which packet it is: RTP's 48-bit index (rollover counter and sequence number) or RTCP's 31-bit one.
#[derive(Clone, Copy)]
pub(super) enum Index {
    Rtp(u64),
    Rtcp(u32),
}

impl Index {
    /// RTCP's index word: the E flag (encrypted) and the index.
    pub(super) fn rtcp_word(index: u32) -> [u8; 4] {
        (index | 1 << 31).to_be_bytes()
    }

    /// The index as the 48 bits that enter nonce and counter block.
    fn low48(self) -> [u8; 6] {
        let mut low = [0; 6];
        match self {
            Self::Rtp(index) => low.copy_from_slice(&index.to_be_bytes()[2..]),
            Self::Rtcp(index) => low[2..].copy_from_slice(&index.to_be_bytes()),
        }
        low
    }

    /// RFC 7714 sections 8.1 and 9.1: two zero bytes, SSRC, 48 bits of index, all of it xor salt.
    #[inline]
    fn gcm_nonce(self, ssrc: u32, salt: &[u8; 12]) -> Nonce {
        let mut nonce = *salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..12], &self.low48());
        Nonce::assume_unique_for_key(nonce)
    }

    /// RFC 7714 sections 8.2 and 9.2: RTP's header alone; RTCP's first eight bytes, then its index word.
    #[inline]
    fn gcm_aad<'a>(self, header: &'a [u8], room: &'a mut [u8; 12]) -> &'a [u8] {
        match self {
            Self::Rtp(_) => header,
            Self::Rtcp(index) => {
                room[..8].copy_from_slice(&header[..8]);
                room[8..].copy_from_slice(&Self::rtcp_word(index));
                room
            }
        }
    }

    /// What HMAC-SHA1 authenticates after the packet: the rollover counter or RTCP's index word.
    fn sha1_trailer(self) -> [u8; 4] {
        match self {
            Self::Rtp(_) => {
                let low = self.low48();
                [low[0], low[1], low[2], low[3]]
            }
            Self::Rtcp(index) => Self::rtcp_word(index),
        }
    }
}

/// RFC 3711 section 4.1.1: (salt * 2^16) xor (SSRC * 2^64) xor (index * 2^16).
#[inline]
fn keystream<'a>(
    key: &'a Aes128,
    salt: &[u8; 14],
    ssrc: u32,
    index: Index,
) -> StreamCipherCoreWrapper<CtrCore<&'a Aes128, Ctr128BE>> {
    let mut block = [0; 16];
    block[..14].copy_from_slice(salt);
    xor(&mut block[4..8], &ssrc.to_be_bytes());
    xor(&mut block[8..14], &index.low48());
    StreamCipherCoreWrapper::from_core(CtrCore::inner_iv_init(key, &block.into()))
}

#[inline]
fn sign(mac: &Hmac<Sha1>, packet: &[u8], index: Index) -> [u8; 20] {
    let mut mac = mac.clone();
    mac.update(packet);
    mac.update(&index.sha1_trailer());
    mac.finalize().into_bytes().into()
}

#[inline]
fn xor(into: &mut [u8], with: &[u8]) {
    into.iter_mut().zip(with).for_each(|(a, b)| *a ^= b);
}
