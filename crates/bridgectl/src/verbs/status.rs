//! `bridgectl status [--watch]`

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use framebridge_proto::status::{Overall, Status};

use crate::{
    ask, cli,
    exit::{self, Exit},
    out::Out,
    stop::Stop,
    table, terminal,
};

/// Often enough for eyes; heartbeats bring something new twice as often.
const REFRESH: Duration = Duration::from_secs(1);

/// The alternate screen, without a cursor; and back to what was there before.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Top left; to the line's end; and to the screen's: nothing of what was shown before is left, and nothing flickers.
const HOME: &str = "\x1b[H";
const WIPE_LINE: &str = "\x1b[K\r\n";
const WIPE_REST: &str = "\x1b[J";

pub(crate) async fn run(asked: &cli::Status, out: Out) -> anyhow::Result<Exit> {
    if !asked.watch {
        return show(&ask::status().await?, out);
    }
    if out.json || !terminal::has_screen() {
        return repeat(out).await;
    }
    let _screen = Screen::enter()?;
    watch().await
}

fn show(status: &Status, out: Out) -> anyhow::Result<Exit> {
    let columns = io::stdout().is_terminal().then(|| terminal::size().0);
    out.tell(&table::render(status, columns), status)?;
    Ok(verdict(status))
}

/// Prints it again and again, for whoever reads a pipe; a supervisor that is away for a while is waited for.
async fn repeat(out: Out) -> anyhow::Result<Exit> {
    let (mut ticks, mut stop) = (tokio::time::interval(REFRESH), Stop::catch()?);
    while stop.tick(&mut ticks).await {
        match ask::status().await {
            Ok(status) => {
                show(&status, out)?;
                if !out.json {
                    writeln!(io::stdout())?;
                }
            }
            Err(error) => _ = exit::fail(&error),
        }
    }
    Ok(Exit::Ok)
}

/// Shows it on the whole screen until it is told to end.
async fn watch() -> anyhow::Result<Exit> {
    let (mut ticks, mut stop) = (tokio::time::interval(REFRESH), Stop::catch()?);
    while stop.tick(&mut ticks).await {
        let (columns, rows) = terminal::size();
        let lines = match ask::status().await {
            // The last row is left free: a line feed there would move everything.
            Ok(status) => table::screen(&status, columns, rows.saturating_sub(1).max(2)),
            Err(error) => vec![format!("bridgectl: {error:#}")],
        };
        let mut out = io::stdout().lock();
        write!(out, "{HOME}")?;
        for line in lines {
            write!(out, "{line}{WIPE_LINE}")?;
        }
        write!(out, "{WIPE_REST}")?;
        out.flush()?;
    }
    Ok(Exit::Ok)
}

/// The alternate screen, until it is dropped.
struct Screen;

impl Screen {
    fn enter() -> io::Result<Self> {
        write!(io::stdout(), "{ENTER}")?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout();
        // A terminal that is gone has no screen to go back to.
        _ = write!(out, "{LEAVE}").and_then(|()| out.flush());
    }
}

fn verdict(status: &Status) -> Exit {
    match status.overall {
        Overall::Healthy => Exit::Ok,
        Overall::Degraded => Exit::Failure,
        Overall::Down => Exit::Down,
    }
}
