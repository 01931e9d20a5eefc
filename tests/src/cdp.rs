//! The Chrome DevTools Protocol over a pair of pipes: JSON messages, each ended by a NUL byte.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use serde_json::{Value, json};

/// Answers that nobody has taken yet. Calls are made one at a time and no events are asked for, so it never fills up;
/// if it did, the browser would wait.
const CAPACITY: usize = 64;

/// One connection to a browser. Calls from several threads take turns.
#[derive(Debug)]
pub(crate) struct Connection(Mutex<Ends>);

struct Ends {
    to_browser: Box<dyn Write + Send>,
    from_browser: Receiver<Value>,
    next: u64,
}

impl Connection {
    pub(crate) fn new(to_browser: impl Write + Send + 'static, from_browser: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = sync_channel(CAPACITY);
        // Ends with the browser, whose death closes the pipe.
        thread::spawn(move || {
            for message in BufReader::new(from_browser).split(0) {
                let Ok(message) = message else { break };
                let Ok(message) = serde_json::from_slice::<Value>(&message) else {
                    continue;
                };
                if message.get("id").is_some() && sender.send(message).is_err() {
                    break;
                }
            }
        });
        Self(Mutex::new(Ends {
            to_browser: Box::new(to_browser),
            from_browser: receiver,
            next: 1,
        }))
    }

    /// Calls a method, of a page where `session` says so, and waits for its result.
    pub(crate) fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
        limit: Duration,
    ) -> anyhow::Result<Value> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = ends.next;
        ends.next += 1;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        ends.to_browser.write_all(&bytes)?;
        ends.to_browser.flush()?;
        let end = Instant::now() + limit;
        loop {
            match ends
                .from_browser
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(answer) if answer["id"] == id => return result(method, answer),
                // The late answer to a call that was given up.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("{method} was not answered within {} s", limit.as_secs()),
                Err(RecvTimeoutError::Disconnected) => bail!("the browser is gone"),
            }
        }
    }
}

fn result(method: &str, mut answer: Value) -> anyhow::Result<Value> {
    match answer.get("error") {
        Some(error) => Err(anyhow!("{method}: {error}")),
        None => Ok(answer["result"].take()),
    }
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").field("next", &self.next).finish_non_exhaustive()
    }
}
