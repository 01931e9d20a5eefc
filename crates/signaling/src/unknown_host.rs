//! What a person sees who asks for a name that this server does not know itself by: which line to write where.

use axum::{
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

/// The longest name that is shown.
const MOST_NAME: usize = 253;

/// The page, for a person who asks for `host[:port]`; programs need none.
pub(crate) fn shown(host: Option<&str>, request: &Request) -> Option<Response> {
    let accept = request.headers().get(header::ACCEPT)?.to_str().ok()?;
    if !request.method().is_safe() || !accept.contains("text/html") {
        return None;
    }
    let kind = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let name = name(host.unwrap_or_default());
    Some((StatusCode::MISDIRECTED_REQUEST, kind, page(&name)).into_response())
}

/// The name in `host[:port]`, if it is one that may be listed; else an example.
fn name(host: &str) -> String {
    let name = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    let is_name = (1..=MOST_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_name {
        name.to_ascii_lowercase()
    } else {
        "box.example".to_owned()
    }
}

fn page(name: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n\
         <title>Framebridge: unknown name</title>\n<h1>This Framebridge does not know itself as {name}</h1>\n\
         <p>It answers to its address and to its own name only, so that no page of another site can pass for it. \
         If {name} is right, write into <code>/etc/framebridge/framebridge.toml</code>, or the file it is started with:</p>\n\
         <pre>[http]\nhosts = [\"{name}\"]</pre>\n\
         <p>and start signaling again: <code>bridgectl restart signaling</code>. \
         Without a file, set <code>FRAMEBRIDGE_HTTP_HOSTS={name}</code>.</p>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_request_gets_into_the_page_but_a_name() {
        assert_eq!(name("Box.Lan:8890"), "box.lan");
        assert_eq!(name("box.lan."), "box.lan");
        for bad in ["", "<script>", "a b", "[fe80::1%25eth0]:8890", "a\"b", &"x".repeat(300)] {
            assert_eq!(name(bad), "box.example", "{bad}");
        }
        assert!(page("box.lan").contains("hosts = [\"box.lan\"]"));
    }
}
