//! How a camera is told who asks: Digest with MD5 or SHA-256 (RFC 7616), and Basic (RFC 7617).

use data_encoding::{BASE64, HEXLOWER};
use md5::{Digest as _, Md5};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};

/// What a camera wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    scheme: Scheme,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// Whether it knows `qop=auth`, which counts the requests.
    counts: bool,
    /// As the camera wrote the algorithm, if it did.
    algorithm: Option<String>,
    /// Requests that were answered.
    count: u32,
}

/// In the order in which they are taken: the last is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scheme {
    Basic,
    Md5 { session: bool },
    Sha256 { session: bool },
}

/// The best of what a camera offers in its `WWW-Authenticate` headers. Else the names of what it wants.
pub(super) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Result<Challenge, Vec<String>> {
    let mut unknown = Vec::new();
    let mut known: Vec<Challenge> = Vec::new();
    for (scheme, parameters) in headers.flat_map(challenges) {
        match Challenge::of(&scheme, &parameters) {
            Ok(challenge) => known.push(challenge),
            Err(name) => unknown.push(name),
        }
    }
    known
        .into_iter()
        .max_by_key(|challenge| challenge.scheme)
        .ok_or(unknown)
}

type Parameters = Vec<(String, String)>;

/// The challenges of one header: a scheme, then `name=value` with commas between; several may follow each other.
fn challenges(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim();
    while !rest.is_empty() {
        let end = rest.find(['=', ',', ' ']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start();
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = unquoted(value.trim_start());
            if let Some((_, parameters)) = found.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else {
            if !word.is_empty() {
                found.push((word.to_owned(), Vec::new()));
            }
            rest = after;
        }
        rest = rest.trim_start_matches([',', ' ', '\t']);
    }
    found
}

/// A value, quoted or not, and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, letter) in quoted.char_indices() {
        match letter {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (value, &quoted[at + 1..]),
            letter => {
                value.push(letter);
                escaped = false;
            }
        }
    }
    (value, "")
}

impl Challenge {
    /// Else the name of what is not known.
    fn of(scheme: &str, parameters: &[(String, String)]) -> Result<Self, String> {
        let value = |name: &str| {
            let found = parameters.iter().find(|(found, _)| found == name);
            found.map(|(_, value)| value.clone())
        };
        let algorithm = value("algorithm");
        let known = match scheme.to_ascii_lowercase().as_str() {
            "basic" => Scheme::Basic,
            "digest" => match algorithm.as_deref().unwrap_or("MD5").to_ascii_uppercase().as_str() {
                "MD5" | "" => Scheme::Md5 { session: false },
                "MD5-SESS" => Scheme::Md5 { session: true },
                "SHA-256" => Scheme::Sha256 { session: false },
                "SHA-256-SESS" => Scheme::Sha256 { session: true },
                other => return Err(format!("Digest with {other}")),
            },
            _ => return Err(scheme.to_owned()),
        };
        let qop = value("qop").unwrap_or_default();
        Ok(Self {
            scheme: known,
            realm: value("realm").unwrap_or_default(),
            nonce: value("nonce").unwrap_or_default(),
            opaque: value("opaque"),
            counts: qop.split(',').any(|known| known.trim().eq_ignore_ascii_case("auth")),
            algorithm,
            count: 0,
        })
    }

    /// The `Authorization` of a request.
    pub(super) fn answer(&mut self, (user, password): (&str, &str), method: &str, uri: &str) -> String {
        let mut random = [0; 8];
        // Without randomness there is a number that the camera has not seen from us, which is what it is for.
        if SystemRandom::new().fill(&mut random).is_err() {
            random = u64::from(self.count).to_be_bytes();
        }
        self.count += 1;
        self.answer_with((user, password), method, uri, &HEXLOWER.encode(&random))
    }

    fn answer_with(&self, (user, password): (&str, &str), method: &str, uri: &str, cnonce: &str) -> String {
        let (hash, session): (fn(&str) -> String, bool) = match self.scheme {
            Scheme::Basic => {
                return format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()));
            }
            Scheme::Md5 { session } => (|text| HEXLOWER.encode(&Md5::digest(text.as_bytes())), session),
            Scheme::Sha256 { session } => (
                |text| HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref()),
                session,
            ),
        };
        let (realm, nonce) = (&self.realm, &self.nonce);
        let mut secret = hash(&format!("{user}:{realm}:{password}"));
        if session {
            secret = hash(&format!("{secret}:{nonce}:{cnonce}"));
        }
        let asked = hash(&format!("{method}:{uri}"));
        let count = format!("{:08x}", self.count);
        let response = if self.counts {
            hash(&format!("{secret}:{nonce}:{count}:{cnonce}:auth:{asked}"))
        } else {
            hash(&format!("{secret}:{nonce}:{asked}"))
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut answer = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"{response}\"",
            quoted(user),
            quoted(realm),
            quoted(nonce)
        );
        if let Some(algorithm) = &self.algorithm {
            answer.push_str(&format!(", algorithm={algorithm}"));
        }
        if let Some(opaque) = &self.opaque {
            answer.push_str(&format!(", opaque=\"{}\"", quoted(opaque)));
        }
        if self.counts {
            answer.push_str(&format!(", qop=auth, nc={count}, cnonce=\"{cnonce}\""));
        } else if session {
            answer.push_str(&format!(", cnonce=\"{cnonce}\""));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616, section 3.9.1.
    #[test]
    fn digests_are_those_of_the_standard() {
        const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let header = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let mut challenge = choose([header.as_str()].into_iter()).unwrap();
            challenge.count = 1;
            let answer = challenge.answer_with(("Mufasa", "Circle of Life"), "GET", "/dir/index.html", CNONCE);
            assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
            assert!(
                answer.contains("nc=00000001") && answer.contains("qop=auth,"),
                "{answer}"
            );
        }
    }

    /// RFC 2069, as most cameras have it: no `qop`.
    #[test]
    fn old_digests_and_basic_are_known() {
        let header = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let mut challenge = choose([header].into_iter()).unwrap();
        let answer = challenge.answer(("Mufasa", "CircleOfLife"), "GET", "/dir/index.html");
        assert!(
            answer.contains("response=\"1949323746fe6a43ef61f9606e7febea\""),
            "{answer}"
        );
        assert!(!answer.contains("qop") && !answer.contains("algorithm"), "{answer}");
        let mut basic = choose(["Basic realm=\"cam\""].into_iter()).unwrap();
        assert_eq!(
            basic.answer(("Aladdin", "open sesame"), "GET", "/"),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }

    #[test]
    fn of_several_challenges_in_one_header_or_more_the_best_known_is_taken() {
        let digest = |algorithm: &str| format!("Digest realm=\"a, b\", nonce=\"n\", algorithm=\"{algorithm}\"");
        let best = |headers: &[String]| {
            let chosen = choose(headers.iter().map(String::as_str));
            chosen.map(|challenge| (challenge.scheme, challenge.realm))
        };
        let sha256 = Ok((Scheme::Sha256 { session: false }, "a, b".to_owned()));
        let md5 = Ok((Scheme::Md5 { session: false }, "a, b".to_owned()));
        assert_eq!(
            best(&[digest("MD5"), digest("SHA-256"), "Basic realm=\"x\"".into()]),
            sha256
        );
        assert_eq!(best(&[digest("SHA-256"), digest("MD5")]), sha256);
        assert_eq!(
            best(&[format!("Basic realm=\"x\", {}", digest("md5")), digest("SHA-512-256")]),
            md5
        );
        let unknown = best(&[digest("SHA-512-256"), "Bearer".into()]);
        assert_eq!(
            unknown,
            Err(vec!["Digest with SHA-512-256".to_owned(), "Bearer".to_owned()])
        );
        assert_eq!(best(&[]), Err(Vec::new()));
    }
}
