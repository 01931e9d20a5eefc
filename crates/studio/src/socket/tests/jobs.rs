//! What operators ask of a box, and what comes of it.

use framebridge_studio_proto::{JobKind, JobResult, Rejection, UPLOAD_PATH, limits::MAX_UPLOAD};

use super::*;
use crate::store::JobState;

#[tokio::test]
async fn job_that_may_work_another_time_is_tried_again_and_not_for_ever() {
    let studio = Studio::start().await;
    let (mut fake, session) = studio.welcomed().await;
    let added = JobId::from_bits(7);
    let kind = JobKind::Diagnose;
    assert!(studio.hub.store.add_job(added, session, &kind, 1000).await.unwrap());
    for attempt in 1..=3 {
        fake.send(&ToStudio::ReadyForMore).await;
        let ToBox::Offer { job, .. } = fake.next().await else {
            panic!("no offer, the {attempt}th time")
        };
        let (error, retryable) = ("no room".to_owned(), true);
        fake.send(&ToStudio::Accept { job }).await;
        fake.send(&ToStudio::Fail { job, error, retryable }).await;
        assert_eq!(fake.next().await, ToBox::FailAck { job });
    }
    let ended = studio.hub.store.job(added).await.unwrap().unwrap();
    assert_eq!(
        (ended.state, ended.error.as_deref()),
        (JobState::Failed, Some("no room"))
    );

    // One that has to wait says why.
    let waiting = JobId::from_bits(9);
    assert!(studio.hub.store.add_job(waiting, session, &kind, 1000).await.unwrap());
    fake.send(&ToStudio::ReadyForMore).await;
    let ToBox::Offer { job, .. } = fake.next().await else {
        panic!("no offer")
    };
    let why = Rejection::Paused;
    fake.send(&ToStudio::Reject { job, why }).await;
    fake.send(&ready()).await;
    assert_eq!(fake.next().await, ToBox::HeartbeatAck, "it was heard");
    let row = studio.hub.store.job(waiting).await.unwrap().unwrap();
    assert_eq!(row.state, JobState::Waiting);
    assert!(row.error.unwrap().contains("operator wants no jobs"));
    let outcome = Err("the test has no use for it".to_owned());
    studio.hub.store.end_job(waiting, session, outcome).await.unwrap();

    // One that its box dies of each time says nothing at all.
    let deadly = JobId::from_bits(8);
    assert!(studio.hub.store.add_job(deadly, session, &kind, 1000).await.unwrap());
    for _life in 1..=3 {
        let (mut fake, _) = studio.welcomed().await;
        fake.send(&ToStudio::ReadyForMore).await;
        let ToBox::Offer { job, .. } = fake.next().await else {
            panic!("no offer")
        };
        fake.send(&ToStudio::Accept { job }).await;
        fake.send(&ready()).await;
        assert_eq!(fake.next().await, ToBox::HeartbeatAck, "it was heard");
    }
    let (mut fake, _) = studio.welcomed().await;
    fake.send(&ToStudio::ReadyForMore).await;
    fake.send(&ready()).await;
    assert_eq!(fake.next().await, ToBox::HeartbeatAck, "nothing is offered");
    let ended = studio.hub.store.job(deadly).await.unwrap().unwrap();
    assert!(ended.error.unwrap().contains("3 times"));
}

#[tokio::test]
async fn shares_and_jobs_outlive_the_studio() {
    let studio = Studio::start().await;
    let (mut fake, session) = studio.welcomed().await;
    let (request, stream, control, expires_s) = (1, None, false, None);
    fake.send(&ToStudio::Share {
        request,
        stream,
        control,
        expires_s,
    })
    .await;
    let ToBox::Shared { share, .. } = fake.next().await else {
        panic!("no share")
    };
    let [begun, waiting] = [1, 2].map(JobId::from_bits);
    for job in [begun, waiting] {
        let kind = JobKind::Diagnose;
        assert!(studio.hub.store.add_job(job, session, &kind, 1000).await.unwrap());
    }
    fake.send(&ToStudio::ReadyForMore).await;
    let ToBox::Offer { job, .. } = fake.next().await else {
        panic!("no offer")
    };
    assert_eq!(job, begun);
    fake.send(&ToStudio::Accept { job }).await;
    fake.send(&ready()).await;
    assert_eq!(fake.next().await, ToBox::HeartbeatAck);

    let again = Studio::on(studio.dir).await;
    assert_eq!(again.get(&format!("/api/v1/sessions/{share}")).await.0, 200);
    let (mut fake, same) = again.welcomed().await;
    assert_eq!(same, session);
    // What the box did meanwhile arrives, and the next job is offered.
    let value = serde_json::json!({"well": true});
    let result = JobResult::Inline { value };
    fake.send(&ToStudio::Complete { job, result }).await;
    assert_eq!(fake.next().await, ToBox::CompleteAck { job });
    fake.send(&ToStudio::ReadyForMore).await;
    let offer = fake.next().await;
    assert!(matches!(offer, ToBox::Offer { job, .. } if job == waiting), "{offer:?}");
    assert_eq!(again.hub.store.job(begun).await.unwrap().unwrap().state, JobState::Done);
}

#[tokio::test]
async fn bytes_are_taken_from_the_box_whose_job_it_is_while_it_lasts() {
    let studio = Studio::start().await;
    let (_fake, session) = studio.welcomed().await;
    studio
        .hub
        .store
        .add_token("other", Kind::Box, &auth::hash("another"))
        .unwrap();
    let job = JobId::from_bits(7);
    let kind = JobKind::Diagnose;
    assert!(studio.hub.store.add_job(job, session, &kind, 1000).await.unwrap());
    let put = async |token: &str, job: &str, length: u64, body: &[u8]| {
        let headers = format!("authorization: Bearer {token}\r\ncontent-length: {length}\r\n");
        studio
            .send("PUT", &format!("{UPLOAD_PATH}{job}"), &headers, body)
            .await
            .0
    };
    let id = job.to_string();
    assert_eq!(put("bad", &id, 5, b"bytes").await, 401);
    assert_eq!(put("another", &id, 5, b"bytes").await, 404);
    assert_eq!(put("good", "..%2f..%2fetc", 5, b"bytes").await, 404);
    assert_eq!(put("good", &id, MAX_UPLOAD + 1, b"").await, 413);
    assert_eq!(put("good", &id, 5, b"bytes").await, 204);
    assert_eq!(put("good", &id, 5, b"again").await, 204, "repeating it does no harm");
    let file = studio.hub.uploads.file(job);
    assert_eq!(std::fs::read(&file).unwrap(), b"again");
    assert_eq!(
        std::fs::read_dir(studio.hub.uploads.folder()).unwrap().count(),
        1,
        "nothing else is left"
    );
    // Two that do not come on are as many as a box has.
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut slow = TcpStream::connect(studio.address).await.unwrap();
        let request = format!(
            "PUT {UPLOAD_PATH}{id} HTTP/1.1\r\nhost: studio\r\nauthorization: Bearer good\r\ncontent-length: 9\r\n\r\nx"
        );
        slow.write_all(request.as_bytes()).await.unwrap();
        held.push(slow);
    }
    // A third that came before them would have one of their places.
    let files = || std::fs::read_dir(studio.hub.uploads.folder()).unwrap().count();
    let begun = async {
        while files() < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, begun).await.expect("both have begun");
    assert_eq!(put("good", &id, 5, b"bytes").await, 503);
    drop(held);
    let free = async { while put("good", &id, 5, b"bytes").await != 204 {} };
    timeout(PATIENCE, free).await.expect("their places are free again");
    let outcome = Err("called off".to_owned());
    studio.hub.store.end_job(job, session, outcome).await.unwrap();
    assert_eq!(put("good", &id, 5, b"bytes").await, 410);
}

#[tokio::test]
async fn too_many_shares_are_refused_with_a_reason() {
    let studio = Studio::start().await;
    let (mut fake, _) = studio.welcomed().await;
    let mut share = async |request| {
        fake.send(&ToStudio::Share {
            request,
            stream: None,
            control: false,
            expires_s: None,
        })
        .await;
        fake.next().await
    };
    for request in 0..MOST_SHARES {
        assert!(matches!(share(request).await, ToBox::Shared { .. }));
    }
    let refused = share(MOST_SHARES).await;
    assert!(
        matches!(&refused, ToBox::ShareRefused { request: MOST_SHARES, why } if why.contains("bridgectl unshare")),
        "{refused:?}"
    );
}
