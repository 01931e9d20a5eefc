//! The OpenAPI document: what stands at each handler, and what is true of many alike, said once here: who may, what the gates
//! before a handler answer, and the words of the system's status.

use framebridge_auth::Scope;
use framebridge_proto::{
    media::{LoadState, Rung},
    status::{BridgeState, Condition, FaultKind, Overall, ProcessState, PushState, StreamState},
};
use serde_json::{Map, Value, json};

use crate::gate::Route;

/// Names that a stream can have (`framebridge_proto::StreamName`).
const STREAM_NAME: &str = "^[a-z0-9][a-z0-9_-]*$";

/// How somebody says who they are.
const SCHEMES: [&str; 2] = ["token", "cookie"];

/// Makes what the handlers say whole.
pub(crate) fn complete(handlers: &utoipa::openapi::OpenApi, routes: &[Route]) -> Value {
    let mut document = json!(handlers);
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "A token of `bridgectl token`, or a JWT." },
        "cookie": { "type": "apiKey", "in": "cookie", "name": "framebridge-PORT", "description": "What a login gives; PORT is the server's. Over HTTPS its name begins with `__Host-`." },
    });
    let schemas = &mut document["components"]["schemas"];
    for (name, schema) in statuses() {
        schemas[name] = schema;
    }
    for (schema, field, words) in [
        ("StreamView", "state", all(StreamState::ALL)),
        ("StreamView", "condition", all(Condition::ALL)),
        ("StreamView", "fault", or_null(all(FaultKind::ALL))),
        ("LoadView", "state", words_of(&LoadState::ALL.map(LoadState::as_str))),
        ("LinkBody", "scope", words_of(&["view", "control"])),
        ("ViewerView", "state", words_of(&["connecting", "live", "grace"])),
        (
            "SessionView",
            "state",
            words_of(&["connecting", "live", "grace", "closed"]),
        ),
    ] {
        let property = &mut schemas[schema]["properties"][field];
        let about = property["description"].take();
        *property = words;
        property["description"] = about;
    }
    schemas["QualityBody"]["additionalProperties"] = false.into();
    let link = &mut schemas["LinkBody"]["properties"];
    link["stream"]["pattern"] = STREAM_NAME.into();
    // The derive takes it for a signed number.
    if let Some(seconds) = link["expires_s"].as_object_mut() {
        seconds.remove("format");
    }
    let one_of = |names: [&str; 2]| json!(names.map(|name| json!({ "required": [name] })));
    schemas["LoginBody"]["oneOf"] = one_of(["token", "code"]);
    for field in ["token", "code"] {
        schemas["LoginBody"]["properties"][field]["type"] = "string".into();
    }
    let seconds = json!({ "type": "integer", "minimum": 1, "maximum": 60 });
    let piece = json!({
        "name": "piece", "in": "query", "required": true, "style": "form", "explode": true,
        "description": "`last=SECONDS`: the last ones, as far as they were kept; or `next=SECONDS`: those that come.",
        "schema": {
            "type": "object", "properties": { "last": seconds, "next": seconds },
            "additionalProperties": false, "oneOf": one_of(["last", "next"]),
        },
    });
    let clip = &mut document["paths"]["/api/v1/streams/{stream}/clip.mp4"]["get"];
    clip["parameters"]
        .as_array_mut()
        .into_iter()
        .for_each(|parameters| parameters.push(piece.clone()));
    document["paths"]["/api/v1/status"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] =
        refer("Status");
    for route in routes {
        let methods = document["paths"][route.path()].as_object_mut();
        for (method, operation) in methods.into_iter().flatten() {
            answer_alike(operation, method, route);
        }
    }
    document
}

/// What every handler like this has in common, where it does not say better.
fn answer_alike(operation: &mut Value, method: &str, route: &Route) {
    if method != "options" {
        operation["security"] = match route.scope() {
            None => json!([]),
            Some(scope) => {
                let opens = format!("Scope `{scope}`.");
                let about = operation["description"].as_str().map(str::to_owned);
                operation["description"] = about
                    .map_or(opens.clone(), |about| format!("{about}\n\n{opens}"))
                    .into();
                SCHEMES.map(|scheme| json!({ scheme: [] })).to_vec().into()
            }
        };
    }
    let changes = !matches!(method, "get" | "options");
    let is_gated = method != "options" && route.scope().is_some();
    let has_body = operation["requestBody"].is_object();
    let forbidden = match (is_gated, route.scope().is_some_and(|scope| scope != Scope::View)) {
        (true, true) => "The token's scope does not reach, or a page of another origin asks.",
        (true, false) | (false, _) => "A page of another origin asks.",
    };
    for (status, wanted, about) in [
        (
            "308",
            true,
            "This server takes HTTPS only, and it is asked for by HTTP.",
        ),
        ("400", true, "The request can't be read."),
        (
            "401",
            is_gated && !route.is_page(),
            "Who asks is not known; see WWW-Authenticate.",
        ),
        (
            "403",
            changes || (is_gated && route.scope().is_some_and(|scope| scope != Scope::View)),
            forbidden,
        ),
        (
            "404",
            is_gated && route.path().contains("{stream}"),
            "There is no such stream.",
        ),
        ("408", has_body, "The body did not arrive in time."),
        (
            "421",
            true,
            "This server does not know itself by the name that it is asked by.",
        ),
        (
            "429",
            is_gated,
            "Too many wrong tokens have come from this address; see Retry-After.",
        ),
    ] {
        if wanted && !operation["responses"][status].is_object() {
            operation["responses"][status] = match status {
                "308" => json!({ "description": about, "headers": { "Location": { "schema": { "type": "string" } } } }),
                _ => problem(about),
            };
        }
    }
    if is_gated && route.is_page() {
        let login =
            json!({ "description": "The login page.", "content": { "text/html": { "schema": { "type": "string" } } } });
        operation["responses"]["401"] = login;
    }
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    // What may be done with an address, or that it has a slash too many, is told of any.
    let is_any = method == "options" || route.path().ends_with('/');
    for parameter in parameters.into_iter().flatten() {
        match parameter["name"].as_str() {
            _ if is_any || parameter["in"] != "path" => {}
            Some("stream") => parameter["schema"]["pattern"] = STREAM_NAME.into(),
            Some("session") => parameter["schema"]["pattern"] = "^[0-9a-f]+$".into(),
            _ => {}
        }
    }
}

fn problem(about: &str) -> Value {
    json!({ "description": about, "content": { "application/problem+json": { "schema": refer("Problem") } } })
}

/// What `GET /api/v1/status` answers, which a crate without OpenAPI defines (`framebridge_proto::status`).
fn statuses() -> [(String, Value); 6] {
    let status = [
        ("overall", all(Overall::ALL), "The sum of the rest"),
        (
            "http",
            or_null(text()),
            "Where viewers connect, once signaling has said so",
        ),
        ("processes", list("ProcessStatus"), "The supervisor first"),
        ("streams", list("StreamStatus"), "Every configured stream"),
        ("bridge", refer("BridgeStatus"), "The session with a studio"),
    ];
    let bridge = [
        ("state", all(BridgeState::ALL), "Where it is"),
        ("reason", or_null(text()), "Why, where the word alone does not say"),
    ];
    let rung = [
        ("rung", words_of(&Rung::ALL.map(Rung::as_str)), "Which one"),
        ("frames_encoded", number(), "Since the encoder started"),
        (
            "last_frame_age_ms",
            or_null(number()),
            "Milliseconds since the last of them",
        ),
        ("refused", or_null(text()), "Why it is not made, if it is not"),
    ];
    [
        schema("Status", status),
        process_status(),
        stream_status(),
        schema("RungStatus", rung),
        push_status(),
        schema("BridgeStatus", bridge),
    ]
}

fn process_status() -> (String, Value) {
    let roles = words_of(&["supervisor", "encoder", "signaling", "bridge", "operator"]);
    let process = [
        ("name", text(), "e.g. `encoder-test`"),
        ("role", roles, "What it is"),
        ("stream", or_null(text()), "The stream it serves, for an encoder"),
        ("state", all(ProcessState::ALL), "Where it is in its life"),
        ("pid", or_null(number()), "While it runs"),
        (
            "uptime_s",
            or_null(number()),
            "Seconds since it was started, while it runs",
        ),
        ("restarts", number(), "Times it was started again"),
        ("last_reason", or_null(text()), "Why it last ended, if it ever did"),
        (
            "heartbeat_age_ms",
            or_null(number()),
            "Milliseconds since its last heartbeat",
        ),
    ];
    schema("ProcessStatus", process)
}

fn push_status() -> (String, Value) {
    let push = [
        ("name", text(), "Its name in the configuration, or its receiver's host"),
        ("state", all(PushState::ALL), "How it goes"),
        (
            "reason",
            or_null(text()),
            "What is wrong and what to do, where anything is",
        ),
        (
            "retry_in_ms",
            or_null(number()),
            "Until it is tried again, where it waits for that",
        ),
        (
            "session",
            or_null(text()),
            "Its session, as `/api/v1/viewers` shows it, while there is one",
        ),
    ];
    schema("PushStatus", push)
}

fn stream_status() -> (String, Value) {
    let stream = [
        ("name", text(), "Its name"),
        ("source", text(), "Its source, credentials left out"),
        ("state", all(StreamState::ALL), "What it does"),
        ("condition", all(Condition::ALL), "How well it is"),
        (
            "fault",
            or_null(all(FaultKind::ALL)),
            "What is wrong; null if it is well or untried",
        ),
        (
            "fault_age_ms",
            or_null(number()),
            "Milliseconds since that began, where it is known",
        ),
        (
            "reason",
            or_null(text()),
            "Why no picture can be seen now; null where one can, or could",
        ),
        ("width", number(), "Encoded width in pixels; 0 until known"),
        ("height", number(), "Encoded height in pixels; 0 until known"),
        ("fps", number(), "Frames per second in force"),
        ("bitrate", number(), "Bits per second in force"),
        ("encoder", text(), "The encoder in use, and why it is that one"),
        ("viewers", number(), "Viewers with an open session"),
        ("frames_encoded", number(), "Since the encoder started"),
        ("frames_sent", number(), "Since signaling started, summed over viewers"),
        (
            "last_frame_age_ms",
            or_null(number()),
            "Milliseconds since the last encoded picture",
        ),
        (
            "unchanged_ms",
            number(),
            "Milliseconds since its picture changed last; 0 where it moves",
        ),
        (
            "black_ms",
            number(),
            "Milliseconds since its picture became black; 0 where it is not",
        ),
        (
            "rungs",
            list("RungStatus"),
            "Its lower rungs that somebody subscribes to",
        ),
        (
            "pushes",
            list("PushStatus"),
            "Where it is sent on to, and how that goes",
        ),
        (
            "encoder_load",
            or_null(json!({ "type": "object" })),
            "How its machine keeps up with encoding it, as in a stream's `encoder_load`; null where nothing is encoded",
        ),
        (
            "verdict",
            text(),
            "One sentence: how it is, and if not well, what is being done",
        ),
        (
            "retry_in_ms",
            or_null(number()),
            "Until what is wrong is tried again, where that is known",
        ),
    ];
    schema("StreamStatus", stream)
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn list(name: &str) -> Value {
    json!({ "type": "array", "items": refer(name) })
}

/// An object with all of these fields.
fn schema<const N: usize>(name: &str, fields: [(&str, Value, &str); N]) -> (String, Value) {
    let required = fields.each_ref().map(|(name, ..)| *name);
    let mut properties = Map::new();
    for (name, mut field, about) in fields {
        field["description"] = about.into();
        properties.insert(name.to_owned(), field);
    }
    let object = json!({ "type": "object", "required": required.to_vec(), "properties": properties });
    (name.to_owned(), object)
}

fn all<W: Copy + serde::Serialize>(words: &[W]) -> Value {
    json!({ "type": "string", "enum": words })
}

fn words_of(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

fn or_null(mut schema: Value) -> Value {
    schema["type"] = json!([schema["type"], "null"]);
    if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        words.push(Value::Null);
    }
    schema
}

#[cfg(test)]
mod tests {
    use framebridge_proto::{
        Role,
        status::{BridgeStatus, ProcessStatus, PushStatus, RungStatus, Status, StreamStatus},
    };

    use super::*;

    #[test]
    fn status_is_as_the_document_has_it() {
        let status = json!(Status {
            overall: Overall::Healthy,
            http: None,
            processes: vec![ProcessStatus {
                name: "a".into(),
                role: Role::Encoder,
                stream: None,
                state: ProcessState::BackingOff,
                pid: None,
                uptime_s: None,
                restarts: 0,
                last_reason: None,
                heartbeat_age_ms: None,
            }],
            streams: vec![StreamStatus {
                name: "a".into(),
                source: "test:".into(),
                state: StreamState::Down,
                condition: Condition::Well,
                fault: None,
                fault_age_ms: None,
                reason: None,
                width: 0,
                height: 0,
                fps: 0,
                bitrate: 0,
                encoder: String::new(),
                viewers: 0,
                frames_encoded: 0,
                frames_sent: 0,
                last_frame_age_ms: None,
                verdict: String::new(),
                retry_in_ms: None,
                unchanged_ms: 0,
                black_ms: 0,
                encoder_load: None,
                rungs: vec![RungStatus {
                    rung: Rung::Half,
                    frames_encoded: 0,
                    last_frame_age_ms: None,
                    refused: None,
                }],
                pushes: vec![PushStatus {
                    name: String::new(),
                    state: PushState::Live,
                    reason: None,
                    retry_in_ms: None,
                    session: None,
                }],
            }],
            bridge: BridgeStatus {
                state: BridgeState::Disabled,
                reason: None,
            },
        });
        let schemas = json!(Map::from_iter(statuses()));
        for (name, told) in [
            ("Status", &status),
            ("ProcessStatus", &status["processes"][0]),
            ("StreamStatus", &status["streams"][0]),
            ("RungStatus", &status["streams"][0]["rungs"][0]),
            ("PushStatus", &status["streams"][0]["pushes"][0]),
            ("BridgeStatus", &status["bridge"]),
        ] {
            let keys = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(&schemas[name]["properties"]), keys(told), "{name}");
            for (field, value) in told.as_object().unwrap() {
                let kinds = schemas[name]["properties"][field]["type"].to_string();
                assert!(!value.is_null() || kinds.contains("null"), "{name}.{field}");
            }
        }
        let nullable = or_null(text());
        assert_eq!(nullable, json!({ "type": ["string", "null"] }), "and nothing else");
        let roles = &schemas["ProcessStatus"]["properties"]["role"]["enum"];
        assert_eq!(roles, &json!((1..=5).filter_map(Role::from_wire).collect::<Vec<_>>()));
    }
}
