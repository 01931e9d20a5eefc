//! What the studio has the box do.

use super::*;
use crate::upload::File;

#[tokio::test]
async fn result_outlives_the_link_and_arrives_until_it_is_acknowledged() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let _bridge = studio.bridge(server.address);
    let job = JobId::from_bits(7);
    let mut session = studio.welcomed().await;
    let completed =
        |frame: &ToStudio| matches!(frame, ToStudio::Complete { job: done, .. } if *done == job).then_some(());
    session.offer(job, JobKind::Diagnose).await;
    session.until(completed).await;
    drop(session);
    let mut session = studio.welcomed().await;
    session.until(completed).await;
    session.send(&ToBox::CompleteAck { job }).await;
    session
        .until(|frame| matches!(frame, ToStudio::ReadyForMore).then_some(()))
        .await;
    drop(session);
    let mut session = studio.welcomed().await;
    loop {
        let frame = session.next().await;
        assert!(completed(&frame).is_none(), "delivered again after it was acknowledged");
        if frame == ToStudio::ReadyForMore {
            break;
        }
    }
}

/// What the studio is told of this job's end.
fn end_of(job: JobId) -> impl Fn(&ToStudio) -> Option<ToStudio> {
    move |frame| {
        let is_end =
            matches!(frame, ToStudio::Complete { job: ended, .. } | ToStudio::Fail { job: ended, .. } if *ended == job);
        is_end.then(|| frame.clone())
    }
}

#[tokio::test]
async fn job_that_panics_fails_and_the_next_is_done() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let _bridge = studio.bridge_with(server.address, |_, kind| {
        Box::pin(async move {
            assert!(kind != JobKind::Diagnose, "as a mistake does");
            Ok(Made::Inline("done".into()))
        })
    });
    let mut session = studio.welcomed().await;
    let job = JobId::from_bits(1);
    session.offer(job, JobKind::Diagnose).await;
    let failed = session.until(end_of(job)).await;
    assert!(
        matches!(&failed, ToStudio::Fail { retryable: false, error, .. } if error.contains("as a mistake does")),
        "{failed:?}"
    );
    session.send(&ToBox::FailAck { job }).await;
    session
        .until(|frame| matches!(frame, ToStudio::ReadyForMore).then_some(()))
        .await;
    let (job, stream) = (JobId::from_bits(2), "test".parse().unwrap());
    session.offer(job, JobKind::Snapshot { stream, png: false }).await;
    let done = session.until(end_of(job)).await;
    assert!(matches!(done, ToStudio::Complete { .. }), "{done:?}");
}

#[tokio::test]
async fn file_that_a_lost_link_kept_from_the_studio_is_brought_by_the_next() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static MADE: AtomicU32 = AtomicU32::new(0);
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let _bridge = studio.bridge_with(server.address, |_, _| {
        Box::pin(async {
            let bytes = format!("file {}", MADE.fetch_add(1, Ordering::SeqCst)).into();
            let media_type = "video/mp4";
            Ok(Made::File(File { media_type, bytes }))
        })
    });
    let (job, stream) = (JobId::from_bits(1), "test".parse().unwrap());
    let mut session = studio.welcomed().await;
    session.offer(job, JobKind::Snapshot { stream, png: false }).await;
    // The upload is under way, and the link is lost with it.
    let broken_off = studio.upload(None).await;
    assert!(broken_off.ends_with("file 0"), "{broken_off}");
    drop(session);
    let mut session = studio.welcomed().await;
    let whole = studio.upload(Some("204 No Content")).await;
    assert_eq!(whole, broken_off, "the same request with the same bytes");
    let done = session.until(end_of(job)).await;
    let ToStudio::Complete { result, .. } = done else {
        panic!("{done:?}")
    };
    let media_type = "video/mp4".to_owned();
    assert_eq!(result, JobResult::Uploaded { media_type, bytes: 6 });
    // With its link up, an upload that is refused for good is the end of it.
    session.send(&ToBox::CompleteAck { job }).await;
    let (job, stream) = (JobId::from_bits(2), "test".parse().unwrap());
    session.offer(job, JobKind::Snapshot { stream, png: false }).await;
    studio.upload(Some("413 Content Too Large")).await;
    let failed = session.until(end_of(job)).await;
    assert!(matches!(failed, ToStudio::Fail { retryable: false, .. }), "{failed:?}");
}
