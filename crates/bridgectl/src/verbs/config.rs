//! `bridgectl config check` and `bridgectl config print`

use framebridge_config::{ConfigError, Problem, Settings};
use framebridge_daemon::Surroundings;
use serde_json::{Value, json};

use crate::{ask, cli, exit::Exit, out::Out};

pub(crate) async fn run(verb: &cli::Config, out: Out) -> anyhow::Result<Exit> {
    match verb {
        cli::Config::Check(args) => check(args.load(), out),
        cli::Config::Print(args) => {
            let mut settings = args.load()?;
            note_what_was_set(&mut settings).await;
            let entries = settings.entries().iter();
            let entries =
                entries.map(|entry| json!({ "key": entry.key, "value": entry.value, "origin": entry.origin }));
            out.tell(&settings.to_toml(), &entries.collect::<Vec<_>>())?;
            Ok(Exit::Ok)
        }
    }
}

/// Qualities that were set at run time count for more than what is configured: shows them, and how to take them back.
async fn note_what_was_set(settings: &mut Settings) {
    for (name, configured) in settings
        .streams
        .iter()
        .map(|stream| (stream.name.clone(), stream.quality))
        .collect::<Vec<_>>()
    {
        let Some(set) = ask::quality(&name).await else { continue };
        for (key, was, is) in [
            ("bitrate", configured.bitrate, set.bitrate),
            ("fps", configured.fps, set.fps),
            ("longest_edge", configured.longest_edge, set.longest_edge),
        ] {
            if was != is {
                let origin = format!("set at run time, configured as {was}: `bridgectl quality {name} --reset`");
                settings.overrule(&format!("streams.{name}.{key}"), is.to_string(), origin);
            }
        }
    }
}

/// Says what is wrong, or what is odd and runs all the same.
fn check(loaded: Result<Settings, ConfigError>, out: Out) -> anyhow::Result<Exit> {
    let fits = loaded.and_then(|settings| {
        let found = Surroundings::of(&settings);
        if found.problems.is_empty() {
            Ok((settings, found.warnings))
        } else {
            Err(ConfigError::Invalid(found.problems))
        }
    });
    let (settings, around) = match fits {
        Ok(fits) => fits,
        Err(ConfigError::Invalid(problems)) if out.json => {
            let problems: Vec<_> = problems.iter().map(problem).collect();
            out.tell(&"", &json!({ "valid": false, "problems": problems }))?;
            return Ok(Exit::Config);
        }
        Err(error) => return Err(error.into()),
    };
    let streams: Vec<_> = settings.streams.iter().map(|stream| stream.name.as_str()).collect();
    let mut text = String::new();
    let all = || settings.warnings.iter().chain(&around);
    for warning in all() {
        text += &format!("warning: {warning}\n");
    }
    text += &format!("the configuration is valid; streams: {}", streams.join(", "));
    let warnings: Vec<_> = all().map(problem).collect();
    out.tell(
        &text,
        &json!({ "valid": true, "warnings": warnings, "streams": streams }),
    )?;
    Ok(Exit::Ok)
}

fn problem(problem: &Problem) -> Value {
    json!({ "place": problem.place, "key": problem.key, "message": problem.message })
}

#[cfg(test)]
mod tests {
    use framebridge_config::{Input, Settings};
    use framebridge_proto::status::FaultKind;

    const REFERENCE: &str = include_str!("../../../../docs/operations.md");

    #[test]
    fn every_fault_is_in_the_reference() {
        for fault in FaultKind::ALL {
            assert!(REFERENCE.contains(&format!("| `{fault}` | ")), "{fault}");
        }
    }

    /// The default that the reference gives for a key, or `None` if it does not have it.
    fn documented(key: &str) -> Option<&'static str> {
        let row = format!("| `{key}` | ");
        let rest = REFERENCE.lines().find_map(|line| line.strip_prefix(&row))?;
        rest.split(" | ").next().map(|cell| cell.trim_matches('`'))
    }

    #[test]
    fn every_key_is_in_the_reference_with_its_default() {
        // One that is needed has no default: what stands for it is left out.
        let text = "[hooks.a]\ncommand = [\"/bin/true\"]\n[streams.test]\nsource = \"test:\"\n\
                    [[streams.test.push]]\nurl = \"https://a/b\"\n";
        let settings = Settings::parse(&Input {
            text,
            ..Input::default()
        })
        .unwrap();
        let needed = ["hooks.a.command", "streams.test.push.0.url"];
        let is_listed = |key: &str| !key.starts_with("video.") && !needed.contains(&key);
        for entry in settings.entries().iter().filter(|entry| is_listed(&entry.key)) {
            let key = entry
                .key
                .replace("streams.test.", "streams.NAME.")
                .replace(".push.0.", ".push.")
                .replace("hooks.a.", "hooks.NAME.");
            assert_eq!(documented(&key), Some(entry.value.as_str()), "{key}");
        }
        for needed in ["hooks.NAME.command", "streams.NAME.push.url"] {
            assert!(documented(needed).is_some(), "{needed}");
        }
    }
}
