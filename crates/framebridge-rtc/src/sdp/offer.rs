//! Reading an offer: the one video section we answer, and what its transport says.

use std::{io::Cursor, net::SocketAddr};

use data_encoding::BASE64;
use framebridge_core::h264::set_number;
use rtc_sdp::{MediaDescription, SessionDescription};

use super::{
    Candidate, OfferError,
    bundle::{self, Tag},
    h264, has_control,
    section::{self, Section},
    transport::Transport,
};
use crate::{Form, dtls::Fingerprint, ice::Credentials};

/// Sections one offer may have; a browser's has three at most.
const MAX_SECTIONS: usize = 32;

/// What an offer comes to.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Every section as it must come back, in order.
    pub(crate) sections: Vec<Section>,
    /// Which section plays.
    pub(crate) video: usize,
    /// Whose transport it goes by; `None`: it is in no BUNDLE group, and goes by its own.
    pub(crate) tag: Option<Tag>,
    /// The format that plays.
    pub(crate) format: Format,
    /// Whether RTCP packets may stand alone (RFC 5506).
    pub(crate) reduced_size: bool,
    /// The viewer's ICE credentials.
    pub(crate) ice: Credentials,
    /// The viewer's certificate: any of them may match.
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// The candidates that we can use so far.
    pub(crate) candidates: Vec<Candidate>,
    /// Where its sender waits for connections (RFC 6544).
    pub(crate) listeners: Vec<SocketAddr>,
    /// Which way the section goes.
    pub(crate) direction: Direction,
    /// DTLS begins here.
    pub(crate) begins: bool,
}

/// Which way video goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From us to a viewer.
    Out,
    /// From a publisher to us.
    In,
}

/// A payload type of H.264 with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) payload_type: u8,
    pub(crate) fmtp: Option<String>,
    /// The kinds of RTCP feedback it offers that we understand, as they stand in `a=rtcp-fb`.
    pub(crate) feedback: Vec<String>,
    /// The payload type of what is sent again (RFC 4588), if it may be.
    pub(crate) repair: Option<u8>,
    /// The header extension of transport-wide numbers, if the viewer tells by them what has come, and takes repairs: a number is
    /// for one packet, which can't go twice then.
    pub(crate) numbering: Option<u8>,
    /// The one of how long a picture may be kept back.
    pub(crate) playout: Option<u8>,
    /// The one of when a picture was captured.
    pub(crate) capture_time: Option<u8>,
}

/// Parameter sets of an offer that are read: encoders name one of each kind.
const MOST_SETS: usize = 8;
/// Bytes of parameter sets that are taken of it: they are kept with the session, and have some dozens each.
const MOST_SET_BYTES: usize = 1 << 10;

/// The extensions' names: draft-holmer-rmcat-transport-wide-cc-extensions-01 section 2, and libwebrtc's own.
pub(super) const NUMBERING: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
pub(super) const PLAYOUT: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
pub(super) const CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
/// Feedback by these numbers, and what it stands in place of.
const TRANSPORT_FEEDBACK: &str = "transport-cc";
const ESTIMATE: &str = "goog-remb";

impl Offer {
    /// [`parse_for`](Self::parse_for) frames that are encoded here.
    pub(crate) fn parse(text: &str) -> Result<Self, OfferError> {
        Self::parse_for(text, Form::Encoded)
    }

    /// Reads `text`, an offer to be sent frames of this form; lines may end in CRLF or LF.
    pub(crate) fn parse_for(text: &str, form: Form) -> Result<Self, OfferError> {
        Self::parse_going(text, Direction::Out, form, |transport| {
            transport.begins().map(|()| false)
        })
    }

    /// Reads `text`, the answer to an offer of ours to send frames of this form. It says what its sender takes, as a viewer's
    /// offer does.
    pub(crate) fn parse_answer(text: &str, form: Form) -> Result<Self, OfferError> {
        Self::parse_going(text, Direction::Out, form, |transport| {
            transport.answers_that_we_begin()
        })
    }

    /// Reads `text`, an offer to send us frames.
    pub(crate) fn parse_published(text: &str) -> Result<Self, OfferError> {
        // Constrained baseline first: every viewer's decoder reads it, whatever it offers.
        Self::parse_going(text, Direction::In, Form::Encoded, |transport| {
            transport.offers_that_we_begin()
        })
    }

    fn parse_going(
        text: &str,
        direction: Direction,
        form: Form,
        begins: fn(&Transport<'_>) -> Result<bool, OfferError>,
    ) -> Result<Self, OfferError> {
        let (session, sections) = read(text)?;
        let media = &session.media_descriptions;
        let (video, format) = media
            .iter()
            .enumerate()
            .filter(|(_, section)| is_video(section, direction))
            .find_map(|(at, section)| best_format(section, direction, form).map(|format| (at, format)))
            .ok_or_else(|| no_codec(media, direction))?;
        let tag = Tag::of(&session, video);
        let transport = Transport::of(&session, video, tag.as_ref());
        let begins = begins(&transport)?;
        transport.shares_its_port()?;
        Ok(Self {
            sections,
            video,
            format,
            reduced_size: media[video].has_attribute("rtcp-rsize"),
            ice: transport.ice()?,
            fingerprints: transport.fingerprints()?,
            candidates: transport.candidates(),
            listeners: transport.listeners(),
            tag,
            direction,
            begins,
        })
    }
}

/// Why none of the sections will do.
fn no_codec(media: &[MediaDescription], direction: Direction) -> OfferError {
    let videos = media.iter().filter(|section| is_video(section, direction));
    let formats = videos.flat_map(|section| &section.attributes);
    let mut parameters = formats.filter(|attribute| attribute.key == "fmtp");
    let is_mode_0 = |(_format, fmtp): (&str, &str)| h264::is_mode_0(fmtp);
    if parameters.any(|attribute| {
        let value = attribute.value.as_deref();
        value.and_then(|value| value.split_once(' ')).is_some_and(is_mode_0)
    }) {
        OfferError::OnlyMode0
    } else {
        OfferError::NoAcceptableCodec
    }
}

/// Reads an offer and its sections; lines may end in CRLF or LF.
pub(super) fn read(text: &str) -> Result<(SessionDescription, Vec<Section>), OfferError> {
    let malformed = |reason: &'static str| OfferError::Malformed(reason.to_owned());
    if text.lines().any(has_control) {
        return Err(malformed("it has control characters"));
    }
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
    let sections: Vec<Section> = media.iter().map(Section::of).collect();
    section::check_mids(&sections).map_err(malformed)?;
    Ok((session, sections))
}

impl Offer {
    /// The parameter sets that it names (RFC 6184, section 8.1); what is none, or beyond what there is room for, is left out.
    pub(crate) fn parameter_sets(&self) -> Vec<Vec<u8>> {
        let fmtp = self.format.fmtp.as_deref().unwrap_or_default();
        let named = h264::parameter(fmtp, "sprop-parameter-sets");
        parameter_sets(named.unwrap_or_default())
    }

    /// Whether an answer may name another level than it does (RFC 6184, section 8.2.2).
    pub(crate) fn lets_us_name_a_level(&self) -> bool {
        let fmtp = self.format.fmtp.as_deref().unwrap_or_default();
        h264::parameter(fmtp, "level-asymmetry-allowed") == Some("1")
    }

    /// The `a=mid` that fragments about the transport name.
    pub(crate) fn transport_mid(&self) -> Option<&str> {
        let at = self.tag.as_ref().map_or(self.video, |tag| tag.at);
        self.sections[at].mid.as_deref()
    }
}

fn parameter_sets(named: &str) -> Vec<Vec<u8>> {
    named
        .split(',')
        .filter_map(|set| BASE64.decode(set.as_bytes()).ok())
        .filter(|set| set_number(set).is_some())
        .take(MOST_SETS)
        .scan(MOST_SET_BYTES, |room, set| {
            *room = room.checked_sub(set.len())?;
            Some(set)
        })
        .collect()
}

/// Whether a section is live video that may go this way.
fn is_video(section: &MediaDescription, direction: Direction) -> bool {
    let name = &section.media_name;
    let secure =
        name.protos.iter().any(|proto| proto == "TLS") && name.protos.iter().any(|proto| proto.starts_with("SAVP"));
    let other_way = match direction {
        Direction::Out => "sendonly",
        Direction::In => "recvonly",
    };
    let is_closed = section.has_attribute(other_way) || section.has_attribute("inactive");
    name.media == "video" && secure && !bundle::is_refused(section) && !is_closed
}

/// The best H.264 format of a section; among equals the viewer's first choice.
fn best_format(section: &MediaDescription, direction: Direction, form: Form) -> Option<Format> {
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
    // Which format's repairs go under which payload type (RFC 4588 section 8.6).
    let repairs: Vec<(String, u8)> = section
        .media_name
        .formats
        .iter()
        .filter(|format| {
            let mut names = attributes("rtpmap", format);
            names.next().is_some_and(|name| name.eq_ignore_ascii_case("rtx/90000"))
        })
        .filter_map(|format| {
            let fmtp = attributes("fmtp", format).next()?;
            Some((h264::parameter(fmtp, "apt")?.to_owned(), number(format)?))
        })
        .collect();
    let candidate = |payload_type: &String| {
        let rtpmap = attributes("rtpmap", payload_type).next()?;
        if !rtpmap.eq_ignore_ascii_case("H264/90000") {
            return None;
        }
        let fmtp = attributes("fmtp", payload_type).next().map(str::to_owned);
        let rank = h264::rank(fmtp.as_deref(), form)?;
        let offered: Vec<&str> = attributes("rtcp-fb", payload_type).collect();
        let repair = offered
            .contains(&"nack")
            .then(|| repairs.iter().find(|(of, _)| of == payload_type))
            .flatten()
            .map(|(_, repair)| *repair);
        // What comes again from a publisher may have another number: only its sender has to keep them apart.
        let may_number = (repair.is_some() || direction == Direction::In) && offered.contains(&TRANSPORT_FEEDBACK);
        let numbering = may_number.then(|| extension(section, direction, NUMBERING)).flatten();
        let instead = match (numbering, direction) {
            (Some(_), _) => TRANSPORT_FEEDBACK,
            (None, Direction::Out) => ESTIMATE,
            // What its link carries a publisher finds out by what we say has come, or not at all.
            (None, Direction::In) => "",
        };
        let known = |feedback: &&str| ["nack", "nack pli", "ccm fir", instead].contains(feedback);
        let feedback = offered.into_iter().filter(known).map(str::to_owned).collect();
        Some((
            rank,
            Format {
                payload_type: number(payload_type)?,
                fmtp,
                feedback,
                repair,
                numbering,
                playout: extension(section, direction, PLAYOUT).filter(|_| direction == Direction::Out),
                capture_time: extension(section, direction, CAPTURE_TIME).filter(|_| direction == Direction::Out),
            },
        ))
    };
    let formats = section.media_name.formats.iter().filter_map(candidate);
    formats.min_by_key(|(rank, _)| *rank).map(|(_, format)| format)
}

fn number(payload_type: &str) -> Option<u8> {
    payload_type.parse().ok().filter(|number: &u8| *number < 128)
}

/// The number of the extension of this name, if it is offered under one that fits one byte's elements.
fn extension(section: &MediaDescription, direction: Direction, name: &str) -> Option<u8> {
    let way = match direction {
        Direction::Out => "recvonly",
        Direction::In => "sendonly",
    };
    let mut extensions = section.attributes.iter().filter(|attribute| attribute.key == "extmap");
    let number = |value: &str| {
        let mut words = value.split_ascii_whitespace();
        // A direction may follow the number.
        let (number, direction) = words
            .next()
            .map(|first| first.split_once('/').unwrap_or((first, way)))?;
        let is_taken = [way, "sendrecv"].contains(&direction) && words.next() == Some(name);
        number.parse().ok().filter(|id| is_taken && (1..=14).contains(id))
    };
    extensions.find_map(|attribute| number(attribute.value.as_deref()?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_short_parameter_sets_are_taken_and_nothing_else() {
        let (sps, pps): (&[u8], &[u8]) = (&[0x67, 0x42, 0xe0, 0x1f, 0x80], &[0x68, 0x80]);
        let long = [pps, &[0x80; 600]].concat();
        let named = |sets: &[&[u8]]| {
            let sets: Vec<String> = sets.iter().map(|set| BASE64.encode(set)).collect();
            parameter_sets(&sets.join(","))
        };
        assert_eq!(named(&[sps, b"", &[0x65, 1, 2], pps]), [sps, pps]);
        assert_eq!(parameter_sets("not base64,aIA="), [pps]);
        assert_eq!(named(&[&long, &long, pps]), [&long[..]], "there is no room for more");
        assert_eq!(named(&[pps; 20]).len(), MOST_SETS);
    }
}
