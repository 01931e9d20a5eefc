//! The SDP a viewer brings and takes: offers are read, answers and trickle fragments written.

mod answer;
mod bundle;
mod candidate;
mod fragment;
mod h264;
mod offer;
#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub use candidate::Candidate;
pub(crate) use fragment::{Change, Fragment};
pub(crate) use offer::{Offer, OfferError};
