//! Ctrl-C ends what is waited for, so that everything that was started is taken down on the way out.

use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::{terminal::say, wait};

/// From now on, SIGINT and SIGTERM end every wait.
///
/// # Errors
/// The system has no thread, or no signals to be heard.
pub fn takes_all_down() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupts, mut terminations) =
        runtime.block_on(async { anyhow::Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)) })?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
        });
        say(format_args!("interrupted: taking everything down"));
        wait::interrupt();
    })?;
    Ok(())
}
