//! Finds streams, processes and hooks by the names that operators type, and suggests the nearest for a wrong one.

use anyhow::anyhow;
use framebridge_config::did_you_mean;
use framebridge_proto::{
    hooks::HookStatus,
    status::{ProcessStatus, PushStatus, Status, StreamStatus},
};

/// The stream of this name.
///
/// # Errors
/// There is none; the error names the near one.
pub(crate) fn stream<'a>(status: &'a Status, name: &str) -> anyhow::Result<&'a StreamStatus> {
    let found = status.streams.iter().find(|stream| stream.name == name);
    found.ok_or_else(|| {
        anyhow!(no_stream(
            name,
            status.streams.iter().map(|stream| stream.name.as_str()),
            "status"
        ))
    })
}

/// The push of a stream that is called so.
///
/// # Errors
/// There is no such stream, or it has no such push; the error names the near one.
pub(crate) fn push<'a>(status: &'a Status, of: &str, name: &str) -> anyhow::Result<&'a PushStatus> {
    let pushes = &stream(status, of)?.pushes;
    let found = pushes.iter().find(|push| push.name == name);
    found.ok_or_else(|| {
        let near = before(&did_you_mean(name, pushes.iter().map(|push| push.name.as_str())));
        anyhow!("no push of `{of}` is called `{name}`{near}; `bridgectl status` lists them")
    })
}

/// What is said of a name that none of the streams has; `verb` lists them.
pub(crate) fn no_stream<'a>(name: &str, streams: impl Iterator<Item = &'a str>, verb: &str) -> String {
    let near = before(&did_you_mean(name, streams));
    format!("no stream is called `{name}`{near}; `bridgectl {verb}` lists them")
}

/// What is said of a name that none of the tokens has.
pub(crate) fn no_token<'a>(name: &str, tokens: impl Iterator<Item = &'a str>) -> String {
    let near = before(&did_you_mean(name, tokens));
    format!("no token is called `{name}`{near}; `bridgectl token list` lists them")
}

/// The process that `name` means: its own name, or the stream's whose encoder it is.
///
/// # Errors
/// There is none, or it is the supervisor, which can't do this to itself.
pub(crate) fn process<'a>(status: &'a Status, name: &str) -> anyhow::Result<&'a ProcessStatus> {
    let by_name = |name: &str| status.processes.iter().find(|process| process.name == name);
    let encoder = || {
        status
            .processes
            .iter()
            .find(|process| process.stream.as_deref() == Some(name))
    };
    let found = by_name(name).or_else(encoder);
    found.ok_or_else(|| {
        let processes = status.processes.iter().map(|process| process.name.as_str());
        let streams = status.streams.iter().map(|stream| stream.name.as_str());
        let near = did_you_mean(name, processes.chain(streams));
        anyhow!(
            "no process and no stream is called `{name}`{near}; `bridgectl status` lists them",
            near = before(&near)
        )
    })
}

/// The hook of this name.
///
/// # Errors
/// There is none; the error names the near one.
pub(crate) fn hook<'a>(hooks: &'a [HookStatus], name: &str) -> anyhow::Result<&'a HookStatus> {
    let found = hooks.iter().find(|hook| hook.name == name);
    found.ok_or_else(|| {
        let near = did_you_mean(name, hooks.iter().map(|hook| hook.name.as_str()));
        anyhow!(
            "no hook is called `{name}`{near}; `bridgectl hooks list` lists them",
            near = before(&near)
        )
    })
}

/// `; did you mean ...?` in the middle of a sentence.
fn before(near: &str) -> String {
    near.strip_prefix("; ")
        .map_or_else(String::new, |near| format!(" ({near})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::example;

    #[test]
    fn unknown_name_is_answered_with_the_near_one() {
        let status = example::degraded();
        assert_eq!(stream(&status, "door").unwrap().name, "door");
        assert_eq!(process(&status, "door").unwrap().name, "encoder-door");
        assert_eq!(process(&status, "bridge").unwrap().name, "bridge");
        for (error, said) in [
            (
                stream(&status, "dor").unwrap_err(),
                "no stream is called `dor` (did you mean `door`?); `bridgectl status` lists them",
            ),
            (
                stream(&status, "nosuch").unwrap_err(),
                "no stream is called `nosuch`; `bridgectl status` lists them",
            ),
            (
                process(&status, "encoder-dor").unwrap_err(),
                "no process and no stream is called `encoder-dor` (did you mean `encoder-door`?); `bridgectl status` lists them",
            ),
        ] {
            assert_eq!(error.to_string(), said);
        }
    }
}
