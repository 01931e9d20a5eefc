//! Offers of data channels and nothing else, and their answers (RFC 8841).

use rtc_sdp::description::common::Attribute;

use super::{
    Candidate, ICE_OPTIONS, OfferError,
    answer::{begin, describe, say_where},
    bundle::{self, Tag},
    offer,
    section::Section,
    transport::Transport,
};
use crate::{data, dtls::Fingerprint, ice::Credentials};

/// An offer of one section, for data channels.
#[derive(Debug)]
pub(crate) struct LineOffer {
    section: Section,
    is_bundled: bool,
    /// The offerer's ICE credentials.
    pub(crate) ice: Credentials,
    /// The offerer's certificate: any of them may match.
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// The candidates that we can use.
    pub(crate) candidates: Vec<Candidate>,
}

impl LineOffer {
    /// Reads `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, OfferError> {
        let (session, mut sections) = offer::read(text)?;
        let is_of_data = |section: &Section| {
            let protocols = section.protocols.join("/");
            section.media == "application"
                && ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"].contains(&protocols.as_str())
                && section.formats == ["webrtc-datachannel"]
        };
        let is_wanted = !session.media_descriptions.iter().any(bundle::is_refused);
        if sections.len() != 1 || !is_of_data(&sections[0]) || !is_wanted {
            let reason = "it has to have one section, m=application with webrtc-datachannel";
            return Err(OfferError::Unacceptable(reason.to_owned()));
        }
        let tag = Tag::of(&session, 0);
        let transport = Transport::of(&session, 0, tag.as_ref());
        transport.begins()?;
        Ok(Self {
            section: sections.swap_remove(0),
            is_bundled: tag.is_some(),
            ice: transport.ice()?,
            fingerprints: transport.fingerprints()?,
            candidates: transport.candidates(),
        })
    }

    /// The answer; `id` is the session's in SDP.
    pub(crate) fn answer(&self, id: u32, ours: (&Credentials, &Fingerprint), candidates: &[Candidate]) -> String {
        let mut session = begin(id);
        if let Some(mid) = self.section.mid.as_deref().filter(|_| self.is_bundled) {
            session = session.with_value_attribute("group".to_owned(), format!("BUNDLE {mid}"));
        }
        session = session.with_value_attribute("ice-options".to_owned(), ICE_OPTIONS.to_owned());
        // Port 9 and address 0.0.0.0: the candidates say where (RFC 8840).
        let mut media = describe(&self.section, (ours.0, ours.1, false), 9, self.section.formats.clone());
        for (key, value) in [("sctp-port", 5000), ("max-message-size", data::MAX_MESSAGE)] {
            media
                .attributes
                .push(Attribute::new(key.to_owned(), Some(value.to_string())));
        }
        say_where(&mut media, candidates);
        session.with_media(media).marshal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::Identity;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\n\
        a=max-message-size:262144\r\na=fingerprint:";

    #[test]
    fn offer_of_data_alone_is_answered_and_no_other() {
        let identity = Identity::generate().unwrap();
        let offer = format!("{OFFER}{}\r\n", identity.fingerprint());
        let credentials = Credentials::random("0");
        let candidates = vec!["1 1 udp 5 192.0.2.1 4000 typ host".parse().unwrap()];
        let line = LineOffer::parse(&offer).unwrap();
        let answer = line.answer(7, (&credentials, identity.fingerprint()), &candidates);
        for part in [
            "a=group:BUNDLE 0\r\n",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
            "a=setup:passive\r\n",
            "a=sctp-port:5000\r\n",
            "a=max-message-size:131072\r\n",
            "192.0.2.1 4000 typ host\r\n",
        ] {
            assert!(answer.contains(part), "{part} is missing:\n{answer}");
        }
        for (from, to) in [
            ("m=application", "m=video"),
            ("webrtc-datachannel", "5000"),
            ("a=setup:actpass", "a=setup:passive"),
            ("m=application 9", "m=application 0"),
            ("UDP/DTLS/SCTP", "UDP/TLS/RTP/SAVPF"),
            ("a=ice-pwd:0123456789012345678901", "a=ice-pwd:short"),
        ] {
            assert!(LineOffer::parse(&offer.replace(from, to)).is_err(), "{to}");
        }
        let two = format!("{offer}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n");
        assert!(LineOffer::parse(&two).is_err());
    }
}
