//! What operators' hooks are told, and how they fare. Since 1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{StreamName, status::words};

words! {
    /// What a hook can be told of.
    HookEvent {
        /// A stream has another fault than before, or none.
        StreamState = "stream-state",
        /// A viewer sees a stream.
        ViewerJoined = "viewer-joined",
        /// A viewer's session has ended.
        ViewerLeft = "viewer-left",
        /// A process runs again after it had ended, or was ended.
        ProcessRestarted = "process-restarted",
        /// A process is left alone: it failed too often, or a restart can't help.
        ProcessParked = "process-parked",
        /// A public address was made.
        ShareMade = "share-made",
        /// The operator has ended all public addresses.
        ShareEnded = "share-ended",
        /// A disk is almost full, or is so no more.
        Disk = "disk",
        /// An operator tries the hook.
        Test = "test",
    }
}

impl FromStr for HookEvent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A test is asked for, never subscribed to.
        let mut known = Self::ALL.iter().filter(|event| **event != Self::Test);
        known
            .clone()
            .find(|event| event.as_str() == text)
            .copied()
            .ok_or_else(|| {
                let all: Vec<_> = known.by_ref().map(|event| event.as_str()).collect();
                format!("hooks are told of {}", all.join(", "))
            })
    }
}

/// What happened in a process that only it has seen. Variants are appended only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happening {
    /// Media reaches a viewer, for the first time in its session.
    ViewerJoined {
        /// What it watches.
        stream: StreamName,
        /// The first digits of its session's id, as `bridgectl viewers` shows them.
        viewer: String,
        /// Who it is, e.g. `token anna`; `None`: it is not known.
        principal: Option<String>,
        /// Where it asked from.
        address: Option<String>,
    },
    /// Its session has ended.
    ViewerLeft {
        /// What it watched.
        stream: StreamName,
        /// As when it joined.
        viewer: String,
        /// Why.
        reason: String,
    },
    /// A public address was made. The address itself is not told: whoever has it is let in.
    ShareMade {
        /// Only this stream.
        stream: Option<StreamName>,
        /// Whether its holder may change things, too.
        control: bool,
        /// Seconds until it ends; `None`: it does not end by itself.
        expires_s: Option<u64>,
    },
    /// All public addresses were ended.
    SharesEnded {
        /// How many.
        count: u32,
    },
}

/// How a hook fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The program that it runs, or the address that it posts to, secrets left out.
    pub target: String,
    /// What it is told of.
    pub events: Vec<HookEvent>,
    /// Events that wait, the one under way included.
    pub waiting: u32,
    /// Events that were delivered since the supervisor started.
    pub delivered: u64,
    /// Events that never will be.
    pub lost: u64,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
    /// Milliseconds until the next attempt, where one waits.
    pub retry_in_ms: Option<u64>,
}

/// What came of trying a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookTrial {
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_subscribed_to_by_their_words_and_tests_are_not() {
        for event in HookEvent::ALL {
            let read = event.as_str().parse::<HookEvent>();
            assert_eq!(read.is_ok(), *event != HookEvent::Test, "{event}");
        }
        let told = "viewer".parse::<HookEvent>();
        assert!(told.is_err_and(|told| told.contains("stream-state, viewer-joined")));
    }
}
