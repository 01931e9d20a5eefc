//! Questions of viewers and operators, and the box's answers to them.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
};
use framebridge_studio_proto::{Header, RpcId, is_endless, limits::STUDIO_TIMEOUT};
use futures_util::stream;
use tokio::time::{Instant, timeout, timeout_at};

use super::{calls::Part, link::Link};
use crate::{problem::Problem, question::Question, visits::Visit};

/// An answer whose head is there; dropping it before its end cancels the request at the box.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<Header>,
    open: Option<Open>,
    /// Whose it is, where that counts: it ends with the address by which they came.
    visit: Option<Visit>,
}

/// A place in the table, given back when dropped.
#[derive(Debug)]
struct Open {
    id: RpcId,
    link: Arc<Link>,
}

/// Asks the box at the other end of `link`, and waits for the answer's head.
pub(crate) async fn ask(question: Question, link: &Arc<Link>) -> Result<Answer, Problem> {
    let deadline = Instant::now() + STUDIO_TIMEOUT;
    let open = Open::take(link)?;
    let sent = timeout_at(deadline, link.ask(open.id, question)).await;
    sent.map_err(|_late| too_late())?
        .map_err(|_gone| Problem::link_lost())?;
    let first = timeout_at(deadline, link.calls.next(open.id)).await;
    match first.map_err(|_late| too_late())? {
        Part::Head(head) => Ok(Answer {
            status: head.status,
            headers: head.headers,
            open: Some(open),
            visit: None,
        }),
        Part::Body(_) | Part::End | Part::Broken => Err(Problem::link_lost()),
    }
}

impl Answer {
    /// Whether it has no end.
    pub(crate) fn is_endless(&self) -> bool {
        is_endless(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Keeps its viewer's place for as long as it lasts.
    pub(crate) fn for_visit(self, visit: Visit) -> Self {
        Self {
            visit: Some(visit),
            ..self
        }
    }

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
        let part = timeout(STUDIO_TIMEOUT, open.link.calls.next(open.id));
        let part = match &self.visit {
            Some(visit) => tokio::select! {
                part = part => part,
                () = visit.over() => Ok(Part::Broken),
            },
            None => part.await,
        };
        match part {
            Ok(Part::Body(data)) => Some(Ok(data)),
            Ok(Part::End) => {
                self.open = None;
                None
            }
            Ok(Part::Head(_) | Part::Broken) | Err(_) => {
                self.open = None;
                Some(Err(std::io::ErrorKind::UnexpectedEof.into()))
            }
        }
    }
}

impl Open {
    fn take(link: &Arc<Link>) -> Result<Self, Problem> {
        let id = link.calls.open().ok_or_else(|| {
            let busy = "The box has more requests in hand than it can answer.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", busy).retry_after(Duration::from_secs(1))
        })?;
        let link = Arc::clone(link);
        Ok(Self { id, link })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.link.calls.close(self.id) {
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
    use framebridge_studio_proto::{
        Access, Bytes64, RpcChunk, RpcResponse, ToBox,
        limits::{MAX_CHUNK, RPC_OPEN},
    };

    use super::*;
    use crate::boxes::link::Leaving;

    fn link() -> (Arc<Link>, Leaving) {
        Link::new(Arc::default())
    }

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
        let (link, mut frames) = link();
        let body = vec![7; MAX_CHUNK * 2 + 1];
        let asking = ask(question(body.clone()), &link);
        let answering = async {
            let mut seen = Vec::new();
            let id = loop {
                let frame = frames.next().await.unwrap();
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
        assert!(!link.calls.close(RpcId(0)), "its place was given back");
    }

    #[tokio::test]
    async fn viewer_who_goes_cancels_and_answers_to_nobody_are_dropped() {
        let (link, mut frames) = link();
        let answering = async {
            let ToBox::RpcRequest(request) = frames.next().await.unwrap() else {
                panic!("no request")
            };
            link.calls.on_response(response(request.id, b"", false));
            request.id
        };
        let (answer, id) = tokio::join!(ask(question(vec![]), &link), answering);
        drop(answer);
        assert_eq!(frames.next().await, Some(ToBox::RpcCancel { id }));
        link.calls.on_response(response(id, b"late", true));
        link.calls.on_chunk(RpcChunk {
            id: RpcId(99),
            data: Bytes64::default(),
            end: true,
        });
        assert!(!link.calls.close(id), "its place was given back");
    }

    #[tokio::test]
    async fn lost_link_answers_all_who_wait_and_a_full_table_refuses() {
        let (link, mut frames) = link();
        let waiting: Vec<_> = (0..RPC_OPEN).map(|_| Open::take(&link).unwrap()).collect();
        let refused = ask(question(vec![]), &link).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        drop(waiting);
        let ending = async {
            // The question has left, so somebody waits.
            drop(frames.next().await);
            link.calls.end();
        };
        let (answer, ()) = tokio::join!(ask(question(vec![]), &link), ending);
        assert_eq!(answer.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
