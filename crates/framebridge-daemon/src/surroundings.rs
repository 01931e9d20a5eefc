//! What settings name on this machine, and is it there: files, interfaces, devices.

use std::{
    fs::{self, File},
    io,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use framebridge_auth::{Certificate, KeySet, Register};
use framebridge_config::{AuthMode, HookTarget, Host, Problem, Settings, Source, StudioToken};
use framebridge_core::interfaces;

use crate::since_epoch;

/// The kernel's table of interfaces: per line, after two of heads, a name and its counters.
const INTERFACES: &str = "/proc/net/dev";

/// What does not fit this machine, as it is now.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// A process would not start with that.
    pub problems: Vec<Problem>,
    /// Something would not do what it is there for.
    pub warnings: Vec<Problem>,
}

impl Surroundings {
    /// Looks for everything that `settings` name.
    pub fn of(settings: &Settings) -> Self {
        let mut look = Look::at_needed(settings);
        look.hooks();
        look.sources();
        look.network();
        look.found
    }

    /// What a process would not start with, alone: films and cameras are not looked for, which may be on a mount that answers nobody.
    pub fn problems_of(settings: &Settings) -> Vec<Problem> {
        Look::at_needed(settings).found.problems
    }
}

struct Look<'a> {
    settings: &'a Settings,
    found: Surroundings,
}

impl<'a> Look<'a> {
    /// Looks for that without which a process would not start.
    fn at_needed(settings: &'a Settings) -> Self {
        let mut look = Look {
            settings,
            found: Surroundings::default(),
        };
        look.https();
        look.access();
        look.studio();
        look
    }

    fn https(&mut self) {
        let Some(tls) = &self.settings.http.tls else { return };
        self.needed("http.tls.key", &tls.key);
        let Some(pem) = self.needed("http.tls.certificate", &tls.certificate) else {
            return;
        };
        let path = tls.certificate.display();
        match Certificate::read(&pem) {
            Err(error) => self.problem("http.tls.certificate", format!("{path}: {error}")),
            Ok(found) => {
                if let Some(notice) = found.notice(since_epoch().as_secs()) {
                    self.warn("http.tls.certificate", format!("{path} ({}): {notice}", found.subject));
                }
            }
        }
    }

    fn access(&mut self) {
        let auth = &self.settings.http.auth;
        if let Some(jwt) = &auth.jwt
            && let Some(text) = self.needed("http.auth.jwt.keys", &jwt.keys)
            && let Err(error) = KeySet::parse(&String::from_utf8_lossy(&text))
        {
            self.problem("http.auth.jwt.keys", format!("{}: {error}", jwt.keys.display()));
        }
        let Some(tokens) = auth.tokens.as_ref().filter(|_| auth.mode == AuthMode::Token) else {
            return;
        };
        if let Err(error) = fs::symlink_metadata(tokens)
            && error.kind() == io::ErrorKind::NotFound
        {
            let message = format!(
                "{} is not there yet: nobody is let in before `bridgectl token new NAME --scope view`",
                tokens.display()
            );
            return self.warn("http.auth.tokens", message);
        }
        if let Some(text) = self.needed("http.auth.tokens", tokens)
            && let Err(error) = Register::parse(&String::from_utf8_lossy(&text))
        {
            self.problem("http.auth.tokens", format!("{}: {error}", tokens.display()));
        }
    }

    fn studio(&mut self) {
        if let Some(StudioToken::File(path)) = self.settings.studio.as_ref().map(|studio| &studio.token) {
            self.needed("studio.token_file", path);
        }
    }

    fn hooks(&mut self) {
        for hook in &self.settings.hooks {
            let (key, why) = match &hook.target {
                HookTarget::Command(command) => ("command", command.first().and_then(|program| cant_run(program))),
                HookTarget::Web { secret_file, .. } => {
                    let why = secret_file.as_deref().and_then(|path| contents(path).err());
                    ("secret_file", why.map(|why| why.message))
                }
            };
            if let Some(why) = why {
                self.warn(&format!("hooks.{}.{key}", hook.name), why);
            }
        }
    }

    fn sources(&mut self) {
        for stream in &self.settings.streams {
            let key = |key: &str| format!("streams.{}.{key}", stream.name);
            if let Some(ca) = &stream.tls.ca
                && let Err(why) = contents(ca)
            {
                self.warn(&key("tls_ca"), why.message);
            }
            let path = match &stream.source {
                Source::File { path } => path,
                Source::V4l2 { device, .. } => device,
                Source::Test | Source::X11 { .. } | Source::Network { .. } | Source::Lavfi { .. } => continue,
                Source::Exec { .. } | Source::Whip | Source::Slate(_) => continue,
            };
            // A device may be in use, and a pipe wait for a writer: that it is there is enough.
            if let Err(error) = fs::metadata(path) {
                let message = format!("{}: {error}; it is looked for again and again", path.display());
                self.warn(&key("source"), message);
            }
        }
    }

    fn network(&mut self) {
        let webrtc = &self.settings.webrtc;
        if let Ok(table) = fs::read_to_string(INTERFACES) {
            let names = table.lines().skip(2).filter_map(|line| line.split_once(':'));
            let present: Vec<String> = names.map(|(name, _)| name.trim().to_owned()).collect();
            for rule in interfaces::idle(&webrtc.interfaces, &present) {
                let message = format!(
                    "this machine has no interface `{rule}` now; it has {}",
                    present.join(", ")
                );
                self.warn("webrtc.interfaces", message);
            }
        }
        for place in &webrtc.candidates {
            let leads_home = match &place.host {
                Host::Address(ip) => is_loopback(*ip),
                Host::Name(name) => name.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
            };
            if leads_home {
                let message = format!("`{place}` leads viewers to the machine that they are on, not to this one");
                self.warn("webrtc.candidates", message);
            }
        }
    }

    /// What is in a file without which a process would not start.
    fn needed(&mut self, key: &str, path: &Path) -> Option<Vec<u8>> {
        match contents(path) {
            Ok(bytes) => Some(bytes),
            Err(why) if why.may_do => {
                self.warn(key, why.message);
                None
            }
            Err(why) => {
                self.problem(key, why.message);
                None
            }
        }
    }

    fn problem(&mut self, key: &str, message: String) {
        let problem = self.at(key, message);
        self.found.problems.push(problem);
    }

    fn warn(&mut self, key: &str, message: String) {
        let problem = self.at(key, message);
        self.found.warnings.push(problem);
    }

    fn at(&self, key: &str, message: String) -> Problem {
        let entry = self.settings.entries().iter().find(|entry| entry.key == key);
        Problem {
            place: entry.map_or_else(|| "configuration".to_owned(), |entry| entry.origin.clone()),
            key: key.to_owned(),
            message,
        }
    }
}

/// Why a file can't be read.
struct Unreadable {
    message: String,
    /// Whoever needs it may read it all the same: another user, or one who waits for it, or who takes more than we look at.
    may_do: bool,
}

/// The most that is looked at of a file: certificates, keys and tokens are shorter, but for registers of very many.
const MOST: u64 = 1024 * 1024;

fn contents(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let no = |message: String, may_do| Err(Unreadable { message, may_do });
    let shown = path.display();
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return no(format!("can't look for {shown} as this user: {error}"), true);
        }
        Err(error) => return no(format!("can't read {shown}: {error}"), false),
    };
    if !found.is_file() {
        // A pipe or a device is no mistake, but who reads it here takes from it, or waits.
        return no(format!("{shown} is no file"), !found.is_dir());
    }
    if found.len() > MOST {
        return no(format!("{shown} is too long to be looked at"), true);
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, MOST), &mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => no(
            format!("can't read {shown} as this user: {error}"),
            error.kind() == io::ErrorKind::PermissionDenied,
        ),
    }
}

/// Why a program can't be run.
fn cant_run(program: &str) -> Option<String> {
    match fs::metadata(program) {
        Err(error) => Some(format!("can't run {program}: {error}")),
        Ok(found) if !found.is_file() => Some(format!("{program} is no file")),
        Ok(found) if found.mode() & ANY_MAY_RUN == 0 => Some(format!("nobody may run {program}: chmod 755 {program}")),
        Ok(_) => None,
    }
}

/// Of a file's mode: its owner, its group or the others may run it.
const ANY_MAY_RUN: u32 = 0o111;

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use framebridge_config::Input;

    use super::*;

    fn of(text: &str) -> Surroundings {
        let input = Input {
            file: "f.toml",
            text,
            ..Input::default()
        };
        Surroundings::of(&Settings::parse(&input).unwrap_or_else(|error| panic!("{error}\n{text}")))
    }

    fn lines(problems: &[Problem]) -> String {
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    }

    #[test]
    fn file_without_which_a_process_does_not_start_is_a_problem_with_its_line() {
        for (text, said) in [
            (
                "[http.tls]\ncertificate = \"/nonexistent/a.pem\"\nkey = \"/nonexistent/k.pem\"\n",
                &[
                    "f.toml:3: http.tls.key: can't read /nonexistent/k.pem: No such file",
                    "f.toml:2: http.tls.certificate: can't read /nonexistent/a.pem: No such file",
                ][..],
            ),
            (
                "[http.auth.jwt]\nkeys = \"/nonexistent/k.json\"\nissuer = \"https://i\"\naudience = \"a\"\n[http.auth]\nmode = \"token\"\n",
                &["f.toml:2: http.auth.jwt.keys: can't read"],
            ),
            (
                "[studio]\nurl = \"https://s\"\ntoken_file = \"/etc\"\n",
                &["f.toml:3: studio.token_file: /etc is no file"],
            ),
        ] {
            let found = of(text);
            let told = lines(&found.problems);
            assert!(said.iter().all(|said| told.contains(said)), "{told}");
            assert_eq!(found.problems.len(), said.len(), "{told}");
        }
    }

    #[test]
    fn what_would_not_do_what_it_is_there_for_is_a_warning() {
        let found = of(
            "[webrtc]\ninterfaces = [\"eth9\", \"lo\", \"!docker*\"]\ncandidates = [\"localhost\", \"127.0.0.1\", \"cam.example\"]\n\
             [http.auth]\nmode = \"token\"\ntokens = \"/nonexistent/t.toml\"\n\
             [hooks.a]\ncommand = [\"/nonexistent/run\"]\n\
             [streams.a]\nsource = \"file:/nonexistent/film.mp4\"\n",
        );
        assert!(found.problems.is_empty(), "{}", lines(&found.problems));
        let told = lines(&found.warnings);
        for said in [
            "f.toml:2: webrtc.interfaces: this machine has no interface `eth9` now; it has ",
            "f.toml:3: webrtc.candidates: `localhost` leads",
            "f.toml:3: webrtc.candidates: `127.0.0.1` leads",
            "f.toml:6: http.auth.tokens: /nonexistent/t.toml is not there yet",
            "f.toml:8: hooks.a.command: can't run /nonexistent/run",
            "f.toml:10: streams.a.source: /nonexistent/film.mp4: No such file",
        ] {
            assert!(told.contains(said), "{said}\n{told}");
        }
        assert_eq!(found.warnings.len(), 6, "{told}");
    }

    #[test]
    fn what_is_not_looked_into_is_no_problem() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = folder.path().join("tokens.toml");
        fs::write(&long, vec![b'x'; 2 * 1024 * 1024]).expect("written");
        for (path, said) in [(long.as_path(), "too long"), (Path::new("/dev/null"), "is no file")] {
            let found = of(&format!("[http.auth]\nmode = \"token\"\ntokens = {path:?}\n"));
            assert!(found.problems.is_empty(), "{}", lines(&found.problems));
            assert!(lines(&found.warnings).contains(said), "{}", lines(&found.warnings));
        }
    }

    #[test]
    fn what_is_there_is_said_nothing_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = since_epoch().as_secs();
        let made =
            framebridge_auth::self_signed(&["cam.example".to_owned()], &[], now, now + 400 * 86_400).expect("made");
        let (at, key_at) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        fs::write(&at, made.certificate).expect("written");
        fs::write(&key_at, made.key).expect("written");
        let text = format!("[http.tls]\ncertificate = {at:?}\nkey = {key_at:?}\n");
        let found = of(&text);
        assert!(found.problems.is_empty() && found.warnings.is_empty(), "{found:?}");
        fs::write(&at, "no certificate").expect("written");
        assert!(
            lines(&of(&text).problems).contains("http.tls.certificate"),
            "{:?}",
            of(&text)
        );
    }
}
