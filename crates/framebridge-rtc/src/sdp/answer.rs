//! Writing the answer to an offer.

use rtc_sdp::{
    MediaDescription, SessionDescription,
    description::{
        common::{Address, Attribute, ConnectionInformation},
        media::{MediaName, RangedPort},
    },
};

use super::{Candidate, Offer, offer::Section};
use crate::{dtls::Fingerprint, ice::Credentials};

/// What the answer to an [`Offer`] says besides what the offer fixes.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) offer: &'a Offer,
    pub(crate) ice: &'a Credentials,
    pub(crate) fingerprint: &'a Fingerprint,
    pub(crate) candidates: &'a [Candidate],
    pub(crate) ssrc: u32,
    /// Names the session (`o=`), the media stream and the CNAME.
    pub(crate) name: &'a str,
}

impl Answer<'_> {
    /// The answer's text.
    pub(crate) fn write(&self) -> String {
        let Self { offer, .. } = self;
        let mut session = SessionDescription::default();
        session.origin.username = "-".to_owned();
        session.origin.session_id = u64::from(self.ssrc);
        session.origin.session_version = 1;
        session.origin.network_type = "IN".to_owned();
        session.origin.address_type = "IP4".to_owned();
        session.origin.unicast_address = "127.0.0.1".to_owned();
        session.session_name = "-".to_owned();
        session.time_descriptions = vec![Default::default()];
        if let (true, Some(mid)) = (offer.bundles, &offer.sections[offer.video].mid) {
            session = session.with_value_attribute("group".to_owned(), format!("BUNDLE {mid}"));
        }
        session = session
            .with_value_attribute("msid-semantic".to_owned(), "WMS *".to_owned())
            .with_property_attribute("ice-options:trickle".to_owned());
        for (at, section) in offer.sections.iter().enumerate() {
            let answered = if at == offer.video {
                self.accept(section)
            } else {
                self.reject(section)
            };
            session = session.with_media(answered);
        }
        session.marshal()
    }

    fn accept(&self, section: &Section) -> MediaDescription {
        let format = &self.offer.format;
        let (payload_type, ssrc, name) = (format.payload_type, self.ssrc, self.name);
        // Port 9 and address 0.0.0.0: the candidates say where (RFC 8840).
        let mut media = self.describe(section, 9, vec![payload_type.to_string()]);
        let mut value = |key: &str, value: String| media.attributes.push(Attribute::new(key.to_owned(), Some(value)));
        value("rtpmap", format!("{payload_type} H264/90000"));
        if let Some(fmtp) = &format.fmtp {
            value("fmtp", format!("{payload_type} {fmtp}"));
        }
        for feedback in &format.feedback {
            value("rtcp-fb", format!("{payload_type} {feedback}"));
        }
        value("msid", format!("{name} video"));
        value("ssrc", format!("{ssrc} cname:{name}"));
        value("ssrc", format!("{ssrc} msid:{name} video"));
        for candidate in self.candidates {
            value("candidate", candidate.to_string());
        }
        for property in ["end-of-candidates", "sendonly", "rtcp-mux", "rtcp-rsize"] {
            media.attributes.push(flag(property));
        }
        media
    }

    /// A section that does not play: port 0 (RFC 3264 section 6), its formats as offered.
    fn reject(&self, section: &Section) -> MediaDescription {
        let mut media = self.describe(section, 0, section.formats.clone());
        media.attributes.push(flag("inactive"));
        media
    }

    /// What every section says, played or not. A rejected one needs no transport (RFC 8829 section 5.3.1), but GStreamer
    /// takes no answer in which one lacks it.
    fn describe(&self, section: &Section, port: isize, formats: Vec<String>) -> MediaDescription {
        let transport = [
            ("ice-ufrag", self.ice.ufrag.clone()),
            ("ice-pwd", self.ice.password.clone()),
            ("fingerprint", self.fingerprint.to_string()),
            ("setup", "passive".to_owned()),
        ];
        let mid = section.mid.iter().map(|mid| ("mid", mid.clone()));
        let attributes = mid.chain(transport);
        MediaDescription {
            media_name: MediaName {
                media: section.media.clone(),
                port: RangedPort {
                    value: port,
                    range: None,
                },
                protos: section.protocols.clone(),
                formats,
            },
            connection_information: Some(ConnectionInformation {
                network_type: "IN".to_owned(),
                address_type: "IP4".to_owned(),
                address: Some(Address {
                    address: "0.0.0.0".to_owned(),
                    ttl: None,
                    range: None,
                }),
            }),
            attributes: attributes
                .map(|(key, value)| Attribute::new(key.to_owned(), Some(value)))
                .collect(),
            ..MediaDescription::default()
        }
    }
}

fn flag(key: &str) -> Attribute {
    Attribute::new(key.to_owned(), None)
}
