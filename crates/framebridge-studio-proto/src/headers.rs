//! Which headers travel between a studio and a box.

/// A header's name, in lower case, and value.
pub type Header = (String, String);

/// Request headers that travel to a box: what signaling's interface reads, and nothing that says who asks.
pub const REQUEST_HEADERS: &[&str] = &["accept", "content-type", "if-match", "if-none-match", "last-event-id"];

/// Response headers that travel from a box.
pub const RESPONSE_HEADERS: &[&str] = &[
    "accept-patch",
    "accept-post",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "etag",
    "link",
    "location",
    "referrer-policy",
    "retry-after",
    "vary",
    "x-content-type-options",
];

/// Whether a header is about one connection (RFC 9110, section 7.6.1) and must not be passed on. Both lists above leave
/// these out; this is for whoever extends them.
pub fn is_hop_by_hop(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_header_of_one_connection_travels() {
        assert!(is_hop_by_hop("Upgrade") && is_hop_by_hop("transfer-encoding") && !is_hop_by_hop("etag"));
        for name in REQUEST_HEADERS.iter().chain(RESPONSE_HEADERS) {
            assert!(!is_hop_by_hop(name), "{name}");
            assert_eq!(*name, name.to_ascii_lowercase());
        }
    }
}
