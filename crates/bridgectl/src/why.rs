//! Says in one sentence how a stream, a process, the session with a studio, or all of Framebridge is.

use framebridge_proto::{
    Role,
    status::{BridgeState, Condition, Overall, ProcessState, ProcessStatus, Status, StreamStatus},
    supervisor::Why,
};

use crate::{names, units::span};

/// What the session with a studio is asked for by.
const STUDIO: &str = "studio";

/// How `name` is; without one, all of Framebridge.
///
/// # Errors
/// Nothing is called so.
pub(crate) fn of(status: &Status, name: Option<&str>) -> anyhow::Result<Why> {
    let Some(name) = name else {
        return Ok(whole(status));
    };
    if let Some(stream) = status.streams.iter().find(|stream| stream.name == name) {
        return Ok(of_stream(stream));
    }
    if name == STUDIO {
        return Ok(of_studio(status));
    }
    names::process(status, name).map(of_process)
}

fn of_stream(stream: &StreamStatus) -> Why {
    Why {
        // Nothing is known against one that was never tried; that it is well nobody says.
        well: matches!(stream.condition, Condition::Well | Condition::Untried),
        sentence: stream.verdict.clone(),
    }
}

fn of_process(process: &ProcessStatus) -> Why {
    let mut sentence = process.state.to_string();
    if let Some(uptime) = process.uptime_s {
        sentence += &format!(" for {}", span(uptime));
    }
    match process.restarts {
        0 => {}
        1 => sentence += "; restarted once",
        restarts => sentence += &format!("; restarted {restarts} times"),
    }
    if let Some(reason) = &process.last_reason {
        sentence += &format!("; it last ended because: {reason}");
    }
    if process.state == ProcessState::Parked {
        sentence += &format!("; `bridgectl resume {}` starts it at once", process.name);
    }
    Why {
        well: process.state == ProcessState::Running,
        sentence,
    }
}

fn of_studio(status: &Status) -> Why {
    let bridge = &status.bridge;
    let reason = bridge.reason.as_ref().map(|reason| format!(": {reason}"));
    let hint = match bridge.state {
        BridgeState::Disabled => "; `studio.url` names no studio",
        BridgeState::Refused => "; repair the cause, then `bridgectl resume bridge`",
        BridgeState::Connecting
        | BridgeState::Waiting
        | BridgeState::Online
        | BridgeState::Degraded
        | BridgeState::Failed
        | BridgeState::Down
        | BridgeState::Unknown => "",
    };
    Why {
        well: matches!(bridge.state, BridgeState::Disabled | BridgeState::Online),
        sentence: format!("{}{}{hint}", bridge.state, reason.unwrap_or_default()),
    }
}

/// One sentence for all that is not well.
fn whole(status: &Status) -> Why {
    let faults: Vec<String> = faults(status);
    let mut sentence = match faults.as_slice() {
        [] => format!("{}", status.overall),
        faults => format!("{}: {}", status.overall, faults.join("; ")),
    };
    if let Some(untried) = untried(status) {
        sentence += &format!("; {untried}");
    }
    Why {
        well: status.overall == Overall::Healthy,
        sentence,
    }
}

/// Of which streams nothing is known yet, if of any.
pub(crate) fn untried(status: &Status) -> Option<String> {
    let streams = status.streams.iter();
    let untried = streams.filter(|stream| stream.condition == Condition::Untried);
    let names: Vec<_> = untried.map(|stream| stream.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("never tried: {}", names.join(", ")))
}

/// A sentence for each stream and process that is not well, streams first.
pub(crate) fn faults(status: &Status) -> Vec<String> {
    let streams = status
        .streams
        .iter()
        .filter(|stream| matches!(stream.condition, Condition::Faulty | Condition::Dark));
    let streams = streams.map(|stream| format!("{}: {}", stream.name, stream.verdict));
    let pushes = status.streams.iter().flat_map(|stream| {
        let ill = stream.pushes.iter().filter(|push| !push.is_well());
        ill.map(|push| format!("{}: {push}", stream.name))
    });
    // An encoder's fault is its stream's already.
    let others = status.processes.iter().filter(|process| process.role != Role::Encoder);
    let others = others
        .map(|process| (process, of_process(process)))
        .filter(|(_, why)| !why.well);
    let studio = Some(of_studio(status)).filter(|why| !why.well);
    streams
        .chain(pushes)
        .chain(others.map(|(process, why)| format!("{}: {}", process.name, why.sentence)))
        .chain(studio.map(|why| format!("{STUDIO}: {}", why.sentence)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::example;

    #[test]
    fn everything_that_has_a_state_says_how_it_is() {
        let mut status = example::degraded();
        let said = |status: &Status, name: Option<&str>| {
            let why = of(status, name).unwrap();
            (why.well, why.sentence)
        };
        assert_eq!(said(&status, Some("desk")), (true, "live".to_owned()));
        assert_eq!(said(&status, Some("door")), (false, status.streams[1].verdict.clone()));
        assert_eq!(
            said(&status, Some("signaling")),
            (true, "running for 1 min 12 s".to_owned())
        );
        assert_eq!(
            said(&status, Some("studio")),
            (true, "disabled; `studio.url` names no studio".to_owned())
        );
        let whole = said(&status, None);
        assert!(
            !whole.0 && whole.1.starts_with("degraded: door: source unavailable"),
            "{}",
            whole.1
        );
        assert!(of(&status, Some("toaster")).is_err());

        let signaling = status
            .processes
            .iter_mut()
            .find(|process| process.name == "signaling")
            .unwrap();
        (signaling.state, signaling.uptime_s, signaling.restarts) = (ProcessState::Parked, None, 9);
        signaling.last_reason = Some("killed by SIGKILL".to_owned());
        let expected = "parked; restarted 9 times; it last ended because: killed by SIGKILL; `bridgectl resume signaling` starts it at \
                        once";
        assert_eq!(said(&status, Some("signaling")), (false, expected.to_owned()));
        assert!(said(&status, None).1.contains("; signaling: parked;"));
    }

    #[test]
    fn stream_that_was_never_tried_is_named_and_is_no_fault() {
        let mut status = example::degraded();
        assert_eq!(untried(&status), None);
        status.streams[0].condition = Condition::Untried;
        assert!(faults(&status).iter().all(|fault| !fault.starts_with("desk")));
        let said = of(&status, None).unwrap().sentence;
        assert!(said.ends_with("; never tried: desk"), "{said}");
        let shown = crate::table::render(&status, None);
        assert!(
            shown.lines().next().unwrap().ends_with(", never tried: desk"),
            "{shown}"
        );
    }
}
