//! Names in `webrtc.candidates`: resolved again and again, for what they lead to changes (dynamic DNS).

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use framebridge_config::{Host, Place};
use framebridge_rtc::Handle;
use tokio::{
    net::lookup_host,
    time::{MissedTickBehavior, interval, timeout},
};

/// Dynamic names live a minute or more.
const INTERVAL: Duration = Duration::from_secs(60);
/// A resolver asks several servers, some seconds each.
const PATIENCE: Duration = Duration::from_secs(10);

/// The addresses that need no resolver; port 0 is the sockets'.
pub(crate) fn fixed(places: &[Place]) -> Vec<SocketAddr> {
    let address = |place: &Place| match &place.host {
        Host::Address(ip) => Some(SocketAddr::new(*ip, place.port.unwrap_or(0))),
        Host::Name(_) => None,
    };
    places.iter().filter_map(address).collect()
}

/// Keeps the media plane told of what the names lead to; ends at once where there are none.
pub(crate) async fn keep_resolved(places: Vec<Place>, engine: Handle) {
    let mut names = Names::default();
    if !places.iter().any(|place| matches!(place.host, Host::Name(_))) {
        return;
    }
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut addresses = Vec::new();
        for place in &places {
            match &place.host {
                Host::Address(ip) => addresses.push(SocketAddr::new(*ip, place.port.unwrap_or(0))),
                Host::Name(name) => {
                    let found = names.take(name, look_up(name).await);
                    addresses.extend(found.iter().map(|ip| SocketAddr::new(*ip, place.port.unwrap_or(0))));
                }
            }
        }
        engine.lead_here(addresses);
    }
}

/// The addresses of a name.
pub(crate) async fn look_up(name: &str) -> Result<Vec<IpAddr>, String> {
    match timeout(PATIENCE, lookup_host((name, 0))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_late) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// What names led to when they were last resolved.
#[derive(Debug, Default)]
struct Names(HashMap<String, Known>);

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<IpAddr>,
    is_failing: bool,
}

impl Names {
    /// What a name leads to by now: where it can't be resolved, what it led to before. That is said when it begins.
    fn take(&mut self, name: &str, found: Result<Vec<IpAddr>, String>) -> &[IpAddr] {
        let known = self.0.entry(name.to_owned()).or_default();
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                if known.is_failing {
                    tracing::info!("webrtc.candidates: `{name}` can be resolved again");
                }
                *known = Known {
                    addresses,
                    is_failing: false,
                };
            }
            failed => {
                let error = failed.err().unwrap_or_else(|| "it has no address".to_owned());
                if !std::mem::replace(&mut known.is_failing, true) {
                    tracing::warn!(
                        "webrtc.candidates: `{name}` can't be resolved: {error}; it is tried again each minute"
                    );
                }
            }
        }
        &known.addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_can_not_be_resolved_keeps_what_it_led_to() {
        let mut names = Names::default();
        let ip: IpAddr = "203.0.113.7".parse().unwrap();
        assert!(names.take("cam", Err("no such name".into())).is_empty());
        assert_eq!(names.take("cam", Ok(vec![ip])), [ip]);
        assert_eq!(names.take("cam", Err("no answer".into())), [ip]);
        assert_eq!(names.take("cam", Ok(Vec::new())), [ip]);
        let other: IpAddr = "203.0.113.8".parse().unwrap();
        assert_eq!(names.take("cam", Ok(vec![other])), [other]);
    }

    #[test]
    fn addresses_need_no_resolver() {
        let places = ["203.0.113.7", "[2001:db8::1]:40000", "cam.example.org"].map(|text| text.parse().unwrap());
        let fixed: Vec<String> = fixed(&places).iter().map(ToString::to_string).collect();
        assert_eq!(fixed, ["203.0.113.7:0", "[2001:db8::1]:40000"]);
    }
}
