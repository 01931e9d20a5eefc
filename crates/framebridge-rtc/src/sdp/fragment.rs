//! `application/trickle-ice-sdpfrag` (RFC 8840): what a PATCH carries, both ways.

use std::fmt::Write as _;

use super::{Candidate, ICE_OPTIONS, has_control};
use crate::ice::Credentials;

/// A fragment from a viewer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fragment(Vec<Part>);

/// What stands under one m-line, or before the first.
#[derive(Debug, Default, PartialEq, Eq)]
struct Part {
    ufrag: Option<String>,
    password: Option<String>,
    /// The lines of its candidates.
    candidates: Vec<String>,
}

/// What a fragment asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// To add candidates of the ICE generation in force.
    Candidates(Vec<Candidate>),
    /// To begin another generation, with these candidates.
    Restart(Credentials, Vec<Candidate>),
}

impl Fragment {
    /// Reads a fragment; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = vec![Part::default()];
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            if has_control(line) {
                return Err("it has control characters".to_owned());
            }
            let Some((kind, rest)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
                return Err(format!(
                    "`{}` is not an SDP line",
                    line.chars().take(40).collect::<String>()
                ));
            };
            if kind == "m" {
                parts.push(Part::default());
            }
            let Some(part) = parts.last_mut() else { continue };
            match (kind, rest.split_once(':')) {
                ("a", Some(("ice-ufrag", value))) => part.ufrag = Some(value.to_owned()),
                ("a", Some(("ice-pwd", value))) => part.password = Some(value.to_owned()),
                ("a", Some(("candidate", value))) => part.candidates.push(value.to_owned()),
                _ => {}
            }
        }
        let fragment = Self(parts);
        for part in &fragment.0 {
            fragment.credentials(part)?;
        }
        Ok(fragment)
    }

    /// The ICE generation that a part speaks of: its own, or the session's; `None`: it does not say.
    fn credentials(&self, part: &Part) -> Result<Option<Credentials>, String> {
        let session = self.0.first().unwrap_or(part);
        let says = if part.ufrag.is_some() || part.password.is_some() {
            part
        } else {
            session
        };
        match (&says.ufrag, &says.password) {
            (Some(ufrag), Some(password)) => Credentials::parse(ufrag, password)
                .map(Some)
                .ok_or_else(|| "ICE credentials are not as RFC 8839 has them".to_owned()),
            (None, None) => Ok(None),
            _ => Err("a=ice-ufrag and a=ice-pwd must come together".to_owned()),
        }
    }

    /// What it asks for of a session whose generation in force is `current`. Candidates of other generations than the one
    /// it comes to are left out (RFC 8840, section 4.4).
    pub(crate) fn against(&self, current: &Credentials) -> Change {
        let generations: Vec<_> = self
            .0
            .iter()
            .map(|part| self.credentials(part).ok().flatten())
            .collect();
        let named = || generations.iter().flatten();
        let fresh = if named().any(|named| named == current) {
            None
        } else {
            named().next()
        };
        let wanted = fresh.unwrap_or(current);
        let parts = self.0.iter().zip(&generations);
        let candidates = parts
            .filter(|(_, generation)| generation.as_ref().is_none_or(|named| named == wanted))
            .flat_map(|(part, _)| &part.candidates)
            .filter_map(|line| Candidate::of_user(line, &wanted.ufrag))
            .collect();
        match fresh {
            Some(fresh) => Change::Restart(fresh.clone(), candidates),
            None => Change::Candidates(candidates),
        }
    }

    /// Writes our end after a restart.
    pub(crate) fn write(ice: &Credentials, mid: Option<&str>, candidates: &[Candidate]) -> String {
        let mut text = format!(
            "a=ice-options:{ICE_OPTIONS}\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
            ice.ufrag, ice.password
        );
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
    const CANDIDATE: &str = "a=candidate:1 1 udp 5 192.0.2.1 4000 typ host";

    fn credentials(ufrag: &str) -> Credentials {
        Credentials {
            ufrag: ufrag.to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    /// What `lines` ask for of a session whose generation is `abcd`.
    fn change(lines: &[&str]) -> Change {
        Fragment::parse(&lines.join("\r\n"))
            .unwrap()
            .against(&credentials("abcd"))
    }

    #[test]
    fn candidates_of_the_generation_in_force_are_added_wherever_its_credentials_stand() {
        let (audio, video) = ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=video 9 UDP/TLS/RTP/SAVPF 96");
        let (user, password) = ("a=ice-ufrag:abcd", &*format!("a=ice-pwd:{PASSWORD}"));
        let named = "a=candidate:2 1 udp 5 x.local 4000 typ host";
        for lines in [
            &[
                user,
                password,
                video,
                "a=mid:0",
                CANDIDATE,
                named,
                "a=end-of-candidates",
            ][..],
            &[video, "a=mid:0", user, password, CANDIDATE],
            &[audio, "a=mid:0", user, password, CANDIDATE, video, "a=mid:1"],
            &[video, "a=mid:0", CANDIDATE],
            &[CANDIDATE],
        ] {
            assert_eq!(
                change(lines),
                Change::Candidates(vec![CANDIDATE[12..].parse().unwrap()]),
                "{lines:?}"
            );
        }
        assert_eq!(change(&[user, password]), Change::Candidates(Vec::new()));
        assert_eq!(change(&[]), Change::Candidates(Vec::new()));
    }

    #[test]
    fn other_credentials_restart_unless_those_in_force_stand_there_too() {
        let video = "m=video 9 UDP/TLS/RTP/SAVPF 96";
        let password = &*format!("a=ice-pwd:{PASSWORD}");
        let other = "a=candidate:1 1 udp 5 192.0.2.9 4000 typ host";
        assert_eq!(
            change(&["a=ice-ufrag:wxyz", password, video, CANDIDATE]),
            Change::Restart(credentials("wxyz"), vec![CANDIDATE[12..].parse().unwrap()])
        );
        // A player that does not bundle trickles for a transport that is not used, too.
        let both = [
            video,
            "a=ice-ufrag:wxyz",
            password,
            other,
            video,
            "a=ice-ufrag:abcd",
            password,
            CANDIDATE,
        ];
        let late = "a=candidate:1 1 udp 5 192.0.2.9 4000 typ host generation 0 ufrag before";
        assert_eq!(change(&[late]), Change::Candidates(Vec::new()));
        assert_eq!(
            change(&both),
            Change::Candidates(vec![CANDIDATE[12..].parse().unwrap()])
        );
        let again = ["a=ice-ufrag:abcd", "a=ice-pwd:anotherPasswordOfTheSame"];
        assert!(matches!(change(&again), Change::Restart(..)));
    }

    #[test]
    fn what_we_write_can_be_read() {
        let candidates = vec![Candidate::host("[::1]:5".parse().unwrap(), 0)];
        let text = Fragment::write(&credentials("wxyz"), Some("0"), &candidates);
        assert_eq!(
            Fragment::parse(&text).unwrap().against(&credentials("abcd")),
            Change::Restart(credentials("wxyz"), candidates)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "hello",
            "a=ice-ufrag:abcd",
            "a=ice-ufrag:a\na=ice-pwd:b",
            "m=video 9 RTP/AVP 0\na=ice-ufrag:abcd",
            "a=mid:\u{1b}[31m",
            "a=ice-ufrag:ab cd\na=ice-pwd:0123456789012345678901",
            "a=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\x00",
            "{\"a\": 1}",
        ] {
            assert!(Fragment::parse(bad).is_err(), "{bad}");
        }
    }
}
