//! Collects requests of the public address from one connection, and knows which are under way.

use std::collections::BTreeMap;

use framebridge_core::studio::shared_viewers::{self, Pass};
use framebridge_daemon::Tasks;
use framebridge_proto::bridge::SharedAccess;
use framebridge_studio_proto::{
    PublicId, RpcChunk, RpcId, RpcRequest, ToStudio,
    limits::{MAX_PATH, MAX_REQUEST_BODY, RPC_OPEN},
};
use hyper::{Method, Response, StatusCode, body::Incoming, header};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    event::Event,
    paths::{self, Denied},
    proxy::{Excuse, Proxy, ViewerSession, lasts},
};

/// What the requests of one connection share: where answers go, and what ends with the connection.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) answers: mpsc::Sender<ToStudio>,
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the connection is over.
    pub(crate) over: CancellationToken,
    /// Tasks that outlive it.
    pub(crate) own: Tasks,
    /// What happens to viewers who came by a shared address is told here.
    pub(crate) events: mpsc::Sender<Event>,
}

/// What is asked, and on what grounds.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: RpcRequest,
    /// The shared address by which it came, if by one.
    pub(crate) pass: Option<Pass<PublicId>>,
    /// What this box allows whoever asks.
    pub(crate) grant: paths::Grant,
}

impl Asked {
    /// For whom the box's own server is asked: what the studio says, and no more than this box grants.
    fn access(&self) -> SharedAccess {
        let access = &self.request.access;
        SharedAccess {
            stream: access.stream.clone(),
            control: access.control && self.grant.control,
        }
    }
}

/// Requests of one connection that have come, whole or in part.
#[derive(Debug, Default)]
pub(crate) struct Requests(BTreeMap<RpcId, Pending>);

#[derive(Debug)]
enum Pending {
    /// The rest of its body is still to come.
    Arriving(Box<Asked>),
    /// It is under way.
    UnderWay(CancellationToken),
}

impl Requests {
    /// A request came, whole or in part.
    pub(crate) fn on_request(&mut self, proxy: &Proxy, lane: &Lane, asked: Asked) {
        self.forget_the_ended();
        let id = asked.request.id;
        if self.0.len() >= RPC_OPEN {
            return refuse(lane, id, Excuse::busy());
        }
        if let Err(excuse) = check(&asked) {
            return refuse(lane, id, excuse);
        }
        if asked.request.end {
            self.start(proxy, lane, asked);
        } else {
            self.0.insert(id, Pending::Arriving(Box::new(asked)));
        }
    }

    /// A request's next part came. For one that was refused, or never came, it means nothing.
    pub(crate) fn on_chunk(&mut self, proxy: &Proxy, lane: &Lane, chunk: RpcChunk) {
        let Some(Pending::Arriving(asked)) = self.0.get_mut(&chunk.id) else {
            return;
        };
        let request = &mut asked.request;
        request.data.0.extend(chunk.data.0);
        if request.data.0.len() > MAX_REQUEST_BODY {
            self.0.remove(&chunk.id);
            let detail = format!("A body may have {MAX_REQUEST_BODY} bytes.");
            refuse(
                lane,
                chunk.id,
                Excuse {
                    status: 413,
                    code: "too_large",
                    detail,
                },
            );
        } else if chunk.end
            && let Some(Pending::Arriving(asked)) = self.0.remove(&chunk.id)
        {
            self.start(proxy, lane, *asked);
        }
    }

    /// Nobody waits for this answer any more.
    pub(crate) fn on_cancel(&mut self, id: RpcId) {
        if let Some(Pending::UnderWay(cancel)) = self.0.remove(&id) {
            cancel.cancel();
        }
    }

    fn start(&mut self, proxy: &Proxy, lane: &Lane, asked: Asked) {
        let access = asked.access().to_string();
        let Asked { request, pass, .. } = asked;
        let cancel = lane.over.child_token();
        self.0.insert(request.id, Pending::UnderWay(cancel.clone()));
        let guest = pass.map(|pass| Guest {
            pass,
            method: request.method.clone(),
            path: request.path.clone(),
            access: access.clone(),
            lane: lane.clone(),
        });
        let seen = move |response: &Response<Incoming>| {
            if let Some(guest) = guest {
                guest.on_answer(response);
            }
        };
        let answer = proxy.clone().answer(request, access, lane.answers.clone(), seen);
        lane.tasks.spawn(async move {
            let answered = cancel.run_until_cancelled(answer).await;
            // Marks it as ended, for the table.
            cancel.cancel();
            answered
        });
    }

    fn forget_the_ended(&mut self) {
        self.0.retain(|_, pending| match pending {
            Pending::Arriving(_) => true,
            Pending::UnderWay(cancel) => !cancel.is_cancelled(),
        });
    }
}

/// Who asks by a shared address: what comes of it ends with that address.
struct Guest {
    pass: Pass<PublicId>,
    method: String,
    path: String,
    access: String,
    lane: Lane,
}

impl Guest {
    /// Tells of a session that was begun or ended.
    fn on_answer(self, response: &Response<Incoming>) {
        if !lasts(&self.path) {
            return;
        }
        let session = |path| ViewerSession {
            path,
            access: self.access,
        };
        let happened = if self.method == Method::POST.as_str() && response.status() == StatusCode::CREATED {
            location(response).map(|path| shared_viewers::Input::Joined {
                pass: self.pass,
                session: session(path),
            })
        } else if self.method == Method::DELETE.as_str() && response.status().is_success() {
            // Signaling takes it with a slash behind it, too.
            let path = self.path.trim_end_matches('/').to_owned();
            Some(shared_viewers::Input::Gone { session: session(path) })
        } else {
            None
        };
        if let Some(happened) = happened {
            let events = self.lane.events;
            // Not with the connection: the session outlives it.
            self.lane.own.spawn(async move {
                // With the app gone there is nobody to tell.
                _ = events.send(Event::Viewer(happened)).await;
            });
        }
    }
}

/// The path of the session that an answer says was made.
fn location(response: &Response<Incoming>) -> Option<String> {
    let value = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let path = match value.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => value,
    };
    lasts(path).then(|| path.to_owned())
}

/// Refuses what must not reach the box's own server.
fn check(Asked { request, grant, .. }: &Asked) -> Result<(), Excuse> {
    if request.path.len() > MAX_PATH {
        return Err(Excuse {
            status: 414,
            code: "too_long",
            detail: format!("A path may have {MAX_PATH} bytes."),
        });
    }
    paths::permit(&request.method, &request.path, &request.access, *grant).map_err(|denied| match denied {
        Denied::NotFound => Excuse {
            status: 404,
            code: "not_found",
            detail: "There is nothing here.".to_owned(),
        },
        Denied::ControlNeeded => Excuse {
            status: 403,
            code: "control_needed",
            detail: "This address is for watching: `bridgectl share --control` makes one that may change things."
                .to_owned(),
        },
    })
}

/// Refuses without waiting: a studio that asks and asks, and reads no answer, would have us keep as many as it likes. When
/// there is no room, the refusal is left out, and whoever asked hears of it by the studio's own patience.
fn refuse(lane: &Lane, id: RpcId, excuse: Excuse) {
    for frame in excuse.frames(id) {
        if let Err(error) = lane.answers.try_send(frame) {
            tracing::debug!(%error, "a refusal was left out");
        }
    }
}
