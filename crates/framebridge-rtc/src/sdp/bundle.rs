//! BUNDLE (RFC 9143): which section's transport the video goes by, and what that section's answer repeats.
//!
//! The first section of a group, its tag, names the transport of them all, and an answer may reject it only with all of them
//! (section 7.3.3): Chromium with `bundlePolicy: "max-bundle"` takes no other. So where the tag is not the video, we accept
//! it without using it.

use rtc_sdp::{
    MediaDescription, SessionDescription,
    description::{common::Attribute, session::ATTR_KEY_GROUP},
};

use super::section::mid;

/// Formats that carry nothing by themselves: a section is not accepted for one of them.
const AUXILIARY: [&str; 7] = ["rtx", "red", "ulpfec", "flexfec", "flexfec-03", "telephone-event", "CN"];

/// The section that an offer's BUNDLE group goes by.
#[derive(Debug, Clone)]
pub(crate) struct Tag {
    /// Its place among the offer's sections.
    pub(crate) at: usize,
    /// The one format that is accepted, if the section is accepted without being used.
    pub(crate) format: String,
    /// What describes that format, as offered.
    pub(crate) attributes: Vec<Attribute>,
}

impl Tag {
    /// The tag of the group that section `video` is in; `None`: it is in none.
    pub(super) fn of(session: &SessionDescription, video: usize) -> Option<Self> {
        let media = &session.media_descriptions;
        let wanted = mid(media.get(video)?)?;
        let groups = session
            .attributes
            .iter()
            .filter(|attribute| attribute.key == ATTR_KEY_GROUP);
        let members = |attribute: &'_ Attribute| {
            let mut words = attribute.value.as_deref()?.split_whitespace().map(str::to_owned);
            (words.next()? == "BUNDLE").then(|| words.collect::<Vec<_>>())
        };
        let group = groups
            .filter_map(members)
            .find(|members| members.iter().any(|member| member == wanted))?;
        let tag = |member: &String| {
            let named = media.iter().position(|section| mid(section) == Some(member))?;
            media.get(named).filter(|section| !is_refused(section))?;
            Some(named)
        };
        let at = group.iter().find_map(tag)?;
        let (format, attributes) = idle(media.get(at)?);
        Some(Self { at, format, attributes })
    }
}

/// Whether an offer does not want a section: its port is 0, and that is not because it is bundle-only.
pub(super) fn is_refused(section: &MediaDescription) -> bool {
    section.media_name.port.value == 0 && !section.has_attribute("bundle-only")
}

/// The format that a section is accepted with if nothing will be sent in it, and the attributes that describe it.
fn idle(section: &MediaDescription) -> (String, Vec<Attribute>) {
    let describes = |attribute: &Attribute, format: &str| match (attribute.key.as_str(), attribute.value.as_deref()) {
        // Data channels (RFC 8841), in either way to write them.
        ("sctp-port", Some(_)) => true,
        ("rtpmap" | "fmtp" | "sctpmap", Some(value)) => value.trim().split(' ').next() == Some(format),
        _ => false,
    };
    let is_auxiliary = |format: &str| {
        section.attributes.iter().any(|attribute| {
            let name = attribute.value.as_deref().and_then(|value| {
                let (named, encoding) = value.trim().split_once(' ')?;
                (named == format).then(|| encoding.split('/').next().unwrap_or_default().trim())
            });
            attribute.key == "rtpmap"
                && name.is_some_and(|name| AUXILIARY.iter().any(|known| name.eq_ignore_ascii_case(known)))
        })
    };
    let formats = &section.media_name.formats;
    let format = formats.iter().find(|format| !is_auxiliary(format)).or(formats.first());
    let format = format.cloned().unwrap_or_default();
    let attributes = section
        .attributes
        .iter()
        .filter(|attribute| describes(attribute, &format));
    let attributes = attributes.cloned().collect();
    (format, attributes)
}
