//! `bridgectl stream add|remove|list`

use std::io::{self, Write as _};

use anyhow::{Context as _, bail};
use framebridge_config::{Settings, Source, did_you_mean};
use framebridge_ipc::RequestError;
use framebridge_proto::supervisor::{Reloaded, SupervisorAnswer, SupervisorRequest};
use serde_json::json;

use crate::{
    ask,
    cli::{Stream, StreamAdd},
    config_file::{self, ConfigFile},
    exit::Exit,
    out::Out,
};

pub(crate) async fn run(asked: Stream, out: Out) -> anyhow::Result<Exit> {
    match asked {
        Stream::List { file } => {
            let path = config_file::path(file.config.as_deref()).await;
            list(
                &Settings::load(Some(&path).filter(|path| path.exists()).map(|path| &**path), &[])?,
                out,
            )
        }
        Stream::Add(asked) => add(&asked, out).await,
        Stream::Remove { name, file } => {
            let mut file = ConfigFile::open(config_file::path(file.config.as_deref()).await)?;
            if !file.has_stream(name.as_str()) {
                let streams = file.streams();
                let near = did_you_mean(name.as_str(), streams.iter().map(String::as_str));
                bail!("{} has no stream `{name}`{near}", file.path().display());
            }
            file.remove_stream(name.as_str())?;
            tell(&file, name.as_str(), "is no longer in", out).await
        }
    }
}

fn list(settings: &Settings, out: Out) -> anyhow::Result<Exit> {
    let mut table = crate::table::plain(&["STREAM", "SOURCE", "TITLE"]);
    for stream in &settings.streams {
        table.add_row([stream.name.to_string(), stream.source.to_string(), stream.title.clone()]);
    }
    let streams: Vec<_> = settings
        .streams
        .iter()
        .map(|stream| json!({ "stream": stream.name, "source": stream.source.to_string(), "title": stream.title }))
        .collect();
    out.tell(&table.trim_fmt(), &streams)?;
    Ok(Exit::Ok)
}

async fn add(asked: &StreamAdd, out: Out) -> anyhow::Result<Exit> {
    let source: Source = match asked.source.as_str() {
        "-" => io::read_to_string(io::stdin())?.trim().parse()?,
        written => written.parse()?,
    };
    let mut file = ConfigFile::open(config_file::path(asked.file.config.as_deref()).await)?;
    let name = asked.name.as_str();
    if file.has_stream(name) {
        bail!(
            "{} has a stream `{name}` already: `bridgectl stream remove {name}` takes it out",
            file.path().display()
        );
    }
    let section = format!("streams.{name}");
    file.set(&section, "source", source.written())?;
    if let Some(title) = &asked.title {
        file.set(&section, "title", title.as_str())?;
    }
    let numbers = [
        ("fps", asked.fps),
        ("bitrate", asked.bitrate),
        ("longest_edge", asked.size),
    ];
    for (key, number) in numbers.into_iter().filter_map(|(key, number)| Some((key, number?))) {
        file.set(&section, key, i64::from(number))?;
    }
    if asked.always {
        file.set(&section, "keep", "always")?;
    }
    tell(&file, name, "is in", out).await
}

/// Writes the file, has what runs take it up, and says both.
async fn tell(file: &ConfigFile, name: &str, what: &str, out: Out) -> anyhow::Result<Exit> {
    let settings = file.save()?;
    for warning in &settings.warnings {
        writeln!(io::stderr(), "warning: {warning}")?;
    }
    let path = file.path().display();
    let reloaded = take_up(file)
        .await
        .with_context(|| format!("`{name}` {what} {path}, and is not taken up"))?;
    let text = match &reloaded {
        TakenUp::Yes(reloaded) => format!("`{name}` {what} {path}; {reloaded}"),
        TakenUp::Another => format!("`{name}` {what} {path}; the Framebridge that runs reads another file"),
        TakenUp::Nobody => format!("`{name}` {what} {path}; Framebridge does not run, and has it from its next start"),
    };
    out.tell(
        &text,
        &json!({ "stream": name, "config": file.path(), "reloaded": reloaded.of() }),
    )?;
    Ok(Exit::Ok)
}

/// What came of having a file read again.
#[derive(Debug)]
pub(super) enum TakenUp {
    /// This has changed.
    Yes(Reloaded),
    /// Who runs has another.
    Another,
    /// Nobody runs.
    Nobody,
}

impl TakenUp {
    fn of(&self) -> Option<&Reloaded> {
        match self {
            Self::Yes(reloaded) => Some(reloaded),
            Self::Another | Self::Nobody => None,
        }
    }
}

/// Has the Framebridge that runs read its configuration again, if it is this file.
pub(super) async fn take_up(file: &ConfigFile) -> anyhow::Result<TakenUp> {
    let canonical = |path: &std::path::Path| std::fs::canonicalize(path).unwrap_or(path.to_owned());
    if canonical(&config_file::path(None).await) != canonical(file.path()) {
        return match ask::status().await {
            Err(error) if ask::is_unreachable(&error) => Ok(TakenUp::Nobody),
            Ok(_) | Err(_) => Ok(TakenUp::Another),
        };
    }
    match ask::supervisor(SupervisorRequest::Reload).await {
        Ok(SupervisorAnswer::Reloaded(reloaded)) => Ok(TakenUp::Yes(reloaded)),
        Ok(_another) => bail!(ask::MISMATCH),
        Err(error) if ask::is_unreachable(&error) => Ok(TakenUp::Nobody),
        Err(error) => match error.downcast::<RequestError>() {
            Ok(RequestError::Refused(refusal)) => bail!("{}", refusal.message),
            Ok(error) => Err(error.into()),
            Err(error) => Err(error),
        },
    }
}
