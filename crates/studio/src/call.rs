//! Requests under way on one box's link.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
};
use framebridge_studio_proto::{
    Access, Bytes64, Header, RpcChunk, RpcId, RpcRequest, RpcResponse, ToBox,
    limits::{MAX_CHUNK, MAX_RESPONSE_BODY, RPC_OPEN, STUDIO_TIMEOUT},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{link::Link, problem::Problem};

/// Parts of one answer that may wait for its viewer: the longest answer there may be, so that a viewer who reads slowly
/// holds up nobody. One that comes in crumbs and fills this all the same is cut off.
const MOST_PARTS: usize = MAX_RESPONSE_BODY / MAX_CHUNK + 16;

/// Requests under way on one link.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<RpcId, Waiting>,
}

/// Who waits for an answer.
#[derive(Debug)]
struct Waiting {
    parts: mpsc::Sender<Part>,
    /// Messages of another node that came so far: the engine between the nodes may lose one.
    came: u32,
}

/// What comes back.
#[derive(Debug)]
enum Part {
    Head(RpcResponse),
    Body(Vec<u8>),
    End,
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<Header>,
    pub(crate) access: Access,
    /// In parts of at most [`MAX_CHUNK`].
    pub(crate) body: Vec<Bytes64>,
}

/// An answer whose head is there; dropping it before its end cancels the request at the box.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<Header>,
    open: Option<Open>,
}

/// A place in the table, given back when dropped.
#[derive(Debug)]
struct Open {
    id: RpcId,
    link: Arc<Link>,
    parts: mpsc::Receiver<Part>,
}

impl Calls {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer's head came. For a request that nobody waits for any more it is dropped.
    pub(crate) fn on_response(&self, mut response: RpcResponse) {
        let (id, end) = (response.id, response.end);
        let data = std::mem::take(&mut response.data).0;
        self.deliver(id, [Some(Part::Head(response)), body(data), end.then_some(Part::End)]);
    }

    /// An answer's next part came; false if nobody waits for it.
    pub(crate) fn on_chunk(&self, chunk: RpcChunk) -> bool {
        self.deliver(chunk.id, [body(chunk.data.0), chunk.end.then_some(Part::End), None])
    }

    /// Whether message number `at` of an answer is the next one. Where one was lost, the answer breaks off.
    pub(crate) fn is_next(&self, id: RpcId, at: u32) -> bool {
        let mut table = self.table();
        let Some(waiting) = table.open.get_mut(&id) else {
            return false;
        };
        let next = waiting.came == at;
        waiting.came = waiting.came.saturating_add(1);
        if !next {
            table.open.remove(&id);
        }
        next
    }

    /// No more comes of an answer that is not at its end.
    pub(crate) fn break_off(&self, id: RpcId) {
        self.table().open.remove(&id);
    }

    fn deliver(&self, id: RpcId, parts: [Option<Part>; 3]) -> bool {
        let mut table = self.table();
        let Some(open) = table.open.get(&id) else { return false };
        let mut parts = parts.into_iter().flatten();
        let delivered = parts.try_for_each(|part| open.parts.try_send(part));
        if delivered.is_err() {
            table.open.remove(&id);
        }
        delivered.is_ok()
    }

    /// The link is gone: nothing more comes.
    pub(crate) fn end(&self) {
        self.table().open.clear();
    }
}

fn body(data: Vec<u8>) -> Option<Part> {
    (!data.is_empty()).then_some(Part::Body(data))
}

impl Question {
    /// Asks the box at the other end of `link`, and waits for the answer's head.
    pub(crate) async fn ask(self, link: &Arc<Link>) -> Result<Answer, Problem> {
        let deadline = Instant::now() + STUDIO_TIMEOUT;
        let mut open = Open::take(link)?;
        let sent = timeout_at(deadline, link.ask(open.id, self)).await;
        sent.map_err(|_late| too_late())?
            .map_err(|_gone| Problem::link_lost())?;
        let mut skipped = 0;
        loop {
            match timeout_at(deadline, open.parts.recv()).await {
                Err(_late) => return Err(too_late()),
                Ok(None) => return Err(Problem::link_lost()),
                Ok(Some(Part::Head(head))) => {
                    return Ok(Answer {
                        status: head.status,
                        headers: head.headers,
                        open: Some(open),
                    });
                }
                // A body before its head is the box's mistake, and not the viewer's concern.
                Ok(Some(Part::Body(_) | Part::End)) if skipped < MOST_PARTS => skipped += 1,
                Ok(Some(Part::Body(_) | Part::End)) => return Err(Problem::link_lost()),
            }
        }
    }

    /// The question as its box is asked.
    pub(crate) fn frames(self, id: RpcId) -> impl Iterator<Item = ToBox> {
        let mut rest = self.body.into_iter();
        let head = ToBox::RpcRequest(RpcRequest {
            id,
            method: self.method,
            path: self.path,
            headers: self.headers,
            access: self.access,
            data: rest.next().unwrap_or_default(),
            end: rest.len() == 0,
        });
        let last = rest.len();
        let chunks = rest.enumerate().map(move |(at, data)| {
            let end = at + 1 == last;
            ToBox::RpcChunk(RpcChunk { id, data, end })
        });
        std::iter::once(head).chain(chunks)
    }
}

impl Answer {
    /// The body, as it comes.
    pub(crate) fn into_body(self) -> Body {
        let parts = stream::unfold(self, async |mut answer| {
            let part = answer.next().await?;
            Some((part.map(Bytes::from), answer))
        });
        Body::from_stream(Box::pin(parts))
    }

    /// The body's next part; `None` at its end, an error where it breaks off.
    pub(crate) async fn next(&mut self) -> Option<Result<Vec<u8>, std::io::Error>> {
        let open = self.open.as_mut()?;
        // Parts of a body follow each other; one that pauses for longer has lost its way.
        let part = tokio::time::timeout(STUDIO_TIMEOUT, open.parts.recv()).await;
        match part {
            Ok(Some(Part::Body(data))) => Some(Ok(data)),
            Ok(Some(Part::End)) => {
                if let Some(open) = self.open.take() {
                    open.finish();
                }
                None
            }
            Ok(Some(Part::Head(_)) | None) | Err(_) => {
                self.open = None;
                Some(Err(std::io::ErrorKind::UnexpectedEof.into()))
            }
        }
    }
}

impl Open {
    fn take(link: &Arc<Link>) -> Result<Self, Problem> {
        let (sender, parts) = mpsc::channel(MOST_PARTS);
        let mut table = link.calls.table();
        if table.open.len() >= RPC_OPEN {
            let busy = "The box has more requests in hand than it can answer.";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", busy).retry_after(Duration::from_secs(1)));
        }
        let id = RpcId(table.next);
        table.next += 1;
        table.open.insert(id, Waiting { parts: sender, came: 0 });
        drop(table);
        let link = Arc::clone(link);
        Ok(Self { id, link, parts })
    }

    /// The answer has come to its end: there is nothing to cancel.
    fn finish(self) {
        self.link.calls.table().open.remove(&self.id);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let unfinished = self.link.calls.table().open.remove(&self.id).is_some();
        if unfinished {
            self.link.cancel(self.id);
        }
    }
}

fn too_late() -> Problem {
    let detail = format!("The box did not answer within {} s.", STUDIO_TIMEOUT.as_secs());
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(body: Vec<u8>) -> Question {
        Question {
            method: "POST".into(),
            path: "/whep/test".into(),
            headers: vec![],
            access: Access::default(),
            body: body.chunks(MAX_CHUNK).map(|part| Bytes64(part.to_vec())).collect(),
        }
    }

    fn response(id: RpcId, data: &[u8], end: bool) -> RpcResponse {
        RpcResponse {
            id,
            status: 200,
            headers: vec![],
            data: Bytes64(data.to_vec()),
            end,
        }
    }

    async fn rest(answer: &mut Answer) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(part) = answer.next().await {
            all.extend(part.unwrap());
        }
        all
    }

    #[tokio::test]
    async fn long_bodies_travel_in_parts_and_arrive_whole() {
        let (link, mut frames) = Link::new();
        let body = vec![7; MAX_CHUNK * 2 + 1];
        let asking = question(body.clone()).ask(&link);
        let answering = async {
            let mut seen = Vec::new();
            let id = loop {
                let frame = frames.recv().await.unwrap();
                let (id, data, end) = if let ToBox::RpcRequest(head) = frame {
                    (head.id, head.data.0, head.end)
                } else if let ToBox::RpcChunk(chunk) = frame {
                    (chunk.id, chunk.data.0, chunk.end)
                } else {
                    panic!("{frame:?}")
                };
                seen.extend(data);
                if end {
                    break id;
                }
            };
            assert_eq!(seen, body);
            link.calls.on_response(response(id, b"he", false));
            let data = Bytes64(b"llo".to_vec());
            link.calls.on_chunk(RpcChunk { id, data, end: true });
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(rest(&mut answer.unwrap()).await, b"hello");
        assert!(link.calls.table().open.is_empty() && frames.is_empty());
    }

    #[tokio::test]
    async fn viewer_who_goes_cancels_and_answers_to_nobody_are_dropped() {
        let (link, mut frames) = Link::new();
        let answering = async {
            let ToBox::RpcRequest(request) = frames.recv().await.unwrap() else {
                panic!("no request")
            };
            link.calls.on_response(response(request.id, b"", false));
            request.id
        };
        let (answer, id) = tokio::join!(question(vec![]).ask(&link), answering);
        drop(answer);
        assert_eq!(frames.recv().await, Some(ToBox::RpcCancel { id }));
        link.calls.on_response(response(id, b"late", true));
        link.calls.on_chunk(RpcChunk {
            id: RpcId(99),
            data: Bytes64::default(),
            end: true,
        });
        assert!(link.calls.table().open.is_empty());
    }

    #[tokio::test]
    async fn lost_link_answers_all_who_wait_and_a_full_table_refuses() {
        let (link, _frames) = Link::new();
        let waiting: Vec<_> = (0..RPC_OPEN).map(|_| Open::take(&link).unwrap()).collect();
        let refused = question(vec![]).ask(&link).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        drop(waiting);
        let ending = async {
            while link.calls.table().open.is_empty() {
                tokio::task::yield_now().await;
            }
            link.calls.end();
        };
        let (answer, ()) = tokio::join!(question(vec![]).ask(&link), ending);
        assert_eq!(answer.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
