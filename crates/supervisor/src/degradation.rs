//! What a process can do without: the steps that core's degradation goes down after a crash loop. For an encoder they are
//! environment and flags for its next start; the configuration itself is not touched.

use std::ffi::OsString;

use framebridge_config::{EncoderChoice, Slate, Source, Stream};
use framebridge_proto::{Role, StreamName};

/// Half of the default's edge: a quarter of the work.
const LOW_EDGE: u32 = 640;

/// One thing given up, on top of those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// What is shown instead of what was asked for.
    pub(crate) what: &'static str,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    /// What is kept for its next life is forgotten: perhaps that is what it dies of.
    NoHandover,
    Software,
    LowResolution,
    Slate,
}

impl Step {
    /// Whether without it nothing is kept for the next life.
    pub(crate) fn drops_handover(&self) -> bool {
        self.change == Change::NoHandover
    }
}

/// How an encoder is started differently.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) arguments: Vec<OsString>,
}

/// What a process can do without, first what hurts least: the encoder of `stream`, or the process of `role` that there is
/// only one of.
pub(crate) fn steps(role: Role, stream: Option<&Stream>) -> Vec<Step> {
    match (role, stream) {
        (Role::Encoder, Some(stream)) => steps_of(stream),
        (Role::Signaling, _) => vec![Step {
            what: "none of the viewers before",
            change: Change::NoHandover,
        }],
        (Role::Encoder | Role::Bridge | Role::Supervisor | Role::Operator, _) => Vec::new(),
    }
}

fn steps_of(stream: &Stream) -> Vec<Step> {
    let software = Step {
        what: "software encoding",
        change: Change::Software,
    };
    let low = Step {
        what: "a lower resolution",
        change: Change::LowResolution,
    };
    let slate = Step {
        what: "a slate instead of the source",
        change: Change::Slate,
    };
    let mut steps = Vec::new();
    if stream.encoder != EncoderChoice::Software {
        steps.push(software);
    }
    if stream.quality.longest_edge > LOW_EDGE {
        steps.push(low);
    }
    steps.push(slate);
    steps
}

/// What the encoder of `stream` has to be told for all of `steps` to hold; `slate` is what it says where it has to show
/// one.
pub(crate) fn overrides(stream: &StreamName, steps: &[Step], slate: &Slate) -> Overrides {
    let mut overrides = Overrides::default();
    // As `framebridge-config` spells a key of a stream.
    let variable = |key: &str| {
        format!("FRAMEBRIDGE_STREAMS_{stream}_{key}")
            .to_uppercase()
            .replace('-', "_")
    };
    for step in steps {
        match step.change {
            // Nothing that its next life could be told: what is kept is forgotten at the end of each.
            Change::NoHandover => {}
            Change::Software => overrides.environment.push((variable("encoder"), "software".into())),
            Change::LowResolution => {
                overrides
                    .environment
                    .push((variable("longest_edge"), LOW_EDGE.to_string()));
            }
            // The last flag for a stream wins over those before it, and over file and environment.
            Change::Slate => {
                let source = Source::Slate(slate.clone());
                overrides
                    .arguments
                    .extend(["--stream".into(), format!("{stream}={source}").into()]);
            }
        }
    }
    overrides
}

#[cfg(test)]
mod tests {
    use framebridge_config::Settings;

    use super::*;

    fn stream(text: &str) -> Stream {
        let input = framebridge_config::Input {
            file: "test",
            text,
            ..Default::default()
        };
        Settings::parse(&input).expect("good settings").streams.remove(0)
    }

    #[test]
    fn what_is_given_up_already_is_no_step() {
        let names = |text| steps_of(&stream(text)).iter().map(|step| step.what).collect::<Vec<_>>();
        let all = [
            "software encoding",
            "a lower resolution",
            "a slate instead of the source",
        ];
        assert_eq!(names("[streams.a]\nsource = \"test:\"\n"), all);
        assert_eq!(
            names("[streams.a]\nsource = \"test:\"\nencoder = \"software\"\nlongest_edge = 640\n"),
            all[2..]
        );
    }

    #[test]
    fn overrides_are_understood_by_the_configuration_they_change() {
        let text = "[streams.front-door]\nsource = \"v4l2:/dev/video0\"\n";
        let before = stream(text);
        let slate = Slate {
            until: std::time::Duration::from_secs(1_795_413_600),
            reason: "exit code 70: panicked, \"badly\"\n100 % dead".into(),
        };
        let Overrides { environment, arguments } = overrides(&before.name, &steps_of(&before), &slate);
        let flags: Vec<_> = arguments
            .into_iter()
            .filter_map(|flag| flag.into_string().ok())
            .collect();
        assert_eq!(flags[0], "--stream");
        assert!(
            !flags[1].contains(char::is_whitespace),
            "systemd would make two arguments of {}",
            flags[1]
        );
        let input = framebridge_config::Input {
            file: "test",
            text,
            env: environment.into_iter().collect(),
            streams: &flags[1..],
        };
        let after = Settings::parse(&input).expect("good settings").streams.remove(0);
        assert_eq!(after.encoder, EncoderChoice::Software);
        assert_eq!(after.quality.longest_edge, LOW_EDGE);
        assert_eq!(after.source, Source::Slate(slate));
    }
}
