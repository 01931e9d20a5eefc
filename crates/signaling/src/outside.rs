//! Has the media plane ask STUN servers where it is seen from outside (`webrtc.stun`), again and again: addresses change, and a NAT
//! forgets.

use std::{net::SocketAddr, time::Duration};

use framebridge_config::{Host, Place};
use framebridge_rtc::Handle;
use tokio::time::{MissedTickBehavior, interval};

use crate::candidates::look_up;

/// NATs forget a mapping after half a minute or more (RFC 4787 REQ-5 wants two).
const INTERVAL: Duration = Duration::from_secs(25);
/// Where STUN servers wait (RFC 8489 section 18.6).
const PORT: u16 = 3478;

/// Keeps asking; ends at once where there are no servers. A name that can't be resolved is tried again the next time.
pub(crate) async fn keep_asked(servers: Vec<Place>, engine: Handle) {
    if servers.is_empty() {
        return;
    }
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        ticks.tick().await;
        let (mut addresses, mut failure) = (Vec::new(), None);
        for Place { host, port } in &servers {
            let port = port.unwrap_or(PORT);
            match host {
                Host::Address(ip) => addresses.push(SocketAddr::new(*ip, port)),
                Host::Name(name) => match look_up(name).await {
                    Ok(found) => addresses.extend(first_of_each_family(&found, port)),
                    Err(error) => failure = Some(format!("`{name}` can't be resolved: {error}")),
                },
            }
        }
        engine.ask_outside(addresses);
        if let Some(failure) = &failure
            && !is_failing
        {
            tracing::warn!("webrtc.stun: {failure}; it is tried again");
        }
        is_failing = failure.is_some();
    }
}

/// One server has many addresses, and one answer is enough.
fn first_of_each_family(found: &[std::net::IpAddr], port: u16) -> impl Iterator<Item = SocketAddr> {
    let first = |is_ipv4| found.iter().find(|ip| ip.is_ipv4() == is_ipv4).copied();
    [first(true), first(false)]
        .into_iter()
        .flatten()
        .map(move |ip| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_of_each_family_is_asked() {
        let found = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        let asked: Vec<String> = first_of_each_family(&found, PORT).map(|it| it.to_string()).collect();
        assert_eq!(asked, ["192.0.2.1:3478", "[2001:db8::1]:3478"]);
    }
}
