//! The SDP a viewer brings and takes: offers are read, answers and trickle fragments written.

mod answer;
mod bundle;
mod candidate;
mod error;
mod fragment;
mod h264;
mod line;
mod offer;
mod own_offer;
mod section;
#[cfg(test)]
mod tests;
mod transport;

pub(crate) use answer::Answer;
pub use candidate::{Candidate, CandidateKind};
pub(crate) use error::OfferError;
pub(crate) use fragment::{Change, Fragment};
pub use h264::Load;
pub(crate) use line::LineOffer;
pub(crate) use offer::Offer;
pub(crate) use own_offer::OwnOffer;

/// What our ICE can do, the same in answers and fragments (RFC 9725, section 4.3.3): take candidates later, and RFC 8445's
/// nomination.
const ICE_OPTIONS: &str = "trickle ice2";

/// Whether a line has characters that control something, for a terminal or a parser, and that no SDP needs.
fn has_control(line: &str) -> bool {
    line.chars().any(char::is_control)
}
