//! Asks, line by line, for what the command line does not say. An empty line takes what stands in brackets.

use std::{
    io::{self, BufRead, Write},
    path::PathBuf,
};

use framebridge_config::Source;
use framebridge_proto::StreamName;

use super::{
    answers::{Answers, Known, studio, test_pattern},
    found::Found,
};
use crate::cli::{NamedSource, Setup, SetupTls, Who};

/// A source is looked at before it is kept: what it is, or why it can't be had.
type Look = fn(&Source) -> Result<String, String>;

/// Asks for everything that is open.
///
/// # Errors
/// Whoever was asked has gone.
pub(super) fn ask(
    asked: &Setup,
    known: &Known,
    input: &mut impl BufRead,
    out: &mut impl Write,
    look: Look,
) -> io::Result<Answers> {
    let mut dialogue = Dialogue { input, out };
    let mut streams = asked.streams.clone();
    if !known.cameras.is_empty() {
        streams.extend(dialogue.cameras(&known.cameras, look)?);
    }
    if streams.is_empty() && known.streams.is_empty() {
        streams.push(dialogue.source(&known.found, look)?);
    } else if streams.is_empty() {
        writeln!(
            dialogue.out,
            "The streams stay as they are: {}. `bridgectl stream` changes them.",
            known.streams.join(", ")
        )?;
    }
    let who = match asked.who {
        Some(who) => who,
        None => dialogue.who()?,
    };
    let tls = match asked.tls {
        Some(tls) => tls,
        None if who == Who::ThisMachine => SetupTls::Off,
        None => dialogue.tls()?,
    };
    let studio = match studio(asked) {
        Some(studio) => Some(studio),
        None => dialogue.studio()?,
    };
    let start = asked.start || (known.can_start && dialogue.yes("Start it now, and at each boot?", true)?);
    Ok(Answers {
        streams,
        who: Some(who),
        tls,
        studio,
        start,
    })
}

struct Dialogue<'a, I, O> {
    input: &'a mut I,
    out: &'a mut O,
}

impl<I: BufRead, O: Write> Dialogue<'_, I, O> {
    /// One line of an answer; the preset one where it is empty.
    fn line(&mut self, prompt: &str, preset: &str) -> io::Result<String> {
        let shown = if preset.is_empty() {
            String::new()
        } else {
            format!(" [{preset}]")
        };
        write!(self.out, "{prompt}{shown} ")?;
        self.out.flush()?;
        let mut line = String::new();
        if self.input.read_line(&mut line)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "nobody answers: nothing is changed",
            ));
        }
        let line = line.trim();
        Ok(if line.is_empty() { preset } else { line }.to_owned())
    }

    fn yes(&mut self, question: &str, preset: bool) -> io::Result<bool> {
        loop {
            match self
                .line(question, if preset { "yes" } else { "no" })?
                .to_ascii_lowercase()
                .as_str()
            {
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => writeln!(self.out, "  yes or no")?,
            }
        }
    }

    /// One of `choices`, by its number; the first where nothing is said.
    fn choice<T: Copy>(&mut self, question: &str, choices: &[(T, &str)]) -> io::Result<T> {
        writeln!(self.out, "{question}")?;
        for (number, (_, label)) in (1..).zip(choices) {
            writeln!(self.out, "  {number}  {label}")?;
        }
        loop {
            let chosen = self.line(">", "1")?.parse::<usize>().ok();
            match chosen.and_then(|number| choices.get(number.checked_sub(1)?)) {
                Some((choice, _)) => return Ok(*choice),
                None => writeln!(self.out, "  a number from 1 to {}", choices.len())?,
            }
        }
    }

    /// A source that gives pictures, or that is kept all the same.
    fn source(&mut self, found: &[Found], look: Look) -> io::Result<NamedSource> {
        let pattern = test_pattern().map(|stream| Found {
            stream,
            label: "a test pattern".to_owned(),
        });
        let choices: Vec<&Found> = found.iter().chain(&pattern).collect();
        writeln!(self.out, "What shall be shown?")?;
        for (number, choice) in (1..).zip(&choices) {
            writeln!(self.out, "  {number}  {}", choice.label)?;
        }
        writeln!(
            self.out,
            "  or the address of a camera, e.g. rtsp://user:password@192.0.2.7/stream (`bridgectl setup --discover eth0` looks for some)"
        )?;
        loop {
            let line = self.line(">", "1")?;
            let by_number = line
                .parse::<usize>()
                .ok()
                .and_then(|number| choices.get(number.checked_sub(1)?));
            let stream = match (by_number, line.parse::<Source>()) {
                (Some(choice), _) => choice.stream.clone(),
                (None, Ok(source)) => NamedSource {
                    name: self.name()?,
                    source,
                },
                (None, Err(error)) => {
                    writeln!(self.out, "  {error}")?;
                    continue;
                }
            };
            if self.is_taken(&stream.source, look)? {
                return Ok(stream);
            }
        }
    }

    /// Whether a source gives pictures, or is wanted all the same.
    fn is_taken(&mut self, source: &Source, look: Look) -> io::Result<bool> {
        writeln!(self.out, "  looking at {source} ...")?;
        match look(source) {
            Ok(told) => {
                writeln!(self.out, "  {told}")?;
                Ok(true)
            }
            Err(why) => {
                writeln!(self.out, "  {why}")?;
                self.yes("Take it all the same?", false)
            }
        }
    }

    /// Those of the cameras that are wanted, each with one of its pictures; preset are all of them, each with its best.
    fn cameras(&mut self, cameras: &[Vec<Found>], look: Look) -> io::Result<Vec<NamedSource>> {
        writeln!(self.out, "These cameras have answered:")?;
        let (mut all, mut best) = (Vec::new(), Vec::new());
        for pictures in cameras {
            best.push((all.len() + 1).to_string());
            all.extend(pictures);
        }
        for (number, choice) in (1..).zip(&all) {
            writeln!(self.out, "  {number}  {}", choice.label)?;
        }
        let wanted = loop {
            let line = self.line(
                "Which of them? Numbers with blanks between them, or none:",
                &best.join(" "),
            )?;
            let numbers = line
                .split([' ', ','])
                .filter(|number| !number.is_empty() && *number != "none");
            let chosen: Option<Vec<&Found>> = numbers
                .map(|number| all.get(number.parse::<usize>().ok()?.checked_sub(1)?).copied())
                .collect();
            match chosen {
                Some(chosen) => break chosen,
                None => writeln!(self.out, "  numbers from 1 to {}", all.len())?,
            }
        };
        let mut streams: Vec<NamedSource> = Vec::new();
        for found in wanted {
            // Another picture of a camera that is chosen already is a stream of its own.
            let mut stream = found.stream.clone();
            while streams.iter().any(|other| other.name == stream.name) {
                writeln!(self.out, "  there is a stream `{}` now", stream.name)?;
                stream.name = self.name()?;
            }
            if self.is_taken(&stream.source, look)? {
                streams.push(stream);
            }
        }
        Ok(streams)
    }

    fn name(&mut self) -> io::Result<StreamName> {
        loop {
            match self.line("What shall the stream be called?", "camera")?.parse() {
                Ok(name) => return Ok(name),
                Err(error) => writeln!(self.out, "  {error}")?,
            }
        }
    }

    fn who(&mut self) -> io::Result<Who> {
        self.choice(
            "Who may watch?",
            &[
                (Who::Token, "people in this network who have a link or a token"),
                (Who::ThisMachine, "people at this machine"),
                (Who::Anyone, "everybody in this network, and they may change everything"),
            ],
        )
    }

    fn tls(&mut self) -> io::Result<SetupTls> {
        self.choice(
            "How is it protected on the way?",
            &[
                (
                    SetupTls::SelfSigned,
                    "HTTPS, with a certificate made here: browsers warn once",
                ),
                (SetupTls::Off, "not at all, or by a proxy in front"),
            ],
        )
    }

    fn studio(&mut self) -> io::Result<Option<(String, PathBuf)>> {
        let url = self.line(
            "The address of a studio, for viewers from elsewhere; empty for none:",
            "",
        )?;
        if url.is_empty() {
            return Ok(None);
        }
        let file = self.line("The file with this box's token there:", "/etc/framebridge/studio.token")?;
        Ok(Some((url, file.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let stream = NamedSource {
            name: "desk".parse().unwrap(),
            source: "x11::0".parse().unwrap(),
        };
        Known {
            found: vec![Found {
                stream,
                label: "the display :0".to_owned(),
            }],
            cameras: Vec::new(),
            streams: Vec::new(),
            listens: false,
            can_start: true,
        }
    }

    /// A look that finds one source dead.
    fn looked(source: &Source) -> Result<String, String> {
        if source.to_string().contains("dead") {
            Err("no route".to_owned())
        } else {
            Ok("1280x720".to_owned())
        }
    }

    fn answered(asked: &Setup, known: &Known, lines: &str) -> (io::Result<Answers>, String) {
        let mut said = Vec::new();
        let answers = ask(asked, known, &mut lines.as_bytes(), &mut said, looked);
        (answers, String::from_utf8(said).unwrap())
    }

    #[test]
    fn empty_lines_take_what_was_found_and_let_in_who_has_a_link() {
        let (answers, said) = answered(&Setup::default(), &known(), "\n\n\n\n\n");
        let answers = answers.unwrap();
        assert_eq!(answers.streams[0].source.to_string(), "x11::0");
        assert_eq!(
            (answers.who, answers.tls, answers.start),
            (Some(Who::Token), SetupTls::SelfSigned, true)
        );
        assert_eq!(answers.studio, None);
        assert!(
            said.contains("1  the display :0") && said.contains("1280x720"),
            "{said}"
        );
    }

    #[test]
    fn what_makes_no_sense_is_asked_for_again_and_a_dead_source_only_taken_knowingly() {
        let lines = "rtsp//x\nrtsp://dead/s\nyard\nno\nrtsp://dead/s\nNo Name\nyard\ny\n9\n2\n\nno\n";
        let (answers, said) = answered(&Setup::default(), &known(), lines);
        let answers = answers.unwrap();
        assert_eq!(answers.streams[0].name.as_str(), "yard");
        assert_eq!(
            (answers.who, answers.tls, answers.start),
            (Some(Who::ThisMachine), SetupTls::Off, false),
            "{said}"
        );
        assert_eq!(said.matches("no route").count(), 2, "{said}");
    }

    #[test]
    fn what_the_command_line_says_is_not_asked() {
        let asked = Setup {
            streams: answered(&Setup::default(), &known(), "\n\n\n\n\n").0.unwrap().streams,
            who: Some(Who::Anyone),
            tls: Some(SetupTls::Off),
            start: true,
            ..Setup::default()
        };
        let (answers, said) = answered(&asked, &known(), "https://studio.example\n\n");
        assert_eq!(answers.unwrap().studio.unwrap().0, "https://studio.example");
        assert!(
            !said.contains("What shall be shown") && !said.contains("Who may"),
            "{said}"
        );
    }

    #[test]
    fn cameras_that_have_answered_are_chosen_by_number_and_looked_at() {
        let found = |name: &str, url: &str| Found {
            stream: NamedSource {
                name: name.parse().unwrap(),
                source: url.parse().unwrap(),
            },
            label: url.to_owned(),
        };
        let known = Known {
            cameras: vec![
                vec![found("yard", "rtsp://yard/main"), found("yard", "rtsp://yard/sub")],
                vec![found("door", "rtsp://dead/main")],
            ],
            streams: vec!["attic".to_owned()],
            ..known()
        };
        let chosen = |lines: &str| {
            let (answers, said) = answered(&Setup::default(), &known, &format!("{lines}\n\n\n\n\n\n"));
            let streams = answers.unwrap().streams.into_iter();
            (
                streams
                    .map(|stream| format!("{} {}", stream.name, stream.source))
                    .collect::<Vec<_>>(),
                said,
            )
        };
        let (streams, said) = chosen("\nyes");
        assert_eq!(streams, ["yard rtsp://yard/main", "door rtsp://dead/main"], "{said}");
        assert!(
            said.contains("[1 3]") && !said.contains("What shall be shown"),
            "{said}"
        );
        let (streams, said) = chosen("4\n1,2\nyard\nyard-2");
        assert_eq!(streams, ["yard rtsp://yard/main", "yard-2 rtsp://yard/sub"], "{said}");
        assert!(said.contains("numbers from 1 to 3"), "{said}");
        let (streams, said) = chosen("none");
        assert!(streams.is_empty() && said.contains("stay as they are: attic"), "{said}");
    }

    #[test]
    fn who_goes_away_changes_nothing() {
        let (answers, _) = answered(&Setup::default(), &known(), "1\n");
        assert_eq!(answers.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
