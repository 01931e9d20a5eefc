//! When a server wants to be asked again (`Retry-After`, RFC 9110 section 10.2.3).

use std::time::{Duration, SystemTime};

use hyper::{
    HeaderMap,
    header::{DATE, HeaderName, RETRY_AFTER},
};

/// How long an answer says to wait: in seconds, or until a date, counted from the answer's own (`Date`), for clocks differ; `now` stands
/// in for that. `None`: it does not say, or nothing that can be read.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let said = text(RETRY_AFTER)?;
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let (until, from) = (date(said)?, text(DATE).and_then(date).unwrap_or(now));
    // A date that has passed is no wait.
    Some(until.duration_since(from).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_a_date_by_the_servers_clock() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let asked = |said: &[(HeaderName, &'static str)]| {
            let headers = said.iter().cloned();
            let headers = headers.map(|(name, text)| (name, HeaderValue::from_static(text)));
            retry_after(&headers.collect(), now).map(|wait| wait.as_secs())
        };
        let later = (RETRY_AFTER, "Sun, 06 Nov 1994 08:51:37 GMT");
        assert_eq!(asked(&[(RETRY_AFTER, " 20 ")]), Some(20));
        assert_eq!(asked(std::slice::from_ref(&later)), Some(120));
        assert_eq!(
            asked(&[later.clone(), (DATE, "Sun, 06 Nov 1994 08:51:07 GMT")]),
            Some(30)
        );
        assert_eq!(
            asked(&[later, (DATE, "Sun, 06 Nov 1994 09:00:00 GMT")]),
            Some(0),
            "it has passed"
        );
        assert_eq!(asked(&[(RETRY_AFTER, "Sunday, 06-Nov-94 08:49:47 GMT")]), Some(10));
        for nonsense in ["", "soon", "-1", "1.5"] {
            assert_eq!(asked(&[(RETRY_AFTER, nonsense)]), None, "{nonsense}");
        }
        assert_eq!(asked(&[]), None);
    }
}
