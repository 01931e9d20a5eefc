//! `bridgectl token new|list|revoke`
//!
//! The file is written here and read by signaling, so that a token can be made before anything runs, and revoked whatever runs.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use framebridge_auth::{Register, Row, Scope, Streams, TokenName, UnixTime, hash, make};
use framebridge_config::Settings;
use framebridge_daemon::unix_ms;
use framebridge_proto::StreamName;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

use crate::{
    cli::{Token, TokenFile},
    exit::Exit,
    file, names,
    out::Out,
};

pub(crate) fn run(asked: Token, out: Out) -> anyhow::Result<Exit> {
    match asked {
        Token::New {
            name,
            scope,
            streams,
            expires,
            file,
        } => {
            warn_of_unknown(&streams, &file)?;
            let expires = expires.map(|seconds| now().saturating_add(seconds));
            let token = issue(&path(&file)?, name, scope, Streams::only(streams), expires)?;
            out.tell(&token, &json!({ "token": token }))?;
        }
        Token::List { file } => {
            let path = path(&file)?;
            let register = read(&path)?;
            out.tell(&table(&register, now()), &rows(&register))?;
        }
        Token::Revoke { name, file } => {
            let path = path(&file)?;
            let register = read(&path)?;
            if !register.rows().iter().any(|row| row.name == name) {
                let known = register
                    .rows()
                    .iter()
                    .map(|row| row.name.to_string())
                    .collect::<Vec<_>>();
                bail!(names::no_token(&name.to_string(), known.iter().map(String::as_str)));
            }
            change(&path, |register| register.remove(&name))?;
            let text = format!("{name} is revoked: what it has opened ends within two seconds");
            out.tell(&text, &json!({ "name": name.to_string(), "revoked": true }))?;
        }
    }
    Ok(Exit::Ok)
}

/// Says which of the streams are not configured: they may come later, and until then the token opens nothing there.
fn warn_of_unknown(streams: &[StreamName], file: &TokenFile) -> anyhow::Result<()> {
    // A file of tokens alone says nothing of streams.
    let Ok(settings) = Settings::load(file.config.as_deref(), &[]) else {
        return Ok(());
    };
    for name in streams {
        let known = settings.streams.iter().map(|stream| stream.name.as_str());
        if !known.clone().any(|known| known == name.as_str()) {
            let told = names::no_stream(name.as_str(), known, "stream list");
            writeln!(io::stderr(), "warning: {told}")?;
        }
    }
    Ok(())
}

/// Makes a token and puts it into the register at `path`.
fn issue(
    path: &Path,
    name: TokenName,
    scope: Scope,
    streams: Streams,
    expires: Option<UnixTime>,
) -> anyhow::Result<String> {
    if read(path)?.rows().iter().any(|row| row.name == name) {
        bail!("there is a token called `{name}` already: revoke it first, or use another name");
    }
    let mut random = [0; 32];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| io::Error::other("the system has no random numbers"))?;
    let token = make(&random);
    let row = Row {
        name,
        hash: hash(&token),
        scope,
        streams,
        expires,
    };
    change(path, |register| register.add(row))?;
    Ok(token)
}

/// The first token of a register, which may do everything; `None`: there are tokens already.
pub(super) fn first(path: &Path, name: TokenName) -> anyhow::Result<Option<String>> {
    if !read(path)?.rows().is_empty() {
        return Ok(None);
    }
    issue(path, name, Scope::Admin, Streams::All, None).map(Some)
}

fn path(file: &TokenFile) -> anyhow::Result<PathBuf> {
    if let Some(path) = &file.file {
        return Ok(path.clone());
    }
    let tokens = Settings::load(file.config.as_deref(), &[])?.http.auth.tokens;
    tokens.context("no file of tokens is configured: set http.auth.tokens, or name one by --file")
}

fn read(path: &Path) -> anyhow::Result<Register> {
    match fs::read_to_string(path) {
        Ok(text) => Register::parse(&text).with_context(|| path.display().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Register::default()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Changes the file as one step, and of two who change it one waits. Whoever may read it learns names and hashes; whoever may write
/// it is let in.
fn change<E>(path: &Path, change: impl FnOnce(&mut Register) -> Result<(), E>) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let writing = || format!("writing {}", path.display());
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let lock = options
        .mode(0o600)
        .open(path.with_extension("lock"))
        .with_context(writing)?;
    lock.lock().with_context(writing)?;
    let mut register = read(path)?;
    change(&mut register)?;
    file::replace(path, register.to_text()?.as_bytes())
}

/// The streams that a token opens, where it does not open all.
fn named(streams: &Streams) -> Option<Vec<&str>> {
    match streams {
        Streams::All => None,
        Streams::Only(named) => Some(named.iter().map(|name| name.as_str()).collect()),
    }
}

/// What scripts get of the tokens; never a hash.
fn rows(register: &Register) -> Vec<Value> {
    let rows = register.rows().iter();
    rows.map(|row| {
        json!({
            "name": row.name.to_string(),
            "scope": row.scope.to_string(),
            "streams": named(&row.streams),
            "expires": row.expires,
        })
    })
    .collect()
}

fn table(register: &Register, now: UnixTime) -> String {
    let mut table = crate::table::plain(&["NAME", "SCOPE", "STREAMS", "ENDS"]);
    for row in register.rows() {
        let streams = named(&row.streams).map_or_else(|| "all".to_owned(), |named| named.join(", "));
        let ends = match row.expires {
            None => "-".to_owned(),
            Some(at) if at <= now => "has ended".to_owned(),
            Some(at) => format!("in {}", crate::units::span(at - now)),
        };
        table.add_row([row.name.to_string(), row.scope.to_string(), streams, ends]);
    }
    format!("{}\n", table.trim_fmt())
}

fn now() -> UnixTime {
    unix_ms() / 1000
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use framebridge_auth::RegisterError;

    use super::*;
    use crate::file::MODE;

    #[test]
    fn file_is_made_changed_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let row = |name: &str| Row {
            name: name.parse().unwrap(),
            hash: hash(name),
            scope: Scope::View,
            streams: Streams::All,
            expires: Some(90),
        };
        change(&path, |register| register.add(row("a"))).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        change(&path, |register| register.add(row("b"))).unwrap();
        assert!(change(&path, |register| register.add(row("b"))).is_err());
        change(&path, |register| register.remove(&"a".parse().unwrap())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let left = read(&path).unwrap();
        assert_eq!(left.rows(), [row("b")]);
        assert!(
            table(&left, 30).contains("in 1 min 0 s") && table(&left, 90).contains("has ended"),
            "{}",
            table(&left, 30)
        );
        let twice: Result<(), RegisterError> = left.clone().add(row("b"));
        assert!(twice.is_err());
    }
}
