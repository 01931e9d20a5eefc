//! The paths of the box's own server that can be reached from outside: an allow-list, without anything to normalise.

use framebridge_proto::StreamName;
use framebridge_studio_proto::Access;

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There is no such thing from outside, whatever there is inside.
    NotFound,
    /// The address that was used is for looking only.
    ControlNeeded,
}

/// What this box lets its studio ask for the holder of an address, whatever the studio says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// To look.
    pub(crate) view: bool,
    /// To change things.
    pub(crate) control: bool,
}

/// Whether the holder of `access` may ask this of the box's own server, by what the studio says and by what the box grants.
///
/// A path is taken apart as it is written: one with a percent sign, a backslash or an empty, `.` or `..` segment is no
/// path of ours, so that nothing here depends on how another program would read it.
pub(crate) fn permit(method: &str, path_and_query: &str, access: &Access, grant: Grant) -> Result<(), Denied> {
    if !grant.view {
        return Err(Denied::NotFound);
    }
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let query_is_plain = query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let rest = path.strip_prefix('/').ok_or(Denied::NotFound)?;
    // Signaling takes an endpoint or a session with a slash behind it, too.
    let is_whep = rest.starts_with("whep/");
    let rest = rest.strip_suffix('/').filter(|_| is_whep).unwrap_or(rest);
    let segments: Vec<&str> = if rest.is_empty() {
        Vec::new()
    } else {
        rest.split('/').collect()
    };
    let segments_are_plain = segments
        .iter()
        .all(|segment| !segment.is_empty() && *segment != "." && *segment != ".." && segment.bytes().all(plain));
    if !query_is_plain || !segments_are_plain {
        return Err(Denied::NotFound);
    }
    let reads = matches!(method, "GET" | "HEAD");
    let stream = match segments.as_slice() {
        [] | ["page", _] | ["api", "v1", "health"] if reads => None,
        // What is about all streams is not for an address of one.
        // The system's status and metrics are for nobody outside.
        ["wall"] | ["api", "v1", "events" | "streams"] if reads => return everything(access),
        ["s", stream] | ["api", "v1", "streams", stream] if reads => Some(stream),
        ["api", "v1", "streams", stream, "events" | "snapshot.jpg" | "live.mp4"] if reads => Some(stream),
        ["api", "v1", "streams", stream, "sessions", _session] if reads => Some(stream),
        ["api", "v1", "streams", stream, "sessions", _session, "rung"] if method == "PUT" => Some(stream),
        ["api", "v1", "streams", stream, "sessions", _session, "report"] if method == "POST" => Some(stream),
        ["whep", stream] if reads || matches!(method, "POST" | "OPTIONS") => Some(stream),
        ["whep", stream, _session] if reads || matches!(method, "PATCH" | "DELETE" | "OPTIONS") => Some(stream),
        ["whep", stream, _session, "sse"] if matches!(method, "POST" | "OPTIONS") => Some(stream),
        ["whep", stream, _session, "sse", _events] if reads || matches!(method, "DELETE" | "OPTIONS") => Some(stream),
        ["api", "v1", "streams", stream, "quality"] if method == "PUT" => return control(stream, access, grant),
        [
            "api",
            "v1",
            "streams",
            stream,
            "keyframe" | "pause" | "resume" | "control",
        ] if method == "POST" => {
            return control(stream, access, grant);
        }
        _ => return Err(Denied::NotFound),
    };
    stream.map_or(Ok(()), |stream| within(stream, access))
}

fn control(stream: &str, access: &Access, grant: Grant) -> Result<(), Denied> {
    within(stream, access)?;
    if access.control && grant.control {
        Ok(())
    } else {
        Err(Denied::ControlNeeded)
    }
}

fn within(stream: &str, access: &Access) -> Result<(), Denied> {
    let only = access.stream.as_ref().map(StreamName::as_str);
    if only.is_none_or(|only| only == stream) {
        Ok(())
    } else {
        Err(Denied::NotFound)
    }
}

fn everything(access: &Access) -> Result<(), Denied> {
    if access.stream.is_none() {
        Ok(())
    } else {
        Err(Denied::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Grant = Grant {
        view: true,
        control: true,
    };

    fn watching() -> Access {
        Access::default()
    }

    #[test]
    fn what_a_viewer_needs_is_reachable() {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/s/test"),
            ("GET", "/wall?streams=test,door&cols=2"),
            ("GET", "/page/style.css"),
            ("GET", "/api/v1/health"),
            ("HEAD", "/api/v1/streams"),
            ("GET", "/api/v1/streams/test/snapshot.jpg?at=1"),
            ("GET", "/api/v1/events"),
            ("GET", "/api/v1/streams/test/events"),
            ("GET", "/api/v1/streams/test/sessions/0123abcd"),
            ("PUT", "/api/v1/streams/test/sessions/0123abcd/rung?best=half"),
            ("POST", "/api/v1/streams/test/sessions/0123abcd/report"),
            ("GET", "/api/v1/streams/test/live.mp4?instead=0123abcd"),
            ("POST", "/whep/test"),
            ("OPTIONS", "/whep/test"),
            ("PATCH", "/whep/test/0123abcd"),
            ("DELETE", "/whep/test/0123abcd"),
            ("POST", "/whep/test/"),
            ("DELETE", "/whep/test/0123abcd/"),
            ("POST", "/whep/test/0123abcd/sse"),
            ("GET", "/whep/test/0123abcd/sse/active-inactive"),
            ("DELETE", "/whep/test/0123abcd/sse/active-inactive"),
        ] {
            assert_eq!(permit(method, path, &watching(), ALL), Ok(()), "{method} {path}");
        }
    }

    #[test]
    fn nothing_else_is() {
        for (method, path) in [
            ("GET", ""),
            ("GET", "*"),
            ("GET", "http://elsewhere/"),
            ("GET", "//"),
            ("GET", "/api/v1/debug/disconnect-webrtc"),
            ("POST", "/api/v1/debug/stall-encoder"),
            ("GET", "/api/v1/config"),
            ("GET", "/api/v1/status"),
            ("GET", "/metrics"),
            ("GET", "/api/v1/openapi.json"),
            ("POST", "/login"),
            ("GET", "/api/v1/viewers"),
            ("GET", "/page/../api/v1/config"),
            ("GET", "/page/%2e%2e/api"),
            ("GET", "/page/..%2fapi"),
            ("GET", "/page/a\\b"),
            ("GET", "/page/"),
            ("GET", "/page//style.css"),
            ("GET", "/./"),
            ("GET", "/s/test/"),
            ("GET", "/s/te st"),
            ("GET", "/s/t\u{e9}st"),
            ("GET", "/s/test\r\nhost: evil"),
            ("GET", "/api/v1/health?a b"),
            ("GET", "/api/v1/health?x\r\n"),
            ("POST", "/"),
            ("TRACE", "/"),
            ("CONNECT", "/whep/test"),
            ("get", "/"),
            ("DELETE", "/whep/test"),
            ("POST", "/whep/"),
            ("POST", "/whep/test//"),
            ("POST", "/whep/test/0123abcd/other"),
            ("POST", "/whep/test/0123abcd/sse/active"),
            ("PUT", "/api/v1/streams/test"),
        ] {
            assert_eq!(
                permit(method, path, &watching(), ALL),
                Err(Denied::NotFound),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn control_takes_an_address_made_for_it() {
        let control = Access {
            control: true,
            ..Access::default()
        };
        // The studio's word alone is not enough.
        let view_only = Grant { control: false, ..ALL };
        let quality = |grant| permit("PUT", "/api/v1/streams/test/quality", &control, grant);
        assert_eq!(quality(view_only), Err(Denied::ControlNeeded));
        let nothing = Grant {
            view: false,
            control: false,
        };
        assert_eq!(permit("GET", "/", &control, nothing), Err(Denied::NotFound));
        let other = Access {
            stream: Some("other".parse().unwrap()),
            control: true,
            share: None,
        };
        for (method, what) in [
            ("PUT", "quality"),
            ("POST", "keyframe"),
            ("POST", "control"),
            ("POST", "pause"),
            ("POST", "resume"),
        ] {
            let ask = |access: &Access| permit(method, &format!("/api/v1/streams/test/{what}"), access, ALL);
            assert_eq!(ask(&watching()), Err(Denied::ControlNeeded), "{what}");
            assert_eq!(ask(&control), Ok(()), "{what}");
            assert_eq!(ask(&other), Err(Denied::NotFound), "{what}");
        }
    }

    #[test]
    fn address_of_one_stream_shows_no_other() {
        let access = Access {
            stream: Some("door".parse().unwrap()),
            ..Access::default()
        };
        for path in [
            "/s/door",
            "/whep/door",
            "/api/v1/streams/door",
            "/page/page.js",
            "/api/v1/health",
        ] {
            assert_eq!(permit("GET", path, &access, ALL), Ok(()), "{path}");
        }
        for path in [
            "/s/yard",
            "/whep/yard",
            "/whep/yard/0123abcd/sse/active",
            "/api/v1/streams/yard",
            "/api/v1/streams",
            "/wall",
            "/api/v1/status",
            "/metrics",
        ] {
            assert_eq!(permit("GET", path, &access, ALL), Err(Denied::NotFound), "{path}");
        }
    }
}
