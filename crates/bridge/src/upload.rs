//! Uploads the result of a job to the studio.

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

/// Attempts in a row: the first, and two more.
const ATTEMPTS: u32 = 3;

/// Pause between two of them.
const PAUSE: Duration = Duration::from_secs(1);

/// Pause before the next ones: what is made is not thrown away for a studio that has no room just now.
const REST: Duration = Duration::from_secs(30);

/// What is prepared for a connection beyond what the kernel takes, bytes.
const PREPARED: usize = 64 * 1024;

/// An attempt that has not moved for this long hangs. Bytes in the kernel's buffers are not seen to move, and those hold less
/// than a slow uplink carries in this time.
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

/// How patiently a file is brought.
#[derive(Debug, Clone, Copy)]
struct Patience {
    stall: Duration,
    rest: Duration,
}

/// Brings a file, however long it takes as long as it moves, and however often it fails as long as it may work another time.
///
/// # Errors
/// Why it can't be brought at all, for a person.
pub(crate) async fn bring(to: &Destination, file: &File) -> Result<(), String> {
    let (stall, rest) = (STALL, REST);
    bring_with(Patience { stall, rest }, to, file).await
}

async fn bring_with(Patience { stall, rest }: Patience, to: &Destination, file: &File) -> Result<(), String> {
    for attempt in 1.. {
        let failed = match put(to, file, stall).await {
            Ok(()) => break,
            Err(failed) => failed,
        };
        let is_final = failed.is_final();
        let why = format!("uploading the result: {:#}", anyhow::Error::from(failed));
        if is_final {
            return Err(why);
        }
        if attempt % ATTEMPTS == 0 {
            tracing::warn!(job = %to.job, attempt, why, "a job's result is kept, and brought later");
            sleep(rest).await;
        } else {
            sleep(PAUSE).await;
        }
    }
    Ok(())
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
        // Gone: the job has ended there, and what becomes of one that is `complete` is for the studio to say.
        StatusCode::NO_CONTENT | StatusCode::GONE => Ok(()),
        status => Err(Failed::Answered(status)),
    }
}

async fn exchange(to: &Destination, media_type: &str, body: Moving) -> anyhow::Result<StatusCode> {
    let stream = to.studio.dial().await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(PREPARED)
        .handshake(TokioIo::new(stream))
        .await?;
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

    /// A studio's upload interface, and the way to it.
    async fn studio() -> (TcpListener, Destination) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let destination = Destination {
            studio: Studio::parse(&url).unwrap(),
            token: "t".to_owned(),
            job: JobId::from_bits(7),
        };
        (listener, destination)
    }

    const LITTLE: Patience = Patience {
        stall: Duration::from_millis(200),
        rest: Duration::from_millis(200),
    };

    /// Uploads to a studio that answers so, one after the other; what came of it, and the requests.
    async fn upload_to<const N: usize>(answers: [&str; N]) -> (Result<(), String>, Vec<String>) {
        let (listener, to) = studio().await;
        let answering = async {
            let mut requests = Vec::new();
            for answer in answers {
                let accepted = timeout(Duration::from_secs(20), listener.accept());
                let (mut stream, _) = accepted.await.unwrap().unwrap();
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
        tokio::join!(bring_with(LITTLE, &to, &file), answering)
    }

    #[tokio::test]
    async fn upload_that_fails_is_tried_again_and_is_the_same_each_time() {
        let full = "507 Insufficient Storage";
        let busy = "503 Service Unavailable";
        let (result, requests) = upload_to([full, full, full, busy, "204 No Content"]).await;
        assert_eq!(result, Ok(()));
        let path = format!("PUT /box/v1/uploads/{} ", JobId::from_bits(7));
        assert!(
            requests.iter().all(|request| request.starts_with(&path)),
            "{requests:?}"
        );
        assert!(requests[0].contains("content-length: 5\r\n"), "{requests:?}");
        assert!(requests.iter().all(|request| *request == requests[0]), "{requests:?}");
    }

    #[tokio::test]
    async fn what_would_be_the_same_another_time_is_not_tried_again() {
        for refusal in ["413 Content Too Large", "404 Not Found"] {
            let (refused, _) = upload_to([refusal]).await;
            assert!(refused.unwrap_err().contains(&refusal[..3]));
        }
        let (has_ended, _) = upload_to(["410 Gone"]).await;
        assert_eq!(has_ended, Ok(()));
    }

    #[tokio::test]
    async fn attempt_that_moves_nothing_is_given_up() {
        let (_listener, to) = studio().await;
        let file = File {
            media_type: "video/mp4",
            bytes: vec![0; 4 << 20].into(),
        };
        // It takes connections, as its kernel does, and reads nothing.
        let failed = put(&to, &file, LITTLE.stall).await.unwrap_err();
        assert!(matches!(failed, Failed::Stalled(_)), "{failed}");
    }
}
