//! What viewers get of a box, and when it ends.

use super::*;

#[tokio::test]
async fn streamed_answer_reaches_its_viewer_as_it_comes_and_ends_with_it() {
    let studio = Studio::start().await;
    let (mut fake, session) = studio.ready().await;
    let mut viewer = TcpStream::connect(studio.address).await.unwrap();
    let request = format!("GET /s/{session}/api/v1/streams HTTP/1.1\r\nhost: studio\r\n\r\n");
    viewer.write_all(request.as_bytes()).await.unwrap();
    let id = loop {
        if let ToBox::RpcRequest(request) = fake.next().await {
            break request.id;
        }
    };
    fake.send(&ToStudio::RpcResponse(RpcResponse {
        id,
        status: 200,
        headers: vec![("content-type".into(), "text/event-stream".into())],
        data: Bytes64::default(),
        end: false,
    }))
    .await;
    let mut seen = Vec::new();
    for event in ["data: one\n\n", "data: two\n\n"] {
        let data = Bytes64(event.as_bytes().to_vec());
        let end = false;
        fake.send(&ToStudio::RpcChunk(RpcChunk { id, data, end })).await;
        while !String::from_utf8_lossy(&seen).contains(event) {
            timeout(PATIENCE, viewer.read_buf(&mut seen)).await.unwrap().unwrap();
        }
    }
    drop(viewer);
    while fake.next().await != (ToBox::RpcCancel { id }) {}
}

#[tokio::test]
async fn shares_open_what_they_were_made_for_until_they_end() {
    let studio = Studio::start().await;
    let (mut fake, session) = studio.ready().await;
    let stream = Some("two".parse().unwrap());
    fake.send(&ToStudio::Share {
        request: 5,
        stream,
        control: true,
        expires_s: None,
    })
    .await;
    let share = loop {
        if let ToBox::Shared { request: 5, share, .. } = fake.next().await {
            break share;
        }
    };
    let (_, seen) = studio.get(&format!("/api/v1/sessions/{share}")).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["streams"].as_array().unwrap().len(), 1);
    let path = format!("/s/{share}/s/two");
    let asking = studio.get(&path);
    let answering = async {
        let ToBox::RpcRequest(request) = fake.next().await else {
            panic!("no request")
        };
        assert_eq!((request.path.as_str(), request.access.control), ("/s/two", true));
        assert_eq!(
            request.access.stream.as_ref().map(|stream| stream.as_str()),
            Some("two")
        );
        fake.send(&ToStudio::RpcResponse(RpcResponse {
            id: request.id,
            status: 200,
            headers: vec![
                ("set-cookie".into(), "a=b".into()),
                ("content-type".into(), "text/plain".into()),
            ],
            data: Bytes64(b"hello".to_vec()),
            end: true,
        }))
        .await;
    };
    let ((status, body), ()) = tokio::join!(asking, answering);
    assert_eq!(status, 200);
    assert!(body.contains("hello") && !body.contains("a=b"));
    fake.send(&ToStudio::Unshare {
        request: 6,
        share: None,
    })
    .await;
    while fake.next().await != (ToBox::Unshared { request: 6, ended: 1 }) {}
    assert_eq!(studio.get(&format!("/s/{share}/s/two")).await.0, 404);
    assert!(studio.hub.boxes.get(session).is_some());
}

/// So many rows have been written since the records were opened.
/// Opens an event stream at this address, and has the box begin it.
async fn event_stream(
    studio: &Studio,
    fake: &mut FakeBox,
    address: PublicId,
) -> (TcpStream, framebridge_studio_proto::RpcRequest) {
    let mut viewer = TcpStream::connect(studio.address).await.unwrap();
    let request = format!("GET /s/{address}/api/v1/streams/two/events HTTP/1.1\r\nhost: studio\r\n\r\n");
    viewer.write_all(request.as_bytes()).await.unwrap();
    let request = loop {
        if let ToBox::RpcRequest(request) = fake.next().await {
            break request;
        }
    };
    fake.send(&ToStudio::RpcResponse(RpcResponse {
        id: request.id,
        status: 200,
        headers: vec![("content-type".into(), "text/event-stream".into())],
        data: Bytes64(b"data: one\n\n".to_vec()),
        end: false,
    }))
    .await;
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("data: one") {
        assert!(
            timeout(PATIENCE, viewer.read_buf(&mut seen)).await.unwrap().unwrap() > 0,
            "it ended"
        );
    }
    (viewer, request)
}

#[tokio::test]
async fn stream_that_came_by_a_shared_address_ends_with_it_and_the_box_knows_which_that_was() {
    let studio = Studio::start().await;
    let (mut fake, _) = studio.ready().await;
    for (request, expires_s) in [(1, Some(2)), (2, None)] {
        fake.send(&ToStudio::Share {
            request,
            stream: None,
            control: false,
            expires_s,
        })
        .await;
        let share = loop {
            if let ToBox::Shared { share, .. } = fake.next().await {
                break share;
            }
        };
        let (mut viewer, asked) = event_stream(&studio, &mut fake, share).await;
        let used = asked.access.share.unwrap();
        assert_eq!(used.id, share);
        assert_eq!(used.left_ms.is_some_and(|left_ms| left_ms <= 2000), expires_s.is_some());
        if expires_s.is_none() {
            fake.send(&ToStudio::Unshare {
                request: 3,
                share: None,
            })
            .await;
        }
        let ended = async { while viewer.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {} };
        timeout(PATIENCE, ended).await.expect("the stream to end");
        while fake.next().await != (ToBox::RpcCancel { id: asked.id }) {}
        let (status, problem) = studio.get(&format!("/s/{share}/metrics")).await;
        assert!(
            status == 404 && problem.contains("This address has ended"),
            "{status} {problem}"
        );
    }
}

#[tokio::test]
async fn one_viewer_has_four_event_streams_and_more_are_refused() {
    let studio = Studio::start().await;
    let (mut fake, session) = studio.ready().await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(event_stream(&studio, &mut fake, session).await);
    }
    let path = format!("/s/{session}/api/v1/streams/two/events");
    let asking = studio.get(&path);
    let answering = async {
        let ToBox::RpcRequest(request) = fake.next().await else {
            panic!("no request")
        };
        fake.send(&ToStudio::RpcResponse(RpcResponse {
            id: request.id,
            status: 200,
            headers: vec![("content-type".into(), "text/event-stream".into())],
            data: Bytes64::default(),
            end: false,
        }))
        .await;
        // The box hears that nobody listens.
        assert_eq!(fake.next().await, ToBox::RpcCancel { id: request.id });
    };
    let ((status, _), ()) = tokio::join!(asking, answering);
    assert_eq!(status, 429);
}
