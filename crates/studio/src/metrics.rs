//! `GET /metrics` for operators' monitoring: how the boxes are, in Prometheus' text format 0.0.4.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use framebridge_core::studio::box_session;

use crate::hub::Hub;

/// What Prometheus asks for.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is said of one box.
#[derive(Debug)]
struct Row {
    name: String,
    state: box_session::State,
    is_linked: bool,
}

/// How the boxes are.
pub(crate) async fn metrics(State(hub): State<Arc<Hub>>) -> Response {
    let sessions = hub.boxes.all();
    let rows: Vec<Row> = sessions
        .iter()
        .map(|session| {
            let shown = session.view().shown;
            Row {
                name: session.name.clone(),
                state: shown.state,
                is_linked: shown.linked,
            }
        })
        .collect();
    ([(header::CONTENT_TYPE, TEXT)], render(rows)).into_response()
}

fn render(mut rows: Vec<Row>) -> String {
    // One token may serve several boxes: those of one name are counted together.
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    let mut text = String::new();
    let mut line = |what: std::fmt::Arguments<'_>| {
        // A text takes everything.
        _ = writeln!(text, "{what}");
    };
    line(format_args!(
        "# HELP framebridge_studio_build_info The version; always 1."
    ));
    line(format_args!("# TYPE framebridge_studio_build_info gauge"));
    line(format_args!(
        "framebridge_studio_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    ));
    line(format_args!(
        "# HELP framebridge_studio_boxes Boxes in each state of their sessions."
    ));
    line(format_args!("# TYPE framebridge_studio_boxes gauge"));
    for state in box_session::State::ALL {
        let count = rows.iter().filter(|row| row.state == state).count();
        line(format_args!(
            "framebridge_studio_boxes{{state=\"{}\"}} {count}",
            state.as_str()
        ));
    }
    line(format_args!(
        "# HELP framebridge_studio_boxes_linked Boxes that are connected, by the name of their token."
    ));
    line(format_args!("# TYPE framebridge_studio_boxes_linked gauge"));
    for boxes in rows.chunk_by(|one, other| one.name == other.name) {
        let linked = boxes.iter().filter(|row| row.is_linked).count();
        let name = boxes.first().map(|row| escaped(&row.name)).unwrap_or_default();
        line(format_args!(
            "framebridge_studio_boxes_linked{{box=\"{name}\"}} {linked}"
        ));
    }
    text
}

/// As a label's value is written.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_counted_by_state_and_by_name() {
        let row = |name: &str, state, is_linked| Row {
            name: name.to_owned(),
            state,
            is_linked,
        };
        let text = render(vec![
            row("yard", box_session::State::Ready, true),
            row("do\"or", box_session::State::Failed, false),
            row("yard", box_session::State::Degraded, false),
        ]);
        for line in [
            "framebridge_studio_boxes{state=\"ready\"} 1",
            "framebridge_studio_boxes{state=\"expired\"} 0",
            "framebridge_studio_boxes_linked{box=\"yard\"} 1",
            "framebridge_studio_boxes_linked{box=\"do\\\"or\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert_eq!(text.matches("# TYPE").count(), 3);
    }
}
