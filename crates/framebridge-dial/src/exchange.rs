//! One HTTP request and its answer, on a connection of their own.

use std::{net::IpAddr, pin::pin};

use data_encoding::BASE64;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
    http::{Uri, request::Builder, response::Parts},
};
use hyper_util::rt::TokioIo;

use crate::{DialError, Server};

/// What a server answers.
#[derive(Debug)]
pub struct Answer {
    /// Status and headers.
    pub head: Parts,
    /// As much as was asked for.
    pub body: Bytes,
    /// Who has answered.
    pub peer: IpAddr,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The request can't be written.
    #[error("it can't be asked")]
    Request(#[source] hyper::http::Error),
    /// What came is no HTTP, or nothing came.
    #[error("no answer in HTTP")]
    Http(#[source] hyper::Error),
    /// The answer broke off, or is longer than was asked for.
    #[error("its answer breaks off, or is too long")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A request for what `uri` names: with its host, and with user and password where the address has them.
pub fn request(method: Method, uri: &Uri) -> Builder {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("framebridge/", env!("CARGO_PKG_VERSION")));
    match credentials {
        Some(credentials) => {
            let basic = BASE64.encode(credentials.as_bytes());
            request.header(header::AUTHORIZATION, format!("Basic {basic}"))
        }
        None => request,
    }
}

/// `Authorization` of who has a name and a password (RFC 7617).
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

/// Asks `server`. Of an answer of success up to `most` bytes of body are read; 0, or any other answer: none is.
///
/// # Errors
/// See [`ExchangeError`].
pub async fn exchange(server: &Server, request: Request<Full<Bytes>>, most: usize) -> Result<Answer, ExchangeError> {
    let dialed = server.dial().await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(dialed.stream))
        .await
        .map_err(ExchangeError::Http)?;
    let answered = async {
        let (head, body) = sender
            .send_request(request)
            .await
            .map_err(ExchangeError::Http)?
            .into_parts();
        let is_wanted = most > 0 && head.status.is_success();
        let body = if is_wanted {
            read(body, most).await?
        } else {
            Bytes::new()
        };
        Ok::<_, ExchangeError>((head, body))
    };
    let mut answered = pin!(answered);
    let (head, body) = tokio::select! {
        answered = &mut answered => answered,
        // Some close with their answer, which is here then.
        ended = connection => {
            ended.map_err(ExchangeError::Http)?;
            answered.await
        }
    }?;
    let peer = dialed.peer;
    Ok(Answer { head, body, peer })
}

async fn read(body: Incoming, most: usize) -> Result<Bytes, ExchangeError> {
    let read = Limited::new(body, most).collect().await;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(ExchangeError::Body)
}
