//! The text format 0.0.4 of Prometheus, which scrapers take who do not ask for OpenMetrics.

use axum::http::{HeaderMap, header};

pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether whoever asks takes OpenMetrics. One that takes anything gets what all understand.
pub(super) fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|part| {
        let mut parts = part.split(';').map(str::trim);
        let is_named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
        is_named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0"))
    })
}

/// What is said in OpenMetrics, in the older format: there a counter's family has the name that its samples have, and nothing marks
/// the end.
pub(super) fn from_open_metrics(text: &str) -> String {
    let described = |line: &str, what: &str| {
        let (name, rest) = line.strip_prefix(what)?.split_once(' ')?;
        Some((name.to_owned(), rest.to_owned()))
    };
    let counters: Vec<String> = text
        .lines()
        .filter_map(|line| described(line, "# TYPE "))
        .filter_map(|(name, kind)| (kind == "counter").then_some(name))
        .collect();
    let mut out = String::with_capacity(text.len());
    for line in text
        .lines()
        .filter(|line| *line != "# EOF" && !line.starts_with("# UNIT "))
    {
        let found = ["# HELP ", "# TYPE "]
            .into_iter()
            .find_map(|what| Some((what, described(line, what)?)));
        match found {
            Some((what, (name, rest))) if counters.contains(&name) => {
                out.push_str(&format!("{what}{name}_total {rest}"));
            }
            Some(_) | None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn counters_are_called_what_their_samples_are_called() {
        let open = "# HELP a_nacks Asked again.\n# TYPE a_nacks counter\na_nacks_total{stream=\"x\"} 3\n# HELP a_viewers Open.\n\
                    # TYPE a_viewers gauge\na_viewers{stream=\"x\"} 1\n# EOF\n";
        let text = "# HELP a_nacks_total Asked again.\n# TYPE a_nacks_total counter\na_nacks_total{stream=\"x\"} 3\n\
                    # HELP a_viewers Open.\n# TYPE a_viewers gauge\na_viewers{stream=\"x\"} 1\n";
        assert_eq!(from_open_metrics(open), text);
    }

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let asked = |accept: &str| {
            let value = HeaderValue::from_str(accept).expect("a header");
            wants_open_metrics(&HeaderMap::from_iter([(header::ACCEPT, value)]))
        };
        assert!(asked(
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ));
        for other in [
            "*/*",
            "text/plain",
            "text/plain;version=0.0.4, application/openmetrics-text;q=0",
        ] {
            assert!(!asked(other), "{other}");
        }
        assert!(!wants_open_metrics(&HeaderMap::new()));
    }
}
