//! Ends verbs that stay until they are told to.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Interval,
};

/// Ctrl-C, and whatever else asks a program in a terminal to end.
#[derive(Debug)]
pub(crate) struct Stop([Signal; 3]);

impl Stop {
    /// Catches them from now on, so that a screen can be left as it was.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn catch() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// Waits for the next tick; `false` if it was told to end first.
    pub(crate) async fn tick(&mut self, ticks: &mut Interval) -> bool {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = ticks.tick() => true,
            _ = interrupt.recv() => false,
            _ = terminate.recv() => false,
            _ = hangup.recv() => false,
        }
    }
}
