//! What a process can do without: the steps that core's degradation goes down after a crash loop. For an encoder they are changes
//! to the settings that it is started with next; the configuration itself is not touched.

use framebridge_config::{Change, EncoderChoice, Slate, Source, Stream};
use framebridge_proto::Role;

/// Half of the default's edge: a quarter of the work.
const LOW_EDGE: u32 = 640;

/// One thing given up, on top of those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// What is shown instead of what was asked for.
    pub(crate) what: &'static str,
    without: Without,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Without {
    /// What is kept for its next life is forgotten: perhaps that is what it dies of.
    Handover,
    Hardware,
    Resolution,
    Source,
}

impl Step {
    /// Whether without it nothing is kept for the next life.
    pub(crate) fn drops_handover(&self) -> bool {
        self.without == Without::Handover
    }
}

/// What a process can do without, first what hurts least: the encoder of `stream`, or the process of `role` that there is
/// only one of.
pub(crate) fn steps(role: Role, stream: Option<&Stream>) -> Vec<Step> {
    match (role, stream) {
        (Role::Encoder, Some(stream)) => steps_of(stream),
        (Role::Signaling, _) => vec![Step {
            what: "none of the viewers before",
            without: Without::Handover,
        }],
        (Role::Encoder | Role::Bridge | Role::Supervisor | Role::Operator, _) => Vec::new(),
    }
}

fn steps_of(stream: &Stream) -> Vec<Step> {
    let software = Step {
        what: "software encoding",
        without: Without::Hardware,
    };
    let low = Step {
        what: "a lower resolution",
        without: Without::Resolution,
    };
    let slate = Step {
        what: "a slate instead of the source",
        without: Without::Source,
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

/// What the settings of an encoder have to say otherwise for all of `steps` to hold; `slate` is what it says where it has to
/// show one.
pub(crate) fn changes(steps: &[Step], slate: &Slate) -> Vec<Change> {
    let change = |step: &Step| match step.without {
        // Nothing that its next life could be told: what is kept is forgotten at the end of each.
        Without::Handover => None,
        Without::Hardware => Some(("encoder", EncoderChoice::Software.to_string())),
        Without::Resolution => Some(("longest_edge", LOW_EDGE.to_string())),
        Without::Source => Some(("source", Source::Slate(slate.clone()).to_string())),
    };
    steps.iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use framebridge_config::Settings;

    use super::*;

    fn settings(text: &str) -> Settings {
        let input = framebridge_config::Input {
            file: "test",
            text,
            ..Default::default()
        };
        Settings::parse(&input).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn what_is_given_up_already_is_no_step() {
        let names = |text| {
            let steps = steps_of(&settings(text).streams[0]);
            steps.iter().map(|step| step.what).collect::<Vec<_>>()
        };
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
    fn changes_are_understood_by_the_configuration_they_change() {
        let before = settings("[streams.front-door]\nsource = \"v4l2:/dev/video0\"\n");
        let stream = &before.streams[0];
        let slate = Slate {
            until: std::time::Duration::from_secs(1_795_413_600),
            reason: "exit code 70: panicked, \"badly\"\n100 % dead".into(),
        };
        let changes = changes(&steps_of(stream), &slate);
        let after = settings(&before.for_process(Role::Encoder, Some(&stream.name), &changes));
        let after = &after.streams[0];
        assert_eq!(after.encoder, EncoderChoice::Software);
        assert_eq!(after.quality.longest_edge, LOW_EDGE);
        assert_eq!(after.source, Source::Slate(slate));
    }
}
