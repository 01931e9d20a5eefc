//! The SDP a viewer brings and takes: offers are read, answers and trickle fragments written.

mod answer;
mod bundle;
mod candidate;
mod fragment;
mod h264;
mod offer;
#[cfg(test)]
mod tests;
mod transport;

pub(crate) use answer::Answer;
pub use candidate::Candidate;
pub(crate) use fragment::{Change, Fragment};
pub(crate) use offer::{Offer, OfferError};

use crate::ice::Credentials;

/// What our ICE can do, the same in answers and fragments (RFC 9725, section 4.3.3): take candidates later, and RFC 8445's
/// nomination.
const ICE_OPTIONS: &str = "trickle ice2";

/// Credentials as RFC 8839 has them (section 5.4): of ICE's characters, and as long as it says. A name of any others would be
/// text of a stranger's choice in what we send to addresses of its choice.
fn credentials(ufrag: &str, password: &str) -> Option<Credentials> {
    let is_ice = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
    };
    let fits = (4..=256).contains(&ufrag.len()) && (22..=256).contains(&password.len());
    (fits && is_ice(ufrag) && is_ice(password)).then(|| Credentials {
        ufrag: ufrag.to_owned(),
        password: password.to_owned(),
    })
}

/// Whether a line has characters that control something, for a terminal or a parser, and that no SDP needs.
fn has_control(line: &str) -> bool {
    line.chars().any(char::is_control)
}
