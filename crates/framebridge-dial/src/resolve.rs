//! Where a server leads: an address as its answer writes it, relative or not (RFC 3986 section 5).

use hyper::http::{Uri, uri::PathAndQuery};

/// The address that `reference` is, in the answer to a request for `base`; `None`: it is none.
pub fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next()?.trim();
    if let Ok(whole) = reference.parse::<Uri>()
        && whole.scheme().is_some()
    {
        return Some(whole);
    }
    if let Some(rest) = reference.strip_prefix("//") {
        return format!("{}://{rest}", base.scheme_str()?).parse().ok();
    }
    let path = if reference.starts_with('/') {
        reference.to_owned()
    } else if reference.starts_with('?') {
        format!("{}{reference}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{reference}")
    };
    let (path, query) = path
        .split_once('?')
        .map_or((path.as_str(), None), |(path, query)| (path, Some(query)));
    let mut steps: Vec<&str> = Vec::new();
    for step in path.split('/').skip(1) {
        match step {
            "." => {}
            ".." => _ = steps.pop(),
            step => steps.push(step),
        }
    }
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let path: PathAndQuery = format!("/{}{query}", steps.join("/")).parse().ok()?;
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_from_where_they_were_given() {
        let base = "https://media.example:8443/app/whip/door?x=1".parse().unwrap();
        for (reference, address) in [
            ("https://other/y?z", "https://other/y?z"),
            ("//other/y", "https://other/y"),
            ("/sessions/7", "https://media.example:8443/sessions/7"),
            ("door/7", "https://media.example:8443/app/whip/door/7"),
            ("../sessions/./7?a=b", "https://media.example:8443/app/sessions/7?a=b"),
            ("?id=7", "https://media.example:8443/app/whip/door?id=7"),
            ("/s/7#part", "https://media.example:8443/s/7"),
        ] {
            let found = resolve(&base, reference).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), Some(address), "{reference}");
        }
        assert_eq!(resolve(&base, "/with space"), None);
    }
}
