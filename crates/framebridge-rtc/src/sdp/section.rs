//! One m-line of an offer, and the name it has there.

use rtc_sdp::MediaDescription;

/// The longest `a=mid`, bytes. Browsers count, some stacks write a UUID (36).
const MAX_MID: usize = 64;

/// One m-line.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) media: String,
    pub(crate) protocols: Vec<String>,
    pub(crate) formats: Vec<String>,
    pub(crate) mid: Option<String>,
}

impl Section {
    pub(super) fn of(section: &MediaDescription) -> Self {
        let name = &section.media_name;
        Self {
            media: name.media.clone(),
            protocols: name.protos.clone(),
            formats: name.formats.clone(),
            mid: mid(section).map(str::to_owned),
        }
    }

    /// Whether it is for RTP, and not for data.
    pub(crate) fn is_rtp(&self) -> bool {
        self.protocols.iter().any(|protocol| protocol == "RTP")
    }
}

/// Checks that sections name themselves by tokens (RFC 5888, section 4), each by its own; the error says what is wrong.
pub(super) fn check_mids(sections: &[Section]) -> Result<(), &'static str> {
    let mids = || sections.iter().filter_map(|section| section.mid.as_deref());
    let is_token = |mid: &str| {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&byte);
        (1..=MAX_MID).contains(&mid.len()) && mid.bytes().all(allowed)
    };
    if !mids().all(is_token) {
        return Err("a=mid is no token, or too long");
    }
    if mids()
        .enumerate()
        .any(|(at, mid)| mids().take(at).any(|before| before == mid))
    {
        return Err("two sections have the same a=mid");
    }
    Ok(())
}

/// A section's identification (RFC 5888).
pub(super) fn mid(section: &MediaDescription) -> Option<&str> {
    section.attribute("mid").flatten().map(str::trim)
}
