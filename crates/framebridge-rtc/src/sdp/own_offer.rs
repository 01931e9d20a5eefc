//! Our own offer: to send a stream to who receives streams (WHIP, RFC 9725), who answers it.

use super::{
    Candidate, ICE_OPTIONS,
    offer::{CAPTURE_TIME, NUMBERING},
};
use crate::{Form, dtls::Fingerprint, ice::Credentials};

/// The name of the one section.
const MID: &str = "0";

/// `profile_idc` of baseline.
const BASELINE: u8 = 66;

/// The least level that is offered: receivers look for what browsers offer, which is 3.1.
const LEAST_LEVEL: u8 = 31;

/// Payload types, each with that of what is sent again: what browsers use.
const PAYLOAD_TYPES: [(u8, u8); 2] = [(102, 103), (125, 107)];

/// What our offer says.
#[derive(Debug)]
pub(crate) struct OwnOffer<'a> {
    pub(crate) ice: &'a Credentials,
    pub(crate) fingerprint: &'a Fingerprint,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) ssrc: u32,
    /// That of what is sent again.
    pub(crate) repair_ssrc: u32,
    /// Names the media stream.
    pub(crate) name: &'a str,
    /// Names the sender in RTCP.
    pub(crate) cname: &'a str,
    /// How frames come about, and so their profile.
    pub(crate) form: Form,
    /// H.264's level, `level_idc`, if it is known.
    pub(crate) level: Option<u8>,
}

impl OwnOffer<'_> {
    /// The offer's text: one section, whose H.264 goes out alone. Candidates are whole: nothing is trickled later.
    pub(crate) fn write(&self) -> String {
        let (mut formats, mut described) = (Vec::new(), Vec::new());
        for (profile, (number, repair)) in self.profiles().into_iter().zip(PAYLOAD_TYPES) {
            let level = self.level().max(LEAST_LEVEL);
            formats.extend([number.to_string(), repair.to_string()]);
            described.push(format!("rtpmap:{number} H264/90000"));
            described.push(format!(
                "fmtp:{number} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}{level:02x}"
            ));
            let feedback = ["nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"];
            described.extend(feedback.map(|kind| format!("rtcp-fb:{number} {kind}")));
            described.push(format!("rtpmap:{repair} rtx/90000"));
            described.push(format!("fmtp:{repair} apt={number}"));
        }
        let Self {
            ice,
            fingerprint,
            ssrc,
            repair_ssrc,
            name,
            cname,
            ..
        } = self;
        let mut lines = vec![
            "v=0".to_owned(),
            format!("o=- {ssrc} 1 IN IP4 127.0.0.1"),
            "s=-".to_owned(),
            "t=0 0".to_owned(),
            format!("a=group:BUNDLE {MID}"),
            format!("a=msid-semantic:WMS {name}"),
            format!("m=video 9 UDP/TLS/RTP/SAVPF {}", formats.join(" ")),
            "c=IN IP4 0.0.0.0".to_owned(),
        ];
        let transport = [
            format!("mid:{MID}"),
            format!("ice-ufrag:{}", ice.ufrag),
            format!("ice-pwd:{}", ice.password),
            format!("ice-options:{ICE_OPTIONS}"),
            format!("fingerprint:{fingerprint}"),
            "setup:actpass".to_owned(),
            "sendonly".to_owned(),
            "rtcp-mux".to_owned(),
            "rtcp-rsize".to_owned(),
            format!("extmap:3 {NUMBERING}"),
            format!("extmap:4 {CAPTURE_TIME}"),
            format!("msid:{name} video"),
        ];
        let sources = [
            format!("ssrc-group:FID {ssrc} {repair_ssrc}"),
            format!("ssrc:{ssrc} cname:{cname}"),
            format!("ssrc:{ssrc} msid:{name} video"),
            format!("ssrc:{repair_ssrc} cname:{cname}"),
            format!("ssrc:{repair_ssrc} msid:{name} video"),
        ];
        let candidates = self.candidates.iter().map(|candidate| format!("candidate:{candidate}"));
        let attributes = transport.into_iter().chain(described).chain(sources).chain(candidates);
        lines.extend(attributes.map(|attribute| format!("a={attribute}")));
        lines.push("a=end-of-candidates".to_owned());
        lines.into_iter().flat_map(|line| [line, "\r\n".to_owned()]).collect()
    }

    /// Profiles and constraints: the stream's own, as receivers know it, then the one that each takes. Whoever takes that alone
    /// gets the stream as it is all the same, as viewers do: decoders read all of them.
    fn profiles(&self) -> Vec<String> {
        const CONSTRAINED_BASELINE: &str = "42e0";
        let own = match self.form {
            Form::Encoded | Form::Copied([BASELINE, ..]) => None,
            // Main and high, without the constraints that few name: receivers compare them to the letter.
            Form::Copied([profile, ..]) => Some(format!("{profile:02x}00")),
        };
        own.into_iter().chain([CONSTRAINED_BASELINE.to_owned()]).collect()
    }

    fn level(&self) -> u8 {
        let own = match self.form {
            Form::Encoded => LEAST_LEVEL,
            Form::Copied([_, _, level]) => level,
        };
        self.level.unwrap_or(own)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Offer, *};
    use crate::dtls::Identity;

    fn offer(form: Form, level: Option<u8>) -> String {
        let identity = Identity::generate().unwrap();
        let own = OwnOffer {
            ice: &Credentials::random("00"),
            fingerprint: identity.fingerprint(),
            candidates: vec!["1 1 udp 5 192.0.2.1 4000 typ host".parse().unwrap()],
            ssrc: 1,
            repair_ssrc: 2,
            name: "door",
            cname: "cname",
            form,
            level,
        };
        own.write()
    }

    #[test]
    fn offer_is_one_that_our_own_receiver_takes_whole() {
        let text = offer(Form::Encoded, Some(40));
        let read = Offer::parse_published(&text).unwrap();
        assert_eq!((read.format.payload_type, read.format.repair), (102, Some(103)));
        assert_eq!(read.format.numbering, Some(3));
        assert_eq!(read.candidates.len(), 1);
        assert!(text.contains("profile-level-id=42e028\r\n"), "{text}");
        assert!(!text.contains("125"), "{text}");
    }

    #[test]
    fn stream_that_is_sent_on_is_offered_as_it_is_first() {
        let text = offer(Form::Copied([100, 0x0c, 41]), None);
        assert!(
            text.contains("m=video 9 UDP/TLS/RTP/SAVPF 102 103 125 107\r\n"),
            "{text}"
        );
        let [high, baseline] = ["fmtp:102 ", "fmtp:125 "].map(|format| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("a=")?.strip_prefix(format));
            line.unwrap().rsplit('=').next().unwrap().to_owned()
        });
        assert_eq!((high.as_str(), baseline.as_str()), ("640029", "42e029"));
    }

    #[test]
    fn answer_says_what_its_sender_takes_and_who_begins() {
        let answer = |setup: &str, direction: &str| {
            let fingerprint = ["AB"; 32].join(":");
            format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n\
                 c=IN IP4 0.0.0.0\r\na=mid:0\r\na={direction}\r\na=rtcp-mux\r\na=ice-lite\r\na=ice-ufrag:wxyz\r\n\
                 a=ice-pwd:0123456789abcdefghijklmn\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}\r\n\
                 a=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\na=rtcp-fb:102 nack\r\n\
                 a=rtcp-fb:102 nack pli\r\na=rtcp-fb:102 transport-cc\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
                 a=extmap:3 {NUMBERING}\r\na=candidate:1 1 udp 5 192.0.2.1 443 typ host\r\n"
            )
        };
        let read = |setup, direction| Offer::parse_answer(&answer(setup, direction), Form::Encoded);
        let taken = read("passive", "recvonly").unwrap();
        assert!(taken.begins);
        assert_eq!((taken.format.payload_type, taken.format.numbering), (102, Some(3)));
        assert_eq!((taken.format.repair, taken.candidates.len()), (Some(103), 1));
        assert!(!read("active", "recvonly").unwrap().begins);
        assert!(read("actpass", "recvonly").is_err());
        assert!(read("active", "inactive").is_err());
    }
}
