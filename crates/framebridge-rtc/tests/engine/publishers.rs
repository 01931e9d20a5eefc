//! Publishers, and those who wait for us to begin.

use framebridge_proto::StreamName;
use framebridge_rtc::{AnswerError, Config, PublisherEvent};
use tokio::time::timeout;

use crate::{PATIENCE, World};

#[tokio::test]
async fn nobody_pushes_to_itself() {
    let world = World::new(Config::default());
    let handle = world.engine.handle();
    let offered = handle.offer(&world.stream, None);
    let published = handle.publish_by(&world.stream, offered.text()).await.unwrap();
    let begun = offered.answered(&published.answer).await;
    assert_eq!(begun.unwrap_err(), AnswerError::Ourselves);
    assert!(handle.sessions().is_empty());
}

#[tokio::test]
async fn dtls_begins_where_the_publisher_wants_it() {
    let (sending, receiving) = (World::new(Config::default()), World::new(Config::default()));
    let live: StreamName = "live".parse().unwrap();
    for (offered_as, answered_as) in [("actpass", "passive"), ("active", "passive"), ("passive", "active")] {
        let offered = sending.engine.handle().offer(&sending.stream, None);
        let offer = offered
            .text()
            .replace("a=setup:actpass", &format!("a=setup:{offered_as}"));
        let mut published = receiving.engine.handle().publish_by(&live, &offer).await.unwrap();
        let setup = format!("a=setup:{answered_as}\r\n");
        assert!(published.answer.contains(&setup), "{offered_as}: {}", published.answer);
        let session = offered.answered(&published.answer).await.unwrap();
        let mut frames = 0;
        while frames < 5 {
            let next = timeout(PATIENCE, published.publisher.next()).await;
            let event = next.unwrap_or_else(|_| panic!("{offered_as}: nothing comes"));
            frames += usize::from(matches!(event, Some(PublisherEvent::Unit(_))));
            assert!(event.is_some(), "{offered_as}: it has ended");
        }
        assert!(sending.engine.handle().leave(&session).await);
    }
}
