//! Lends files of jobs from node to node, part by part: the reader asks for the next part when it has taken the one before.

use std::{path::Path, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use framebridge_studio_proto::JobId;
use futures_util::{StreamExt as _, stream};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    time::timeout,
};

use super::{
    Mesh, NodeId,
    wire::{Borrow, Said},
};

/// Bytes that travel at once.
const PART: u64 = 256 * 1024;

/// A node that does not answer within this does not have it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What comes before the bytes of a part; an empty answer says that there is no such file.
const THERE: u8 = 1;

/// The bytes of a job's result, from whichever node has them.
pub(super) async fn borrow(mesh: &Arc<Mesh>, job: JobId) -> Option<Body> {
    let others: Vec<NodeId> = mesh.presence(|presence| presence.others().collect());
    for node in others {
        if let Some(first) = part(mesh, node, job, 0).await {
            return Some(body(Arc::clone(mesh), node, job, first));
        }
    }
    None
}

fn body(mesh: Arc<Mesh>, node: NodeId, job: JobId, first: Bytes) -> Body {
    let parts = stream::unfold((Some(first), 0), move |(had, offset)| {
        let mesh = Arc::clone(&mesh);
        async move {
            let next = match had {
                Some(first) => Some(first),
                None => part(&mesh, node, job, offset).await,
            };
            let Some(bytes) = next else {
                return Some((Err(std::io::ErrorKind::UnexpectedEof), (Some(Bytes::new()), 0)));
            };
            let offset = offset + bytes.len() as u64;
            (!bytes.is_empty()).then_some((Ok(bytes), (None, offset)))
        }
    });
    Body::from_stream(Box::pin(parts.map(|part| part.map_err(std::io::Error::from))))
}

/// The part from `offset` on; empty at the file's end.
async fn part(mesh: &Mesh, node: NodeId, job: JobId, offset: u64) -> Option<Bytes> {
    let request = mesh
        .client
        .request(node.files(), mesh.encode(Borrow { job, offset }).into());
    let answer = timeout(TIMEOUT, request).await.ok()?.ok()?.payload;
    (answer.first() == Some(&THERE)).then(|| answer.slice(1..))
}

/// Lends what is asked for, one part at a time.
pub(crate) async fn lend(mesh: &Mesh, uploads: &Path) -> anyhow::Result<()> {
    let mut asked = mesh.client.subscribe(mesh.own.files()).await?;
    while let Some(message) = asked.next().await {
        let Some(reply) = message.reply else { continue };
        let Ok(Said {
            what: Borrow { job, offset },
            ..
        }) = serde_json::from_slice(&message.payload)
        else {
            continue;
        };
        let answer = read(&uploads.join(job.to_string()), offset).await.unwrap_or_default();
        // One that the server does not take, as beyond its limit, is lost to who asked, and to nobody else.
        if let Err(error) = mesh.client.publish(reply, answer.into()).await {
            tracing::warn!(%error, "a part of a result can't be lent to another node");
        }
    }
    Ok(())
}

async fn read(path: &Path, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path).await?;
    file.seek(std::io::SeekFrom::Start(offset)).await?;
    let mut answer = vec![THERE];
    file.take(PART).read_to_end(&mut answer).await?;
    Ok(answer)
}
