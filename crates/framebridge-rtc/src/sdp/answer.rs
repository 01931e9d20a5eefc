//! Writing the answer to an offer.

use rtc_sdp::{
    MediaDescription, SessionDescription,
    description::{
        common::{Address, Attribute, ConnectionInformation},
        media::{MediaName, RangedPort},
    },
};

use super::{
    Candidate, ICE_OPTIONS, Offer,
    bundle::Tag,
    h264,
    offer::{CAPTURE_TIME, Direction, NUMBERING, PLAYOUT},
    section::Section,
};
use crate::{dtls::Fingerprint, ice::Credentials};

/// What the answer to an [`Offer`] says besides what the offer fixes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) offer: Offer,
    pub(crate) ice: Credentials,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) ssrc: u32,
    /// That of what is sent again, where the offer takes that.
    pub(crate) repair_ssrc: u32,
    /// Names the media stream.
    pub(crate) name: String,
    /// Names the sender in RTCP.
    pub(crate) cname: String,
}

impl Answer {
    /// The answer's text; `level`: H.264's of what will be sent, as far as that is known.
    pub(crate) fn write(&self, level: Option<u8>) -> String {
        let Self { offer, .. } = self;
        let mut session = begin(self.ssrc);
        if let Some(group) = self.group() {
            session = session.with_value_attribute("group".to_owned(), group);
        }
        session = session
            .with_value_attribute("msid-semantic".to_owned(), "WMS *".to_owned())
            .with_value_attribute("ice-options".to_owned(), ICE_OPTIONS.to_owned());
        for (at, section) in offer.sections.iter().enumerate() {
            let answered = match &offer.tag {
                _ if at == offer.video => self.play(section, level),
                Some(tag) if at == tag.at => self.idle(section, tag),
                Some(_) | None => self.reject(section),
            };
            session = session.with_media(answered);
        }
        session.marshal()
    }

    /// The BUNDLE group, its tag first.
    fn group(&self) -> Option<String> {
        let tag = self.offer.tag.as_ref()?;
        let mid = |at: usize| self.offer.sections[at].mid.as_deref();
        let video = mid(self.offer.video)?;
        let others = Some(tag.at).filter(|at| *at != self.offer.video).and_then(mid);
        let members: Vec<&str> = others.into_iter().chain([video]).collect();
        Some(format!("BUNDLE {}", members.join(" ")))
    }

    /// The section that plays.
    fn play(&self, section: &Section, level: Option<u8>) -> MediaDescription {
        let format = &self.offer.format;
        let (payload_type, ssrc, name) = (format.payload_type, self.ssrc, &self.name);
        // Port 9 and address 0.0.0.0: the candidates say where (RFC 8840).
        let formats = [payload_type].into_iter().chain(format.repair);
        let mut media = self.describe(section, 9, formats.map(|number| number.to_string()).collect());
        let mut value = |key: &str, value: String| media.attributes.push(Attribute::new(key.to_owned(), Some(value)));
        value("rtpmap", format!("{payload_type} H264/90000"));
        if let Some(fmtp) = &format.fmtp {
            let fmtp = level.map_or_else(|| fmtp.clone(), |level| h264::with_level(fmtp, level));
            value("fmtp", format!("{payload_type} {fmtp}"));
        }
        for feedback in &format.feedback {
            value("rtcp-fb", format!("{payload_type} {feedback}"));
        }
        if let Some(repair) = format.repair {
            value("rtpmap", format!("{repair} rtx/90000"));
            value("fmtp", format!("{repair} apt={payload_type}"));
        }
        let extensions = [
            (format.numbering, NUMBERING),
            (format.playout, PLAYOUT),
            (format.capture_time, CAPTURE_TIME),
        ];
        for (number, name) in extensions {
            if let Some(number) = number {
                value("extmap", format!("{number} {name}"));
            }
        }
        let direction = match self.offer.direction {
            Direction::Out => {
                value("msid", format!("{name} video"));
                let repair_ssrc = format.repair.map(|_| self.repair_ssrc);
                if let Some(repair) = repair_ssrc {
                    value("ssrc-group", format!("FID {ssrc} {repair}"));
                }
                for ssrc in [ssrc].into_iter().chain(repair_ssrc) {
                    value("ssrc", format!("{ssrc} cname:{}", self.cname));
                    value("ssrc", format!("{ssrc} msid:{name} video"));
                }
                "sendonly"
            }
            Direction::In => "recvonly",
        };
        media.attributes.push(flag(direction));
        if self.offer.reduced_size {
            media.attributes.push(flag("rtcp-rsize"));
        }
        self.open(section, &mut media);
        media
    }

    /// The BUNDLE group's tag where nothing plays in it: accepted, for the group's transport is its (see [`Tag`]).
    fn idle(&self, section: &Section, tag: &Tag) -> MediaDescription {
        let mut media = self.describe(section, 9, vec![tag.format.clone()]);
        media.attributes.extend(tag.attributes.iter().cloned());
        if section.is_rtp() {
            media.attributes.push(flag("inactive"));
        }
        self.open(section, &mut media);
        media
    }

    /// What an accepted section says of the way to us.
    fn open(&self, section: &Section, media: &mut MediaDescription) {
        say_where(media, &self.candidates);
        if section.is_rtp() {
            media.attributes.push(flag("rtcp-mux"));
            // WHEP wants it in each bundled section, though RFC 8858 has a use for it in offers alone; nobody minds it.
            if self.offer.tag.is_some() {
                media.attributes.push(flag("rtcp-mux-only"));
            }
        }
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
        let begins = self.offer.begins;
        describe(section, (&self.ice, &self.fingerprint, begins), port, formats)
    }
}

/// An answer without sections.
pub(super) fn begin(id: u32) -> SessionDescription {
    let mut session = SessionDescription::default();
    session.origin.username = "-".to_owned();
    session.origin.session_id = u64::from(id);
    session.origin.session_version = 1;
    session.origin.network_type = "IN".to_owned();
    session.origin.address_type = "IP4".to_owned();
    session.origin.unicast_address = "127.0.0.1".to_owned();
    session.session_name = "-".to_owned();
    session.time_descriptions = vec![Default::default()];
    session
}

/// A section with its name and our transport, the last of which says whether DTLS begins here.
pub(super) fn describe(
    section: &Section,
    (ice, fingerprint, begins): (&Credentials, &Fingerprint, bool),
    port: isize,
    formats: Vec<String>,
) -> MediaDescription {
    let transport = [
        ("ice-ufrag", ice.ufrag.clone()),
        ("ice-pwd", ice.password.clone()),
        ("fingerprint", fingerprint.to_string()),
        ("setup", if begins { "active" } else { "passive" }.to_owned()),
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

/// Where we can be reached.
pub(super) fn say_where(media: &mut MediaDescription, candidates: &[Candidate]) {
    let candidates = candidates.iter().map(ToString::to_string);
    let candidates = candidates.map(|candidate| Attribute::new("candidate".to_owned(), Some(candidate)));
    media.attributes.extend(candidates);
    media.attributes.push(flag("end-of-candidates"));
}

fn flag(key: &str) -> Attribute {
    Attribute::new(key.to_owned(), None)
}
