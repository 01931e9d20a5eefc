//! `application/trickle-ice-sdpfrag` (RFC 8840): what a PATCH carries, both ways.

use std::fmt::Write as _;

use super::Candidate;
use crate::ice::Credentials;

/// A fragment from a viewer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// The ICE generation it speaks of; new ones ask for a restart.
    pub(crate) ice: Option<Credentials>,
    /// The candidates that we can use.
    pub(crate) candidates: Vec<Candidate>,
}

impl Fragment {
    /// Reads a fragment; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut ufrag, mut password, mut candidates) = (None, None, Vec::new());
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let Some((kind, rest)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
                return Err(format!(
                    "`{}` is not an SDP line",
                    line.chars().take(40).collect::<String>()
                ));
            };
            // Only attributes matter; m-lines do nothing but frame them.
            match (kind, rest.split_once(':')) {
                ("a", Some(("ice-ufrag", value))) => ufrag = Some(value.to_owned()),
                ("a", Some(("ice-pwd", value))) => password = Some(value.to_owned()),
                ("a", Some(("candidate", value))) => candidates.extend(value.parse::<Candidate>()),
                _ => {}
            }
        }
        let ice = match (ufrag, password) {
            (Some(ufrag), Some(password))
                if (4..=256).contains(&ufrag.len()) && (22..=256).contains(&password.len()) =>
            {
                Some(Credentials { ufrag, password })
            }
            (None, None) => None,
            _ => return Err("a=ice-ufrag and a=ice-pwd must come together, as long as RFC 8839 says".to_owned()),
        };
        Ok(Self { ice, candidates })
    }

    /// Writes our end after a restart.
    pub(crate) fn write(ice: &Credentials, mid: Option<&str>, candidates: &[Candidate]) -> String {
        let mut text = format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ice.ufrag, ice.password);
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            // Writing to a String can't fail.
            _ = text.write_fmt(arguments);
        };
        line(format_args!("m=video 9 UDP/TLS/RTP/SAVPF 0\r\n"));
        if let Some(mid) = mid {
            line(format_args!("a=mid:{mid}\r\n"));
        }
        for candidate in candidates {
            line(format_args!("a=candidate:{candidate}\r\n"));
        }
        line(format_args!("a=end-of-candidates\r\n"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "0123456789012345678901";

    #[test]
    fn a_browsers_fragment_gives_credentials_and_usable_candidates() {
        let text = format!(
            "a=ice-ufrag:abcd\r\na=ice-pwd:{PASSWORD}\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n\
             a=candidate:1 1 udp 5 192.0.2.1 4000 typ host\r\na=candidate:2 1 udp 5 x.local 4000 typ host\r\n\
             a=end-of-candidates\r\n"
        );
        let fragment = Fragment::parse(&text).unwrap();
        assert_eq!(fragment.ice.unwrap().ufrag, "abcd");
        assert_eq!(fragment.candidates.len(), 1);
    }

    #[test]
    fn what_we_write_can_be_read() {
        let ice = Credentials {
            ufrag: "abcd".to_owned(),
            password: PASSWORD.to_owned(),
        };
        let candidates = vec![Candidate::host("[::1]:5".parse().unwrap(), 0)];
        let text = Fragment::write(&ice, Some("0"), &candidates);
        assert_eq!(
            Fragment::parse(&text),
            Ok(Fragment {
                ice: Some(ice),
                candidates
            })
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["hello", "a=ice-ufrag:abcd", "a=ice-ufrag:a\na=ice-pwd:b", "{\"a\": 1}"] {
            assert!(Fragment::parse(bad).is_err(), "{bad}");
        }
        assert!(Fragment::parse("").unwrap().candidates.is_empty());
    }
}
