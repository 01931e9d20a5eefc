//! Reading an offer: the one video section we answer, and what its transport says.

use std::io::Cursor;

use rtc_sdp::{MediaDescription, SessionDescription};

use super::{Candidate, h264};
use crate::{dtls::Fingerprint, ice::Credentials};

/// Sections one offer may have; a browser's has three at most.
const MAX_SECTIONS: usize = 32;

/// Why an offer was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OfferError {
    /// It can't be read or lacks something.
    Malformed(String),
    /// No section offers an H.264 that we send.
    NoAcceptableCodec,
}

/// What an offer comes to.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Every section as it must come back, in order.
    pub(crate) sections: Vec<Section>,
    /// Whether the offer groups its sections; if so the answer does.
    pub(crate) bundles: bool,
    /// Which section plays.
    pub(crate) video: usize,
    /// The format that plays.
    pub(crate) format: Format,
    /// The viewer's ICE credentials.
    pub(crate) ice: Credentials,
    /// The viewer's certificate.
    pub(crate) fingerprint: Fingerprint,
    /// The candidates that we can use so far.
    pub(crate) candidates: Vec<Candidate>,
}

/// One m-line.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) media: String,
    pub(crate) protocols: Vec<String>,
    pub(crate) formats: Vec<String>,
    pub(crate) mid: Option<String>,
}

/// A payload type of H.264 with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) payload_type: u8,
    pub(crate) fmtp: Option<String>,
    /// The kinds of RTCP feedback it offers that we understand, as they stand in `a=rtcp-fb`.
    pub(crate) feedback: Vec<String>,
}

impl Offer {
    /// Reads `text`; lines may end in CRLF or LF.
    pub(crate) fn parse(text: &str) -> Result<Self, OfferError> {
        let malformed = |reason: &str| OfferError::Malformed(reason.to_owned());
        // The parser insists on CRLF.
        let lines: String = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .flat_map(|line| [line, "\r\n"])
            .collect();
        let session = SessionDescription::unmarshal(&mut Cursor::new(lines.as_bytes()))
            .map_err(|error| OfferError::Malformed(error.to_string()))?;
        let media = &session.media_descriptions;
        if media.is_empty() || media.len() > MAX_SECTIONS {
            return Err(malformed("it has no media section, or too many"));
        }
        let (video, format) = media
            .iter()
            .enumerate()
            .filter(|(_, section)| can_receive_video(section))
            .find_map(|(at, section)| best_format(section).map(|format| (at, format)))
            .ok_or(OfferError::NoAcceptableCodec)?;
        let section = &media[video];
        let attribute = |key: &str| value(section, key).or_else(|| session.attribute(key).map(String::as_str));
        let ice = Credentials {
            ufrag: attribute("ice-ufrag")
                .ok_or_else(|| malformed("a=ice-ufrag is missing"))?
                .to_owned(),
            password: attribute("ice-pwd")
                .ok_or_else(|| malformed("a=ice-pwd is missing"))?
                .to_owned(),
        };
        if !(4..=256).contains(&ice.ufrag.len()) || !(22..=256).contains(&ice.password.len()) {
            return Err(malformed("ICE credentials have the wrong length"));
        }
        let fingerprint = attribute("fingerprint")
            .ok_or_else(|| malformed("a=fingerprint is missing"))?
            .parse()
            .map_err(|_| malformed("a=fingerprint is not a SHA-2 fingerprint"))?;
        if !matches!(attribute("setup"), Some("actpass" | "active") | None) {
            return Err(malformed("a=setup must leave the active part to the offerer"));
        }
        if !section.has_attribute("rtcp-mux") {
            return Err(malformed("a=rtcp-mux is missing"));
        }
        // Bundled sections share one transport, and any of them may carry its candidates.
        let candidates = media
            .iter()
            .flat_map(|section| &section.attributes)
            .filter(|attribute| attribute.key == "candidate")
            .filter_map(|attribute| attribute.value.as_deref()?.parse().ok())
            .collect();
        let bundles = session.attributes.iter().any(|attribute| {
            attribute.key == "group"
                && attribute
                    .value
                    .as_deref()
                    .is_some_and(|value| value.starts_with("BUNDLE"))
        });
        Ok(Self {
            sections: media.iter().map(Section::of).collect(),
            bundles,
            video,
            format,
            ice,
            fingerprint,
            candidates,
        })
    }
}

impl Section {
    fn of(section: &MediaDescription) -> Self {
        let name = &section.media_name;
        Self {
            media: name.media.clone(),
            protocols: name.protos.clone(),
            formats: name.formats.clone(),
            mid: value(section, "mid").map(str::to_owned),
        }
    }
}

fn value<'a>(section: &'a MediaDescription, key: &str) -> Option<&'a str> {
    section.attribute(key).flatten().map(str::trim)
}

/// Whether a section is live video that we may send to. Port 0 alone refuses a section, unless it is bundle-only.
fn can_receive_video(section: &MediaDescription) -> bool {
    let name = &section.media_name;
    let secure =
        name.protos.iter().any(|proto| proto == "TLS") && name.protos.iter().any(|proto| proto.starts_with("SAVP"));
    let refused = name.port.value == 0 && !section.has_attribute("bundle-only");
    let deaf = section.has_attribute("sendonly") || section.has_attribute("inactive");
    name.media == "video" && secure && !refused && !deaf
}

/// The best H.264 format of a section; among equals the viewer's first choice.
fn best_format(section: &MediaDescription) -> Option<Format> {
    let attributes = |key: &'static str, payload_type: &str| {
        let payload_type = payload_type.to_owned();
        section
            .attributes
            .iter()
            .filter(move |attribute| attribute.key == key)
            .filter_map(move |attribute| {
                let (named, value) = attribute.value.as_deref()?.trim().split_once(' ')?;
                (named == payload_type || (named == "*" && key == "rtcp-fb")).then_some(value.trim())
            })
    };
    let candidate = |payload_type: &String| {
        let rtpmap = attributes("rtpmap", payload_type).next()?;
        if !rtpmap.eq_ignore_ascii_case("H264/90000") {
            return None;
        }
        let fmtp = attributes("fmtp", payload_type).next().map(str::to_owned);
        let rank = h264::rank(fmtp.as_deref())?;
        let known = |feedback: &&str| ["nack", "nack pli", "ccm fir", "goog-remb"].contains(feedback);
        let feedback = attributes("rtcp-fb", payload_type)
            .filter(known)
            .map(str::to_owned)
            .collect();
        let payload_type = payload_type.parse().ok().filter(|number: &u8| *number < 128)?;
        Some((
            rank,
            Format {
                payload_type,
                fmtp,
                feedback,
            },
        ))
    };
    let formats = section.media_name.formats.iter().filter_map(candidate);
    formats.min_by_key(|(rank, _)| *rank).map(|(_, format)| format)
}
