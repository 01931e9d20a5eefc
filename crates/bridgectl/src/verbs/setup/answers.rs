//! What is to be set up, and the settings that it takes.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use framebridge_config::Source;

use super::{found::Found, protects};
use crate::{
    cli::{NamedSource, Setup, SetupTls, Who},
    config_file::ConfigFile,
};

/// The port that the documents name, where the file names none.
const PORT: u16 = 8890;

/// What is there before anything is asked.
#[derive(Debug)]
pub(super) struct Known {
    /// Cameras and displays.
    pub(super) found: Vec<Found>,
    /// Cameras of the networks that were named, each with its pictures, the best first.
    pub(super) cameras: Vec<Vec<Found>>,
    /// The streams of the file.
    pub(super) streams: Vec<String>,
    /// Whether the file says where HTTP listens, and so who may watch.
    pub(super) listens: bool,
    /// Whether systemd can be asked to start it.
    pub(super) can_start: bool,
}

/// What is wished for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// Streams that are added, or whose source is another now.
    pub(super) streams: Vec<NamedSource>,
    /// `None`: those who may now.
    pub(super) who: Option<Who>,
    pub(super) tls: SetupTls,
    /// A studio's address, and the file with the token.
    pub(super) studio: Option<(String, PathBuf)>,
    pub(super) start: bool,
}

impl Answers {
    /// Of what is not said, what lets in the fewest: this machine alone, and others only through HTTPS.
    pub(super) fn without_asking(asked: &Setup, known: &Known) -> Self {
        let first = || {
            known
                .found
                .first()
                .map(|found| found.stream.clone())
                .or_else(test_pattern)
        };
        // Who names a network wants the cameras that are there.
        let cameras = known.cameras.iter().filter_map(|pictures| pictures.first());
        let mut streams = asked.streams.clone();
        streams.extend(cameras.map(|found| found.stream.clone()));
        if streams.is_empty() && known.streams.is_empty() {
            streams.extend(first());
        }
        Self {
            streams,
            who: asked.who.or((!known.listens).then_some(Who::ThisMachine)),
            tls: asked.tls.unwrap_or(SetupTls::SelfSigned),
            studio: studio(asked),
            start: asked.start,
        }
    }

    /// Whether a certificate is needed.
    pub(super) fn has_certificate(&self) -> bool {
        self.who.is_some_and(|who| protects(self.tls, who))
    }

    /// Puts it into the file; `tokens` and `tls` are the files that go with it.
    ///
    /// # Errors
    /// The file has something else where a section should be.
    pub(super) fn write(
        &self,
        file: &mut ConfigFile,
        tokens: Option<&Path>,
        tls: Option<(&str, &str)>,
    ) -> anyhow::Result<()> {
        if let Some(who) = self.who {
            let port = file.settings().map_or(PORT, |settings| settings.http.listen.port());
            let address = if who == Who::ThisMachine {
                Ipv4Addr::LOCALHOST
            } else {
                Ipv4Addr::UNSPECIFIED
            };
            file.set("http", "listen", format!("{address}:{port}"))?;
            match (who, tokens) {
                (Who::Token, Some(tokens)) => {
                    file.set("http.auth", "mode", "token")?;
                    file.set("http.auth", "tokens", tokens.display().to_string())?;
                }
                (Who::Anyone, _) => file.set("http.auth", "mode", "none")?,
                (Who::Token | Who::ThisMachine, _) => {}
            }
        }
        if let Some((certificate, key)) = tls {
            file.set("http.tls", "certificate", certificate)?;
            file.set("http.tls", "key", key)?;
        }
        for NamedSource { name, source } in &self.streams {
            file.set(&format!("streams.{name}"), "source", source.written())?;
        }
        if let Some((url, token)) = &self.studio {
            file.set("studio", "url", url.as_str())?;
            file.set("studio", "token_file", token.display().to_string())?;
        }
        Ok(())
    }
}

/// The studio of the command line.
pub(super) fn studio(asked: &Setup) -> Option<(String, PathBuf)> {
    asked.studio.clone().zip(asked.studio_token_file.clone())
}

/// What there is to show on every machine.
pub(super) fn test_pattern() -> Option<NamedSource> {
    Some(NamedSource {
        name: "test".parse().ok()?,
        source: Source::Test,
    })
}

#[cfg(test)]
mod tests {
    use framebridge_config::AuthMode;

    use super::*;

    fn known(streams: &[&str]) -> Known {
        Known {
            found: Vec::new(),
            cameras: Vec::new(),
            streams: streams.iter().map(|name| (*name).to_owned()).collect(),
            listens: false,
            can_start: false,
        }
    }

    fn written(text: &str, answers: &Answers) -> (String, framebridge_config::Settings) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("framebridge.toml");
        std::fs::write(&path, text).unwrap();
        let mut file = ConfigFile::open(path.clone()).unwrap();
        let tokens = (answers.who == Some(Who::Token)).then(|| Path::new("/etc/framebridge/tokens.toml"));
        let tls = answers.has_certificate().then_some(("/c", "/k"));
        answers.write(&mut file, tokens, tls).unwrap();
        let settings = file.save().unwrap();
        (std::fs::read_to_string(path).unwrap(), settings)
    }

    #[test]
    fn what_is_not_said_lets_in_nobody_from_elsewhere() {
        let answers = Answers::without_asking(&Setup::default(), &known(&[]));
        let (text, settings) = written("# mine\n", &answers);
        assert!(
            settings.http.listen.ip().is_loopback() && settings.http.tls.is_none(),
            "{text}"
        );
        assert_eq!(settings.streams.len(), 1);
        assert!(text.starts_with("# mine\n"), "{text}");
    }

    #[test]
    fn who_may_watch_already_still_may() {
        let open = "[http]\nlisten = \"0.0.0.0:8890\"\n[http.auth]\nmode = \"token\"\ntokens = \"/t\"\n[streams.a]\nsource = \"test:\"\n";
        let known = Known {
            listens: true,
            ..known(&["a"])
        };
        let (text, settings) = written(open, &Answers::without_asking(&Setup::default(), &known));
        assert_eq!(text, open);
        let asked = Setup {
            who: Some(Who::ThisMachine),
            ..Setup::default()
        };
        let (_, shut) = written(open, &Answers::without_asking(&asked, &known));
        assert!(!settings.http.listen.ip().is_loopback() && shut.http.listen.ip().is_loopback());
    }

    #[test]
    fn others_come_by_https_and_with_a_token() {
        let asked = Setup {
            who: Some(Who::Token),
            ..Setup::default()
        };
        let (text, settings) = written("", &Answers::without_asking(&asked, &known(&[])));
        assert_eq!(settings.http.auth.mode, AuthMode::Token, "{text}");
        assert!(
            settings.http.tls.is_some() && !settings.http.listen.ip().is_loopback(),
            "{text}"
        );
        let asked = Setup {
            who: Some(Who::Anyone),
            tls: Some(SetupTls::Off),
            ..Setup::default()
        };
        let (text, settings) = written("", &Answers::without_asking(&asked, &known(&[])));
        assert_eq!(settings.http.auth.mode, AuthMode::None, "{text}");
        assert!(settings.http.tls.is_none(), "{text}");
    }

    #[test]
    fn streams_that_are_there_stay_as_they_are() {
        let text = "[streams.door]\nsource = \"test:\" # for now\n";
        let answers = Answers::without_asking(&Setup::default(), &known(&["door"]));
        let (after, settings) = written(text, &answers);
        assert!(after.starts_with(text), "{after}");
        assert_eq!(settings.streams.len(), 1);
        let (_, settings) = written("[http]\nlisten = \"127.0.0.1:1234\"\n", &answers);
        assert_eq!(settings.http.listen.port(), 1234);
    }
}
