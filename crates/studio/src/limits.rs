//! Limits how often one address may make costly requests.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, StatusCode};
use framebridge_core::{places::network, rate_limit::RateLimit};

use crate::problem::Problem;

/// Addresses remembered at once, per limit: some 10 MB at worst.
const MOST_ADDRESSES: usize = 100_000;

/// One limit over all addresses.
#[derive(Debug)]
pub(crate) struct Limit(Mutex<RateLimit<IpAddr>>);

/// All of them.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Sessions that boxes open: a few boxes behind one address that all come back at once are fine.
    pub(crate) sessions: Limit,
    /// Viewers that join: a page that is reloaded by a whole office is fine.
    pub(crate) joins: Limit,
    /// Wrong tokens.
    pub(crate) wrong_tokens: Limit,
    pub(crate) behind_proxy: bool,
}

impl Limits {
    pub(crate) fn new(behind_proxy: bool) -> Self {
        Self {
            sessions: Limit::new(20, Duration::from_secs(2)),
            joins: Limit::new(60, Duration::from_millis(500)),
            wrong_tokens: Limit::new(10, Duration::from_secs(6)),
            behind_proxy,
        }
    }

    /// Whose request it is: the connection's address, or what the proxy in front says. An IPv6 network counts as one.
    pub(crate) fn address(&self, connection: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .next_back()
            .and_then(|list| list.rsplit(',').next()?.trim().parse().ok())
            .filter(|_| self.behind_proxy);
        network(forwarded.unwrap_or(connection.ip()))
    }
}

impl Limit {
    fn new(burst: u32, every: Duration) -> Self {
        Self(Mutex::new(RateLimit::new(burst, every, MOST_ADDRESSES)))
    }

    /// Takes one.
    pub(crate) fn take(&self, address: IpAddr) -> Result<(), Problem> {
        let mut limit = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        limit.take(address, Instant::now()).map_err(|wait| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests came from this address: wait a moment.",
            )
            .retry_after(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn forwarded_addresses_count_only_behind_a_proxy_and_only_the_last() {
        let headers = HeaderMap::from_iter([(
            axum::http::HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_static("1.1.1.1, 2.2.2.2"),
        )]);
        let connection = SocketAddr::from(([9, 9, 9, 9], 1));
        let seen = |behind| Limits::new(behind).address(connection, &headers).to_string();
        assert_eq!(seen(true), "2.2.2.2");
        assert_eq!(seen(false), "9.9.9.9");
        let v6: SocketAddr = "[2001:db8::1:2:3:4]:1".parse().unwrap();
        assert_eq!(Limits::new(false).address(v6, &headers).to_string(), "2001:db8::");
    }
}
