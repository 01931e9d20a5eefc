//! One cookie for all hellos that a process answers.
//!
//! `rtc-dtls` draws a cookie for each hello. Then whoever sends a hello in the client's name has us send the client a
//! cookie that is not its own; the client takes the first that comes, and the hello it sends with it is refused. So all
//! get the same. A cookie proves that its sender hears what is sent to its address (RFC 6347 section 4.2.1); here an
//! authentic STUN check has proved that before.

use std::sync::Arc;

use rtc_dtls::crypto_provider::{CryptoError, RTCCrypto, RTCCryptoProvider, RTCRandom};

use crate::random;

/// The length of `rtc-dtls`' cookies. It draws so many random bytes for nothing else: hellos have 28, vectors 16.
const COOKIE: usize = 20;

/// A crypto provider whose cookies are all the same.
pub(super) struct OneCookie {
    provider: Arc<dyn RTCCryptoProvider>,
    cookie: [u8; COOKIE],
}

impl OneCookie {
    /// `provider` with a cookie that is drawn now.
    pub(super) fn over(provider: Arc<dyn RTCCryptoProvider>) -> Self {
        Self {
            provider,
            cookie: random::bytes(),
        }
    }
}

impl RTCCryptoProvider for OneCookie {
    fn name(&self) -> &'static str {
        self.provider.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self.provider.crypto()
    }

    fn random(&self) -> &dyn RTCRandom {
        self
    }
}

impl RTCRandom for OneCookie {
    fn fill(&self, output: &mut [u8]) -> Result<(), CryptoError> {
        if output.len() == COOKIE {
            output.copy_from_slice(&self.cookie);
            return Ok(());
        }
        self.provider.random().fill(output)
    }
}
