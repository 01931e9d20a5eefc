//! `bridgectl status [--json] [--watch]`

use std::{
    io::{self, Write as _},
    time::Duration,
};

use framebridge_proto::status::{Overall, Status};

use crate::{
    ask, cli,
    exit::{self, Exit},
    stop, table,
};

/// Often enough for eyes; heartbeats bring something new twice as often.
const REFRESH: Duration = Duration::from_secs(1);

/// Top left, then wipe what is below: no flicker, unlike wiping first.
const HOME: &str = "\x1b[H";
const WIPE_REST: &str = "\x1b[J";

pub(crate) async fn run(asked: &cli::Status) -> anyhow::Result<Exit> {
    if asked.watch {
        watch(asked.json).await
    } else {
        show(asked.json, "").await
    }
}

/// Shows it anew until Ctrl-C; a supervisor that is away for a while is shown as that.
async fn watch(json: bool) -> anyhow::Result<Exit> {
    let mut ticks = tokio::time::interval(REFRESH);
    let home = if json { "" } else { HOME };
    while stop::tick(&mut ticks).await? {
        if let Err(error) = show(json, home).await {
            write!(io::stdout(), "{home}")?;
            exit::fail(&error);
        }
        if !json {
            write!(io::stdout(), "{WIPE_REST}")?;
        }
    }
    Ok(Exit::Ok)
}

async fn show(json: bool, home: &str) -> anyhow::Result<Exit> {
    let status = ask::status().await?;
    let text = if json {
        serde_json::to_string(&status)?
    } else {
        table::render(&status)
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{home}{}", text.trim_end())?;
    out.flush()?;
    Ok(verdict(&status))
}

fn verdict(status: &Status) -> Exit {
    match status.overall {
        Overall::Healthy => Exit::Ok,
        Overall::Degraded => Exit::Failure,
        Overall::Down => Exit::Down,
    }
}
