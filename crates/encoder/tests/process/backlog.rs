//! Peers that ask for more than they read.

use framebridge_proto::{
    RequestId,
    encoder::{EncoderRequest, FromEncoder, ImageFormat, ToEncoder},
};
use tokio::time::timeout;

use crate::harness::{BOUND, Encoder, Subscriber};

/// Many times what both sockets' buffers and all queues between them hold.
const PILE: u32 = 4_000;

async fn pile_on(subscriber: &mut Subscriber, request: &EncoderRequest) {
    let all = async {
        for id in 0..PILE {
            subscriber
                .send(ToEncoder::Request {
                    id: RequestId(id),
                    request: request.clone(),
                })
                .await;
        }
    };
    timeout(BOUND, all)
        .await
        .expect("the encoder reads on while nobody reads what it writes");
}

#[tokio::test]
async fn who_reads_nothing_is_read_to_the_end_and_its_pictures_go_on_when_it_reads_again() {
    let encoder = Encoder::start("test:", "");
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    pile_on(&mut subscriber, &EncoderRequest::GetQuality).await;
    pile_on(&mut subscriber, &EncoderRequest::Snapshot(ImageFormat::Jpeg)).await;
    // Others are served meanwhile.
    encoder
        .client()
        .await
        .request(EncoderRequest::GetQuality)
        .await
        .unwrap();
    // The link is good for all that comes after.
    let last = RequestId(PILE);
    let ask = || ToEncoder::Request {
        id: last,
        request: EncoderRequest::GetQuality,
    };
    let mut answered = false;
    let mut frames = 0;
    let reading = async {
        while !answered || frames < 60 {
            match subscriber.message().await {
                FromEncoder::Response { id, result } if id == last => {
                    // It may come too early to find a place.
                    answered = result.is_ok();
                    if !answered {
                        subscriber.send(ask()).await;
                    }
                }
                FromEncoder::Frame(_) => {
                    frames += 1;
                    if frames == 30 {
                        subscriber.send(ask()).await;
                    }
                }
                FromEncoder::Source(_)
                | FromEncoder::Quality(_)
                | FromEncoder::Parameters(_)
                | FromEncoder::Lost { .. }
                | FromEncoder::NoRung { .. }
                | FromEncoder::Gap { .. }
                | FromEncoder::Response { .. }
                | FromEncoder::Desk(_)
                | FromEncoder::Load(_) => {}
            }
        }
    };
    timeout(BOUND, reading).await.expect("pictures and an answer");
}

#[tokio::test]
async fn a_subscription_that_was_ended_and_made_again_unread_begins_with_a_keyframe() {
    let encoder = Encoder::start("test:", "");
    let mut subscriber = encoder.subscribe().await;
    subscriber.frame().await;
    pile_on(&mut subscriber, &EncoderRequest::GetQuality).await;
    subscriber.send(ToEncoder::Unsubscribe).await;
    subscriber.send(ToEncoder::Subscribe).await;
    // A new subscription is told the parameters anew, and what follows them is its first picture.
    let reading = async {
        let mut is_new = false;
        loop {
            match subscriber.message().await {
                FromEncoder::Parameters(_) => is_new = true,
                FromEncoder::Frame(unit) if is_new => return unit,
                FromEncoder::Frame(_)
                | FromEncoder::Source(_)
                | FromEncoder::Quality(_)
                | FromEncoder::Lost { .. }
                | FromEncoder::NoRung { .. }
                | FromEncoder::Gap { .. }
                | FromEncoder::Response { .. }
                | FromEncoder::Desk(_)
                | FromEncoder::Load(_) => {}
            }
        }
    };
    let first = timeout(BOUND, reading).await.expect("pictures");
    assert!(first.keyframe, "{} is no keyframe", first.sequence);
}
