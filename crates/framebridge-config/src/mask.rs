//! Addresses as operators are shown them: without what opens something.
//!
//! Cameras take passwords before an `@`, in the query (`?user=a&password=b`) and in the path (`/user=a_password=b.sdp`), and people
//! type them with `/`, `?` and `#` unescaped. What can't be told from a secret is taken for one.

use std::net::IpAddr;

const MASK: &str = "********";

/// What cameras and FFmpeg call settings of a stream and of its transport. SRT's `streamid` is none of them: people put passwords there.
const HARMLESS: [&str; 46] = [
    "audio",
    "block",
    "broadcast",
    "buffer_size",
    "camera",
    "channel",
    "codec",
    "compression",
    "connect_timeout",
    "fifo_size",
    "format",
    "fps",
    "framerate",
    "height",
    "inputbw",
    "latency",
    "linger",
    "listen_timeout",
    "localaddr",
    "localport",
    "localrtcpport",
    "maxbw",
    "mode",
    "oheadbw",
    "overrun_nonfatal",
    "payload_size",
    "peerlatency",
    "pkt_size",
    "profile",
    "proto",
    "quality",
    "rcvbuf",
    "rcvlatency",
    "resolution",
    "reuse",
    "rtcpport",
    "size",
    "sources",
    "stream",
    "subtype",
    "timeout",
    "transport",
    "transtype",
    "ttl",
    "unicast",
    "width",
];

/// The address without what may be a secret.
pub fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // It is no address, but may be meant as its beginning, before an `@`, or as its end.
        let shown = url.find(['=', '?', '&']);
        return match (url.contains('@'), url.split_once(':')) {
            (false, _) => shown.map_or_else(|| url.to_owned(), |at| format!("{}{MASK}", &url[..=at])),
            (true, Some((scheme, _))) => format!("{scheme}:{MASK}"),
            (true, None) => MASK.to_owned(),
        };
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if rest.contains('@') {
        // A password with one of `/?#` in it: what looks like the host is its beginning.
        return format!("{scheme}://{MASK}");
    }
    let host = authority.rsplit('@').next().unwrap_or_default();
    let (path, query) = match rest.find(['?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    // From what may be a secret on, what looks like another key may be a part of it.
    let mut after_secret = path.contains('=');
    let path = match path.split_once('=') {
        Some((before, _)) => format!("{before}={MASK}"),
        None => path.to_owned(),
    };
    let mut pair = |text| {
        let (shown, is_masked) = pair(text, after_secret);
        after_secret |= is_masked;
        shown
    };
    let query = match query.strip_prefix('?') {
        Some(pairs) => format!("?{}", pairs.split('&').map(&mut pair).collect::<Vec<_>>().join("&")),
        None if query.is_empty() => String::new(),
        None => format!("#{MASK}"),
    };
    format!("{scheme}://{host}{path}{query}")
}

/// What keys have in their names whose values tell who asks.
const SECRETS: [&str; 12] = [
    "user", "usr", "login", "pas", "pw", "token", "auth", "key", "secret", "sig", "cred", "streamid",
];

/// What they call them by these very names: another one behind a secret may be a part of it.
const NAMES: [&str; 13] = [
    "user",
    "username",
    "usr",
    "loginuse",
    "password",
    "passwd",
    "pass",
    "pwd",
    "loginpas",
    "passphrase",
    "streamid",
    "token",
    "auth",
];

/// `key=value` of a query as it is shown, and whether any of that is masked.
fn pair(pair: &str, after_secret: bool) -> (String, bool) {
    // Without a value it is no key, but what ends in `=` as base64 does.
    let named = pair
        .split_once('=')
        .filter(|(_, value)| !value.trim_matches('=').is_empty());
    let Some((key, value)) = named else {
        return (MASK.to_owned(), true);
    };
    let name = key.to_ascii_lowercase();
    let is_secret = if after_secret {
        NAMES.contains(&&*name)
    } else {
        SECRETS.iter().any(|part| name.contains(part))
    };
    if is_secret {
        return (format!("{key}={MASK}"), true);
    }
    let is_setting = HARMLESS.contains(&&*name);
    let is_shown = if after_secret {
        is_setting && says_little(value)
    } else {
        says_little(value) || (is_setting && value.bytes().all(|byte| is_plain(byte) || b".:,-_".contains(&byte)))
    };
    if is_shown {
        (pair.to_owned(), false)
    } else if after_secret || !key.bytes().all(|byte| is_plain(byte) || b"_-.".contains(&byte)) {
        (MASK.to_owned(), true)
    } else {
        (format!("{key}={MASK}"), true)
    }
}

/// Values that open nothing, whatever they are called: a channel, a quality, a size, an address, yes and no.
fn says_little(value: &str) -> bool {
    let is_number =
        |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_size = value
        .split_once('x')
        .is_some_and(|(width, height)| is_number(width, 5) && is_number(height, 5));
    let is_word = [
        "true", "false", "yes", "no", "on", "off", "tcp", "udp", "caller", "listener",
    ]
    .contains(&value);
    is_number(value, 2) || is_size || is_word || value.parse::<IpAddr>().is_ok()
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_shown_without_what_opens_something() {
        for (url, shown) in [
            ("rtsp://cam/stream", "rtsp://cam/stream"),
            (
                "rtsp://cam:554/s?channel=1&subtype=0",
                "rtsp://cam:554/s?channel=1&subtype=0",
            ),
            ("rtsp://u:p@cam/s", "rtsp://cam/s"),
            ("rtsp://u:p@ss@cam/s", "rtsp://cam/s"),
            ("rtsp://u:p/w@cam/s?password=x", "rtsp://********"),
            ("rtsp://u:p?w@cam/s", "rtsp://********"),
            ("rtsp://u:p#w@cam/s", "rtsp://********"),
            (
                "rtsp://cam/s?user=a&password=b",
                "rtsp://cam/s?user=********&password=********",
            ),
            ("rtsp://cam/user=a_password=b_channel=1.sdp", "rtsp://cam/user=********"),
            ("rtsp://cam/s?token", "rtsp://cam/s?********"),
            (
                "udp://@239.0.0.1:1234?localaddr=192.0.2.7&sources=192.0.2.9,192.0.2.10&pkt_size=1316",
                "udp://239.0.0.1:1234?localaddr=192.0.2.7&sources=192.0.2.9,192.0.2.10&pkt_size=1316",
            ),
            (
                "srt://cam:9000?mode=caller&latency=200000&passphrase=SECRET&streamid=read:cam:u:SECRET",
                "srt://cam:9000?mode=caller&latency=200000&passphrase=********&streamid=********",
            ),
            (
                "http://cam/v.cgi?resolution=640x480&rotate=180&Loginuse=a&loginpas=SECRET&next=1",
                "http://cam/v.cgi?resolution=640x480&rotate=********&Loginuse=********&loginpas=********&********",
            ),
            ("http://cam/v?u=admin&p=SECRET", "http://cam/v?u=********&********"),
            (
                "http://cam/v?u=admin&p=SEC&RETpart=word&channel=1",
                "http://cam/v?u=********&********&********&channel=1",
            ),
            ("http://cam/v?p=SEC&mode=RET-x", "http://cam/v?p=********&********"),
            (
                "http://cam/v?x=640x480&y=2001:db8::7&z=on",
                "http://cam/v?x=640x480&y=2001:db8::7&z=on",
            ),
            ("http://cam/v?U0VDUkVU==", "http://cam/v?********"),
            (
                "rtsp://cam/user=a_password=?SECRET_key=1.sdp",
                "rtsp://cam/user=********?********",
            ),
            ("http://cam/v?x=/SECRET", "http://cam/v?x=********"),
            ("rtsp://cam/s#fragment", "rtsp://cam/s#********"),
            ("e=rtps://u:p@h/x", "e=rtps://h/x"),
            ("rtsp:u:p@h/x", "rtsp:********"),
            ("u:p@h", "u:********"),
            ("nonsense", "nonsense"),
            ("/user=admin_password=SECRET_channel=1.sdp", "/user=********"),
            ("/live?SECRET", "/live?********"),
        ] {
            assert_eq!(without_secrets(url), shown, "{url}");
        }
    }

    proptest! {
        #[test]
        fn password_is_nowhere_in_what_is_shown(before in "[a-z/?#:@=&_]{0,6}", after in "[a-z/?#:@=&_]{0,6}") {
            let secret = format!("{before}SECRET{after}");
            for url in [
                format!("rtsp://user:{secret}@cam/s"),
                format!("rtsp://cam/s?user=a&password={secret}"),
                format!("rtsp://cam/user=a_password={secret}_channel=1.sdp"),
            ] {
                prop_assert!(!without_secrets(&url).contains("SECRET"), "{url}: {}", without_secrets(&url));
            }
        }
    }
}
