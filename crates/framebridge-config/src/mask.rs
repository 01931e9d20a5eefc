//! Addresses as operators are shown them: without what opens something.
//!
//! Cameras take passwords before an `@`, in the query (`?user=a&password=b`) and in the path (`/user=a_password=b.sdp`), and people
//! type them with `/`, `?` and `#` unescaped. What can't be told from a secret is taken for one.

const MASK: &str = "********";

/// Of queries and paths, what is known to be no secret. So are values of one or two digits: a channel, a quality.
const HARMLESS: [&str; 8] = [
    "channel", "stream", "subtype", "unicast", "proto", "profile", "width", "height",
];

/// The address without what may be a secret.
pub fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // It is no address; what stands before an `@` may be meant as one's beginning.
        return match (url.contains('@'), url.split_once(':')) {
            (false, _) => url.to_owned(),
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
    let path = match path.split_once('=') {
        Some((before, _)) => format!("{before}={MASK}"),
        None => path.to_owned(),
    };
    let query = match query.strip_prefix('?') {
        Some(pairs) => format!("?{}", pairs.split('&').map(pair).collect::<Vec<_>>().join("&")),
        None if query.is_empty() => String::new(),
        None => format!("#{MASK}"),
    };
    format!("{scheme}://{host}{path}{query}")
}

/// What cameras call what they are told who asks by.
const NAMES: [&str; 8] = ["user", "username", "usr", "password", "passwd", "pwd", "token", "auth"];

/// `key=value` of a query. A key that nobody knows may be the end of a password.
fn pair(pair: &str) -> String {
    let Some((key, value)) = pair.split_once('=') else {
        return MASK.to_owned();
    };
    let is_number = (1..=2).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_number || (is_plain && HARMLESS.contains(&key.to_ascii_lowercase().as_str())) {
        pair.to_owned()
    } else if NAMES.contains(&key.to_ascii_lowercase().as_str()) {
        format!("{key}={MASK}")
    } else {
        MASK.to_owned()
    }
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
            ("rtsp://cam/s#fragment", "rtsp://cam/s#********"),
            ("e=rtps://u:p@h/x", "e=rtps://h/x"),
            ("rtsp:u:p@h/x", "rtsp:********"),
            ("u:p@h", "u:********"),
            ("nonsense", "nonsense"),
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
