//! How the streams were at one moment, as it is told to those who listen.

use framebridge_auth::Principal;
use framebridge_proto::StreamName;
use serde_json::Value;

/// What changes all the time, and is no news.
const RESTLESS: [&str; 6] = [
    "frames_received",
    "frames_sent",
    "last_frame_age_ms",
    "retry_in_ms",
    "still_age_ms",
    "capture_to_wire_ms",
];

/// How all streams were, by name.
#[derive(Debug, Default)]
pub(crate) struct Glances(pub(crate) Vec<Glance>);

/// How one of them was.
#[derive(Debug)]
pub(crate) struct Glance {
    name: StreamName,
    /// As the API shows it.
    for_operators: Value,
    for_viewers: Value,
    /// Without what is restless.
    at_rest: Value,
}

impl Glance {
    pub(crate) fn new(name: StreamName, for_operators: Value, for_viewers: Value) -> Self {
        let mut at_rest = for_operators.clone();
        if let Some(fields) = at_rest.as_object_mut() {
            fields.retain(|name, _| !RESTLESS.contains(&name.as_str()));
            // What it means is news, its figures are not.
            if let Some(load) = fields.get_mut("encoder_load").and_then(Value::as_object_mut) {
                load.retain(|name, _| !["percent", "shortfall"].contains(&name.as_str()));
            }
        }
        Self {
            name,
            for_operators,
            for_viewers,
            at_rest,
        }
    }
}

impl Glances {
    /// All that `who` may see, or of one stream, as it is shown to `who`.
    pub(crate) fn shown_to(&self, who: &Principal, only: Option<&StreamName>) -> Vec<Value> {
        let shown = |glance: &Glance| {
            let mut shown = match who.is_operator() {
                true => glance.for_operators.clone(),
                false => glance.for_viewers.clone(),
            };
            shown["scope"] = who.scope.as_str().into();
            shown
        };
        self.of(who, only).map(shown).collect()
    }

    /// Whether `who` was told as much by an earlier look.
    pub(crate) fn is_as(&self, earlier: &Self, who: &Principal, only: Option<&StreamName>) -> bool {
        let at_rest = |glance: &'_ Glance| glance.at_rest.clone();
        self.of(who, only).map(at_rest).eq(earlier.of(who, only).map(at_rest))
    }

    fn of(&self, who: &Principal, only: Option<&StreamName>) -> impl Iterator<Item = &Glance> {
        let may_see = move |name: &StreamName| who.streams.has(name) && only.is_none_or(|only| name == only);
        self.0.iter().filter(move |glance| may_see(&glance.name))
    }
}

#[cfg(test)]
mod tests {
    use framebridge_auth::{Scope, Streams};
    use serde_json::json;

    use super::*;

    fn glances(state: &str, frames: u64) -> Glances {
        let glance = |name: &str, state: &str| {
            let view = |source| json!({ "name": name, "source": source, "state": state, "frames_sent": frames });
            Glance::new(name.parse().unwrap(), view("rtsp://camera"), view("rtsp:"))
        };
        Glances(vec![glance("desk", "idle"), glance("door", state)])
    }

    #[test]
    fn only_what_one_may_see_and_what_rests_is_news() {
        let desk: StreamName = "desk".parse().unwrap();
        let all = Principal::anyone(Scope::View);
        let of_desk = Principal {
            streams: Streams::only([desk.clone()]),
            ..all.clone()
        };
        let (before, after) = (glances("idle", 1), glances("live", 2));
        assert!(glances("idle", 9).is_as(&before, &all, None), "counts are no news");
        assert!(!after.is_as(&before, &all, None));
        assert!(after.is_as(&before, &of_desk, None));
        assert!(after.is_as(&before, &all, Some(&desk)));
        assert_eq!(after.shown_to(&all, None).len(), 2);
        assert_eq!(after.shown_to(&of_desk, None), after.shown_to(&all, Some(&desk)));
        assert_eq!(after.shown_to(&of_desk, None)[0]["source"], "rtsp:");
        assert_eq!(after.shown_to(&of_desk, None)[0]["scope"], "view");
        let operator = Principal::local();
        assert_eq!(after.shown_to(&operator, None)[1]["source"], "rtsp://camera");
    }
}
