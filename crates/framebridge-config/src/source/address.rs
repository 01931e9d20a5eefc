//! What a URL of a source is made of, as people write it: passwords hold what a URL's may not.

/// A URL's parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// What stands before `://`.
    pub scheme: &'a str,
    /// User and password, as written: `user:password`.
    pub userinfo: Option<&'a str>,
    /// The host's name or address, without brackets.
    pub host: &'a str,
    /// The port, where one is said.
    pub port: Option<u16>,
    /// Path and query, from the slash on.
    pub path: &'a str,
}

impl<'a> Address<'a> {
    /// The parts of `url`. User and password end at the last `@` before the path; where there is none, but what looks like a
    /// port is no number, at the last `@` of all. `None`: it is no URL, or has no host.
    pub fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let end = |text: &str| text.find(['/', '?', '#']).unwrap_or(text.len());
        let authority = &rest[..end(rest)];
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_none_or(|port| port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit()));
        let at = match authority.rfind('@') {
            None if !has_port => rest.rfind('@'),
            found => found,
        };
        let (userinfo, rest) = match at {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        let (authority, path) = rest.split_at(end(rest));
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, after)) => (host, after.strip_prefix(':')),
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map(str::parse).transpose().ok()?;
        (!host.is_empty()).then_some(Self {
            scheme,
            userinfo,
            host,
            port,
            path,
        })
    }

    /// The host as URLs write it.
    pub fn host_in_url(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.to_owned()
        }
    }

    /// `host:port`, or the host where no port is said.
    pub fn authority(&self) -> String {
        let host = self.host_in_url();
        self.port.map_or(host.clone(), |port| format!("{host}:{port}"))
    }

    /// User and password, as they are meant: what is percent-encoded is decoded.
    pub fn credentials(&self) -> Option<(String, String)> {
        let (user, password) = self.userinfo?.split_once(':').unwrap_or((self.userinfo?, ""));
        let plain = |text| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        Some((plain(user), plain(password))).filter(|(user, password)| !user.is_empty() || !password.is_empty())
    }

    /// The URL as FFmpeg understands it: what would end the host's part is percent-encoded in user and password.
    pub fn encoded(&self) -> String {
        let mut url = format!("{}://", self.scheme);
        if let Some(userinfo) = self.userinfo {
            for character in userinfo.chars() {
                match character {
                    '/' => url.push_str("%2F"),
                    '?' => url.push_str("%3F"),
                    '#' => url.push_str("%23"),
                    '@' => url.push_str("%40"),
                    other => url.push(other),
                }
            }
            url.push('@');
        }
        url.push_str(&self.host_in_url());
        if let Some(port) = self.port {
            url.push_str(&format!(":{port}"));
        }
        url + self.path
    }
}

/// Like what is shown of sources: without user and password.
impl std::fmt::Debug for Address<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({}://{}:{:?})", self.scheme, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_encoded_as_far_as_they_have_to_be() {
        for (url, encoded) in [
            ("rtsp://cam/s", "rtsp://cam/s"),
            ("rtsp://cam:554/s?x=1@2", "rtsp://cam:554/s?x=1@2"),
            ("rtsp://[::1]:554/s@t", "rtsp://[::1]:554/s@t"),
            ("rtsp://[::1]/s@t", "rtsp://[::1]/s@t"),
            ("rtsp://u:p@cam/x@y", "rtsp://u:p@cam/x@y"),
            ("rtsp://u:p@ss@cam/s", "rtsp://u:p%40ss@cam/s"),
            ("rtsp://u:p/s@cam:554/s", "rtsp://u:p%2Fs@cam:554/s"),
            ("rtsp://u:p?s@cam/s", "rtsp://u:p%3Fs@cam/s"),
            ("rtsp://u:p#s@cam/s?a=b", "rtsp://u:p%23s@cam/s?a=b"),
            ("rtsp://u:p%2Fs@cam/s", "rtsp://u:p%2Fs@cam/s"),
        ] {
            assert_eq!(Address::of(url).unwrap().encoded(), encoded);
        }
    }

    #[test]
    fn credentials_are_what_was_meant() {
        for (url, meant) in [
            ("rtsp://cam/s", None),
            ("rtsp://me:p%2Fs@cam/s", Some(("me", "p/s"))),
            ("rtsp://me:p/s@cam/s", Some(("me", "p/s"))),
            ("rtsp://me:a:b@cam/s", Some(("me", "a:b"))),
            ("rtsp://me@cam/s", Some(("me", ""))),
        ] {
            let found = Address::of(url).unwrap().credentials();
            assert_eq!(found, meant.map(|(user, password)| (user.into(), password.into())));
        }
    }

    #[test]
    fn an_address_without_a_host_or_with_no_port_is_none() {
        for url in ["cam", "rtsp://", "rtsp://:554/s", "rtsp://cam:99999/s"] {
            assert_eq!(Address::of(url), None, "{url}");
        }
    }
}
