//! The one transport that the video goes by, as an offer describes it.

use std::{cmp::Reverse, net::SocketAddr};

use rtc_sdp::{MediaDescription, SessionDescription, description::common::Attribute};

use super::{Candidate, OfferError, bundle::Tag};
use crate::{dtls::Fingerprint, ice::Credentials};

/// Fingerprints that one offer may name: one for each certificate and hash function that it could mean.
const MAX_FINGERPRINTS: usize = 8;

/// Where an offer describes the transport (RFC 9429, section 5.2.1: the attributes of a group's transport stand in its tag,
/// and need not stand in the others).
pub(super) struct Transport<'a> {
    session: &'a SessionDescription,
    video: &'a MediaDescription,
    /// The section whose attributes hold.
    carrier: &'a MediaDescription,
}

impl<'a> Transport<'a> {
    pub(super) fn of(session: &'a SessionDescription, video: usize, tag: Option<&Tag>) -> Self {
        let media = &session.media_descriptions;
        let video = &media[video];
        let tag = tag.map_or(video, |tag| &media[tag.at]);
        // Some write the transport into every section but the tag.
        let carrier = if tag.has_attribute("ice-ufrag") { tag } else { video };
        Self {
            session,
            video,
            carrier,
        }
    }

    /// The viewer's ICE credentials.
    pub(super) fn ice(&self) -> Result<Credentials, OfferError> {
        let ufrag = self
            .value("ice-ufrag")
            .ok_or_else(|| malformed("a=ice-ufrag is missing"))?;
        let password = self.value("ice-pwd").ok_or_else(|| malformed("a=ice-pwd is missing"))?;
        Credentials::parse(ufrag, password).ok_or_else(|| malformed("ICE credentials are not as RFC 8839 has them"))
    }

    /// The viewer's certificate, by each hash function that we know: any may match (RFC 8122, section 5).
    pub(super) fn fingerprints(&self) -> Result<Vec<Fingerprint>, OfferError> {
        let mut named = self.values("fingerprint").peekable();
        if named.peek().is_none() {
            return Err(malformed("a=fingerprint is missing"));
        }
        let known: Vec<Fingerprint> = named
            .filter_map(|text| text.parse().ok())
            .take(MAX_FINGERPRINTS)
            .collect();
        if known.is_empty() {
            return Err(malformed("a=fingerprint is not a SHA-2 fingerprint"));
        }
        Ok(known)
    }

    /// Whether we can take part where we wait for the other end's DTLS.
    pub(super) fn begins(&self) -> Result<(), OfferError> {
        if matches!(self.value("setup"), Some("actpass" | "active") | None) {
            return Ok(());
        }
        let reason = "a=setup does not let the offerer begin DTLS (actpass or active)";
        Err(OfferError::Unacceptable(reason.to_owned()))
    }

    /// Of an offer that may want so: whether DTLS begins here.
    pub(super) fn offers_that_we_begin(&self) -> Result<bool, OfferError> {
        match self.value("setup") {
            Some("passive") => Ok(true),
            Some(_) | None => self.begins().map(|()| false),
        }
    }

    /// Of an answer to our own offer, which left it open: whether DTLS begins here.
    pub(super) fn answers_that_we_begin(&self) -> Result<bool, OfferError> {
        match self.value("setup") {
            Some("passive") => Ok(true),
            Some("active") | None => Ok(false),
            Some(_) => Err(malformed("a=setup of an answer is active or passive")),
        }
    }

    /// Whether we can take part in media, for which we have one port.
    pub(super) fn shares_its_port(&self) -> Result<(), OfferError> {
        // A data section does not say so, as it has no RTCP.
        let places = [
            &self.video.attributes,
            &self.carrier.attributes,
            &self.session.attributes,
        ];
        let mut attributes = places.into_iter().flatten();
        if !attributes.any(|attribute| matches!(attribute.key.as_str(), "rtcp-mux" | "rtcp-mux-only")) {
            let reason = "a=rtcp-mux is missing, and there is one port for RTP and RTCP";
            return Err(OfferError::Unacceptable(reason.to_owned()));
        }
        Ok(())
    }

    /// The candidates that we can use.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let user = self.user();
        self.candidate_lines()
            .filter_map(|line| Candidate::of_user(line, user))
            .collect()
    }

    /// Where the other end waits for connections, what it likes best first.
    pub(super) fn listeners(&self) -> Vec<SocketAddr> {
        let mut listeners: Vec<Candidate> = self.candidate_lines().filter_map(Candidate::listener).collect();
        listeners.sort_by_key(|listener| Reverse(listener.priority));
        listeners.iter().map(|listener| listener.address).collect()
    }

    /// The candidates of each section that names this transport's ICE user, or none.
    fn candidate_lines(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let user = self.user();
        let is_of_it = move |section: &&MediaDescription| {
            let mut named = values(&section.attributes, "ice-ufrag");
            named.next().is_none_or(|named| named == user)
        };
        let sections = self.session.media_descriptions.iter().filter(is_of_it);
        sections.flat_map(|section| values(&section.attributes, "candidate"))
    }

    fn user(&self) -> &'a str {
        self.value("ice-ufrag").unwrap_or_default()
    }

    fn value(&self, key: &'a str) -> Option<&'a str> {
        self.values(key).next()
    }

    /// All values of an attribute of the transport: the section's, or else the session's.
    fn values(&self, key: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        let own = values(&self.carrier.attributes, key);
        let attributes = if own.count() > 0 {
            &self.carrier.attributes
        } else {
            &self.session.attributes
        };
        values(attributes, key)
    }
}

fn values<'a>(attributes: &'a [Attribute], key: &'a str) -> impl Iterator<Item = &'a str> {
    let named = attributes.iter().filter(move |attribute| attribute.key == key);
    named.filter_map(|attribute| attribute.value.as_deref()).map(str::trim)
}

fn malformed(reason: &str) -> OfferError {
    OfferError::Malformed(reason.to_owned())
}
