//! Carries out what operators order, and asks the studio for what that takes.

use std::time::{Duration, Instant};

use framebridge_core::studio::{bridge_link, job_slot};
use framebridge_proto::{
    Refusal, RefusalKind, StreamName,
    bridge::{BridgeAnswer, BridgeRequest},
    hooks::Happening,
};
use framebridge_studio_proto::{PublicId, ToStudio};
use tokio::sync::oneshot;

use super::App;
use crate::event::Order;

/// Orders that wait for the studio's answer at once.
const MOST_WAITING: usize = 16;

/// What an operator is told who wants something of a studio that is not there.
const NO_SESSION: &str = "there is no session with the studio now: see `bridgectl status`";

/// Orders that wait for the studio's answer.
#[derive(Debug, Default)]
pub(super) struct Orders {
    waiting: Vec<Waiting>,
    last: u32,
}

#[derive(Debug)]
struct Waiting {
    request: u32,
    /// What an address that was asked for is to be.
    wanted: Wanted,
    answer: oneshot::Sender<Result<BridgeAnswer, Refusal>>,
}

/// What of an order counts here once the studio has carried it out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// An address.
    Share {
        /// Only this stream.
        stream: Option<StreamName>,
        /// Whether it is to change things.
        control: bool,
        /// Seconds that it is to be good.
        expires_s: Option<u64>,
    },
    /// Nothing of it.
    Other,
}

impl Orders {
    /// The studio's answer is the operator's.
    pub(super) fn answer(&mut self, request: u32, with: Result<BridgeAnswer, Refusal>) {
        if let Some(waiting) = self.take(request) {
            // Whoever asked may have gone.
            _ = waiting.answer.send(with);
        }
    }

    /// Whoever waits hears that nobody answers.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
    }

    fn take(&mut self, request: u32) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| waiting.request == request)?;
        Some(self.waiting.swap_remove(at))
    }
}

impl App {
    pub(super) fn on_order(&mut self, Order { request, answer }: Order, now: Instant) {
        let done = match request {
            BridgeRequest::Pause => {
                self.jobs.slot.handle(job_slot::Input::Pause, now);
                Ok(BridgeAnswer::Done)
            }
            BridgeRequest::Resume => {
                self.jobs.slot.handle(job_slot::Input::Resume, now);
                Ok(BridgeAnswer::Done)
            }
            BridgeRequest::Reconnect => {
                self.link.machine.handle(bridge_link::Input::Reconnect, now);
                Ok(BridgeAnswer::Done)
            }
            BridgeRequest::Jobs => Ok(self.list_jobs()),
            BridgeRequest::Share {
                stream,
                control,
                expires_s,
            } => {
                let unknown = stream.as_ref().filter(|stream| !self.about.streams.contains(stream));
                if let Some(unknown) = unknown {
                    Err(Refusal::new(
                        RefusalKind::NotFound,
                        format!("no stream is called `{unknown}`"),
                    ))
                } else {
                    let wanted = Wanted::Share {
                        stream: stream.clone(),
                        control,
                        expires_s,
                    };
                    let frame = |request| ToStudio::Share {
                        request,
                        stream,
                        control,
                        expires_s,
                    };
                    return self.ask_studio(frame, wanted, answer);
                }
            }
            BridgeRequest::Address => match &self.link.welcome {
                Some(welcome) => Ok(BridgeAnswer::Shared {
                    url: welcome.url.clone(),
                }),
                None => Err(Refusal::new(RefusalKind::Unavailable, NO_SESSION)),
            },
            BridgeRequest::Unshare => {
                let frame = |request| ToStudio::Unshare { request, share: None };
                return self.ask_studio(frame, Wanted::Other, answer);
            }
        };
        // Whoever asked may have gone.
        _ = answer.send(done);
    }

    /// Asks the studio for something about shares.
    fn ask_studio(
        &mut self,
        frame: impl FnOnce(u32) -> ToStudio,
        wanted: Wanted,
        answer: oneshot::Sender<Result<BridgeAnswer, Refusal>>,
    ) {
        let Orders { waiting, last } = &mut self.orders;
        *last = last.wrapping_add(1);
        let request = *last;
        let sent = self.link.welcome.is_some() && self.link.send(frame(request));
        if sent {
            waiting.retain(|waiting| !waiting.answer.is_closed());
            waiting.truncate(MOST_WAITING - 1);
            waiting.push(Waiting {
                request,
                wanted,
                answer,
            });
        } else {
            // Whoever asked may have gone.
            _ = answer.send(Err(Refusal::new(RefusalKind::Unavailable, NO_SESSION)));
        }
    }

    /// The studio has made an address. What it may do here is what was ordered, and nothing that the studio says later.
    pub(super) fn on_shared(&mut self, request: u32, share: PublicId, url: String, now: Instant) {
        let Some(Waiting { wanted, answer, .. }) = self.orders.take(request) else {
            return;
        };
        if let Wanted::Share {
            stream,
            control,
            expires_s,
        } = wanted
        {
            if control {
                let lasts = expires_s.map(Duration::from_secs);
                self.viewers.shares.on_shared_for_control(share, lasts, now);
            }
            self.process.told.tell(Happening::ShareMade {
                stream,
                control,
                expires_s,
            });
        }
        // Whoever asked may have gone.
        _ = answer.send(Ok(BridgeAnswer::Shared { url }));
    }
}
