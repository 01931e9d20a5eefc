//! One thing that happened, as hooks are told of it.

use framebridge_daemon::unix_ms;
use framebridge_proto::hooks::HookEvent;
use serde_json::{Map, Value, json};

/// What the names of variables begin with that tell a command of an event.
const PREFIX: &str = "FRAMEBRIDGE_EVENT";

/// One thing that happened.
#[derive(Debug)]
pub(super) struct Bulletin {
    pub(super) event: HookEvent,
    /// The same in each attempt: who has heard of it already knows it by this.
    pub(super) id: String,
    /// In JSON: id, event, time, box, sentence, details.
    fields: Map<String, Value>,
}

impl Bulletin {
    pub(super) fn new(id: String, event: HookEvent, sentence: String, details: Map<String, Value>) -> Self {
        let mut fields = Map::from_iter([
            ("id".to_owned(), json!(id)),
            ("event".to_owned(), json!(event)),
            ("unix_ms".to_owned(), json!(unix_ms())),
            (
                "box".to_owned(),
                json!(rustix::system::uname().nodename().to_string_lossy()),
            ),
            ("sentence".to_owned(), json!(sentence)),
        ]);
        fields.extend(details);
        Self { event, id, fields }
    }

    /// As JSON. `lost`: events before it that were not told.
    pub(super) fn json(&self, lost: u64) -> String {
        Value::Object(self.with(lost)).to_string()
    }

    /// As variables for a command: `FRAMEBRIDGE_EVENT`, and one for each of the other fields.
    pub(super) fn variables(&self, lost: u64) -> impl Iterator<Item = (String, String)> {
        let fields = self.with(lost).into_iter().filter(|(_, value)| !value.is_null());
        fields.map(|(key, value)| {
            let name = if key == "event" {
                PREFIX.to_owned()
            } else {
                format!("{PREFIX}_{}", key.to_uppercase())
            };
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // No variable holds it.
            (name, text.replace('\0', " "))
        })
    }

    fn with(&self, lost: u64) -> Map<String, Value> {
        let mut fields = self.fields.clone();
        fields.insert("lost".to_owned(), json!(lost));
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_and_server_are_told_the_same() {
        let details = Map::from_iter([
            ("stream".to_owned(), json!("door")),
            ("from".to_owned(), Value::Null),
            ("viewers".to_owned(), json!(3)),
        ]);
        let bulletin = Bulletin::new("7-1".into(), HookEvent::ViewerJoined, "so\0what".into(), details);
        let told: Value = serde_json::from_str(&bulletin.json(2)).expect("JSON");
        assert_eq!(
            (&told["event"], &told["stream"]),
            (&json!("viewer-joined"), &json!("door"))
        );
        assert_eq!((&told["id"], &told["lost"]), (&json!("7-1"), &json!(2)));
        let variables: Vec<_> = bulletin.variables(2).collect();
        let of = |name: &str| {
            let found = variables.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(of("FRAMEBRIDGE_EVENT"), Some("viewer-joined"));
        assert_eq!(of("FRAMEBRIDGE_EVENT_STREAM"), Some("door"));
        assert_eq!(of("FRAMEBRIDGE_EVENT_VIEWERS"), Some("3"));
        assert_eq!(of("FRAMEBRIDGE_EVENT_SENTENCE"), Some("so what"));
        assert_eq!(of("FRAMEBRIDGE_EVENT_FROM"), None);
    }
}
