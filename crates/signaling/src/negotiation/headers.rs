//! What the headers of WHEP's and WHIP's requests say.

use axum::http::{
    HeaderMap, HeaderValue,
    header::{self, InvalidHeaderValue},
};
use framebridge_rtc::IfMatch;

const FORWARDED_PREFIX: &str = "x-forwarded-prefix";

/// `If-Match` is neither `*` nor entity tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a proxy has taken off the front of the path (`X-Forwarded-Prefix`), without a slash at its end. Whoever says
/// nonsense there misleads nobody else.
pub(crate) fn prefix(headers: &HeaderMap) -> String {
    let said = headers.get(FORWARDED_PREFIX).and_then(|value| value.to_str().ok());
    let path = said.unwrap_or_default().trim_end_matches('/');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte);
    let is_path = path.starts_with('/') && !path.starts_with("//") && path.bytes().all(allowed);
    if is_path { path.to_owned() } else { String::new() }
}

/// Whether an answer of type `kind` is one that the client takes (RFC 9110 section 12.5.1); who does not say takes any.
pub(crate) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let (group, _) = kind.split_once('/').unwrap_or((kind, ""));
    let ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    ranges.into_iter().any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default();
        let fits = named == "*/*"
            || named.eq_ignore_ascii_case(kind)
            || named
                .strip_suffix("/*")
                .is_some_and(|named| named.eq_ignore_ascii_case(group));
        let mut weights = parts.filter_map(|part| part.strip_prefix("q="));
        let is_refused = weights.any(|weight| weight.parse::<f32>().is_ok_and(|weight| weight == 0.0));
        fits && !is_refused
    })
}

/// Reads `If-Match` (RFC 9110, section 13.1.1): `*`, or a list of entity tags of which one may be the `current` one.
/// Weak tags never match. `"*"`, as an example of the WHEP draft has it, is taken for `*`, and the current tag also without
/// its quotes.
pub(crate) fn if_match(headers: &HeaderMap, current: &str) -> Result<IfMatch, Malformed> {
    let mut found = IfMatch::None;
    for value in headers.get_all(header::IF_MATCH) {
        for tag in value.to_str().map_err(|_| Malformed)?.split(',').map(str::trim) {
            if tag == "*" || tag == "\"*\"" {
                return Ok(IfMatch::Any);
            }
            if tag == current {
                found = IfMatch::Etag(tag.to_owned());
                continue;
            }
            let opaque = tag
                .strip_prefix("W/")
                .unwrap_or(tag)
                .strip_prefix('"')
                .and_then(|tag| tag.strip_suffix('"'))
                .ok_or(Malformed)?;
            let matched = matches!(&found, IfMatch::Etag(tag) if tag == current);
            if !matched {
                found = IfMatch::Etag(if tag.starts_with("W/") {
                    String::new()
                } else {
                    opaque.to_owned()
                });
            }
        }
    }
    Ok(found)
}

/// An entity tag, in its quotes.
pub(crate) fn entity_tag(opaque: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::from_str(&format!("\"{opaque}\""))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    const SDP: &str = "application/sdp";

    fn parsed(value: &'static str) -> Option<IfMatch> {
        let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(value))]);
        if_match(&headers, "now").ok()
    }

    #[test]
    fn if_match_reads_star_lists_and_weak_tags() {
        assert_eq!(if_match(&HeaderMap::new(), "now").ok(), Some(IfMatch::None));
        assert_eq!(parsed("*"), Some(IfMatch::Any));
        assert_eq!(parsed("\"now\""), Some(IfMatch::Etag("now".into())));
        assert_eq!(parsed("\"now\", \"other\""), Some(IfMatch::Etag("now".into())));
        assert_eq!(parsed("\"other\" , \"now\""), Some(IfMatch::Etag("now".into())));
        assert_eq!(parsed("W/\"now\""), Some(IfMatch::Etag(String::new())));
        assert_eq!(parsed("\"*\""), Some(IfMatch::Any));
        assert_eq!(parsed("now"), Some(IfMatch::Etag("now".into())));
        assert_eq!(parsed("other"), None);
        assert_eq!(parsed("now, \"other\""), Some(IfMatch::Etag("now".into())));
    }

    #[test]
    fn accept_names_types_groups_or_any() {
        let accepts = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))]);
            super::accepts(&headers, SDP)
        };
        assert!(super::accepts(&HeaderMap::new(), SDP));
        for good in [
            "*/*",
            "application/sdp",
            "text/html, application/*;q=0.1",
            "Application/SDP",
        ] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["application/json", "text/*", "application/sdp;q=0", "", "sdp"] {
            assert!(!accepts(bad), "{bad}");
        }
    }

    #[test]
    fn prefix_is_a_path_or_nothing() {
        let prefix = |value: &'static str| {
            let name = HeaderName::from_static(FORWARDED_PREFIX);
            super::prefix(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]))
        };
        assert_eq!(prefix("/cam/"), "/cam");
        assert_eq!(prefix("/a/b"), "/a/b");
        for bad in ["", "/", "//evil.example", "https://evil.example", "cam", "/a b", "/a?b"] {
            assert_eq!(prefix(bad), "", "{bad}");
        }
    }
}
