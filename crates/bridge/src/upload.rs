//! The way of a job's bytes to the studio.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use framebridge_studio_proto::{JobId, UPLOAD_PATH};
use hyper::{
    Request, StatusCode,
    body::{Body, Frame, SizeHint},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};

use crate::dial::Studio;

/// Attempts at one upload on one link: the first, and two more.
const ATTEMPTS: u32 = 3;

/// Pause before an upload is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Nothing has moved for so long: the attempt hangs. What is on its way in the kernel's buffers is not seen to move, and
/// those hold less than a slow uplink carries in this time.
const STALL: Duration = Duration::from_secs(30);

/// Bytes that count as a move.
const STEP: usize = 32 * 1024;

/// What a job made.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Bytes,
}

/// Where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// The node that the link leads to.
    pub(crate) studio: Studio,
    pub(crate) token: String,
    pub(crate) job: JobId,
}

/// Why one attempt came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the studio answered {0}")]
    Answered(StatusCode),
    #[error("nothing has moved for {0:?}")]
    Stalled(Duration),
    #[error(transparent)]
    Broken(anyhow::Error),
}

/// Brings a file, however long it takes as long as it moves.
///
/// # Errors
/// Why it can't be brought, for a person.
pub(crate) async fn bring(to: &Destination, file: &File) -> Result<(), String> {
    bring_within(STALL, to, file).await
}

async fn bring_within(stall: Duration, to: &Destination, file: &File) -> Result<(), String> {
    let mut attempt = 1;
    loop {
        let failed = match put(to, file, stall).await {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        if attempt == ATTEMPTS || failed.is_final() {
            return Err(format!("uploading the result: {:#}", anyhow::Error::from(failed)));
        }
        tracing::debug!(job = %to.job, attempt, "uploading: {failed:#}");
        attempt += 1;
        sleep(PAUSE).await;
    }
}

impl Failed {
    /// Whether it would be the same another time.
    fn is_final(&self) -> bool {
        match self {
            Self::Answered(status) => {
                let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                status.is_client_error() && !passes.contains(status)
            }
            Self::Stalled(_) | Self::Broken(_) => false,
        }
    }
}

async fn put(to: &Destination, file: &File, stall: Duration) -> Result<(), Failed> {
    let body = Moving {
        rest: file.bytes.clone(),
        moved: Arc::default(),
    };
    let moved = Arc::clone(&body.moved);
    let exchange = exchange(to, file.media_type, body);
    tokio::pin!(exchange);
    let mut before = 0;
    let status = loop {
        match timeout(stall, &mut exchange).await {
            Ok(answered) => break answered.map_err(Failed::Broken)?,
            Err(_elapsed) => {
                let now = moved.load(Ordering::Relaxed);
                if now == before {
                    return Err(Failed::Stalled(stall));
                }
                before = now;
            }
        }
    };
    match status {
        StatusCode::NO_CONTENT => Ok(()),
        // The studio waits for no such job (any more); what becomes of one that is `complete` is for it to say.
        StatusCode::NOT_FOUND => Ok(()),
        status => Err(Failed::Answered(status)),
    }
}

async fn exchange(to: &Destination, media_type: &str, body: Moving) -> anyhow::Result<StatusCode> {
    let stream = to.studio.dial().await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::put(to.studio.path(&format!("{UPLOAD_PATH}{}", to.job)))
        .header(header::HOST, to.studio.authority())
        .header(header::AUTHORIZATION, format!("Bearer {}", to.token))
        .header(header::CONTENT_TYPE, media_type)
        .body(body)?;
    let response = async {
        let response = sender.send_request(request).await?;
        anyhow::Ok(response.status())
    };
    // The connection has to be driven for the answer to come; it may end first, right after it.
    tokio::pin!(response);
    tokio::select! {
        status = &mut response => status,
        ended = connection => {
            ended?;
            response.await
        }
    }
}

/// Bytes that are counted as they leave.
struct Moving {
    rest: Bytes,
    moved: Arc<AtomicU64>,
}

impl Body for Moving {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(STEP);
        let part = self.rest.split_to(length);
        self.moved.fetch_add(part.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Uploads to a studio that answers so, one after the other; what came of it, and the requests.
    async fn upload_to<const N: usize>(answers: [&str; N]) -> (Result<(), String>, Vec<String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = Destination {
            studio: Studio::parse(&url).unwrap(),
            token: "t".to_owned(),
            job: JobId::from_bits(7),
        };
        let answering = async {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"bytes") {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0, "it broke off");
                }
                requests.push(String::from_utf8(request).unwrap());
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            requests
        };
        let file = File {
            media_type: "image/png",
            bytes: Bytes::from_static(b"bytes"),
        };
        tokio::join!(bring(&to, &file), answering)
    }

    #[tokio::test]
    async fn upload_that_fails_is_tried_twice_more_and_is_the_same_each_time() {
        let refused = "507 Insufficient Storage";
        let (arrived, given_up) =
            tokio::join!(upload_to([refused, refused, "204 No Content"]), upload_to([refused; 3]));
        let (result, requests) = arrived;
        assert_eq!(result, Ok(()));
        let path = format!("PUT /box/v1/uploads/{} ", JobId::from_bits(7));
        assert!(
            requests.iter().all(|request| request.starts_with(&path)),
            "{requests:?}"
        );
        assert!(requests[0].contains("content-length: 5\r\n"), "{requests:?}");
        assert!(requests.iter().all(|request| *request == requests[0]), "{requests:?}");
        assert!(given_up.0.unwrap_err().contains("507"));
    }

    #[tokio::test]
    async fn what_would_be_the_same_another_time_is_not_tried_again() {
        let (too_large, _) = upload_to(["413 Content Too Large"]).await;
        assert!(too_large.unwrap_err().contains("413"));
        let (nobody_waits, _) = upload_to(["404 Not Found"]).await;
        assert_eq!(nobody_waits, Ok(()));
    }

    #[tokio::test]
    async fn attempt_that_moves_nothing_is_given_up() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = Destination {
            studio: Studio::parse(&url).unwrap(),
            token: "t".to_owned(),
            job: JobId::from_bits(7),
        };
        let file = File {
            media_type: "video/mp4",
            bytes: vec![0; 4 << 20].into(),
        };
        // It takes connections, as its kernel does, and reads nothing.
        let failed = bring_within(Duration::from_millis(200), &to, &file).await.unwrap_err();
        assert!(failed.contains("nothing has moved for 200ms"), "{failed}");
        drop(listener);
    }
}
