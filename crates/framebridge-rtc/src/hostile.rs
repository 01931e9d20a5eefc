//! What strangers' bytes reach behind the types that are public, alone: what the fuzz targets (`tests/fuzz`) feed.

use crate::{
    Candidate, Feedback,
    dtls::Fingerprint,
    feedback,
    ice::Credentials,
    sdp::{Answer, Change, Fragment, Offer},
    stun::{self, Kind, Transaction},
};

/// Reads a compound RTCP packet about our `ssrc`.
pub fn feedback(compound: &[u8], ssrc: u32) -> Vec<Feedback> {
    feedback::parse(compound, ssrc)
}

/// Reads an offer and answers it; `None` if it is refused.
pub fn answer(offer: &str, fingerprint: &Fingerprint) -> Option<String> {
    let offer = Offer::parse(offer).ok()?;
    let answer = Answer {
        offer,
        ice: Credentials::random("0"),
        fingerprint: fingerprint.clone(),
        candidates: vec!["1 1 udp 5 192.0.2.1 4000 typ host".parse().ok()?],
        ssrc: 1,
        repair_ssrc: 2,
        name: "name".to_owned(),
        cname: "cname".to_owned(),
    };
    Some(answer.write(Some(52)))
}

/// What a fragment asks for.
#[derive(Debug)]
pub struct Asked {
    /// The credentials of another generation, if it wants to start over.
    pub restart: Option<Credentials>,
    /// Further candidates.
    pub candidates: Vec<Candidate>,
}

/// Reads a fragment for a session whose generation in force is `current`; `None` if it is refused.
pub fn fragment(text: &str, current: &Credentials) -> Option<Asked> {
    let (restart, candidates) = match Fragment::parse(text).ok()?.against(current) {
        Change::Candidates(candidates) => (None, candidates),
        Change::Restart(fresh, candidates) => (Some(fresh), candidates),
    };
    Some(Asked { restart, candidates })
}

/// Writes a fragment as we do after a restart.
pub fn write_fragment(ice: &Credentials, candidates: &[Candidate]) -> String {
    Fragment::write(ice, Some("0"), candidates)
}

/// A STUN message with these attributes, signed.
pub fn stun(kind: Kind, transaction: Transaction, attributes: &[(u16, &[u8])], password: &str) -> Vec<u8> {
    stun::signed(kind, transaction, attributes, password)
}
